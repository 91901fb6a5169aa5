"""Pods that do not answer cost pushes to themselves, now and then, and nobody else anything."""

import asyncio

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.reconcile.late_pushes import LatePushes
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue

SILENT = 12


async def with_silent_pods(stage: Stage) -> None:
    for number in range(SILENT):
        stage.relays.silent.add(f"silent-{number}-pod")
        stage.pod(f"silent-{number}-pod", tenant=f"silent-{number}", ip=f"10.0.2.{number}")


@in_virtual_time
async def test_a_relay_that_does_not_answer_is_looked_at_ever_more_seldom() -> None:
    stage = Stage()
    for number in range(SILENT):
        stage.tenant(f"silent-{number}")
    life = await stage.operator()
    await stage.settle(2)
    await with_silent_pods(stage)
    await stage.settle(90)
    looks, pushes = life.api.reads_of["Namespace"], stage.relays.pushes
    await stage.settle(120)
    # each twice a minute at most, in place of sixty times
    assert life.api.reads_of["Namespace"] - looks <= SILENT * 5
    # while the pushes go on, at their own pace
    assert stage.relays.pushes - pushes >= SILENT * 120 / 8
    await life.end()


@in_virtual_time
async def test_a_relay_that_answers_again_is_told_of_within_seconds() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    life = await stage.operator()
    await stage.settle(2)
    stage.relays.silent.add("relay-1")
    stage.pod()
    stage.route()
    await stage.settle(200)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "False"
    stage.relays.silent.clear()
    await stage.settle(8)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    told = stage.condition("RelayRoute", "chat", "Programmed", tenant="finance")
    assert told["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_tenant_whose_pods_change_is_looked_at_as_soon_as_at_first() -> None:
    stage = Stage()
    stage.tenant()
    life = await stage.operator()
    await stage.settle(2)
    stage.relays.silent.add("relay-1")
    stage.pod()
    await stage.settle(200)
    stage.pod("relay-2", ip="10.0.0.2")
    await stage.settle(2)
    relay = stage.status("Tenant", "finance")["relay"]
    assert relay["acknowledged"] == 1
    await life.end()


@in_virtual_time
async def test_a_pod_that_refused_once_does_not_wait_for_one_that_is_dead() -> None:
    watched_state = WatchedState()
    late = LatePushes(watched_state=watched_state, queue=WorkQueue())
    loop = asyncio.get_running_loop()
    pushed: list[float] = []
    began = loop.time()
    running = asyncio.create_task(late.run(lambda _: pushed.append(loop.time() - began)))
    late.note("relay-a", began + 3.0)
    late.note("relay-a", began + 0.2)
    await asyncio.sleep(5)
    # once for the pod that refused, once for the one that is dead
    first, second = pushed
    assert first < 0.6 < 3.0 <= second < 3.4
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
