"""What keeps a climb from harm although the canary breaks no limit: its provider's quota, and a stable side that fails."""

from typing import Any

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.canaries.test_by_hand import Scene, a_scene
from tests.unit.relay_operator.virtual_time import in_virtual_time


def stable_side(scene: Scene) -> str:
    """Returns the fingerprint of stable."""
    (document,) = scene.stage.relays.documents.values()
    return document.tenant.routes[0].stable.fingerprint


async def both_sides(
    scene: Scene, seconds: int, *, canary: dict[str, Any], stable: dict[str, Any]
) -> None:
    """Serves so much on both sides in every second."""
    for _ in range(seconds):
        scene.stage.serve(scene.manifest, **canary)
        scene.stage.serve(scene.manifest, **stable, fingerprint=stable_side(scene))
        await scene.stage.settle(1)


def told(stage: Stage, reason: str) -> list[dict[str, Any]]:
    return [one for one in stage.server.list("Event") if one["reason"] == reason]


@in_virtual_time
async def test_a_quota_holds_the_climb_once_told_and_lets_it_go_on() -> None:
    scene = await a_scene()
    good = {"calls": 30.0}
    await both_sides(scene, 30, canary={"calls": 10.0, "throttled": 3.0}, stable=good)
    ready = scene.ready()
    assert (scene.weight, ready["status"], ready["reason"]) == (25, "True", "Throttled")
    assert "canary calls on this step were answered 429" in ready["message"]
    assert "the provider's quota holds the weight at 25 %" in ready["message"]
    within = scene.stage.condition("RelayRoute", "chat", "WithinSLO", tenant="finance")
    assert within["status"] == "True"
    assert scene.status["next"] == "the end of the answers 429"
    (event,) = told(scene.stage, "Throttled")
    assert "answered 429" in event["message"]
    # a restart neither raises nor tells again
    await scene.life.end()
    life = await scene.stage.operator()
    await both_sides(scene, 20, canary={"calls": 10.0, "throttled": 3.0}, stable=good)
    assert (scene.weight, len(told(scene.stage, "Throttled"))) == (25, 1)
    await both_sides(scene, 240, canary={"calls": 10.0}, stable=good)
    assert scene.weight is not None
    assert scene.weight > 25
    assert scene.status["phase"] != "RolledBack"
    await life.end()


FAILING = {"calls": 20.0, "failed": 6.0}


@in_virtual_time
async def test_a_climb_is_frozen_while_stable_alone_fails() -> None:
    scene = await a_scene()
    await both_sides(scene, 60, canary={"calls": 20.0}, stable=FAILING)
    assert (scene.weight, scene.status["phase"]) == (25, "Frozen")
    assert scene.ready()["reason"] == "StableUnhealthy"
    assert "requests of stable failed" in scene.ready()["message"]
    assert scene.stage.moves().count("StableUnhealthy") == 1
    assert "requests of stable failed" in scene.status["analysis"]["stable"]
    await scene.life.end()
    life = await scene.stage.operator()
    await both_sides(scene, 20, canary={"calls": 20.0}, stable=FAILING)
    assert (scene.weight, scene.status["phase"]) == (25, "Frozen")
    assert scene.ready()["reason"] == "StableUnhealthy"
    await both_sides(scene, 600, canary={"calls": 20.0}, stable={"calls": 20.0})
    assert scene.status["phase"] in ("Progressing", "Promoted")
    assert "stable" not in scene.status["analysis"]
    await life.end()


@in_virtual_time
async def test_a_certified_canary_evacuates_where_the_spec_says_so() -> None:
    scene = await a_scene(onStableBreach="Evacuate")
    await both_sides(scene, 60, canary={"calls": 20.0}, stable=FAILING)
    assert scene.weight == 100
    (move,) = [one for one in scene.status["history"] if one["reason"] == "Evacuated"]
    assert move["certified"] is True
    assert "requests of stable failed" in move["message"]
    assert len(told(scene.stage, "Evacuated")) == 1
    await scene.life.end()


@in_virtual_time
async def test_nothing_is_evacuated_while_both_sides_fail() -> None:
    scene = await a_scene(onStableBreach="Evacuate")
    await both_sides(scene, 90, canary=FAILING, stable=FAILING)
    assert (scene.weight, scene.status["phase"]) == (25, "Frozen")
    assert scene.ready()["reason"] == "SharedIncident"
    await scene.life.end()


@in_virtual_time
async def test_a_share_other_than_asked_is_told_and_moves_nothing() -> None:
    scene = await a_scene(canary={"percent": 25})
    await both_sides(scene, 200, canary={"calls": 10.0}, stable={"calls": 90.0})
    (row,) = [one for one in scene.status["analysis"]["metrics"] if one["name"] == "Share"]
    assert (row["limit"], row["canary"][-6:]) == ("25 % asked", "(10 %)")
    assert "the canary serves 10 % of the calls" in row["message"]
    within = scene.stage.condition("RelayRoute", "chat", "WithinSLO", tenant="finance")
    assert within["status"] == "True"
    assert "the canary serves 10 % of the calls" in within["message"]
    assert scene.weight == 25
    await scene.life.end()
