"""Max-min shares, and whom the reserve lets in."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.max_min import MaxMinShares
from relay.queue import FairQueue, Flow, Ticket, TicketState

quick = settings(max_examples=100, deadline=None, database=None)
demands = st.lists(st.tuples(st.floats(0.0, 100.0), st.integers(1, 20)), min_size=1, max_size=12)


@quick
@given(demands, st.floats(0.1, 500.0))
def test_the_level_uses_the_capacity_up_or_meets_every_demand(
    wanted: list[tuple[float, int]], capacity: float
) -> None:
    shares = MaxMinShares(wanted)
    granted = [min(demand, weight * shares.level(capacity)) for demand, weight in wanted]
    assert sum(granted) == pytest.approx(min(capacity, sum(demand for demand, _ in wanted)))


@quick
@given(demands, st.floats(0.0, 200.0))
def test_what_is_taken_at_a_level_is_what_each_may_and_wants_to_take(
    wanted: list[tuple[float, int]], level: float
) -> None:
    expected = sum(min(demand, weight * level) for demand, weight in wanted)
    assert MaxMinShares(wanted).taken(level) == pytest.approx(expected)


def test_nobody_wants_anything() -> None:
    assert MaxMinShares(()).taken(5.0) == 0.0


def flow(name: str) -> Flow:
    return Flow(tenant=name, key="k")


def submit(queue: FairQueue, flow: Flow, now: float) -> Ticket:
    answer = queue.submit(flow, priority="normal", now=now)
    assert isinstance(answer, Ticket)
    return answer


def test_a_quiet_flow_is_let_in_although_more_neighbours_wait_than_there_are_seats() -> None:
    quiet, crowd = flow("quiet"), [flow(f"noisy{number}") for number in range(100)]
    queue = FairQueue(
        seats=60, max_depth=10_000, max_wait_seconds=1e6, now=0.0, flows=(quiet, *crowd)
    )
    running = [submit(queue, noisy, 0.0) for noisy in crowd for _ in range(5)][:60]
    now = 0.0
    for _ in range(100):
        now += 0.1
        running += queue.release(running.pop(0), now=now)
    assert submit(queue, quiet, now).state is TicketState.RUNNING


def test_a_flow_that_wants_more_than_its_share_waits_with_the_others() -> None:
    quiet, noisy = flow("quiet"), flow("noisy")
    queue = FairQueue(seats=16, max_depth=1000, max_wait_seconds=1e6, now=0.0, flows=(quiet, noisy))
    running = [submit(queue, noisy, 0.0) for _ in range(100)][:15]
    now = 0.0
    seated = 0
    for _ in range(200):
        now += 0.1
        seated += submit(queue, quiet, now).state is TicketState.RUNNING
        running += queue.release(running.pop(0), now=now)
    # half of the seats are its share; the rest of its two hundred calls had to wait
    assert seated <= 10
