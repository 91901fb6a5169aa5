"""The elector over an API server in memory, in virtual time: who leads, from when, until when."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator import names
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.leadership.heartbeat import Heartbeat
from relay_operator.decisions.leadership import lease as leases
from relay_operator.decisions.leadership.lease import Lease
from relay_operator.decisions.timestamps import to_precise_text, to_text

NAMESPACE = "relay-system"
LEASE_SECONDS = 6


async def happens(true: Callable[[], bool]) -> None:
    """Waits, in virtual time, until something is true."""
    async with asyncio.timeout(120):
        while not true():  # noqa: ASYNC110 - nothing tells of it, as the end of a lease comes with time alone
            await asyncio.sleep(0.05)


@dataclass(slots=True)
class Operator:
    """One elector, its connection, and the task that runs it."""

    api: Connection
    elector: Elector = field(init=False)
    task: asyncio.Task[None] = field(init=False)
    wall_ahead: float = 0.0

    def leads(self) -> bool:
        """Tells whether it may act."""
        return self.elector.rest_seconds() > 0

    async def is_killed(self) -> None:
        """Ends it without a word."""
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@dataclass(slots=True)
class Stage:
    """An API server and the operators on it; `both` counts the moments at which two led, and the hosts' clocks have been set by so
    many seconds.
    """

    server: InMemoryApiServer
    operators: list[Operator] = field(default_factory=list)
    both: int = 0
    stepped_seconds: float = 0.0

    def start(self, *, stands_back: bool = False) -> Operator:
        """Starts another operator."""
        clock, api = running_clock(), self.server.connect()
        stand_in: Any = api
        started = Operator(api)
        started.elector = Elector(
            stand_in,
            namespace=NAMESPACE,
            identity=f"operator-{len(self.operators)}",
            lease_seconds=LEASE_SECONDS,
            clock=clock,
            wall=lambda: clock() + self.stepped_seconds + started.wall_ahead,
            heartbeat=Heartbeat((clock,)),
        )
        started.task = asyncio.create_task(started.elector.run(stands_back=stands_back))
        self.operators.append(started)
        return started

    async def watch(self) -> None:
        """Looks all the time at who leads."""
        while True:
            self.both += sum(one.leads() for one in self.operators) > 1
            await asyncio.sleep(0.05)

    async def leading(self, seconds: float = 20.0) -> Operator:
        """Waits for an operator that leads."""
        async with asyncio.timeout(seconds):
            await happens(lambda: any(one.leads() for one in self.operators))
        return next(one for one in self.operators if one.leads())

    def lease(self) -> dict[str, Any]:
        return self.server.stored("Lease", names.LEADER_LEASE, namespace=NAMESPACE)


@contextlib.asynccontextmanager
async def on_stage(operators: int = 2) -> AsyncIterator[Stage]:
    stage = Stage(InMemoryApiServer(running_clock()))
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    watching = asyncio.create_task(stage.watch())
    for _ in range(operators):
        stage.start()
    yield stage
    for one in stage.operators:
        await one.is_killed()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    assert stage.both == 0


@in_virtual_time
async def test_who_gives_the_lead_back_lets_a_standby_be_first() -> None:
    async with on_stage() as stage:
        former = await stage.leading()
        standby = next(one for one in stage.operators if one is not former)
        for _ in range(10):
            await asyncio.sleep(7.3)
            await former.elector.end()
            await former.is_killed()
            # the next life of the same process
            again = stage.start(stands_back=True)
            assert await stage.leading(seconds=1.0) is standby
            former, standby = standby, again


@in_virtual_time
async def test_who_gives_the_lead_back_leads_again_where_there_is_nobody_else() -> None:
    async with on_stage(operators=1) as stage:
        former = await stage.leading()
        await former.elector.end()
        await former.is_killed()
        again = stage.start(stands_back=True)
        assert await stage.leading(seconds=1.5) is again


@in_virtual_time
async def test_one_of_two_leads_and_goes_on() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        for _ in range(300):
            await asyncio.sleep(0.2)
            assert first.leads()
        assert stage.lease()["spec"]["holderIdentity"] == "operator-0"
        assert first.elector.epoch == stage.lease()["spec"]["leaseTransitions"] == 1
        assert not stage.operators[1].elector.won.is_set()


@in_virtual_time
async def test_a_standby_leads_soon_after_the_leader_was_killed() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        await asyncio.sleep(10)
        await first.is_killed()
        killed = running_clock().now
        await happens(lambda: not first.leads())
        second = await stage.leading()
        assert second is not first
        assert running_clock().now - killed < LEASE_SECONDS + 1.5
        assert second.elector.epoch == 2


async def renews(stage: Stage, _: Operator) -> None:
    """Writes what a renewal writes that is on its way at the end."""
    lease = stage.lease()
    lease["spec"]["renewTime"] = to_precise_text(running_clock().now)
    stage.server.put(lease)


async def is_away(_: Stage, former: Operator) -> None:
    former.api.failures.unreachable = True
    asyncio.get_running_loop().call_later(1.0, setattr, former.api.failures, "unreachable", False)


@pytest.mark.parametrize("happens_first", [renews, is_away], ids=lambda one: one.__name__)
def test_a_lease_is_given_back_whatever_happens_meanwhile(
    happens_first: Callable[[Stage, Operator], Awaitable[None]],
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with on_stage() as stage:
            first = await stage.leading()
            await asyncio.sleep(3)
            get, looks = first.api.get, itertools.count()

            async def interrupted(*args: Any, **kwargs: Any) -> Any:
                found = await get(*args, **kwargs)
                if not next(looks):
                    await happens_first(stage, first)
                return found

            first.api.get = interrupted  # type: ignore[method-assign]
            began = running_clock().now
            await first.elector.end()
            second = await stage.leading()
            assert second is not first
            assert running_clock().now - began < 2.0

    story()


@pytest.mark.parametrize("seconds", [3600.0, -3600.0, -1e9])
@in_virtual_time
async def test_clocks_that_are_set_change_nothing(seconds: float) -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        await asyncio.sleep(5)
        stage.stepped_seconds = seconds
        for _ in range(100):
            await asyncio.sleep(0.2)
            assert first.leads()
        assert stage.lease()["spec"]["leaseTransitions"] == 1
        await first.is_killed()
        killed = running_clock().now
        await happens(lambda: not first.leads())
        await stage.leading()
        assert running_clock().now - killed < LEASE_SECONDS + 1.5


@in_virtual_time
async def test_a_lease_that_is_given_back_is_taken_at_once() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        await asyncio.sleep(3)
        await first.elector.end()
        ended = running_clock().now
        assert not first.leads()
        assert stage.lease()["spec"]["holderIdentity"] == ""
        await stage.leading()
        assert running_clock().now - ended < 1.0


@in_virtual_time
async def test_an_answer_that_is_on_its_way_at_the_end_lets_nobody_act_again() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        patch, written = first.api.patch, asyncio.Event()

        async def answered_late(*args: Any, **kwargs: Any) -> Any:
            answer = await patch(*args, **kwargs)
            if answer["spec"]["holderIdentity"]:
                written.set()
                await asyncio.sleep(1)
            return answer

        first.api.patch = answered_late  # type: ignore[method-assign]
        await written.wait()
        await first.elector.end()
        for _ in range(100):
            assert not first.leads()
            await asyncio.sleep(0.05)
        assert stage.operators[1].leads()


@in_virtual_time
async def test_a_holder_that_is_only_taken_out_is_waited_for() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        first.api.failures.unreachable = True
        lease = stage.lease()
        lease["spec"]["holderIdentity"] = ""
        stage.server.put(lease)
        taken_out = running_clock().now
        await asyncio.sleep(4)
        assert first.leads()
        assert not stage.operators[1].leads()
        await happens(stage.operators[1].leads)
        assert running_clock().now - taken_out < LEASE_SECONDS + 1.5


@in_virtual_time
async def test_a_leader_that_is_cut_off_stops_before_another_one_begins() -> None:
    async with on_stage() as stage:
        first, second = await stage.leading(), stage.operators[1]
        first.api.failures.unreachable = True
        cut_off = running_clock().now
        await second.elector.won.wait()
        assert not first.leads()
        assert running_clock().now - cut_off < LEASE_SECONDS + 1.5
        first.api.failures.unreachable = False
        await asyncio.wait_for(first.elector.lost.wait(), 5)
        assert second.leads()


@pytest.mark.parametrize("seconds", [3.0, 7.0, 60.0])
def test_a_standby_that_sees_nothing_for_a_while_takes_over_nothing(seconds: float) -> None:
    @in_virtual_time
    async def story() -> None:
        async with on_stage() as stage:
            first, second = await stage.leading(), stage.operators[1]
            await asyncio.sleep(5)
            second.api.failures.unreachable = True
            await asyncio.sleep(seconds)
            second.api.failures.unreachable = False
            for _ in range(100):
                await asyncio.sleep(0.2)
                assert first.leads()
            assert stage.lease()["spec"]["leaseTransitions"] == 1
            assert not second.elector.won.is_set()

    story()


@in_virtual_time
async def test_a_leader_that_goes_while_nobody_sees_it_is_replaced_a_lease_after_that() -> None:
    async with on_stage() as stage:
        first, second = await stage.leading(), stage.operators[1]
        await asyncio.sleep(5)
        second.api.failures.unreachable = True
        await first.is_killed()
        await asyncio.sleep(60)
        assert not second.leads()
        second.api.failures.unreachable = False
        seen = running_clock().now
        await asyncio.wait_for(second.elector.won.wait(), 20)
        # what it knew of the Lease is a minute old: the last renewal was a moment ago, for all it knows
        assert running_clock().now - seen < LEASE_SECONDS + 1.5


@in_virtual_time
async def test_a_leader_goes_on_after_an_outage_in_which_nobody_took_over() -> None:
    async with on_stage(operators=1) as stage:
        first = await stage.leading()
        first.api.failures.unreachable = True
        await asyncio.sleep(60)
        assert not first.leads()
        first.api.failures.unreachable = False
        await asyncio.sleep(2)
        assert first.leads()
        assert first.elector.epoch == 1
        assert not first.elector.lost.is_set()


@in_virtual_time
async def test_after_an_outage_for_both_one_leads() -> None:
    async with on_stage() as stage:
        await stage.leading()
        for one in stage.operators:
            one.api.failures.unreachable = True
        await asyncio.sleep(30)
        assert not any(one.leads() for one in stage.operators)
        for one in stage.operators:
            one.api.failures.unreachable = False
        await stage.leading(seconds=2)


@in_virtual_time
async def test_a_leader_outlives_the_deletion_of_its_lease() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        for _ in range(5):
            stage.server.remove("Lease", names.LEADER_LEASE, namespace=NAMESPACE)
            for _ in range(100):
                await asyncio.sleep(0.05)
                assert first.leads()
        assert first.elector.epoch == stage.lease()["spec"]["leaseTransitions"] == 1


@in_virtual_time
async def test_an_epoch_that_was_seen_elsewhere_is_gone_beyond() -> None:
    async with on_stage(operators=1) as stage:
        first = await stage.leading()
        first.elector.note_epoch(41)
        await asyncio.sleep(0.1)
        assert first.elector.epoch == stage.lease()["spec"]["leaseTransitions"] == 42
        first.elector.note_epoch(42)
        await asyncio.sleep(5)
        assert first.elector.epoch == 42


@in_virtual_time
async def test_a_lease_somebody_wrote_nonsense_into_is_taken_over() -> None:
    async with on_stage(operators=0) as stage:
        stage.server.put(
            {
                "apiVersion": "coordination.k8s.io/v1",
                "kind": "Lease",
                "metadata": {"name": names.LEADER_LEASE, "namespace": NAMESPACE},
                "spec": {"holderIdentity": "nobody", "leaseDurationSeconds": 1_000_000},
            }
        )
        stage.start()
        began = running_clock().now
        await stage.leading(seconds=90)
        assert 60 <= running_clock().now - began < 62


@in_virtual_time
async def test_a_refused_lease_is_tried_again() -> None:
    async with on_stage(operators=1) as stage:
        stage.operators[0].api.failures.statuses["Lease"] = 403
        await asyncio.sleep(30)
        stage.operators[0].api.failures.statuses.clear()
        await stage.leading()


@in_virtual_time
async def test_a_leader_that_nothing_answers_may_brake_until_it_sees_another_one() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        assert not first.elector.may_brake()
        first.api.failures.unreachable = True
        await happens(lambda: not first.leads())
        for _ in range(600):
            assert first.elector.may_brake()
            assert not stage.operators[1].elector.may_brake()
            await asyncio.sleep(0.1)
        first.api.failures.unreachable = False
        await asyncio.wait_for(first.elector.lost.wait(), 5)
        assert not first.elector.may_brake()


@in_virtual_time
async def test_a_leader_does_not_brake_after_what_is_no_silence() -> None:
    async def is_refused(stage: Stage, first: Operator) -> None:
        first.api.failures.statuses["Lease"] = 403
        await asyncio.sleep(2)

    async def conflicts(stage: Stage, first: Operator) -> None:
        first.api.failures.statuses["Lease"] = 409
        await asyncio.sleep(2)

    async def loses_its_lease(stage: Stage, first: Operator) -> None:
        stage.server.remove("Lease", names.LEADER_LEASE, namespace=NAMESPACE)
        first.api.failures.failing_writes = dict.fromkeys(range(1, 10_000), 503)
        await asyncio.sleep(2)

    async def hears_of_another_one(stage: Stage, first: Operator) -> None:
        first.api.failures.unreachable = True
        first.elector.note_epoch(9)

    async def was_stopped(stage: Stage, first: Operator) -> None:
        first.api.failures.unreachable = True
        running_clock().now += 3

    async def ends(stage: Stage, first: Operator) -> None:
        first.api.failures.unreachable = True
        await first.elector.end()

    for happened in (
        is_refused,
        conflicts,
        loses_its_lease,
        hears_of_another_one,
        was_stopped,
        ends,
    ):
        async with on_stage(operators=1) as stage:
            first = await stage.leading()
            await happened(stage, first)
            first.api.failures.unreachable = True
            await asyncio.sleep(10)
            assert not first.leads()
            assert not first.elector.may_brake(), happened.__name__


@in_virtual_time
async def test_a_leader_brakes_while_the_api_server_answers_with_errors_of_its_own() -> None:
    async with on_stage(operators=1) as stage:
        first = await stage.leading()
        first.api.failures.statuses["Lease"] = 500
        await asyncio.sleep(10)
        assert not first.leads()
        assert first.elector.may_brake()


@pytest.mark.parametrize("ahead", [3600.0, -3600.0, 0.0])
def test_who_takes_over_knows_by_which_clock_the_former_leader_wrote(ahead: float) -> None:
    @in_virtual_time
    async def story() -> None:
        async with on_stage() as stage:
            first = await stage.leading()
            await asyncio.sleep(5)
            second = stage.operators[1]
            second.wall_ahead = ahead
            await first.is_killed()
            async with asyncio.timeout(20):
                await second.elector.won.wait()
            assert second.elector.clock_ahead_seconds == pytest.approx(ahead, abs=1)

    story()


@pytest.mark.parametrize(("ahead", "known"), [(3600.0, 0.0), (-3600.0, -3600.0)])
def test_who_never_saw_the_former_leader_knows_only_that_its_own_clock_is_behind(
    ahead: float, known: float
) -> None:
    @in_virtual_time
    async def story() -> None:
        async with on_stage(1) as stage:
            first = await stage.leading()
            await first.is_killed()
            second = stage.start()
            second.wall_ahead = ahead
            async with asyncio.timeout(20):
                await second.elector.won.wait()
            assert second.elector.clock_ahead_seconds == pytest.approx(known, abs=7)

    story()


def _stored(renewed: float, stored: float) -> Lease:
    """Reads a Lease as an API server answers it, in its own words about fields and times."""
    renewal: dict[str, Any] = {"f:holderIdentity": {}, "f:renewTime": {}}
    return leases.read(
        {
            "metadata": {
                "resourceVersion": "1",
                "managedFields": [
                    {"manager": "python", "time": to_text(stored), "fieldsV1": {"f:spec": renewal}},
                    # somebody wrote a note later
                    {
                        "manager": "kubectl",
                        "time": to_text(stored + 900),
                        "fieldsV1": {"f:metadata": {}},
                    },
                ],
            },
            "spec": {"renewTime": to_precise_text(renewed)},
        }
    )


@pytest.mark.parametrize("ahead", [3600.0, 0.0, -3600.0])
def test_two_clocks_are_compared_with_the_api_server_s(ahead: float) -> None:
    now, outage = 1_780_000_000.0, 50_000.0
    former, ours = _stored(now + 70, now), _stored(now + outage + 70 + ahead, now + outage)
    assert leases.clock_ahead_seconds(former, ours) == pytest.approx(ahead)


@in_virtual_time
async def test_what_others_write_into_the_lease_tells_nothing_of_a_clock() -> None:
    async with on_stage() as stage:
        first = await stage.leading()
        await asyncio.sleep(5)
        await first.is_killed()
        for _ in range(3):
            await asyncio.sleep(3)
            lease = stage.lease()
            annotated = {**lease["metadata"], "annotations": {"note": str(stage.server.clock.now)}}
            stage.server.put({**lease, "metadata": annotated})
        second = stage.operators[1]
        async with asyncio.timeout(20):
            await second.elector.won.wait()
        assert second.elector.clock_ahead_seconds == 0
