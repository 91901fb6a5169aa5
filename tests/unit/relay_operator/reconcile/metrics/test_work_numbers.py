"""What the operator tells about its own work: reconciles by outcome, the queue by urgency, looks at canaries, pushes."""

import asyncio
import json
from collections.abc import Callable

import httpx
import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from tests.unit.relay_operator.cluster.pods import a_pod
from tests.unit.relay_operator.cluster.test_relays import ANSWER, relays_over, told
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.metrics.test_state_collector import a_canary
from tests.unit.relay_operator.virtual_time import in_virtual_time, running_clock

from relay_operator.errors import Unavailable
from relay_operator.reconcile.metrics.queue_collector import QueueCollector
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

A, B, C = (Key("Tenant", "", name) for name in "abc")


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"relay_operator_{name}", labels) or 0.0


def reconciles(outcome: str, *, kind: str = "Tenant") -> float:
    return value("reconcile_duration_seconds_count", kind=kind, outcome=outcome)


def queue_told(queue: WorkQueue, *, leads: bool = True) -> dict[str, tuple[float, float]]:
    """Returns depth and age by urgency, of lines that have any."""
    registry = CollectorRegistry()
    registry.register(QueueCollector(queue, leads=lambda: leads))
    found = {}
    for urgency in ("immediate", "urgent", "normal", "background"):
        labels = {"urgency": urgency}
        depth = registry.get_sample_value("relay_operator_queue_keys", labels)
        age = registry.get_sample_value("relay_operator_queue_oldest_seconds", labels)
        if depth is None or age is None:
            return {}
        if depth or age:
            found[urgency] = (depth, age)
    return found


@pytest.mark.parametrize(
    ("status", "outcome"), [(422, "refused"), (409, "conflict"), (503, "unavailable")]
)
def test_a_reconcile_that_fails_is_told_by_what_it_met(status: int, outcome: str) -> None:
    @in_virtual_time
    async def story() -> None:
        stage = Stage()
        stage.tenant()
        life, before = stage.life(), reconciles(outcome)
        life.api.failures.statuses["Deployment"] = status
        await life.start(workers=1)
        await stage.settle(2)
        await life.end()
        assert reconciles(outcome) > before

    story()


@in_virtual_time
async def test_a_reconcile_that_comes_to_its_end_is_done_and_one_with_a_bug_is_a_defect() -> None:
    stage = Stage()
    stage.tenant()
    done, defects = reconciles("done"), reconciles("defect", kind="Unknown")
    life = stage.life()
    await life.start(workers=1)
    await stage.settle()
    life.queue.add(Key("Unknown", "space", "name"))
    await asyncio.sleep(0.1)
    await life.end()
    assert reconciles("done") > done
    assert reconciles("defect", kind="Unknown") == defects + 1


@in_virtual_time
async def test_depth_and_age_are_those_of_each_urgency() -> None:
    queue = WorkQueue()
    queue.begin()
    assert queue_told(queue) == {}
    queue.add(A)
    running_clock().now += 5
    queue.add(B)
    queue.add(C, Urgency.URGENT)
    running_clock().now += 2
    assert queue_told(queue) == {"urgent": (1, 2), "normal": (2, 7)}
    assert await queue.take() == C
    assert await queue.take() == A
    assert queue_told(queue) == {"normal": (1, 2)}


@in_virtual_time
async def test_what_becomes_urgent_waits_as_such_from_then_on() -> None:
    queue = WorkQueue()
    queue.begin()
    queue.add(A)
    running_clock().now += 60
    queue.add(A, Urgency.URGENT)
    running_clock().now += 1
    assert queue_told(queue) == {"urgent": (1, 1)}


@in_virtual_time
async def test_a_standby_tells_of_no_queue_and_a_new_leader_of_no_wait_before_it_led() -> None:
    queue = WorkQueue()
    queue.add(A)
    running_clock().now += 3600
    assert queue_told(queue, leads=False) == {}
    before = value("queue_wait_seconds_bucket", urgency="normal", le="1.0")
    queue.begin()
    running_clock().now += 0.5
    assert queue_told(queue) == {"normal": (1, 0.5)}
    await queue.take()
    assert value("queue_wait_seconds_bucket", urgency="normal", le="1.0") == before + 1


@in_virtual_time
async def test_a_look_at_canaries_is_timed_and_none_is_where_there_is_no_canary() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    life = await stage.operator()
    before = value("slo_tick_duration_seconds_count")
    await stage.settle(10)
    await life.end()
    assert value("slo_tick_duration_seconds_count") == before
    stage, life, _ = await a_canary()
    before = value("slo_tick_duration_seconds_count")
    await stage.settle(10)
    await life.end()
    assert value("slo_tick_duration_seconds_count") - before >= 19


def refuses(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectTimeout("too slow", request=request)


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (lambda _: told(200, json.dumps(ANSWER)), "acknowledged"),
        (lambda _: told(409, json.dumps(ANSWER)), "kept"),
        (lambda _: told(422, "wrong_tenant"), "refused"),
        (refuses, "unanswered"),
    ],
)
async def test_a_push_is_told_by_its_outcome(
    answer: Callable[[httpx.Request], httpx.Response], outcome: str
) -> None:
    before = value("push_duration_seconds_count", outcome=outcome)
    relays = relays_over(answer)
    try:
        await relays.push(a_pod(), "sealed")
    except Unavailable:
        assert outcome in ("refused", "unanswered")
    await relays.close()
    assert value("push_duration_seconds_count", outcome=outcome) == before + 1
