"""The brake: weight and calls can be taken away whatever else is broken, and nothing climbs meanwhile."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.reconcile.scenes import ANALYSIS, CANARY, SPACE, with_a_tenant
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.names import Reason

Broken = Callable[[Stage, Life], None]


async def a_climbing_canary() -> tuple[Stage, Life, dict[str, Any]]:
    """Brings a canary to 50 %."""
    stage = Stage()
    life = await stage.operator()
    await with_a_tenant(stage)
    made = stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    stage.serve(made, 0)
    await stage.settle()
    stage.serve(made, 50)
    await stage.settle(11)
    assert weight(stage) == 50
    return stage, life, made


def weight(stage: Stage, route: str = "chat") -> int | None:
    return stage.relays.weight("relay-1", route, namespace=SPACE)


def told_weight(stage: Stage) -> int:
    weights = stage.status("RelayRoute", "chat", tenant="finance")["weights"]
    assert weights["stablePercent"] == 100 - weights["canaryPercent"]
    return int(weights["canaryPercent"])


def condition(stage: Stage, type_: str) -> dict[str, Any]:
    return stage.condition("RelayRoute", "chat", type_, tenant="finance")


async def serve_well(stage: Stage, made: dict[str, Any]) -> None:
    """Gives the canary every reason to climb."""
    for _ in range(3):
        stage.serve(made, 100)
        await stage.settle(11)


REFUSED: dict[str, dict[str, Any]] = {
    "an unknown canary": {"canary": {"provider": "nobody", "percent": 100}},
    "an unknown stable side": {"stable": {"provider": "nobody"}, "canary": CANARY},
    "an unknown model": {"canary": {**CANARY, "model": "none"}},
    "an unknown fallback": {"canary": CANARY, "fallback": [{"provider": "nobody"}]},
    "a percent that is no number": {"canary": {"provider": "new", "percent": "much"}},
    "a duration that is none": {"canary": CANARY, "analysis": {"window": "soon"}},
    "a key that is missing": {"canary": CANARY, "fallback": [{"provider": "keyless"}]},
    "a Service that is missing": {"canary": CANARY, "fallback": [{"provider": "inside"}]},
}


def refused_spec(stage: Stage, which: str, *, percent: int | None = None) -> dict[str, Any]:
    spec = {**REFUSED[which]}
    if percent is not None:
        spec["canary"] = {**spec["canary"], "percent": percent}
    stage.provider("keyless", key=False)
    ref = {"namespace": SYSTEM, "name": "llm", "port": 80}
    stage.provider("inside", endpoint={"serviceRef": ref})
    if which == "an unknown model":
        stage.provider("new", models=[{"name": "some"}])
    return spec


@pytest.mark.parametrize("which", REFUSED)
@in_virtual_time
async def test_nothing_climbs_under_a_spec_that_is_not_in_force_and_status_says_so(
    which: str,
) -> None:
    stage, life, made = await a_climbing_canary()
    stage.route(**{"analysis": ANALYSIS} | refused_spec(stage, which))
    await stage.settle()
    await serve_well(stage, made)
    assert (weight(stage), told_weight(stage)) == (50, 50)
    ready = condition(stage, "Ready")
    assert ready["status"] == "False"
    assert "in force stays the last valid spec with 50 % on canary new" in ready["message"]
    status = stage.status("RelayRoute", "chat", tenant="finance")
    stored = stage.server.stored("RelayRoute", "chat", namespace=SPACE)
    assert status["observedGeneration"] == stored["metadata"]["generation"]
    await life.end()


@pytest.mark.parametrize("percent", [0, 20])
@pytest.mark.parametrize("which", REFUSED)
@in_virtual_time
async def test_a_lower_percent_acts_although_its_spec_is_not_in_force(
    which: str, percent: int
) -> None:
    stage, life, made = await a_climbing_canary()
    stage.route(**{"analysis": ANALYSIS} | refused_spec(stage, which, percent=percent))
    await stage.settle(1)
    assert weight(stage) == percent
    await serve_well(stage, made)
    assert (weight(stage), told_weight(stage)) == (percent, percent)
    assert (Reason.RETURNED_TO_STABLE if percent == 0 else Reason.LOWERED) in stage.events()
    await life.end()


@in_virtual_time
async def test_a_spec_that_is_refused_and_corrected_goes_on_from_the_weight_in_force() -> None:
    stage, life, made = await a_climbing_canary()
    stage.route(canary={**CANARY, "percent": 20}, analysis=ANALYSIS, stable={"provider": "nobody"})
    await stage.settle()
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert weight(stage) == 20
    stage.serve(made, 50)
    await stage.settle(11)
    assert weight(stage) == 45
    assert condition(stage, "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_refusal_posts_one_event_that_says_what_is_in_force() -> None:
    stage, life, _ = await a_climbing_canary()
    stage.route(canary={"provider": "nobody", "percent": 0})
    await stage.settle(60)
    refusals = [one for one in stage.server.list("Event") if one["reason"] == "ProviderNotFound"]
    assert len(refusals) == 1
    assert refusals[0]["type"] == "Warning"
    assert "this Tenant can use no Provider nobody" in refusals[0]["message"]
    assert "with 0 % on canary new" in refusals[0]["message"]
    await life.end()
    again = await stage.operator()
    await stage.settle(60)
    assert stage.events().count("ProviderNotFound") == 1
    await again.end()


@in_virtual_time
async def test_a_breach_rolls_back_under_a_refused_spec_also_after_a_restart() -> None:
    stage, life, made = await a_climbing_canary()
    stage.route(canary=CANARY, analysis=ANALYSIS, fallback=[{"provider": "nobody"}])
    await stage.settle()
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert weight(stage) == 50
    await stage.fail(made)
    await stage.settle(1)
    assert (weight(stage), told_weight(stage)) == (0, 0)
    assert condition(stage, "Ready")["reason"] == Reason.PROVIDER_NOT_FOUND
    assert "SloBreach" in stage.events()
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert condition(stage, "Ready")["reason"] == Reason.ROLLED_BACK
    await life.end()


@in_virtual_time
async def test_a_lower_percent_acts_although_somebody_damaged_the_status_while_the_operator_was_down() -> (
    None
):
    stage, life, _ = await a_climbing_canary()
    await life.end()
    body = stage.server.stored("RelayRoute", "chat", namespace=SPACE)
    status = body["status"]
    del status["phase"]
    status["step"]["startedAt"] = "soon"
    for move in status["history"]:
        move["at"] = "long ago"
    for one in status["conditions"]:
        one["lastTransitionTime"] = "0001-01-01T00:00:00+14:00"
    stage.server.put(body)
    stage.route(canary={**CANARY, "percent": 20}, analysis=ANALYSIS)
    life = await stage.operator()
    await stage.settle()
    assert (weight(stage), told_weight(stage)) == (20, 20)
    await life.end()


@in_virtual_time
async def test_percent_zero_needs_no_key() -> None:
    stage, life, _ = await a_climbing_canary()
    stage.server.remove("Secret", "new-key", namespace=SYSTEM)
    # with the last key, which stays in use, gone as well
    stage.server.remove("Secret", names.UPSTREAM_SECRET, namespace=SPACE)
    stage.provider("new", key=False, limits={"tokensPerMinute": 1000})
    await stage.settle()
    assert condition(stage, "Ready")["reason"] == Reason.SECRET_MISSING
    stage.route(canary={**CANARY, "percent": 0}, analysis=ANALYSIS)
    await stage.settle()
    assert (weight(stage), told_weight(stage)) == (0, 0)
    assert condition(stage, "Ready")["reason"] == Reason.RETURNED_TO_STABLE
    assert condition(stage, "Ready")["status"] == "True"
    stage.secret("new-key")
    stage.provider("new")
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert weight(stage) == 25
    await life.end()


@in_virtual_time
async def test_a_canary_that_replaces_another_before_its_key_is_there_leaves_nothing_behind() -> (
    None
):
    stage, life, _ = await a_climbing_canary()
    stage.provider("newer")
    stage.relays.refused.add("newer")
    stage.route(canary={"provider": "newer", "percent": 10})
    await stage.settle()
    assert (weight(stage), told_weight(stage)) == (0, 0)
    stage.route(canary=CANARY, analysis=ANALYSIS)
    await stage.settle()
    assert (weight(stage), told_weight(stage)) == (25, 25)
    await life.end()


def _no_key(stage: Stage, _: Life) -> None:
    stage.server.remove("Secret", "legacy-key", namespace=SYSTEM)
    stage.server.remove("Secret", "new-key", namespace=SYSTEM)


def _no_provider(stage: Stage, _: Life) -> None:
    stage.server.remove("Provider", "legacy")
    stage.server.remove("Provider", "new")


def _refused(kind: str, status: int) -> Broken:
    def refuse(_: Stage, life: Life) -> None:
        life.api.failures.statuses[kind] = status

    return refuse


def _invalid_tenant(stage: Stage, _: Life) -> None:
    stage.tenant(queue={"maxWait": "soon"})


BROKEN: dict[str, Broken] = {
    "no key": _no_key,
    "no provider": _no_provider,
    "an invalid tenant": _invalid_tenant,
    **{
        f"{kind} {status}": _refused(kind, status)
        for kind in ("Namespace", "Secret", "NetworkPolicy", "Deployment", "Service", "ConfigMap")
        for status in (403, 503)
    },
}


@pytest.mark.parametrize("restarted", [False, True], ids=["running", "restarted"])
@pytest.mark.parametrize("which", BROKEN)
@in_virtual_time
async def test_suspend_and_percent_zero_act_whatever_is_broken(which: str, restarted: bool) -> None:
    stage, life, _ = await a_climbing_canary()
    if restarted:
        await life.end()
        life = stage.life()
    BROKEN[which](stage, life)
    if restarted:
        # nothing can be known of a document that cannot be read
        life.api.failures.statuses.pop("ConfigMap", None)
        await life.start()
    await stage.settle()
    stage.route(canary={**CANARY, "percent": 0}, analysis=ANALYSIS)
    spec: dict[str, Any] = {"queue": {"maxWait": "soon"}} if which == "an invalid tenant" else {}
    stage.tenant(suspend=True, **spec)
    await stage.settle()
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    assert stage.relays.documents[uid].tenant.suspended
    assert weight(stage) == 0
    await life.end()


@in_virtual_time
async def test_an_invalid_tenant_says_whether_its_calls_are_served() -> None:
    stage, life, _ = await a_climbing_canary()
    stage.tenant(queue={"maxWait": "soon"})
    await stage.settle()
    ready = stage.condition("Tenant", "finance", "Ready")
    assert ready["reason"] == Reason.INVALID_SPEC
    assert "the last valid spec stays in force, calls are served" in ready["message"]
    stage.tenant(queue={"maxWait": "soon"}, suspend=True)
    await stage.settle()
    ready = stage.condition("Tenant", "finance", "Ready")
    assert "calls are refused" in ready["message"]
    await life.end()


@in_virtual_time
async def test_a_canary_does_not_climb_while_its_weight_is_not_stored() -> None:
    stage, life, made = await a_climbing_canary()
    life.api.failures.unreachable = True
    await serve_well(stage, made)
    # one step further: the last weight was stored when that step was made
    assert weight(stage) == 75
    await serve_well(stage, made)
    assert weight(stage) == 75
    life.api.failures.unreachable = False
    await stage.settle(40)
    await serve_well(stage, made)
    assert stage.status("RelayRoute", "chat", tenant="finance")["phase"] == "Promoted"
    await life.end()


@in_virtual_time
async def test_a_breach_rolls_back_while_the_api_server_is_down() -> None:
    stage, life, made = await a_climbing_canary()
    life.api.failures.unreachable = True
    await stage.fail(made)
    await stage.settle(1)
    assert weight(stage) == 0
    life.api.failures.unreachable = False
    await stage.settle(40)
    assert (weight(stage), told_weight(stage)) == (0, 0)
    assert condition(stage, "Ready")["reason"] == Reason.ROLLED_BACK
    await life.end()


@in_virtual_time
async def test_a_new_canary_waits_for_the_weight_of_the_last_one_to_be_stored() -> None:
    stage, life, made = await a_climbing_canary()
    stage.provider("newer")
    life.api.failures.statuses["ConfigMap"] = 503
    await stage.fail(made)
    await stage.settle(1)
    stage.route("warm", match={"models": ["m"]}, stable={"provider": "newer"})
    stage.route(canary={"provider": "newer", "percent": 10})
    await stage.settle(10)
    assert weight(stage) == 0
    life.api.failures.statuses.clear()
    await stage.settle(40)
    assert weight(stage) == 10
    await life.end()


@in_virtual_time
async def test_the_suspension_of_a_tenant_that_cannot_be_used_is_stored_once_that_is_possible() -> (
    None
):
    stage, life, _ = await a_climbing_canary()
    life.api.failures.unreachable = True
    stage.tenant(suspend=True, queue={"concurrency": "all"})
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await stage.settle(1)
    life.api.failures.unreachable = False
    await stage.settle(60)
    await life.end()
    life = await stage.operator()
    await stage.settle(1)
    [uid] = [pod["metadata"]["uid"] for pod in stage.server.list("Pod", namespace=SPACE)]
    assert stage.relays.documents[uid].tenant.suspended
    assert stage.relays.documents[uid].tenant.routes == ()
    assert [kind for kind, _ in life.changes if kind not in ("Pod", "Event")] == []
    await life.end()
