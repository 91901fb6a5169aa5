"""The workers of all pods together stay within the amount, whatever gets lost between them, their supervisors and the ledger."""

from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from relay.budgets.purse import MoneyHold, Purse
from relay.process.money.pod_money import PodMoney
from relay_contract.billing.budget import Lease, LeaseAnswer, LeaseRequest
from relay_ledger.budgets.leasing import Account, Ask, OutdatedAsk, grant, unleased

AMOUNT = 1000
WORKERS = 2
LEASE_SECONDS = 60
SECOND = 10**6


class Ledger:
    """The ledger's own decision, on one limit."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}

    def lease(self, request: LeaseRequest, now: float) -> LeaseAnswer | None:
        wall = int(now * SECOND)
        (one,) = request.limits or (None,)
        ask = (
            Ask(request.sequence, fresh=True)
            if one is None
            else Ask(
                request.sequence,
                one.allowance,
                one.spent,
                one.held,
                one.wanted,
                one.least,
                fresh=request.fresh,
                release=request.release,
            )
        )
        until = wall + LEASE_SECONDS * SECOND
        try:
            account = grant(AMOUNT, self.accounts, request.pod, ask, now=wall, until=until)
        except OutdatedAsk:
            return None
        self.accounts[request.pod] = account
        others = [one for name, one in self.accounts.items() if name != request.pod]
        lease = Lease(
            kind="budget",
            starts_at=0,
            ends_at=10**15,
            amount=AMOUNT,
            allowance=account.granted,
            base=account.spent,
            left=max(unleased(AMOUNT, self.accounts.values(), wall), 0),
            elsewhere=sum(one.leased(wall) for one in others),
        )
        return LeaseAnswer(seconds=LEASE_SECONDS, leases=(lease,))


@dataclass
class Pod:
    """A supervisor with its workers, and what is on its way between them."""

    name: str
    money: PodMoney
    purses: list[Purse] = field(default_factory=list)
    holds: list[list[MoneyHold]] = field(default_factory=lambda: [[] for _ in range(WORKERS)])
    to_worker: list[list[dict[str, Any]]] = field(
        default_factory=lambda: [[] for _ in range(WORKERS)]
    )
    returned: list[tuple[int, int, int, int]] = field(default_factory=list)
    late: list[LeaseRequest] = field(default_factory=list)
    lost: int = 0

    def spent(self) -> int:
        held = sum(hold.cost for holds in self.holds for hold in holds)
        slices = [purse.slice_of(0) for purse in self.purses]
        return self.lost + held + sum(one.spent for one in slices if one is not None)


class World:
    def __init__(self) -> None:
        self.now = 1.0
        self.ledger = Ledger()
        self.pods = [self._pod(name) for name in "ab"]

    def _pod(self, name: str) -> Pod:
        money = PodMoney(name, WORKERS)
        return Pod(name, money, [Purse(money.counters, number) for number in range(WORKERS)])

    def step(self, step: str, pod: Pod, worker: int, cost: int) -> None:
        {
            "reserve": self.reserve,
            "settle": self.settle,
            "ask": self.ask,
            "answer lost": self.answer_lost,
            "ask arrives late": self.arrive_late,
            "rows are sent": self.send_rows,
            "worker reads": self.read,
            "call does not fit": self.short,
            "return arrives": self.take_return,
            "worker killed": self.kill,
        }[step](pod, worker, cost)
        self.now += 0.01

    def reserve(self, pod: Pod, worker: int, cost: int) -> None:
        hold = pod.purses[worker].reserve(
            ("budget",), cost, wall=int(self.now * SECOND), now=self.now, serve_when_away=False
        )
        if isinstance(hold, MoneyHold):
            pod.holds[worker].append(hold)

    def settle(self, pod: Pod, worker: int, cost: int) -> None:
        if pod.holds[worker]:
            hold = pod.holds[worker].pop()
            hold.settle(min(cost, hold.cost))

    def _request(self, pod: Pod) -> LeaseRequest:
        return pod.money.request(now=self.now, wall=int(self.now * SECOND), release=False)

    def ask(self, pod: Pod, _: int, __: int) -> None:
        answer = self.ledger.lease(self._request(pod), self.now)
        assert answer is not None
        pod.money.answered(answer, asked_at=self.now, now=self.now)
        pod.money.divide(list(range(WORKERS)))

    def answer_lost(self, pod: Pod, _: int, __: int) -> None:
        self.ledger.lease(self._request(pod), self.now)
        pod.money.unanswered()
        pod.money.divide(list(range(WORKERS)))

    def arrive_late(self, pod: Pod, worker: int, _: int) -> None:
        if worker and pod.late:
            self.ledger.lease(pod.late.pop(), self.now)
        else:
            pod.late.append(self._request(pod))
            pod.money.unanswered()

    def send_rows(self, pod: Pod, worker: int, _: int) -> None:
        pod.to_worker[worker] += pod.money.rows(worker)

    def read(self, pod: Pod, worker: int, _: int) -> None:
        if not pod.to_worker[worker]:
            return
        message = pod.to_worker[worker].pop(0)
        purse = pod.purses[worker]
        if "back" in message:
            one = purse.slice_of(message["back"])
            if one is not None:
                one.lower_to(0)
                pod.returned.append((worker, one.slot, one.starts_at, one.allowance))
            return
        names = ("kind", "starts_at", "ends_at", "allowance", "returns", "until")
        purse.take(message["slot"], **{name: message[name] for name in names})

    def short(self, pod: Pod, worker: int, cost: int) -> None:
        found = pod.money.short(worker, cost)
        if found is not None:
            richest, limit = found
            pod.to_worker[richest].append({"back": limit.slot})

    def take_return(self, pod: Pod, _: int, __: int) -> None:
        if pod.returned:
            pod.money.returned(*pod.returned.pop(0))
            pod.money.divide(list(range(WORKERS)))

    def kill(self, pod: Pod, worker: int, _: int) -> None:
        one = pod.purses[worker].slice_of(0)
        pod.lost += one.spent if one is not None else 0
        pod.holds[worker] = []
        pod.to_worker[worker] = []
        pod.returned = [back for back in pod.returned if back[0] != worker]
        pod.money.ended(worker)
        pod.purses[worker] = Purse(pod.money.counters, worker)


_WORDS = (
    *("reserve", "settle", "ask", "answer lost", "ask arrives late", "rows are sent"),
    *("worker reads", "call does not fit", "return arrives", "worker killed"),
)
STEPS = st.lists(
    st.tuples(st.sampled_from(_WORDS), st.integers(0, 1), st.integers(0, 1), st.integers(0, 400)),
    max_size=80,
)


@settings(max_examples=200, deadline=None)
@given(STEPS)
def test_workers_of_all_pods_spend_no_more_than_the_amount(
    steps: list[tuple[str, int, int, int]],
) -> None:
    world = World()
    for pod in world.pods:
        world.ask(pod, 0, 0)
        for worker in range(WORKERS):
            world.send_rows(pod, worker, 0)
            world.read(pod, worker, 0)
    for step, number, worker, cost in steps:
        world.step(step, world.pods[number], worker, cost)
        assert sum(pod.spent() for pod in world.pods) <= AMOUNT


def test_a_call_that_needs_all_gets_all_in_a_few_messages() -> None:
    world = World()
    first = world.pods[0]
    for pod in world.pods:
        world.ask(pod, 0, 0)
        for worker in range(WORKERS):
            world.send_rows(pod, worker, 0)
            world.read(pod, worker, 0)
    # the other pod has nothing to do with its part, and says so
    left = AMOUNT - sum(pod.money.rows(0)[0]["allowance"] * 2 for pod in world.pods)
    assert left > AMOUNT // 2
    world.short(first, 0, 800)
    world.read(first, 1, 0)
    world.take_return(first, 0, 0)
    world.short(first, 0, 800)
    world.ask(first, 0, 0)
    world.send_rows(first, 0, 0)
    world.read(first, 0, 0)
    world.reserve(first, 0, 800)
    assert first.holds[0]


def test_a_pod_asks_soon_when_it_lacks_and_seldom_when_it_does_not() -> None:
    world = World()
    pod = world.pods[0]
    assert pod.money.is_due(world.now)
    world.ask(pod, 0, 0)
    assert not pod.money.is_due(world.now + 4.9)
    assert pod.money.is_due(world.now + 5.1)
    pod.money.short(0, 900)
    assert pod.money.is_due(world.now + 0.3)
    pod.money.unanswered()
    assert not pod.money.is_due(world.now + 0.3)
    assert pod.money.away
    world.ask(pod, 0, 0)
    assert not pod.money.away


def test_a_pod_that_begins_anew_goes_on_from_what_is_booked() -> None:
    world = World()
    world.ledger.accounts["a"] = Account(granted=500, reported=100, booked=130, until=10**12)
    pod = world.pods[0]
    world.ask(pod, 0, 0)
    (lease,) = pod.money.request(now=2.0, wall=2 * SECOND, release=False).limits
    assert lease.spent == 130
