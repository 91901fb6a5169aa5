"""Preflights of relay pods: what a canary waits for before its first weight."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.preflight import Preflight
from relay_operator.reconcile.canaries.step_clock import StepClock
from relay_operator.reconcile.routes import RouteReconciler

SPACE = "relay-finance"
PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}
CANARY = {"provider": "new", "percent": 100, "progression": PROGRESSION}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


async def a_stage(*, pods: int = 1) -> tuple[Stage, Life]:
    """Returns a tenant without routes, with an operator and pods that are ready."""
    stage = Stage()
    for provider in ("legacy", "new", "newer"):
        stage.provider(provider)
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    for number in range(1, pods + 1):
        stage.pod(f"relay-{number}")
    await stage.settle()
    return stage, life


def weight(stage: Stage, pod: str = "relay-1") -> int | None:
    return stage.relays.weight(pod, "chat", namespace=SPACE)


def status(stage: Stage) -> dict[str, Any]:
    return stage.status("RelayRoute", "chat", tenant="finance")


def token(stage: Stage) -> str | None:
    """Returns the token that the document in force asks for a preflight of."""
    [document] = stage.relays.documents.values()
    [route] = document.tenant.routes
    return route.preflight


def ready(stage: Stage) -> tuple[str, str]:
    found = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    return found["status"], found["reason"]


def condition(stage: Stage, type_: str) -> str:
    return str(stage.condition("RelayRoute", "chat", type_, tenant="finance").get("status", ""))


@in_virtual_time
async def test_a_canary_whose_key_is_refused_gets_no_weight_until_a_probe_passes() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(120)
    assert (status(stage)["phase"], weight(stage)) == ("Preflight", 0)
    assert ready(stage) == ("False", "PreflightFailed")
    assert (condition(stage, "Stalled"), condition(stage, "Reconciling")) == ("True", "")
    assert (
        "401 to a probe of new"
        in stage.condition("RelayRoute", "chat", "Ready", tenant="finance")["message"]
    )
    assert status(stage)["preflight"] == {
        "reason": "Unauthorized",
        "message": "401 to a probe of new",
    }
    assert status(stage)["next"].startswith("another try within a minute")
    assert token(stage) == f"{status(stage)['canaryFingerprint']}/1"
    assert stage.events().count("PreflightFailed") == 1
    stage.relays.mend("new")
    await stage.settle()
    assert (status(stage)["phase"], weight(stage), token(stage)) == ("Progressing", 25, None)
    assert ready(stage)[0] == "True"
    assert "preflight" not in status(stage)
    assert sorted(stage.moves()) == ["PreflightFailed", "Started"]
    await life.end()


@in_virtual_time
async def test_what_falls_due_while_a_decision_is_made_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Lets every reconcile of a route begin a moment before what it is woken for, as a busy event loop's clock does, and take longer."""
    early: list[float] = []
    reconcile, read = RouteReconciler.reconcile, StepClock.__call__

    async def begin_early(self: RouteReconciler, namespace: str, name: str) -> None:
        early.append(0.02)
        await reconcile(self, namespace, name)

    monkeypatch.setattr(RouteReconciler, "reconcile", begin_early)
    monkeypatch.setattr(
        StepClock, "__call__", lambda self: read(self) - (early.pop() if early else 0.0)
    )
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Throttled", "429 to a probe of new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(40)
    assert ready(stage) == ("True", "Preflight")
    await stage.settle(40)
    assert ready(stage) == ("False", "PreflightFailed")
    await life.end()


@in_virtual_time
async def test_while_nothing_has_failed_the_route_is_ready_and_reconciling() -> None:
    stage, life = await a_stage()
    stage.relays.silent.add("relay-1")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(1)
    stage.relays.silent.clear()
    stage.relays.fail_probes("new", "Throttled", "429 to a probe of new")
    await stage.settle(40)
    assert status(stage)["phase"] == "Preflight"
    assert ready(stage) == ("True", "Preflight")
    assert (condition(stage, "Stalled"), condition(stage, "Reconciling")) == ("", "True")
    # what may pass by itself and does not is told after a minute
    await stage.settle(40)
    assert ready(stage) == ("False", "PreflightFailed")
    await life.end()


