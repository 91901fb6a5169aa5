"""Properties P1 to P3, P5, P8, P9 of docs/fair-queue.md under any schedule, and examples of what callers rely on."""

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from relay.admission.fair_queue import FairQueue
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.priority_lanes import Ticket
from relay.admission.tickets import Flow, TicketState
from relay_contract.document import Priority

REASONS = {NotAdmittedReason.QUEUE_FULL, NotAdmittedReason.QUEUE_WAIT_TOO_LONG}
PRIORITIES: tuple[Priority, ...] = ("high", "normal", "low")

Ledger = tuple[float, int, int, tuple[tuple[float, int, int], ...]]


def ledger(queue: FairQueue) -> Ledger:
    """Returns what refusals and expiries must not change: V, busy, held, and every lane's F, seats and guarantee."""
    pool = queue._pool
    lanes = tuple(
        (lane.finish, record.seats, record.guaranteed)
        for record in queue._flows
        for lane in record.lanes.values()
    )
    return queue._virtual_time, pool.busy, pool.held, lanes


class QueueMachine(RuleBasedStateMachine):
    """Random arrivals, releases, cancellations, expiries and reconfigurations, checked against a plain model."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.waiting: list[Ticket] = []
        self.running: list[Ticket] = []
        self.over: list[Ticket] = []
        # whether more is taken and kept than there are seats, since a reconfiguration
        self.draining = False
        self.most_waiting = 0
        self.virtual_time = 0.0

    @initialize(
        seats=st.integers(1, 12),
        depth=st.integers(0, 12),
        wait=st.sampled_from([0.0, 0.5, 5.0, 60.0]),
        promises=st.lists(st.integers(0, 4), min_size=4, max_size=4),
        weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    )
    def begin(
        self, seats: int, depth: int, wait: float, promises: list[int], weights: list[int]
    ) -> None:
        self.seats, self.depth, self.wait = seats, depth, wait
        # the last flow is nobody's beforehand, so that it is promised nothing yet
        promises[3] = 0
        self.flows = [
            Flow(tenant=f"t{i // 2}", key=f"k{i}", weight=weights[i], guaranteed_seats=promises[i])
            for i in range(4)
        ]
        self.queue = FairQueue(
            seats=seats,
            max_depth=depth,
            max_wait_seconds=wait,
            now=self.now,
            flows=self.flows[:3],
        )

    # --- steps ---

    @rule(flow=st.integers(0, 3), priority=st.sampled_from(PRIORITIES))
    def submit(self, flow: int, priority: Priority) -> None:
        owned = self.flows[flow]
        entitled = self.has_guaranteed_seat(owned)
        before = ledger(self.queue)
        answer = self.queue.submit(owned, priority=priority, now=self.now)
        if isinstance(answer, NotAdmitted):
            assert answer.retry_after_seconds >= 0
            assert answer.reason in REASONS
            assert self.unmoved(before), "P9: a refusal moved the ledger"
            assert not entitled, "P5: a seat guaranteed and unused was refused"
        elif answer.state is TicketState.RUNNING:
            self.running.append(answer)
        else:
            assert answer.state is TicketState.QUEUED
            assert answer.deadline == self.now + self.wait
            self.waiting.append(answer)
            assert not entitled, "P5: a seat guaranteed and unused was withheld"

    @precondition(lambda self: self.running)
    @rule(data=st.data(), by_cancel=st.booleans())
    def free_a_seat(self, data: st.DataObject, by_cancel: bool) -> None:
        ticket = self.running.pop(data.draw(st.integers(0, len(self.running) - 1)))
        leave = self.queue.cancel if by_cancel else self.queue.release
        self.take_started(leave(ticket, now=self.now))
        assert ticket.state is (TicketState.CANCELLED if by_cancel else TicketState.DONE)
        self.over.append(ticket)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leave_the_queue(self, data: st.DataObject) -> None:
        ticket = self.waiting.pop(data.draw(st.integers(0, len(self.waiting) - 1)))
        self.take_started(self.queue.cancel(ticket, now=self.now))
        assert ticket.state is TicketState.CANCELLED
        self.over.append(ticket)

    @precondition(lambda self: self.over)
    @rule(data=st.data(), by_cancel=st.booleans())
    def leave_again(self, data: st.DataObject, by_cancel: bool) -> None:
        ticket = data.draw(st.sampled_from(self.over))
        state, before = ticket.state, ledger(self.queue)
        leave = self.queue.cancel if by_cancel else self.queue.release
        assert leave(ticket, now=self.now) == []
        assert (ticket.state, ledger(self.queue)) == (state, before)

    @rule(seconds=st.floats(0.0, 3.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def expire(self) -> None:
        due = self.queue.next_deadline()
        before = ledger(self.queue)
        expired = self.queue.expire(self.now)
        assert ledger(self.queue) == before, "P9: an expiry moved the ledger"
        assert bool(expired) == (due is not None and due <= self.now)
        for ticket in expired:
            assert ticket.state is (
                TicketState.DISPLACED if ticket.displaced else TicketState.EXPIRED
            )
            assert ticket.deadline <= self.now
            self.waiting.remove(ticket)
            self.over.append(ticket)
        later = self.queue.next_deadline()
        assert later is None or later > self.now

    @rule(
        seats=st.integers(1, 12),
        depth=st.integers(0, 12),
        wait=st.sampled_from([0.5, 5.0, 60.0]),
        weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
        promises=st.lists(st.integers(0, 4), min_size=4, max_size=4),
    )
    def reconfigure(
        self, seats: int, depth: int, wait: float, weights: list[int], promises: list[int]
    ) -> None:
        self.seats, self.depth, self.wait = seats, depth, wait
        self.flows = [
            Flow(tenant=old.tenant, key=old.key, weight=weight, guaranteed_seats=promised)
            for old, weight, promised in zip(self.flows, weights, promises, strict=True)
        ]
        self.draining = True
        self.most_waiting = max(depth, self.queue.depth)
        self.take_started(
            self.queue.reconfigure(
                seats=seats,
                max_depth=depth,
                max_wait_seconds=wait,
                now=self.now,
                flows=self.flows,
            )
        )

    # --- the model ---

    def unmoved(self, before: Ledger) -> bool:
        """Returns whether nothing changed, except that a flow may have become known."""
        after = ledger(self.queue)
        return (*after[:3], after[3][: len(before[3])]) == before

    def has_guaranteed_seat(self, flow: Flow) -> bool:
        record = self.queue._flows.get(flow)
        if record is None or record.flow != flow or self.draining:
            return False
        return record.seats < record.guaranteed

    def take_started(self, started: list[Ticket]) -> None:
        for ticket in started:
            assert ticket.state is TicketState.RUNNING
            assert ticket.deadline > self.now
            self.assert_first_in_line(ticket)
            self.waiting.remove(ticket)
            self.running.append(ticket)

    def assert_first_in_line(self, ticket: Ticket) -> None:
        """P8: within a flow and a priority calls start in order of arrival."""
        earlier = self.waiting[: self.waiting.index(ticket)]
        for other in earlier:
            same = (other.flow.key, other.priority) == (ticket.flow.key, ticket.priority)
            assert not same or other.deadline <= self.now or not other.waits

    @invariant()
    def seats_add_up(self) -> None:
        """P1."""
        pool, records = self.queue._pool, list(self.queue._flows)
        by_key: dict[str, int] = defaultdict(int)
        for ticket in self.running:
            by_key[ticket.flow.key] += 1
        assert self.queue.in_flight == len(self.running)
        assert self.queue.depth == sum(ticket.waits for ticket in self.waiting)
        assert {r.flow.key: r.seats for r in records if r.seats} == dict(by_key)
        assert pool.held == sum(max(0, r.guaranteed - r.seats) for r in records)
        assert sum(r.guaranteed for r in records) <= self.seats
        if pool.busy + pool.held <= pool.capacity:
            self.draining = False
        assert self.draining or pool.busy + pool.held <= pool.capacity
        assert all(ticket.state is TicketState.QUEUED for ticket in self.waiting)
        self.most_waiting = max(self.depth, min(self.most_waiting, self.queue.depth))
        assert self.queue.depth <= self.most_waiting

    @invariant()
    def no_usable_seat_stays_empty(self) -> None:
        """P2: while calls wait, the free seats are those of the reserve and of owners."""
        if self.queue.depth:
            assert self.queue._pool.free <= self.queue.reserved_seats

    @invariant()
    def virtual_time_never_falls(self) -> None:
        """P3: and no head starts before the virtual time of its arrival."""
        assert self.queue._virtual_time >= self.virtual_time
        self.virtual_time = self.queue._virtual_time
        for record in self.queue._flows:
            for lane in record.waiting_lanes():
                assert lane.head_tag() >= lane.first().arrival_virtual

    def teardown(self) -> None:
        """Releases everything and checks that nothing is left."""
        for ticket in self.waiting:
            self.running += self.queue.cancel(ticket, now=self.now)
        for ticket in self.running:
            self.queue.release(ticket, now=self.now)
        assert (self.queue.in_flight, self.queue.depth) == (0, 0)
        assert not any(record.running for record in self.queue._flows)
        assert self.queue._flows.backlog.flow_weight == 0


QueueMachine.TestCase.settings = settings(
    stateful_step_count=40,
    deadline=None,
    database=None,
)
TestInvariants = QueueMachine.TestCase


SOLO = Flow(tenant="finance", key="production")
LIGHT = Flow(tenant="finance", key="staging")
HEAVY = Flow(tenant="finance", key="batch")


def queue(
    *,
    seats: int = 2,
    max_depth: int = 10,
    max_wait_seconds: float = 10.0,
    flows: tuple[Flow, ...] = (),
) -> FairQueue:
    return FairQueue(
        seats=seats, max_depth=max_depth, max_wait_seconds=max_wait_seconds, now=0.0, flows=flows
    )


def ask(queue: FairQueue, flow: Flow, *, now: float = 0.0, priority: Priority = "normal") -> Ticket:
    answer = queue.submit(flow, priority=priority, now=now)
    assert isinstance(answer, Ticket), answer
    return answer


def be_refused(
    queue: FairQueue, flow: Flow, *, now: float = 0.0, priority: Priority = "normal"
) -> NotAdmitted:
    answer = queue.submit(flow, priority=priority, now=now)
    assert isinstance(answer, NotAdmitted), answer
    return answer


def flood(queue: FairQueue, flow: Flow, count: int, *, now: float = 0.0) -> list[Ticket]:
    return [ask(queue, flow, now=now) for _ in range(count)]


def test_a_lone_flow_uses_every_seat() -> None:
    tickets = flood(queue(seats=64), SOLO, 64)
    assert {ticket.state for ticket in tickets} == {TicketState.RUNNING}


def test_a_ticket_tells_its_flow_priority_owner_and_times() -> None:
    answer = queue(max_wait_seconds=7.0).submit(SOLO, priority="low", now=3.0, owner="request 1")
    assert isinstance(answer, Ticket)
    assert (answer.flow, answer.priority, answer.owner) == (SOLO, "low", "request 1")
    assert (answer.enqueued_at, answer.started_at, answer.deadline) == (3.0, 3.0, 10.0)


def test_a_queued_ticket_has_not_started() -> None:
    full = queue(seats=1)
    ask(full, SOLO)
    assert ask(full, SOLO).started_at is None


def test_release_returns_the_ticket_that_starts_now() -> None:
    full = queue(seats=1)
    first, second = flood(full, SOLO, 2)
    assert full.release(first, now=2.0) == [second]
    assert (second.state, second.started_at) == (TicketState.RUNNING, 2.0)
    assert (full.depth, full.in_flight) == (0, 1)


def test_a_cancelled_call_leaves_its_seat_to_the_next() -> None:
    full = queue(seats=1)
    first, second = flood(full, SOLO, 2)
    assert full.cancel(first, now=0.5) == [second]


def test_more_seats_start_what_waits_at_once() -> None:
    full = queue(seats=1)
    waiting = flood(full, SOLO, 4)[1:]
    started = full.reconfigure(seats=3, max_depth=10, max_wait_seconds=10.0, now=1.0)
    assert started == waiting[:2]


def test_fewer_seats_abort_no_running_call() -> None:
    shrunk = queue(seats=3)
    running = flood(shrunk, SOLO, 3)
    waiting = ask(shrunk, SOLO)
    assert shrunk.reconfigure(seats=1, max_depth=10, max_wait_seconds=10.0, now=1.0) == []
    assert shrunk.in_flight == 3
    assert shrunk.release(running[0], now=1.0) == []
    assert shrunk.release(running[1], now=1.0) == []
    assert shrunk.release(running[2], now=1.0) == [waiting]


def test_waiting_calls_keep_their_deadline_when_the_maximum_wait_changes() -> None:
    full = queue(seats=1, max_wait_seconds=10.0)
    waiting = flood(full, SOLO, 2)[1]
    full.reconfigure(seats=1, max_depth=10, max_wait_seconds=1.0, now=1.0)
    assert full.next_deadline() == waiting.deadline == 10.0


def test_a_full_queue_refuses_and_says_when_a_place_falls_free() -> None:
    full = queue(seats=1, max_depth=2)
    flood(full, SOLO, 3)
    refusal = be_refused(full, SOLO)
    assert refusal.reason is NotAdmittedReason.QUEUE_FULL
    # one seat, calls taken to last a second: a place falls free in a second
    assert refusal.retry_after_seconds == pytest.approx(1.0)


def test_a_queue_of_depth_zero_refuses_calls_that_find_no_seat() -> None:
    bare = queue(seats=1, max_depth=0)
    ask(bare, SOLO)
    assert be_refused(bare, SOLO).reason is NotAdmittedReason.QUEUE_FULL


def test_a_maximum_wait_of_zero_queues_nothing() -> None:
    bare = queue(seats=1, max_wait_seconds=0.0)
    ask(bare, SOLO)
    assert be_refused(bare, SOLO).reason is NotAdmittedReason.QUEUE_FULL


def test_a_call_whose_predicted_wait_is_too_long_is_refused_at_once() -> None:
    slow = queue(seats=1, max_depth=1000, max_wait_seconds=10.0)
    now = 0.0
    for _ in range(20):
        ticket = ask(slow, SOLO, now=now)
        now += 4.0
        slow.release(ticket, now=now)
    flood(slow, SOLO, 3, now=now)
    refusal = be_refused(slow, SOLO, now=now)
    assert refusal.reason is NotAdmittedReason.QUEUE_WAIT_TOO_LONG
    # two wait and one runs, 4 s each: 12 s, of which 10 may be waited
    assert refusal.retry_after_seconds == pytest.approx(2.0)


def test_the_expected_wait_is_the_work_ahead_divided_by_the_seats() -> None:
    busy = queue(seats=2, max_depth=100, max_wait_seconds=1000.0)
    assert busy.expected_wait_seconds(SOLO, 0.0) == 0.0
    flood(busy, SOLO, 6)
    # calls are taken to last a second: the debt of one running call and four waiting, over two seats
    assert busy.expected_wait_seconds(SOLO, 0.0) == pytest.approx(2.5)


def test_a_waiter_expires_at_its_deadline_and_not_before() -> None:
    full = queue(seats=1, max_wait_seconds=5.0)
    waiting = flood(full, SOLO, 2)[1]
    assert full.next_deadline() == 5.0
    assert full.expire(4.999) == []
    assert full.expire(5.0) == [waiting]
    assert (waiting.state, full.depth, full.next_deadline()) == (TicketState.EXPIRED, 0, None)
    assert full.lapse_reason(waiting, 5.0).reason is NotAdmittedReason.QUEUE_TIMEOUT


def test_a_waiter_past_its_deadline_is_never_started() -> None:
    full = queue(seats=1, max_wait_seconds=5.0)
    running, waiting = flood(full, SOLO, 2)
    assert full.release(running, now=6.0) == []
    assert full.next_deadline() == 5.0
    assert full.expire(6.0) == [waiting]


def test_a_light_flow_finds_a_place_in_a_queue_that_a_heavy_one_filled() -> None:
    full = queue(seats=1, max_depth=4, flows=(LIGHT, HEAVY))
    heavy = flood(full, HEAVY, 5)
    light = ask(full, LIGHT)
    assert (light.state, full.depth) == (TicketState.QUEUED, 4)
    # the newest of the heavy flow made room, and is told so at once
    assert full.next_deadline() == 0.0
    assert full.expire(0.0) == [heavy[-1]]
    assert heavy[-1].state is TicketState.DISPLACED
    assert full.lapse_reason(heavy[-1], 0.0).reason is NotAdmittedReason.QUEUE_FULL
    assert be_refused(full, HEAVY).reason is NotAdmittedReason.QUEUE_FULL


def test_the_places_of_a_full_queue_are_divided_by_weight() -> None:
    double = Flow(tenant="finance", key="double", weight=2)
    full = queue(seats=1, max_depth=9)
    flood(full, HEAVY, 10)
    for _ in range(6):
        ask(full, double)
    assert be_refused(full, double).reason is NotAdmittedReason.QUEUE_FULL
    assert len(full.expire(0.0)) == 6


def test_a_displaced_request_that_its_client_left_is_not_returned() -> None:
    full = queue(seats=1, max_depth=2, flows=(LIGHT, HEAVY))
    displaced = flood(full, HEAVY, 3)[-1]
    ask(full, LIGHT)
    assert full.cancel(displaced, now=0.0) == []
    assert displaced.state is TicketState.CANCELLED
    assert full.expire(0.0) == []


def test_low_priority_work_is_displaced_before_high() -> None:
    full = queue(seats=1, max_depth=2, flows=(LIGHT, HEAVY))
    ask(full, HEAVY)
    low = ask(full, HEAVY, priority="low")
    ask(full, HEAVY, priority="high")
    ask(full, LIGHT)
    assert full.expire(0.0) == [low]


def serve_all(queue: FairQueue, running: Ticket) -> list[Ticket]:
    """Serves every waiting ticket with a single seat, a second each; returns them in order of service."""
    order, now = [], 0.0
    while queue.depth:
        now += 1.0
        (running,) = queue.release(running, now=now)
        order.append(running)
    return order


def test_calls_that_arrive_together_are_served_by_priority() -> None:
    full = queue(seats=1, max_depth=20, max_wait_seconds=1e6)
    running = ask(full, SOLO)
    waiting = [ask(full, SOLO, priority=p) for p in ("low", "normal", "high") for _ in range(3)]
    assert serve_all(full, running) == waiting[6:] + waiting[3:6] + waiting[:3]


def test_endless_high_work_leaves_low_work_its_part() -> None:
    full = queue(seats=1, max_depth=200, max_wait_seconds=1e6)
    running = ask(full, SOLO)
    for priority in ("low", "high"):
        for _ in range(85):
            ask(full, SOLO, priority=priority)
    order = [ticket.priority for ticket in serve_all(full, running)][:85]
    # 16 : 1
    assert order.count("low") == 5


def test_declaring_everything_high_buys_nothing_from_another_tenant() -> None:
    honest = Flow(tenant="honest", key="k")
    full = queue(seats=1, max_depth=200, max_wait_seconds=1e6)
    running = ask(full, SOLO)
    for _ in range(50):
        ask(full, SOLO, priority="high")
        ask(full, honest, priority="low")
    order = serve_all(full, running)[:50]
    assert sum(ticket.flow is honest for ticket in order) == 25


def test_between_the_keys_of_one_tenant_priority_counts() -> None:
    full = queue(seats=1, max_depth=200, max_wait_seconds=1e6)
    running = ask(full, SOLO)
    for _ in range(60):
        ask(full, HEAVY, priority="normal")
        ask(full, LIGHT, priority="high")
    order = serve_all(full, running)[:50]
    # 16 : 4
    assert sum(ticket.flow is LIGHT for ticket in order) == 40


def test_a_low_request_that_waited_most_of_its_time_is_served_next() -> None:
    full = queue(seats=1, max_depth=100, max_wait_seconds=10.0)
    running = ask(full, SOLO)
    low = ask(full, SOLO, priority="low")
    now = 0.0
    while low.state is TicketState.QUEUED:
        # high work of a second each never ends, and its 16 turns would outlast the low request's patience
        ask(full, SOLO, now=now, priority="high")
        now += 1.0
        (running,) = full.release(running, now=now)
    assert now == 8.0


def test_guaranteed_seats_stay_free_for_their_owner() -> None:
    owner = Flow(tenant="gold", key="k", guaranteed_seats=2)
    pool = queue(seats=8, flows=(owner, HEAVY))
    states = [ticket.state for ticket in flood(pool, HEAVY, 8)]
    # two are the owner's, one is the reserve
    assert states.count(TicketState.RUNNING) == 5
    assert {ask(pool, owner).state, ask(pool, owner).state} == {TicketState.RUNNING}


def test_an_owners_seat_goes_to_the_owners_next_request_whoever_else_waits() -> None:
    owner = Flow(tenant="gold", key="k", guaranteed_seats=1)
    pool = queue(seats=2, max_wait_seconds=1000.0, flows=(owner,))
    running, _, other, waiting = (ask(pool, flow) for flow in (owner, HEAVY, HEAVY, owner))
    # the owner has used far more than the other, whose start tag is therefore the smaller
    assert pool.release(running, now=500.0) == [waiting]
    assert other.state is TicketState.QUEUED


def test_a_guarantee_given_to_a_full_pool_is_kept_as_soon_as_it_drains() -> None:
    owner = Flow(tenant="gold", key="k", guaranteed_seats=2)
    pool = queue(seats=4)
    running = [*flood(pool, HEAVY, 3), ask(pool, Flow(tenant="gold", key="k"))]
    pool.reconfigure(seats=4, max_depth=10, max_wait_seconds=10.0, now=0.0, flows=(owner, HEAVY))
    ask(pool, HEAVY)
    waiting = ask(pool, owner)
    assert pool.release(running[0], now=1.0) == [waiting]


def test_guarantees_beyond_what_the_pool_can_keep_are_not_granted() -> None:
    first = Flow(tenant="a", key="k", guaranteed_seats=6)
    second = Flow(tenant="b", key="k", guaranteed_seats=6)
    pool = queue(seats=10, flows=(first, second))
    assert [record.guaranteed for record in pool._flows] == [6, 1]


def test_a_guarantee_withdrawn_gives_its_seats_to_all() -> None:
    owner = Flow(tenant="gold", key="k", guaranteed_seats=2)
    pool = queue(seats=3, flows=(owner,))
    waiting = flood(pool, HEAVY, 3)[1:]
    started = pool.reconfigure(
        seats=3, max_depth=10, max_wait_seconds=10.0, now=1.0, flows=(Flow(tenant="gold", key="k"),)
    )
    assert started == waiting


def test_one_seat_is_kept_for_the_other_flow_that_is_known() -> None:
    pool = queue(seats=8, flows=(LIGHT, HEAVY))
    states = [ticket.state for ticket in flood(pool, HEAVY, 9)]
    assert (states.count(TicketState.RUNNING), pool.reserved_seats) == (7, 1)
    assert ask(pool, LIGHT).state is TicketState.RUNNING


def test_a_flow_nobody_registered_is_forgotten_and_costs_no_seat() -> None:
    pool = queue(seats=8)
    pool.release(ask(pool, LIGHT), now=1.0)
    running = flood(pool, HEAVY, 9, now=301.5)
    assert sum(ticket.state is TicketState.RUNNING for ticket in running) == 8


def test_an_idle_flow_keeps_its_debt() -> None:
    pool = queue(seats=1, max_depth=100, max_wait_seconds=1e6)
    spender = ask(pool, LIGHT)
    running, *_ = flood(pool, HEAVY, 90)
    pool.release(spender, now=1000.0)
    for second in range(1001, 1400):
        # the pool is never idle, so that no debt is forgiven
        ask(pool, HEAVY, now=second)
        (running,) = pool.release(running, now=second)
    before = ask(pool, HEAVY, now=1400.0)
    back = ask(pool, LIGHT, now=1400.0)
    while back.state is TicketState.QUEUED:
        second += 1
        (running,) = pool.release(running, now=second)
    assert before.state is TicketState.DONE


def test_cancelled_waiters_leave_no_heap_entries() -> None:
    full = queue(seats=1, max_depth=10)
    ask(full, SOLO)
    for i in range(5000):
        full.cancel(ask(full, SOLO, now=i * 1e-3), now=i * 1e-3)
    assert len(full._deadlines._entries) < 200
    assert (
        len(full._dispatch_order._inside._heads) + len(full._dispatch_order._outside._heads) < 200
    )
