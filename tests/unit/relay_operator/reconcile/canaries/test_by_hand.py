"""What a person does to a canary by hand: approve, retry, go on, allow a jump; each takes effect once."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names

SPACE = "relay-finance"
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}
PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}


class Scene:
    """A tenant with one route, whose canary has its first step."""

    def __init__(self, stage: Stage, life: Life) -> None:
        self.stage, self.life = stage, life
        self.spec: dict[str, Any] = {}
        self.manifest: dict[str, Any] = {}

    def apply(self, *, annotations: dict[str, str] | None = None, **spec: Any) -> None:
        self.spec |= spec
        self.manifest = self.stage.route(annotations=annotations, **self.spec)

    def annotate(self, name: str, value: str) -> None:
        self.apply(annotations={name: value})

    async def calls(self, count: int, *, seconds: float = 11) -> None:
        self.stage.serve(self.manifest, count)
        await self.stage.settle(seconds)

    async def few_calls(self, *, seconds: int) -> None:
        """Serves five calls in the first of so many seconds, each of which is measured."""
        for second in range(seconds):
            await self.calls(0 if second else 5, seconds=1)

    async def fail(self) -> None:
        """Lets the canary fail for as long as a verdict takes."""
        await self.stage.fail(self.manifest)
        await self.stage.settle(5)

    @property
    def weight(self) -> int | None:
        return self.stage.relays.weight("relay-1", "chat", namespace=SPACE)

    @property
    def status(self) -> dict[str, Any]:
        return self.stage.status("RelayRoute", "chat", tenant="finance")

    def ready(self) -> dict[str, Any]:
        return self.stage.condition("RelayRoute", "chat", "Ready", tenant="finance")

    def stalled(self) -> bool:
        return any(one["type"] == "Stalled" for one in self.status["conditions"])


async def a_scene(*, canary: dict[str, Any] | None = None, **analysis: Any) -> Scene:
    stage = Stage()
    for provider in ("legacy", "new", "third"):
        stage.provider(provider)
    stage.tenant()
    life = stage.life()
    await life.start()
    await stage.settle()
    stage.pod()
    scene = Scene(stage, life)
    climb = {"provider": "new", "percent": 100, "progression": PROGRESSION}
    scene.apply(canary=climb | (canary or {}), analysis=ANALYSIS | analysis)
    await stage.settle()
    await scene.calls(0, seconds=1)
    assert scene.weight == 25
    return scene


@in_virtual_time
async def test_a_step_is_approved_by_the_annotation_that_ready_names() -> None:
    scene = await a_scene(canary={"progression": PROGRESSION | {"approval": "Manual"}})
    await scene.calls(50)
    ready = scene.ready()
    assert (scene.weight, ready["status"], ready["reason"]) == (25, "False", "AwaitingApproval")
    assert not scene.stalled()
    token = ready["message"].rsplit("=", 1)[1]
    scene.annotate(names.ANNOTATION_APPROVE, token)
    await scene.stage.settle(1)
    assert scene.weight == 50
    await scene.calls(50)
    await scene.calls(50)
    assert (scene.weight, scene.ready()["reason"]) == (50, "AwaitingApproval")
    await scene.life.end()


@in_virtual_time
async def test_a_retry_waits_for_the_cool_down_and_acts_once() -> None:
    scene = await a_scene(coolDown="10m")
    await scene.fail()
    assert (scene.weight, scene.ready()["reason"]) == (0, "RolledBack")
    scene.annotate(names.ANNOTATION_RETRY, f"{scene.status['canaryFingerprint']}/1")
    await scene.stage.settle(500)
    assert scene.weight == 0
    await scene.stage.settle(110)
    assert scene.weight == 25
    await scene.fail()
    await scene.stage.settle(2000)
    assert scene.weight == 0
    assert [one["reason"] for one in scene.status["history"]].count("Started") == 2
    await scene.life.end()


@in_virtual_time
async def test_a_forced_retry_waits_for_nothing() -> None:
    scene = await a_scene(coolDown="10h")
    await scene.fail()
    scene.annotate(names.ANNOTATION_RETRY, f"{scene.status['canaryFingerprint']}/1/force")
    await scene.stage.settle(1)
    assert scene.weight == 25
    await scene.life.end()


@in_virtual_time
async def test_the_same_bad_canary_applied_again_is_refused_over_a_restart() -> None:
    scene = await a_scene(coolDown="10h")
    bad = scene.spec["canary"]
    await scene.fail()
    scene.apply(canary=bad | {"percent": 0})
    await scene.stage.settle(5)
    assert scene.status["phase"] == "Stable"
    await scene.life.end()
    life = await scene.stage.operator()
    scene.apply(canary=bad)
    await scene.stage.settle(5)
    assert (scene.weight, scene.status["phase"]) == (0, "RolledBack")
    assert scene.status["history"][-1]["reason"] == "CoolingDown"
    assert "requests failed" in scene.ready()["message"]
    scene.apply(canary=bad | {"provider": "third"})
    await scene.stage.settle(5)
    assert scene.weight == 25
    await life.end()


@in_virtual_time
async def test_a_frozen_canary_keeps_its_weight_until_a_person_decides() -> None:
    scene = await a_scene(onBreach="Freeze")
    await scene.fail()
    assert (scene.weight, scene.status["phase"], scene.stalled()) == (25, "Frozen", True)
    await scene.calls(1000, seconds=100)
    assert (scene.weight, scene.ready()["reason"]) == (25, "Frozen")
    # a restart makes no decision of it
    await scene.life.end()
    life = await scene.stage.operator()
    await scene.stage.settle(5)
    assert (scene.weight, scene.status["phase"]) == (25, "Frozen")
    scene.annotate(names.ANNOTATION_RETRY, f"{scene.status['canaryFingerprint']}/1")
    await scene.stage.settle(5)
    assert (scene.weight, scene.status["phase"], scene.stalled()) == (25, "Progressing", False)
    await life.end()


@in_virtual_time
async def test_a_canary_that_cannot_be_measured_for_long_is_rolled_back_if_the_spec_says_so() -> (
    None
):
    scene = await a_scene(unmeasurable={"after": "2m", "action": "Rollback"})
    scene.stage.samples.problem = "Prometheus did not answer: Timeout"
    await scene.stage.settle(115)
    assert scene.weight == 25
    await scene.stage.settle(10)
    assert (scene.weight, scene.status["phase"]) == (0, "RolledBack")
    assert "Prometheus did not answer" in scene.status["cause"]
    await scene.life.end()


@in_virtual_time
async def test_a_step_deadline_is_told_as_stalled() -> None:
    scene = await a_scene(canary={"progression": PROGRESSION | {"stepDeadline": {"after": "1m"}}})
    await scene.calls(1, seconds=100)
    assert (scene.weight, scene.ready()["reason"], scene.stalled()) == (25, "StepDeadline", True)
    await scene.calls(50, seconds=31)
    assert (scene.weight, scene.stalled()) == (50, False)
    await scene.life.end()


@pytest.mark.parametrize("canary", [None, {"provider": "new", "percent": 10}])
@in_virtual_time
async def test_a_new_stable_that_no_canary_has_proved_is_refused(
    canary: dict[str, Any] | None,
) -> None:
    scene = await a_scene()
    spec: dict[str, Any] = {"canary": canary} if canary else {}
    scene.manifest = scene.stage.route(stable={"provider": "third"}, **spec)
    await scene.stage.settle(5)
    accepted = scene.stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert (accepted["status"], accepted["reason"]) == ("False", "UnguardedChange")
    assert "from stable legacy to third" in accepted["message"]
    (document,) = scene.stage.relays.documents.values()
    assert document.tenant.routes[0].stable.provider == "legacy"
    wanted = accepted["message"].split("allow-jump=")[1].split(";")[0]
    scene.stage.route(
        stable={"provider": "third"}, annotations={names.ANNOTATION_ALLOW_JUMP: wanted}, **spec
    )
    await scene.stage.settle(5)
    (document,) = scene.stage.relays.documents.values()
    assert document.tenant.routes[0].stable.provider == "third"
    await scene.life.end()


@in_virtual_time
async def test_a_canary_becomes_stable_once_it_has_all_traffic_and_not_before() -> None:
    scene = await a_scene()
    scene.stage.route(stable={"provider": "new"})
    await scene.stage.settle(5)
    assert scene.ready()["reason"] == "UnguardedChange"
    assert scene.weight == 25
    scene.apply()
    for _ in range(5):
        await scene.calls(50)
    assert scene.status["phase"] == "Promoted"
    scene.stage.route(stable={"provider": "new"})
    await scene.stage.settle(5)
    assert scene.ready()["status"] == "True"
    (document,) = scene.stage.relays.documents.values()
    assert document.tenant.routes[0].stable.provider == "new"
    await scene.life.end()


@in_virtual_time
async def test_a_jump_is_allowed_once_and_not_when_the_same_side_comes_again() -> None:
    scene = await a_scene()

    def refused() -> str:
        accepted = scene.stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
        return str(accepted["message"]) if accepted["status"] == "False" else ""

    async def jump_to(provider: str) -> None:
        scene.stage.route(stable={"provider": provider})
        await scene.stage.settle(5)
        token = refused().split("allow-jump=")[1].split(";")[0]
        annotations = {names.ANNOTATION_ALLOW_JUMP: token}
        scene.stage.route(stable={"provider": provider}, annotations=annotations)
        await scene.stage.settle(5)
        assert refused() == ""

    await jump_to("third")
    left_over = scene.stage.server.stored("RelayRoute", "chat", namespace=SPACE)["metadata"]
    await jump_to("legacy")
    scene.stage.route(stable={"provider": "third"}, annotations=left_over["annotations"])
    await scene.stage.settle(5)
    assert "which no canary has proved" in refused()
    (document,) = scene.stage.relays.documents.values()
    assert document.tenant.routes[0].stable.provider == "legacy"
    await scene.life.end()


@in_virtual_time
async def test_a_retry_waits_until_every_pod_holds_the_key() -> None:
    scene = await a_scene()
    await scene.fail()
    assert scene.weight == 0
    scene.stage.relays.silent.add("relay-2")
    scene.stage.pod("relay-2")
    await scene.stage.settle(2)
    scene.annotate(names.ANNOTATION_RETRY, f"{scene.status['canaryFingerprint']}/1/force")
    await scene.stage.settle(30)
    assert scene.weight == 0
    assert "holds the key of provider new" in scene.ready()["message"]
    scene.stage.relays.silent.clear()
    await scene.stage.settle(30)
    assert scene.weight == 25
    await scene.life.end()


@in_virtual_time
async def test_a_step_that_is_passed_on_numbers_alone_says_so_and_one_with_proof_as_well() -> None:
    scene = await a_scene()
    step = scene.status["step"]
    assert (step["index"], step["certified"]) == (1, False)
    await scene.calls(50)
    assert scene.weight == 50
    (passed,) = [one for one in scene.status["history"] if one["reason"] == "StepPassed"]
    assert passed["certified"] is False
    assert "0 of 50 canary requests failed" in passed["message"]
    assert "these requests do not prove" in passed["message"]
    await scene.calls(2000, seconds=3)
    await scene.stage.settle(31)
    passed = [one for one in scene.status["history"] if one["reason"] == "StepPassed"][-1]
    assert passed["certified"] is True
    await scene.life.end()


@in_virtual_time
async def test_status_says_when_the_next_move_can_come_and_nothing_once_none_can() -> None:
    scene = await a_scene()
    step = scene.status["step"]
    assert step["nextAt"] > step["startedAt"][:19]
    assert scene.status["next"] == f"50 % from {step['nextAt']}"
    await scene.fail()
    assert "nextAt" not in scene.status["step"]
    await scene.life.end()


@in_virtual_time
async def test_a_refused_spec_freezes_after_a_restart_where_it_says_so() -> None:
    scene = await a_scene(onBreach="Freeze")
    scene.apply(fallback=[{"provider": "nobody"}])
    await scene.stage.settle(2)
    assert scene.ready()["reason"] == "ProviderNotFound"
    await scene.life.end()
    life = await scene.stage.operator()
    await scene.stage.settle(5)
    await scene.fail()
    assert scene.weight == 25
    await life.end()


@in_virtual_time
async def test_a_refused_spec_keeps_its_word_on_what_cannot_be_measured_over_a_restart() -> None:
    scene = await a_scene(unmeasurable={"after": "2m", "action": "Rollback"})
    scene.apply(fallback=[{"provider": "nobody"}])
    await scene.stage.settle(2)
    await scene.life.end()
    life = await scene.stage.operator()
    scene.stage.samples.problem = "Prometheus did not answer: Timeout"
    await scene.stage.settle(100)
    assert scene.weight == 25
    await scene.stage.settle(60)
    assert scene.weight == 0
    await life.end()


CAUSES: dict[str, dict[str, Any]] = {
    "StepDeadline": {
        "canary": {
            "progression": PROGRESSION | {"stepDeadline": {"after": "1m", "action": "Rollback"}}
        }
    },
    "Unmeasurable": {"unmeasurable": {"after": "1m", "action": "Rollback"}},
}


@pytest.mark.parametrize("cause", CAUSES)
@in_virtual_time
async def test_a_rollback_without_a_breach_is_told_with_its_own_reason(cause: str) -> None:
    scene = await a_scene(**CAUSES[cause])
    if cause == "Unmeasurable":
        scene.stage.samples.problem = "Prometheus did not answer: Timeout"
    await scene.stage.settle(100)
    assert (scene.weight, scene.status["causeReason"]) == (0, cause)
    within = scene.stage.condition("RelayRoute", "chat", "WithinSLO", tenant="finance")
    assert (within["status"], within["reason"]) == ("Unknown", cause)
    await scene.life.end()
    life = await scene.stage.operator()
    await scene.stage.settle(5)
    within = scene.stage.condition("RelayRoute", "chat", "WithinSLO", tenant="finance")
    assert (within["status"], within["reason"]) == ("Unknown", cause)
    await life.end()


@in_virtual_time
async def test_a_pause_beyond_the_deadline_of_the_step_rolls_nothing_back() -> None:
    deadline = {"after": "30s", "action": "Rollback"}
    scene = await a_scene(canary={"progression": PROGRESSION | {"stepDeadline": deadline}})
    scene.apply(paused=True)
    await scene.calls(5, seconds=600)
    assert (scene.ready()["reason"], scene.status["step"]["held"]) == ("Paused", True)
    await scene.life.end()
    scene.life = await scene.stage.operator()
    await scene.stage.settle(5)
    scene.apply(paused=False)
    await scene.few_calls(seconds=20)
    assert (scene.status["phase"], scene.weight) == ("Progressing", 25)
    assert "held" not in scene.status["step"]
    assert scene.status["step"]["heldUntil"] > scene.status["step"]["startedAt"]
    await scene.few_calls(seconds=20)
    assert (scene.status["phase"], scene.weight) == ("RolledBack", 0)
    assert "was not passed by" in scene.status["cause"]
    await scene.life.end()
