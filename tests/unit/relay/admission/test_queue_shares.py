"""Max-min shares, and the flows that may use the reserve."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relay.admission.dispatch_order import DispatchOrder
from relay.admission.fair_queue import FairQueue
from relay.admission.max_min import MaxMinShares
from relay.admission.priority_lanes import Backlog, FlowRecord, TenantBacklog, Ticket
from relay.admission.seats import SeatPool, reserved_seats
from relay.admission.tickets import Flow, TicketState

quick = settings(deadline=None, database=None)
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
def test_the_capacity_taken_at_a_level_is_the_sum_of_what_each_flow_takes(
    wanted: list[tuple[float, int]], level: float
) -> None:
    expected = sum(min(demand, weight * level) for demand, weight in wanted)
    assert MaxMinShares(wanted).taken(level) == pytest.approx(expected)


def test_no_demands_take_no_capacity() -> None:
    assert MaxMinShares(()).taken(5.0) == 0.0


def flow(name: str) -> Flow:
    return Flow(tenant=name, key="k")


def submit(queue: FairQueue, flow: Flow, now: float) -> Ticket:
    answer = queue.submit(flow, priority="normal", now=now)
    assert isinstance(answer, Ticket)
    return answer


def test_a_quiet_flow_is_seated_although_more_neighbours_wait_than_there_are_seats() -> None:
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


# --- the reserve ---


def pool_of(*demands: tuple[float, int], seats: int = 60) -> tuple[SeatPool, list[FlowRecord]]:
    """Makes a measured pool: flows with these usual demands for seats and this many waiting requests."""
    pool = SeatPool(seats, 0.0)
    records = []
    for number, (usual, waiting) in enumerate(demands):
        backlog = TenantBacklog(Backlog())
        record = FlowRecord(flow(f"f{number}"), backlog, cost_seconds=1.0, now=0.0)
        record.usual_demand = usual
        for _ in range(waiting):
            lane = record.lanes["normal"]
            lane.append(Ticket(record.flow, "normal", lane, 0.0, 10.0, 0.0, None))
        records.append(record)
    pool.refresh(records, 0.0)
    return pool, records


def test_the_reserve_is_sized_for_the_quiet_flows_mean_and_deviation() -> None:
    pool, _ = pool_of((6.0, 0), (4.0, 0), (0.0, 200))
    assert pool.reserve == reserved_seats(10.0 + 10.0**0.5, 60) == 5


def test_the_reserve_is_one_seat_while_nobody_goes_short() -> None:
    pool, _ = pool_of((6.0, 0), (40.0, 0))
    assert pool.reserve == 1


def test_the_reserve_takes_at_most_a_quarter_of_the_seats() -> None:
    pool, _ = pool_of((20.0, 0), (20.0, 0), (0.0, 200))
    assert pool.reserve == 15


def test_a_flow_alone_has_no_reserve_beside_it() -> None:
    pool, _ = pool_of((0.0, 200))
    assert pool.reserve == 0


def test_the_reserve_outlives_a_pause_of_its_quiet_flows() -> None:
    pool, records = pool_of((10.0, 0), (0.0, 200))
    records[0].usual_demand = 0.0
    pool.refresh(records, 300.0)
    # half of 13 seats is still remembered
    assert pool.reserve == reserved_seats((10.0 + 10.0**0.5) / 2, 60) == 3


def test_a_flow_measured_beyond_its_share_loses_its_place_among_those_inside() -> None:
    pool, (quiet, noisy) = pool_of((10.0, 0), (0.0, 2))
    turns = DispatchOrder(pool)
    turns.place(noisy, 2)
    pool.busy = pool.capacity - pool.reserve
    assert turns.next_lane(2) is noisy.lanes["normal"]
    for _ in range(200):
        lane = noisy.lanes["normal"]
        lane.append(Ticket(noisy.flow, "normal", lane, 0.0, 10.0, 0.0, None))
    pool.refresh([quiet, noisy], 1.0)
    pool.busy = pool.capacity - pool.reserve
    assert turns.next_lane(202) is None
    # a seat that is not reserved is still for everybody
    pool.busy -= 1
    assert turns.next_lane(202) is noisy.lanes["normal"]


def test_every_waiting_flow_pays_for_its_streams_however_many_flows_there_are() -> None:
    flows = [flow(f"f{number}") for number in range(100)]
    queue = FairQueue(seats=105, max_depth=1000, max_wait_seconds=1e6, now=0.0, flows=flows)
    short = [submit(queue, flow("short"), 0.0) for _ in range(5)]
    streams = [submit(queue, each, 0.0) for each in flows]
    for each in flows:
        submit(queue, each, 0.0)
    for ticket in short:
        queue.release(ticket, now=50.0)
    assert all(stream.charged_seconds >= 50.0 for stream in streams)
