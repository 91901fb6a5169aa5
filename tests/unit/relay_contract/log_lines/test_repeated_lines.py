"""Lines that come again and again: the first at once, then their number, and an end."""

from typing import Any

from relay_contract.log_lines.repeated_lines import INTERVAL_SECONDS, MAX_KINDS, RepeatedLines


class Lines(RepeatedLines):
    """Lines with what was written of them."""

    def __init__(self) -> None:
        self.written: list[tuple[str, str, dict[str, Any]]] = []
        super().__init__(lambda level, event, told: self.written.append((level, event, told)))

    def away(self, now: float, detail: str = "refused") -> None:
        self.note(now, "warning", "away", {"detail": detail}, by=())


def test_the_first_is_written_at_once_the_others_are_counted_and_the_end_is_told() -> None:
    lines = Lines()
    for number in range(25_000):
        lines.away(100 + number / 1000, str(number))
        if number % 1000 == 0:
            lines.tick(100 + number / 1000)
    for second in range(50):
        lines.tick(125 + second)
    counted = [told["times"] for _, event, told in lines.written[1:] if event == "away"]
    assert lines.written[0] == ("warning", "away", {"detail": "0"})
    assert sum(counted) == 24_999
    assert len(counted) == 3
    assert lines.written[-1] == ("info", "away_over", {"times": 25_000, "seconds": 24.999})
    assert len(lines.written) == 5


def test_one_alone_has_no_end_and_the_next_after_a_while_is_written_at_once() -> None:
    lines = Lines()
    for start in (0.0, 1000.0):
        lines.away(start, f"of {start}")
        for second in range(30):
            lines.tick(start + second)
    assert [told for _, _, told in lines.written] == [{"detail": "of 0.0"}, {"detail": "of 1000.0"}]


def test_what_goes_on_slower_than_an_interval_keeps_a_line_for_each() -> None:
    lines = Lines()
    for number in range(4):
        at = number * 3 * INTERVAL_SECONDS
        lines.away(at)
        for second in range(int(3 * INTERVAL_SECONDS)):
            lines.tick(at + second)
    assert [event for _, event, _ in lines.written] == ["away"] * 4


def test_kinds_differ_by_the_fields_named_and_each_has_its_burst_and_its_end() -> None:
    lines = Lines()
    for number in range(30):
        for tenant in ("a", "b"):
            told = {"tenant": tenant, "detail": number}
            lines.note(1.0, "error", "kept_apart", told, by=("tenant",), burst=20)
    assert [told["detail"] for _, _, told in lines.written if told["tenant"] == "b"] == [*range(20)]
    for second in range(30):
        lines.tick(2.0 + second)
    assert lines.written[40:] == [
        ("error", "kept_apart", {"tenant": "a", "detail": 29, "times": 10}),
        ("error", "kept_apart", {"tenant": "b", "detail": 29, "times": 10}),
        ("info", "kept_apart_over", {"tenant": "a", "times": 30, "seconds": 0.0}),
        ("info", "kept_apart_over", {"tenant": "b", "times": 30, "seconds": 0.0}),
    ]


def test_more_kinds_than_the_bound_are_counted_as_one() -> None:
    lines = Lines()
    for number in range(10 * MAX_KINDS):
        lines.note(1.0, "error", "forged", {"tenant": str(number)}, by=("tenant",))
    assert len(lines.written) == MAX_KINDS + 1
    lines.tick(1.0 + INTERVAL_SECONDS)
    assert lines.written[-1][2]["times"] == 9 * MAX_KINDS - 1


def test_it_is_counted_without_a_tick_as_well() -> None:
    lines = Lines()
    for second in range(60):
        lines.away(float(second))
    assert [told.get("times", 1) for _, _, told in lines.written] == [1, 10, 10, 10, 10, 10]
