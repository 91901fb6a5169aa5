"""A call is reserved on every limit or on none, and what it did not use is free again."""

from typing import Any

import pytest

from relay.budgets.purse import MoneyHold, Purse, Shortage, Shortfall
from relay.budgets.session_caps import REMEMBERED_SESSIONS, SessionUses, reached
from relay.budgets.shared_counters import HELD, SPENT, place, shared_counters
from relay_contract.spending import SessionCaps

BOTH = ("budget", "credit")


def purse(counters: Any = None, **slices: int) -> Purse:
    made = Purse(shared_counters(1) if counters is None else counters, 0)
    for slot, (kind, allowance) in enumerate(slices.items()):
        made.take(
            slot,
            kind=kind,
            starts_at=0,
            ends_at=1000,
            allowance=allowance,
            returns=0,
            until=60.0,
        )
    return made


def reserved(
    made: Purse, cost: int, *, kinds: tuple[str, ...] = ("budget",), **changes: Any
) -> MoneyHold | Shortfall:
    moment: dict[str, Any] = {"wall": 500, "now": 1.0, "serve_when_away": False, **changes}
    return made.reserve(kinds, cost, **moment)


def test_what_is_reserved_is_not_reserved_again_and_settled_once() -> None:
    counters = shared_counters(1)
    made = purse(counters, budget=100)
    hold = reserved(made, 60)
    assert isinstance(hold, MoneyHold)
    assert isinstance(reserved(made, 60), Shortfall)
    assert counters[place(0, 0) + HELD] == 60
    hold.settle(25)
    hold.settle(60)
    assert (counters[place(0, 0) + SPENT], counters[place(0, 0) + HELD]) == (25, 0)
    assert isinstance(reserved(made, 75), MoneyHold)


def test_a_call_that_one_limit_does_not_cover_is_on_none() -> None:
    made = purse(budget=100, credit=10)
    short = reserved(made, 50, kinds=BOTH)
    assert isinstance(short, Shortfall)
    assert (short.kind, short.reason) == ("credit", Shortage.SPENT)
    assert isinstance(reserved(made, 100), MoneyHold)


@pytest.mark.parametrize(
    ("left", "elsewhere", "away", "reason"),
    [
        (0, 0, False, Shortage.SPENT),
        (0, 0, True, Shortage.SPENT),
        (90, 0, False, Shortage.PENDING),
        (0, 90, False, Shortage.PENDING),
        (90, 0, True, Shortage.AWAY),
    ],
)
def test_a_refusal_says_whether_there_is_more(
    left: int, elsewhere: int, away: bool, reason: Shortage
) -> None:
    made = purse(budget=10)
    of = made.slice_of(0)
    assert of is not None
    of.left, of.elsewhere, made.away = left, elsewhere, away
    short = reserved(made, 100)
    assert isinstance(short, Shortfall)
    assert short.reason is reason


def test_a_lease_that_has_ended_and_a_period_that_has_ended_cover_nothing() -> None:
    for moment in ({"now": 60.0}, {"wall": 1000}):
        short = reserved(purse(budget=100), 1, **moment)
        assert isinstance(short, Shortfall)
        assert short.reason is Shortage.PENDING


def test_a_tenant_that_is_served_without_the_ledger_is_counted_all_the_same() -> None:
    counters = shared_counters(1)
    made = purse(counters, budget=10)
    made.away = True
    hold = reserved(made, 100, serve_when_away=True)
    assert isinstance(hold, MoneyHold)
    hold.settle(90)
    assert counters[place(0, 0) + SPENT] == 90
    made.away = False
    assert isinstance(reserved(made, 1, serve_when_away=True), Shortfall)


def test_what_was_given_back_is_not_taken_by_a_grant_of_before() -> None:
    made = purse(budget=100)
    reserved(made, 30)
    of = made.slice_of(0)
    assert of is not None
    of.lower_to(0)
    assert of.allowance == 30
    for returns, allowance in ((0, 30), (1, 100)):
        made.take(
            0,
            kind="budget",
            starts_at=0,
            ends_at=1000,
            allowance=100,
            returns=returns,
            until=60.0,
        )
        assert of.allowance == allowance


def test_lacks_are_told_with_the_least_that_was_needed() -> None:
    made, told = purse(budget=10), []
    made.watcher = lambda: told.append(made.shortest)
    reserved(made, 50)
    reserved(made, 20)
    assert told == [50, 20]
    assert (made.take_shortest(), made.take_shortest()) == (20, 0)


def test_sessions_are_remembered_up_to_a_bound_those_of_late_first() -> None:
    uses = SessionUses()
    uses.use(b"old").calls = 5
    uses.use(b"looping").calls = 5
    for number in range(REMEMBERED_SESSIONS - 1):
        uses.use(b"looping")
        uses.use(b"s%d" % number)
    assert uses.use(b"looping").calls == 5
    assert uses.use(b"old").calls == 0


def test_a_session_is_capped_by_what_it_has_reached_first() -> None:
    use = SessionUses().use(b"s")
    caps = SessionCaps(calls=2, tokens=100, amount_micro=1)
    assert reached(caps, use) == ""
    use.tokens, use.pico = 100, 10**6
    assert reached(caps, use) == "tokens"
    use.tokens = 99
    assert reached(caps, use) == "amount"
    use.calls = 2
    assert reached(caps, use) == "calls"
