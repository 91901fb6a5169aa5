"""What a change costs does not grow with the number of tenants, also where all of them use one Provider."""

from collections.abc import Callable

import pytest
from tests.unit.relay_operator.counted_lines import Lines
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names

FEW, MANY = 4, 20
_MOST_GROWTH = 1.15
"""Of the lines that one change costs, for five times as many tenants."""


async def a_fleet(tenants: int, limits: dict[str, int] | None = None) -> tuple[Stage, Life]:
    stage = Stage()
    stage.provider("legacy", limits=limits or {})
    stage.provider("fresh")
    for number in range(tenants):
        stage.tenant(f"t{number}")
    life = await stage.operator()
    await stage.settle(2)
    for number in range(tenants):
        stage.pod(f"t{number}-pod", tenant=f"t{number}", ip=f"10.0.1.{number}")
        stage.route(tenant=f"t{number}")
    await stage.settle(30)
    return stage, life


def _delete_tenant(stage: Stage) -> None:
    stage.server.remove("Tenant", "t1")
    stage.server.collect_garbage()


def _restart_pod(stage: Stage) -> None:
    stage.pod("t1-pod", tenant="t1", ip="10.0.1.1", ready=False)


def _disturb(stage: Stage) -> None:
    stage.server.remove("Service", names.RELAY, namespace="relay-t1")


SCENES: dict[str, Callable[[Stage], object]] = {
    "tenant changed": lambda stage: stage.tenant("t1", queue={"concurrency": 3}),
    "tenant made": lambda stage: stage.tenant("new"),
    "tenant deleted": _delete_tenant,
    "route changed": lambda stage: stage.route(tenant="t1", match={"models": ["m"]}),
    "route made": lambda stage: stage.route("other", tenant="t1", match={"models": ["n"]}),
    "canary begun": lambda stage: stage.route(
        tenant="t1", canary={"provider": "fresh", "percent": 5}
    ),
    "pod not ready": _restart_pod,
    "child deleted": _disturb,
}


def _calls(life: Life) -> int:
    return len(life.api.writes) + life.api.reads


async def lines_of(scene: str, tenants: int) -> tuple[int, int]:
    """Returns the lines that ran because of a change, and the calls to the API server, beyond those at rest."""
    stage, life = await a_fleet(tenants)
    at_rest, lines = Lines(), Lines()
    before = _calls(life)
    with at_rest.being_counted():
        await stage.settle(3)
    calls_at_rest, before = _calls(life) - before, _calls(life)
    with lines.being_counted():
        SCENES[scene](stage)
        await stage.settle(3)
    calls = _calls(life) - before - calls_at_rest
    await life.end()
    return lines.count - at_rest.count, calls


@in_virtual_time
async def test_a_look_at_a_provider_with_a_quota_costs_the_same_among_many_tenants() -> None:
    counts = []
    for tenants in (FEW, MANY):
        stage, life = await a_fleet(tenants, {"requestsPerMinute": 10**6})
        assert stage.status("Provider", "legacy")["tenants"] == tenants
        # between two ticks: other loops that look at all tenants are not counted
        await stage.settle(0.13)
        lines = Lines()
        with lines.being_counted():
            await life.workers._providers.reconcile("legacy")
        await life.end()
        counts.append(lines.count)
    assert counts[1] <= counts[0] + 20


@pytest.mark.parametrize("scene", SCENES)
@in_virtual_time
async def test_a_change_costs_the_same_among_many_tenants(scene: str) -> None:
    few, calls_among_few = await lines_of(scene, FEW)
    many, calls_among_many = await lines_of(scene, MANY)
    assert calls_among_many <= calls_among_few + 6
    assert many <= _MOST_GROWTH * few + 1000
