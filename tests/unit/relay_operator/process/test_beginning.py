"""A life of the operator is ready, and a leader acts, once the watches have shown the cluster as it is."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import REGISTRY
from tests.unit.relay_operator.discovered import discovered
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.handlers.lost_deletions import LostDeletions
from relay_operator.process.beginning import Beginning


@dataclass(slots=True)
class Confirmation:
    """What the signing key says of a leader."""

    is_given: bool = True
    asked: list[float] = field(default_factory=list)

    async def __call__(self) -> bool:
        self.asked.append(asyncio.get_running_loop().time())
        return self.is_given


def of(life: Life, confirm: Confirmation) -> Beginning:
    """Wires the beginning of a life."""
    api: Any = life.api
    lost = LostDeletions(api=api, context=life.context, period_seconds=600)
    return Beginning(
        api=api,
        context=life.context,
        lost=lost,
        is_listing=lambda: life.lists > 0,
        confirm=confirm,
    )


def given_back() -> float:
    return REGISTRY.get_sample_value("relay_operator_leads_given_back_total") or 0.0


def a_stage() -> Stage:
    """Sets up a tenant with a route and a relay pod, before any operator."""
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    return stage


@in_virtual_time
async def test_a_leader_whose_watch_is_deaf_gives_the_lead_back() -> None:
    stage, before = a_stage(), given_back()
    life, confirm = stage.life(), Confirmation()
    # nothing of it is ever shown
    beginning = of(life, confirm)
    began = stage.clock.now
    assert not await beginning.may_act()
    assert 10 <= stage.clock.now - began < 16
    assert len(confirm.asked) > 1
    assert given_back() == before + 1


@in_virtual_time
async def test_a_leader_that_is_refused_what_it_reads_gives_the_lead_back() -> None:
    stage = a_stage()
    life = stage.life()
    await life.stand_by()
    life.api.failures.statuses["RelayRoute"] = 403
    began = stage.clock.now
    assert not await of(life, Confirmation()).may_act()
    assert stage.clock.now - began < 11
    await life.end()


@in_virtual_time
async def test_a_leader_acts_after_a_moment_without_the_api_server() -> None:
    stage, before = a_stage(), given_back()
    life = stage.life()
    await life.stand_by()
    life.api.failures.unreachable = True
    acting = asyncio.create_task(of(life, Confirmation()).may_act())
    await stage.settle(4)
    assert not acting.done()
    life.api.failures.unreachable = False
    assert await acting
    assert given_back() == before
    await life.end()


@in_virtual_time
async def test_a_leader_with_another_key_does_not_act() -> None:
    stage, before = a_stage(), given_back()
    life = stage.life()
    await life.stand_by()
    assert not await of(life, Confirmation(is_given=False)).may_act()
    assert given_back() == before
    await life.end()


@in_virtual_time
async def test_a_leader_that_has_just_started_waits_for_the_pods() -> None:
    stage = a_stage()
    life = stage.life()
    await life.stand_by()
    life.lagging.add("Pod")
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-finance"}})  # fmt: skip
    stage.pod()
    acting = asyncio.create_task(of(life, Confirmation()).may_act())
    await stage.settle(1)
    assert not acting.done()
    life.lagging.clear()
    stage.pod(ready=False)
    await stage.settle(1)
    assert acting.done()
    assert await acting
    await life.end()


@in_virtual_time
async def test_a_standby_is_ready_once_all_is_shown_and_stays_so() -> None:
    stage = a_stage()
    first = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    life = stage.life()
    life.api.failures.unreachable = True
    beginning = of(life, Confirmation())
    watching = asyncio.create_task(beginning.watch())
    await stage.settle(60)
    assert not beginning.shown.is_set()
    life.api.failures.unreachable = False
    await stage.settle(60)
    assert not beginning.shown.is_set()
    await life.stand_by()
    await stage.settle(1)
    assert beginning.shown.is_set()
    assert discovered(life.watched_state) == ["relay-finance/relay-1"]
    life.api.failures.unreachable = True
    await stage.settle(60)
    assert beginning.shown.is_set()
    assert not watching.done()
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await life.end()
    await first.end()


@in_virtual_time
async def test_a_standby_is_not_ready_while_a_relay_pod_is_on_its_way() -> None:
    stage = a_stage()
    life = stage.life()
    await life.stand_by()
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-finance"}})  # fmt: skip
    stage.pod()
    beginning = of(life, Confirmation())
    watching = asyncio.create_task(beginning.watch())
    # as soon as the list is answered, and before the watch tells
    for _ in range(8):
        await asyncio.sleep(0)
    assert not beginning.shown.is_set()
    await stage.settle(1)
    assert beginning.shown.is_set()
    assert [pod.name for pod in life.watched_state.pods.all()] == ["relay-1"]
    watching.cancel()
    await asyncio.gather(watching, return_exceptions=True)
    await life.end()


@in_virtual_time
async def test_a_leader_waits_for_long_lists_while_they_show_more() -> None:
    stage, before = a_stage(), given_back()
    life = stage.life()
    life.lists = 1
    acting = asyncio.create_task(of(life, Confirmation()).may_act())
    for number in range(20):
        await stage.settle(8)
        life.context.children.observe(_config_map(number), deleted=False)
    assert not acting.done()
    await life.stand_by()
    life.lists = 0
    await stage.settle(1)
    assert acting.done()
    assert await acting
    assert given_back() == before
    await life.end()


@in_virtual_time
async def test_a_leader_waits_for_the_list_of_pods_when_it_is_the_last() -> None:
    stage = a_stage()
    life = stage.life()
    life.lagging.add("Pod")
    await life.stand_by()
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-finance"}})  # fmt: skip
    for number in range(20):
        stage.pod(f"relay-{number}", ip=f"10.0.0.{number + 1}")
    pods = stage.server.list("Pod")
    life.lists = 1
    acting = asyncio.create_task(of(life, Confirmation()).may_act())
    for pod in pods:
        await stage.settle(8)
        assert not acting.done()
        life.watched_state.store_pod(pod)
    life.lists = 0
    await stage.settle(1)
    assert acting.done()
    assert await acting
    await life.end()


@in_virtual_time
async def test_a_leader_gives_the_lead_back_when_a_list_stalls() -> None:
    stage = a_stage()
    life = stage.life()
    life.lists = 1
    began = stage.clock.now
    assert not await of(life, Confirmation()).may_act()
    assert 20 <= stage.clock.now - began < 27


def _config_map(number: int) -> dict[str, Any]:
    metadata = {"name": "relay-document", "namespace": f"relay-t{number}", "uid": f"u{number}"}
    return {"kind": "ConfigMap", "metadata": metadata}
