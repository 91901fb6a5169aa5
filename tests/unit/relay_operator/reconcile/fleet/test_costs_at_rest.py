"""An operator at rest waits: its loops look at canaries only while one is on trial, and at pushes only while one is late."""

import asyncio
from collections import Counter
from contextvars import Context
from typing import Any

from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

SECONDS = 120
CANARY = {
    "provider": "fresh",
    "percent": 100,
    "progression": {"stepPercent": 25, "every": "10s", "minRequests": 20},
}


async def at_rest() -> tuple[Stage, Life]:
    """Returns an operator that has had nothing to do for a while, with a route without a canary."""
    stage = Stage()
    stage.provider("legacy")
    stage.provider("fresh")
    stage.tenant()
    life = await stage.operator()
    await stage.settle(2)
    stage.pod()
    stage.route()
    await stage.settle(300)
    return stage, life


async def timers_of(seconds: float) -> Counter[str]:
    """Counts the timers that are set meanwhile, by the function of the task that sets them."""
    found = Counter[str]()
    loop: Any = asyncio.get_running_loop()
    call_at = loop.call_at

    def counted(
        when: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        task = asyncio.current_task()
        coroutine = task.get_coro() if task else None
        found[getattr(coroutine, "__qualname__", "none")] += 1
        timer: asyncio.TimerHandle = call_at(when, callback, *args, context=context)
        return timer

    loop.call_at = counted
    try:
        await asyncio.sleep(seconds)
    finally:
        loop.call_at = call_at
    return found


@in_virtual_time
async def test_an_operator_at_rest_wakes_up_a_few_times_a_second() -> None:
    _, life = await at_rest()
    timers = await timers_of(SECONDS)
    assert timers.total() <= 6 * SECONDS, timers.most_common()
    for loop in ("SloLoop", "BreakerWatch", "PreflightWatch", "ShadowWatch", "LatePushes"):
        assert timers[f"{loop}.run"] <= SECONDS / 10 + 1
    await life.end()


@in_virtual_time
async def test_a_canary_that_begins_after_a_rest_is_looked_at_at_once() -> None:
    stage, life = await at_rest()
    stage.route(canary=CANARY, analysis={"errorRate": {"maxPercent": 1}})
    await stage.settle(1)
    assert stage.relays.weight("relay-1", "chat", namespace="relay-finance") == 25
    asked = len(stage.samples.questions)
    await stage.settle(2)
    assert len(stage.samples.questions) - asked >= 4
    await life.end()


@in_virtual_time
async def test_what_went_on_for_the_last_canary_ends_with_it() -> None:
    stage, life = await at_rest()
    stage.route(canary=CANARY, analysis={"errorRate": {"maxPercent": 1}})
    await stage.settle(5)
    assert life.breaker_watch._questions._asking
    stage.route()
    await stage.settle(2)
    assert not life.breaker_watch._questions._asking
    assert not life.preflight_watch._questions._asking
    assert not life.canaries.evidence._routes
    await life.end()


@in_virtual_time
async def test_a_push_that_comes_late_after_a_rest_is_told() -> None:
    stage, life = await at_rest()
    stage.relays.unpushed.add("relay-1")
    stage.tenant(queue={"maxDepth": 7})
    await stage.settle(3)
    assert stage.status("Tenant", "finance")["relay"]["acknowledged"] == 0
    stage.relays.unpushed.clear()
    await stage.settle(5)
    assert stage.status("Tenant", "finance")["relay"]["acknowledged"] == 1
    await life.end()
