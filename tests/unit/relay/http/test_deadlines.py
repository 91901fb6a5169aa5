"""The timer wheel: every watched deadline is noticed."""

from hypothesis import given
from hypothesis import strategies as st

from relay.http.deadlines import NEVER, DeadlineWheel, Watched


class Item(Watched):
    """A watched item that records when it expired."""

    def __init__(self, deadline: float) -> None:
        super().__init__()
        self.deadline = deadline
        self.told: list[float] = []

    def expired(self, now: float) -> None:
        self.told.append(now)
        self.deadline = NEVER


@given(st.lists(st.tuples(st.floats(100, 130), st.floats(100, 130)), max_size=20))
def test_every_deadline_is_noticed_within_a_second_and_none_early(
    deadlines: list[tuple[float, float]],
) -> None:
    wheel = DeadlineWheel(100.0)
    items = [Item(first) for first, _ in deadlines]
    for item in items:
        wheel.watch(item)
    for item, (_, moved) in zip(items, deadlines, strict=True):
        item.deadline = moved
        if moved < item.slot:
            wheel.watch(item)
    for tick in range(264):
        wheel.turn(100.0 + tick / 8)
    for item, (_, moved) in zip(items, deadlines, strict=True):
        assert len(item.told) == 1
        assert moved <= item.told[0] <= moved + 1.125
    assert len(wheel) == 0


def test_what_is_forgotten_is_kept_by_nothing() -> None:
    wheel, item = DeadlineWheel(0.0), Item(5.0)
    wheel.watch(item)
    wheel.forget(item)
    wheel.turn(10.0)
    assert (item.told, len(wheel)) == ([], 0)
