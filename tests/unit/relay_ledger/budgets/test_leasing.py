"""What pods spend together stays within the amount, whatever asks are lost, repeated or late, and whoever dies."""

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay_ledger.budgets.leasing import (
    NEW,
    Account,
    Ask,
    OutdatedAsk,
    grant,
    total_spent,
    unleased,
)

LEASE = 60
AMOUNT = 1000


@dataclass
class Pod:
    """A relay pod: what it believes, what it has done, and the asks that are still on their way."""

    name: str
    sequence: int = 0
    allowance: int = 0
    spent: int = 0
    held: int = 0
    until: int = 0
    fresh: bool = True
    on_the_way: list[Ask] = field(default_factory=list)

    def reserve(self, cost: int, now: int) -> None:
        if now < self.until and self.spent + self.held + cost <= self.allowance:
            self.held += cost

    def settle(self, held: int, cost: int) -> None:
        held = min(held, self.held)
        self.held -= held
        self.spent += min(cost, held)

    def ask(self, wanted: int, least: int, *, gives_back: bool) -> Ask:
        if gives_back:
            self.allowance = self.spent + self.held
        self.sequence += 1
        return Ask(
            self.sequence, self.allowance, self.spent, self.held, wanted, least, fresh=self.fresh
        )


class World:
    """A ledger and three pods."""

    def __init__(self) -> None:
        self.now = 1000
        self.accounts: dict[str, Account] = {}
        self.pods = [Pod(name) for name in "abc"]
        # spent by pods without anybody's knowledge when their lease ended
        self.unheard = 0

    def deliver(self, pod: Pod, ask: Ask) -> Account | None:
        try:
            account = grant(
                AMOUNT, self.accounts, pod.name, ask, now=self.now, until=self.now + LEASE
            )
        except OutdatedAsk:
            return None
        self.accounts[pod.name] = account
        return account

    def renew(self, pod: Pod, ask: Ask) -> None:
        asked_at = self.now
        account = self.deliver(pod, ask)
        assert account is not None
        if pod.fresh:
            pod.fresh, pod.spent = False, account.spent
        pod.allowance, pod.until = account.granted, asked_at + LEASE

    def pass_time(self, seconds: int) -> None:
        for pod in self.pods:
            account = self.accounts.get(pod.name, NEW)
            if self.now < account.until <= self.now + seconds:
                # its calls may go on, and cost what they have reserved
                self.unheard += pod.spent + pod.held - account.spent
        self.now += seconds

    def check(self) -> None:
        spent = sum(pod.spent + pod.held for pod in self.pods)
        assert spent <= AMOUNT + self.unheard
        assert total_spent(self.accounts.values()) <= spent
        if not self.unheard:
            assert unleased(AMOUNT, self.accounts.values(), self.now) >= 0


_POD = st.integers(0, 2)
_COST = st.integers(0, 300)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("reserve"), _POD, _COST, st.just(0)),
        st.tuples(st.just("settle"), _POD, _COST, _COST),
        st.tuples(st.just("renew"), _POD, _COST, _COST),
        st.tuples(st.just("give back"), _POD, _COST, _COST),
        st.tuples(st.just("answer lost"), _POD, _COST, _COST),
        st.tuples(st.just("delayed"), _POD, _COST, _COST),
        st.tuples(st.just("arrives late"), _POD, st.just(0), st.just(0)),
        st.tuples(st.just("booked"), _POD, _COST, st.just(0)),
        st.tuples(st.just("killed"), _POD, st.just(0), st.just(0)),
        st.tuples(st.just("time"), st.just(0), st.integers(1, 90), st.just(0)),
    ),
    max_size=60,
)


def _step(world: World, step: str, pod: Pod, first: int, second: int) -> None:
    match step:
        case "reserve":
            pod.reserve(first, world.now)
        case "settle":
            pod.settle(first, second)
        case "renew" | "give back":
            world.renew(pod, pod.ask(first, second, gives_back=step == "give back"))
        case "answer lost":
            world.deliver(pod, pod.ask(first, second, gives_back=False))
        case "delayed":
            pod.on_the_way.append(pod.ask(first, second, gives_back=False))
        case "arrives late":
            if pod.on_the_way:
                world.deliver(pod, pod.on_the_way.pop())
        case _:
            _step_beside(world, step, pod, first)


def _step_beside(world: World, step: str, pod: Pod, first: int) -> None:
    match step:
        case "booked":
            account = world.accounts.get(pod.name, NEW)
            booked = min(account.booked + first, pod.spent)
            world.accounts[pod.name] = Account(
                account.granted,
                account.reported,
                max(account.booked, booked),
                account.until,
                account.sequence,
            )
        case "time":
            world.pass_time(first)
        case "killed":
            _kill(world, pod)


def _kill(world: World, pod: Pod) -> None:
    """The pod starts anew under its name: calls under way have ended with it, its outbox delivers what they cost."""
    account = world.accounts.get(pod.name, NEW)
    world.accounts[pod.name] = Account(
        account.granted, account.reported, pod.spent, account.until, account.sequence
    )
    pod.held, pod.allowance, pod.until, pod.fresh = 0, 0, 0, True


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_no_interleaving_spends_more_than_the_amount(
    steps: list[tuple[str, int, int, int]],
) -> None:
    world = World()
    for step, number, first, second in steps:
        _step(world, step, world.pods[number], first, second)
        world.check()


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_no_money_is_stuck_for_longer_than_a_lease(steps: list[tuple[str, int, int, int]]) -> None:
    world = World()
    for step, number, first, second in steps:
        _step(world, step, world.pods[number], first, second)
    world.now += LEASE
    accounts = world.accounts.values()
    assert unleased(AMOUNT, accounts, world.now) == AMOUNT - total_spent(accounts)


def test_what_fits_is_granted_however_small_the_parts_are() -> None:
    accounts = {name: Account(granted=100, until=99) for name in "abcd"}
    account = grant(1000, accounts, "e", Ask(1, least=600), now=1, until=61)
    assert account.granted == 600
    assert grant(1000, accounts, "e", Ask(1, least=601), now=1, until=61).granted < 601


def test_an_idle_pod_leaves_the_others_most_of_it() -> None:
    account = grant(1600, {}, "a", Ask(1), now=1, until=61)
    assert account.granted == 100
    assert grant(1600, {}, "a", Ask(1, wanted=10_000), now=1, until=61).granted == 800


def test_a_late_report_of_an_ended_lease_counts() -> None:
    accounts = {"a": Account(granted=1000, until=50, sequence=1)}
    accounts["b"] = grant(1000, accounts, "b", Ask(1, wanted=500), now=50, until=110)
    assert accounts["b"].granted == 500
    accounts["a"] = grant(1000, accounts, "a", Ask(2, 1000, spent=900), now=51, until=111)
    assert accounts["a"].spent == 900
    assert accounts["a"].leased(51) == 0
    assert grant(1000, accounts, "b", Ask(2, 500, wanted=900), now=52, until=112).granted == 500


def test_an_ask_that_was_overtaken_is_refused() -> None:
    accounts = {"a": grant(1000, {}, "a", Ask(2), now=1, until=61)}
    with pytest.raises(OutdatedAsk):
        grant(1000, accounts, "a", Ask(2), now=1, until=61)


def test_a_pod_that_ends_gives_back_what_is_free() -> None:
    accounts = {"a": grant(1000, {}, "a", Ask(1, wanted=400), now=1, until=61)}
    ended = grant(1000, accounts, "a", Ask(2, 400, spent=10, held=5, release=True), now=2, until=62)
    assert ended.taken(2) == 15
