"""A leader goes in every phase of a canary: who takes over, elected by the Lease, goes on where it stood, and repeats nothing."""

import asyncio
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile import scenes
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE, Scene, with_a_tenant
from tests.unit.relay_operator.virtual_time import in_virtual_time

_GAP_SECONDS = 12.0


async def a_canary_that_awaits_approval(stage: Stage) -> None:
    await with_a_tenant(stage)
    progression = {"stepPercent": 25, "every": "1s", "minRequests": 20, "approval": "Manual"}
    made = stage.route(canary=CANARY | {"progression": progression}, analysis=ANALYSIS)
    for _ in range(20):
        await stage.settle(2)
        stage.serve(made, 20)
        ready = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
        if ready.get("reason") == "AwaitingApproval":
            return
    raise AssertionError("not waiting for a person")


_PHASES: tuple[Scene, ...] = (
    scenes.a_route_that_is_not_probed,
    scenes.a_shadowed_route,
    scenes.a_progressing_route,
    scenes.a_holding_route,
    scenes.a_paused_route,
    scenes.a_throttled_canary,
    scenes.an_evacuated_canary,
    scenes.a_canary_frozen_by_stable,
    scenes.a_frozen_route,
    scenes.a_baking_route,
    scenes.a_promoted_route,
    scenes.a_rolled_back_route,
    scenes.a_canary_after_another_was_rolled_back,
    scenes.a_refused_spec_that_lowers_a_canary,
    scenes.a_stable_route,
    a_canary_that_awaits_approval,
)
_KEPT = ("phase", "weights", "run", "history", "rolledBack", "canaryFingerprint", "step", "cause")


async def two_operators() -> tuple[Stage, Life, Life]:
    """Lets one operator lead by the Lease, and another one stand by."""
    stage = Stage()
    leader, standby = stage.life(elects="first"), stage.life(elects="second")
    await leader.elect()
    await stage.settle(8)
    await standby.elect()
    return stage, leader, standby


async def goes(leader: Life, way: str) -> None:
    """Lets the leader go: killed, ended in order, or cut off from the API server."""
    match way:
        case "killed":
            await leader.end()
        case "ended":
            await leader.elector.end()
        case _:
            leader.api.failures.unreachable = True


async def is_led_by(life: Life) -> float:
    """Waits until a life leads; returns how many seconds that took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(20):
        await life.elector.won.wait()
    return loop.time() - began


def position(stage: Stage) -> dict[str, Any]:
    """Returns what status tells of the canary, what was told of it, and its weight in the relay pod."""
    told = stage.status("RelayRoute", "chat", tenant="finance")
    kept = {name: told.get(name) for name in _KEPT}
    weight = stage.relays.weight("relay-1", "chat", namespace=SPACE)
    return kept | {"moves": stage.moves(), "weight": weight}


@pytest.mark.parametrize("scene", _PHASES, ids=lambda scene: scene.__name__)
@in_virtual_time
async def test_a_takeover_in_every_phase_moves_and_repeats_nothing(scene: Scene) -> None:
    stage, leader, standby = await two_operators()
    await scene(stage)
    await stage.settle(40)
    before, events = position(stage), stage.events()
    await goes(leader, "killed")
    assert await is_led_by(standby) < 10
    await stage.settle(15)
    assert position(stage) == before
    assert stage.events() == events
    # no more than what a status tells of the evidence
    assert {kind for kind, _ in standby.changes} <= {"Lease", "RelayRoute"}
    await standby.end()


@pytest.mark.parametrize(("way", "within"), [("killed", 10), ("ended", 2), ("cut off", 10)])
@in_virtual_time
async def test_a_breach_that_falls_into_the_gap_is_rolled_back(way: str, within: float) -> None:
    stage, leader, standby = await two_operators()
    await with_a_tenant(stage)
    made = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    for _ in range(11):
        stage.serve(made, 10)
        await stage.settle(1)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 50
    moves = stage.moves()
    loop = asyncio.get_running_loop()
    began = loop.time()
    await goes(leader, way)
    leading = asyncio.create_task(is_led_by(standby))
    while stage.relays.weight("relay-1", "chat", namespace=SPACE) != 0:
        assert loop.time() - began < _GAP_SECONDS
        stage.serve(made, 10, failed=5)
        await stage.settle(0.5)
    assert await leading < within
    await stage.settle(10)
    # one that is cut off brakes by a push alone, which the next leader finds in the relay pod
    cause = "Unrecorded" if way == "cut off" else "SloBreach"
    assert sorted(stage.moves()) == sorted([*moves, cause])
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "RolledBack"
    await standby.end()
    if way != "killed":
        await leader.end()
