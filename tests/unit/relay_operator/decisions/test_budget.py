"""The platform's budget of canaries: how many are raised at once, and whose turn is next."""

from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary.budget import FIRST_IN_LINE, HEARD_OF_SECONDS, Budget

ONE, TWO, THREE = ("relay-a", "chat"), ("relay-b", "chat"), ("relay-c", "chat")


def in_line(budget: Budget, key: RouteKey, since: float) -> str:
    """Asks for a place as a canary does at each look; returns what it waits for."""
    why = budget.why_not(key, since=since, now=1000.0)
    if why:
        budget.wait(key, since)
    else:
        budget.place(key)
    return why


def test_without_a_limit_nobody_waits() -> None:
    budget = Budget()
    assert not any(in_line(budget, ("relay-a", str(number)), number) for number in range(1000))
    assert budget.taken_news() == []


def test_who_waits_is_told_how_many_are_before_it() -> None:
    budget = Budget(1)
    assert in_line(budget, ONE, 1.0) == ""
    assert in_line(budget, TWO, 2.0).endswith("0 canaries are before it in line")
    assert in_line(budget, THREE, 3.0) == (
        "as many canaries as the platform allows at once (1) are being raised, and 1 canary is before it in line"
    )


def test_the_first_in_line_goes_first_also_before_one_that_comes_just_then() -> None:
    budget = Budget(1)
    in_line(budget, ONE, 1.0)
    in_line(budget, TWO, 2.0)
    budget.leave(ONE)
    assert TWO in budget.taken_news()
    assert in_line(budget, THREE, 3.0) != ""
    assert in_line(budget, TWO, 2.0) == ""


def test_tenants_take_turns() -> None:
    budget = Budget(2)
    big = [("relay-a", str(number)) for number in range(5)]
    for number, key in enumerate(big):
        in_line(budget, key, float(number))
    in_line(budget, TWO, 10.0)
    in_line(budget, THREE, 11.0)
    budget.leave(big[0])
    assert [in_line(budget, key, 0.0) == "" for key in (big[2], TWO, THREE)] == [
        False,
        True,
        False,
    ]
    budget.leave(big[1])
    assert [in_line(budget, key, 0.0) == "" for key in (THREE, big[2])] == [False, True]


def test_one_that_leaves_the_line_keeps_nobody_waiting() -> None:
    budget = Budget(1)
    in_line(budget, ONE, 1.0)
    in_line(budget, TWO, 2.0)
    in_line(budget, THREE, 3.0)
    budget.leave(TWO)
    budget.leave(ONE)
    assert in_line(budget, THREE, 3.0) == ""


def test_no_more_than_the_front_of_a_long_line_is_looked_at_again() -> None:
    budget = Budget(1)
    for number in range(500):
        in_line(budget, (f"relay-{number}", "chat"), float(number))
    budget.taken_news()
    budget.leave(("relay-0", "chat"))
    news = budget.taken_news()
    assert len(news) == FIRST_IN_LINE
    assert news[0] == ("relay-1", "chat")
    assert budget.taken_news() == []


def test_one_that_is_only_remembered_waits_for_a_while_and_then_keeps_nobody_waiting() -> None:
    budget = Budget(1)
    budget.recall(ONE, 1.0, now=1000.0)
    assert budget.why_not(TWO, since=2.0, now=1001.0).endswith("1 canary is before it in line")
    assert budget.why_not(TWO, since=2.0, now=1000.0 + HEARD_OF_SECONDS) == ""


def test_a_place_in_doubt_is_taken_back_after_a_while() -> None:
    budget = Budget(1)
    in_line(budget, ONE, 1.0)
    in_line(budget, TWO, 2.0)
    budget.taken_news()
    budget.doubt(ONE, now=1000.0)
    # further doubts prolong nothing
    budget.doubt(ONE, now=1000.0 + HEARD_OF_SECONDS / 2)
    budget.expire(1000.0 + HEARD_OF_SECONDS - 1)
    assert budget.taken_news() == []
    budget.expire(1000.0 + HEARD_OF_SECONDS)
    assert budget.taken_news() == [TWO]
    assert in_line(budget, TWO, 2.0) == ""


def test_a_place_that_was_in_doubt_stays_with_a_canary_that_goes_on() -> None:
    budget = Budget(1)
    in_line(budget, ONE, 1.0)
    budget.doubt(ONE, now=1000.0)
    budget.hear(ONE)
    assert budget.why_not(TWO, since=2.0, now=1000.0 + HEARD_OF_SECONDS) != ""


class Moment(float):
    """Counts how often it is compared with others."""

    compared = 0

    def __lt__(self, other: float) -> bool:
        Moment.compared += 1
        return super().__lt__(other)


def test_a_line_that_does_not_change_is_sorted_once() -> None:
    budget = Budget(1)
    for number in range(200):
        in_line(budget, (f"relay-{number}", "chat"), Moment(number))
    budget.taken_news()
    budget.leave(("relay-7", "chat"))
    before = Moment.compared
    places = [
        budget.why_not((f"relay-{number}", "chat"), since=0.0, now=1000.0)
        for number in range(8, 200)
    ]
    assert len(set(places)) == len(places)
    # a sort of random order takes no more than this; the line was in order before
    assert Moment.compared - before < 2 * 200 * 8


def test_who_is_behind_in_line_is_known_without_asking() -> None:
    budget = Budget(1)
    for number, key in enumerate((ONE, TWO, THREE)):
        in_line(budget, key, float(number))
    assert [budget.is_behind(key) for key in (ONE, TWO, THREE)] == [False, True, True]
    budget.leave(ONE)
    assert [budget.is_behind(key) for key in (ONE, TWO, THREE)] == [False, False, True]


keys = st.tuples(st.sampled_from("abc"), st.sampled_from("1234"))


@given(
    most=st.integers(1, 4),
    asked=st.lists(st.tuples(st.sampled_from(["ask", "leave"]), keys), max_size=60),
)
def test_there_are_never_more_than_the_limit_and_all_who_ask_get_their_turn(
    most: int, asked: list[tuple[str, RouteKey]]
) -> None:
    budget = Budget(most)
    placed: set[RouteKey] = set()
    waiting: dict[RouteKey, float] = {}
    for now, (what, key) in enumerate(asked):
        if what == "leave":
            budget.leave(key)
            placed.discard(key)
            waiting.pop(key, None)
        elif in_line(budget, key, waiting.get(key, float(now))):
            waiting.setdefault(key, float(now))
        else:
            placed.add(key)
            waiting.pop(key, None)
        assert len(placed) <= most
    for _ in range(len(waiting)):
        for key in placed:
            budget.leave(key)
        free = [key for key, since in waiting.items() if in_line(budget, key, since) == ""]
        placed = set(free)
        waiting = {key: since for key, since in waiting.items() if key not in placed}
    assert not waiting


moments = st.floats(0, 9)


@given(
    placed=st.sets(keys, max_size=4),
    waiting=st.dictionaries(keys, moments, max_size=8),
    key=keys,
    since=moments,
)
def test_one_that_comes_just_then_is_told_the_place_that_it_would_have_in_line(
    placed: set[RouteKey], waiting: dict[RouteKey, float], key: RouteKey, since: float
) -> None:
    budget = Budget(len(placed) or 1)
    for one in placed or {("z", "1")}:
        budget.place(one)
    for one, at in waiting.items():
        if one not in placed | {key}:
            budget.wait(one, at)
    if key in placed:
        return
    asked = budget.why_not(key, since=since, now=1000.0)
    assert asked
    budget.wait(key, since)
    assert budget.why_not(key, since=since, now=1000.0) == asked