@in_virtual_time
async def test_without_a_ready_pod_the_canary_waits_and_says_so() -> None:
    stage, life = await a_stage(pods=0)
    stage.pod(ready=False)
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(30)
    assert (status(stage)["phase"], weight(stage)) == ("Preflight", 0)
    assert (
        "no relay pod is ready"
        in stage.condition("RelayRoute", "chat", "Promoted", tenant="finance")["message"]
    )
    stage.pod()
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_pod_is_believed_of_the_canaries_of_its_own_tenant_and_of_this_very_run() -> None:
    stage, life = await a_stage()
    stage.tenant("marketing")
    await stage.settle()
    stage.pod("relay-9", tenant="marketing")
    stage.relays.fail_probes("new", "ModelUnknown", "404 to a probe of new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    stage.route(tenant="marketing")
    await stage.settle()
    asked = token_of(stage, "relay-1")
    for pod, token in (("relay-1", f"{asked}9"), ("relay-9", asked), ("relay-1", "other/1")):
        stage.relays.claim(pod, Preflight(route="chat", token=token, state="Passed"))
        await stage.settle(40)
        assert weight(stage) == 0
    stage.relays.claim("relay-1", Preflight(route="chat", token=asked, state="Passed"))
    await stage.settle()
    # it has lied, and only its own tenant's canary has begun
    assert weight(stage) == 25
    assert stage.relays.weight("relay-9", "chat", namespace="relay-marketing") == 0
    await life.end()


def token_of(stage: Stage, pod: str) -> str:
    uid = stage.server.stored("Pod", pod, namespace=SPACE)["metadata"]["uid"]
    [route] = stage.relays.documents[uid].tenant.routes
    assert route.preflight is not None
    return route.preflight


@in_virtual_time
async def test_a_pod_that_does_not_run_the_document_in_force_is_not_believed() -> None:
    stage, life = await a_stage(pods=2)
    stage.route(canary=CANARY | {"percent": 0}, analysis=ANALYSIS)
    await stage.settle()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.relays.unpushed.add("relay-2")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    asked = token_of(stage, "relay-1")
    stage.relays.claim("relay-2", Preflight(route="chat", token=asked, state="Passed"))
    await stage.settle(40)
    assert weight(stage) == 0
    stage.relays.unpushed.clear()
    await stage.settle(40)
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_flapping_preflight_says_little_and_starts_the_canary_when_it_passes() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    for number in range(120):
        if number % 2:
            stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
        else:
            stage.relays.fail_probes("new", "ServerError", "500 to a probe of new")
        await stage.settle(0.5)
    assert 1 <= stage.events().count("PreflightFailed") <= 4
    assert weight(stage) == 0
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_preflight_that_is_not_passed_by_the_deadline_is_given_up_and_tried_anew() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unreachable", "no connection to new")
    deadline = {"stepDeadline": {"after": "2m", "action": "Rollback"}}
    spec: dict[str, Any] = {
        "canary": CANARY | {"progression": PROGRESSION | deadline},
        "analysis": ANALYSIS,
    }
    stage.route(**spec)
    await stage.settle(130)
    assert (status(stage)["phase"], weight(stage), token(stage)) == ("RolledBack", 0, None)
    assert "no connection to new" in status(stage)["cause"]
    assert sorted(stage.moves()) == ["PreflightFailed", "StepDeadline"]
    retry = f"{status(stage)['canaryFingerprint']}/1/force"
    stage.route(annotations={"relay-operator.dev/retry": retry}, **spec)
    await stage.settle()
    assert (status(stage)["phase"], status(stage)["run"], weight(stage)) == ("Preflight", 2, 0)
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_deadline_that_holds_says_so_and_the_canary_starts_after_all() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    held = PROGRESSION | {"stepDeadline": {"after": "2m", "action": "Hold"}}
    stage.route(canary=CANARY | {"progression": held}, analysis=ANALYSIS)
    await stage.settle(130)
    assert (status(stage)["phase"], ready(stage)) == ("Preflight", ("False", "StepDeadline"))
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
@pytest.mark.parametrize(
    ("change", "phase"),
    [({"canary": CANARY | {"percent": 0}}, "Stable"), ({"paused": True}, "Paused")],
)
async def test_a_canary_that_is_not_to_rise_is_not_probed(
    change: dict[str, Any], phase: str
) -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    spec: dict[str, Any] = {"canary": CANARY, "analysis": ANALYSIS}
    stage.route(**spec)
    await stage.settle()
    stage.route(**spec | change)
    await stage.settle()
    assert (status(stage)["phase"], token(stage)) == (phase, None)
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 0
    stage.route(**spec)
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_another_canary_is_probed_under_a_token_of_its_own() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.relays.fail_probes("newer", "ModelUnknown", "404 to a probe of newer")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    first = token(stage)
    stage.route(canary=CANARY | {"provider": "newer"}, analysis=ANALYSIS)
    await stage.settle()
    assert token(stage) not in (first, None)
    assert status(stage)["preflight"]["reason"] == "ModelUnknown"
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 0
    stage.relays.mend("newer")
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_restart_in_preflight_says_the_same_and_asks_anew() -> None:
    stage, life = await a_stage()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    before, events = status(stage), stage.events()
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert (status(stage), stage.events()) == (before, events)
    assert life.changes == []
    stage.relays.mend("new")
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_run_that_an_earlier_version_began_goes_on_without_a_preflight() -> None:
    stage, life = await a_stage()
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert weight(stage) == 25
    await life.end()
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe of new")
    life = await stage.operator()
    await stage.settle()
    assert (status(stage)["phase"], weight(stage), token(stage)) == ("Progressing", 25, None)
    await life.end()


@in_virtual_time
async def test_nobody_is_asked_while_no_canary_is_to_be_probed() -> None:
    stage, life = await a_stage()
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle(20)
    asked = stage.relays.asked
    await stage.settle(60)
    assert stage.relays.asked == asked
    await life.end()


@in_virtual_time
async def test_pods_of_an_earlier_version_get_every_other_change_while_a_canary_waits() -> None:
    stage, life = await a_stage()
    stage.relays.older.add("relay-1")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert (status(stage)["phase"], weight(stage)) == ("Preflight", 0)
    assert stage.condition("RelayRoute", "chat", "Programmed", tenant="finance")["status"] == "True"
    models = {"models": ["other"]}
    stage.route("other", match=models, canary={"provider": "newer", "percent": 0})
    await stage.settle(1)
    assert stage.relays.weight("relay-1", "other", namespace=SPACE) == 0
    stage.server.remove("RelayRoute", "other", namespace=SPACE)
    await stage.settle(1)
    assert stage.relays.weight("relay-1", "other", namespace=SPACE) is None

    # a restart of the operator learns it again
    await life.end()
    life = await stage.operator()
    await stage.settle()
    stage.route("late", match=models)
    await stage.settle(1)
    assert stage.relays.weight("relay-1", "late", namespace=SPACE) == 0

    # the Deployment's new pod is ready, then the old one goes
    stage.pod("relay-2")
    await stage.settle()
    assert (status(stage)["phase"], weight(stage, "relay-2")) == ("Preflight", 0)
    stage.server.remove("Pod", "relay-1", namespace=SPACE)
    await stage.settle()
    assert (status(stage)["phase"], weight(stage, "relay-2")) == ("Progressing", 25)
    await life.end()


@in_virtual_time
async def test_pods_of_an_earlier_version_take_changes_beside_what_they_do_not_know_of_a_provider() -> (
    None
):
    stage, life = await a_stage()
    stage.provider("legacy", afterDisconnect={"policy": "Drain", "maxSeconds": 20})
    stage.relays.older.add("relay-1")
    stage.route()
    await stage.settle()
    assert weight(stage) == 0

    # a restart of the operator learns it again
    await life.end()
    life = await stage.operator()
    await stage.settle()
    stage.route("late", match={"models": ["other"]})
    await stage.settle()
    assert stage.relays.weight("relay-1", "late", namespace=SPACE) == 0

    # the Deployment's new pod is ready, then the old one goes
    stage.pod("relay-2")
    await stage.settle()
    stage.server.remove("Pod", "relay-1", namespace=SPACE)
    await stage.settle()
    assert weight(stage, "relay-2") == 0
    *_, newest = stage.relays.documents.values()
    [legacy] = newest.catalogue.providers
    assert legacy.drain is not None
    assert legacy.drain.max_seconds == 20
    await life.end()
