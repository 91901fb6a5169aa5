"""Scenes that an operator plays through, from an empty cluster on: for tenants, providers and routes in every phase.

Each waits for what it needs, so that it also goes on when the operator was killed in between.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM

from relay_operator import names
from relay_operator.api.relay_route import Side, fingerprint

Scene = Callable[[Stage], Awaitable[None]]

SPACE = "relay-finance"
PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}
CANARY = {"provider": "new", "percent": 100, "progression": PROGRESSION}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}
_LONGEST_WAIT_SECONDS = 120.0


async def until(stage: Stage, holds: Callable[[], bool]) -> None:
    """Lets time pass until the cluster is like that."""
    waited = 0.0
    while not holds():
        if waited >= _LONGEST_WAIT_SECONDS:
            raise AssertionError(f"not reached: {holds.__qualname__}")
        await stage.settle(0.5)
        waited += 0.5


def phase(stage: Stage, route: str = "chat") -> str:
    stored = stage.server.get("RelayRoute", route, namespace=SPACE) or {}
    return str(stored.get("status", {}).get("phase", ""))


def generation_is_observed(stage: Stage, kind: str, name: str, *, tenant: str = "") -> bool:
    namespace = f"relay-{tenant}" if tenant else ""
    stored = stage.server.stored(kind, name, namespace=namespace)
    seen: Any = stored["status"].get("observedGeneration")
    return bool(seen == stored["metadata"]["generation"])


async def with_a_tenant(stage: Stage, **spec: Any) -> None:
    """Two providers, a tenant and its one pod."""
    for provider in ("legacy", "new"):
        stage.provider(provider)
    stage.tenant(**spec)
    await until(stage, lambda: stage.server.get("Deployment", "relay", namespace=SPACE) is not None)
    stage.pod()
    await until(stage, lambda: _is_ready(stage))


def _is_ready(stage: Stage) -> bool:
    return stage.condition("Tenant", "finance", "Ready").get("status") == "True"


async def _with_a_route(stage: Stage, reached: str, **spec: Any) -> dict[str, Any]:
    await with_a_tenant(stage)
    made = stage.route(**spec)
    await until(stage, lambda: phase(stage) == reached)
    return made


async def a_tenant_that_changes(stage: Stage) -> None:
    await with_a_tenant(stage, apiKeys=[{"name": "web"}, {"name": "batch", "priority": "low"}])
    stage.tenant(
        apiKeys=[{"name": "web"}, {"name": "night"}],
        relay={"replicas": 2},
        network={"allowFrom": [{"namespace": "web"}]},
    )
    await until(stage, lambda: generation_is_observed(stage, "Tenant", "finance"))
    stage.pod("relay-2")
    stage.tenant(apiKeys=[{"name": "web"}], relay={"replicas": 2}, suspend=True)
    await until(stage, lambda: generation_is_observed(stage, "Tenant", "finance"))


async def a_tenant_whose_keys_are_rotated(stage: Stage) -> None:
    """One key rotated, one revoked; then the overlap of the first ends."""
    both = [{"name": "web"}, {"name": "batch"}]
    await with_a_tenant(stage, apiKeys=both, keyRotation={"overlap": "1m"})
    await annotate_keys(stage, "rotate-keys", "web", "id")
    await until(stage, lambda: "web.previous" in _entries(stage))
    await annotate_keys(stage, "revoke-keys", "batch", "id")
    await until(stage, lambda: "web.previous" not in _entries(stage))


async def annotate_keys(stage: Stage, annotation: str, key: str, field: str) -> None:
    """Asks for something to be done to a key, with the value that status has for it."""
    told = stage.status("Tenant", "finance")["keys"]
    value = next(one[field] for one in told if one["name"] == key)
    body = stage.server.stored("Tenant", "finance")
    annotations = {f"{names.GROUP}/{annotation}": value}
    stage.server.put(body | {"metadata": body["metadata"] | {"annotations": annotations}})


def _entries(stage: Stage) -> dict[str, str]:
    secret = stage.server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE) or {}
    return dict(secret.get("data") or {})


async def a_tenant_made_again(stage: Stage) -> None:
    await _with_a_route(stage, "Stable")
    stage.server.remove("Tenant", "finance")
    await stage.settle()
    stage.server.collect_garbage()
    await stage.settle()
    await with_a_tenant(stage)


async def a_tenant_whose_namespace_is_taken(stage: Stage) -> None:
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}}
    stage.server.put(namespace)
    stage.tenant()
    reason = "NamespaceConflict"
    await until(
        stage, lambda: stage.condition("Tenant", "finance", "Ready").get("reason") == reason
    )
    stage.server.remove("Namespace", SPACE)
    stage.server.collect_garbage()
    await with_a_tenant(stage)


async def a_provider_that_changes(stage: Stage) -> None:
    ref = {"namespace": SYSTEM, "name": "llm", "port": 80}
    stage.provider("own", key=False, endpoint={"serviceRef": ref})
    await with_a_tenant(stage)
    stage.route(stable={"provider": "own"}, fallback=[{"provider": "legacy"}])
    await stage.settle()
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "llm", "namespace": SYSTEM},
        "spec": {"selector": {"app": "llm"}, "ports": [{"port": 80, "targetPort": "http"}]},
    }
    stage.server.put(service)
    stage.secret("own-key")
    await until(stage, lambda: phase(stage) == "Stable")
    stage.secret("own-key", value="bmV3")
    stage.provider(
        "own", endpoint={"serviceRef": ref}, headers={"x-team": "a"}, limits={"tokensPerMinute": 90}
    )
    await until(stage, lambda: generation_is_observed(stage, "Provider", "own"))
    uid = stage.server.stored("Provider", "legacy")["metadata"]["uid"]
    legacy = fingerprint(Side(provider="legacy"), provider_uid=uid)
    jump = {names.ANNOTATION_ALLOW_JUMP: f"{legacy}/2"}
    stage.route(stable={"provider": "legacy"}, annotations=jump)
    await until(
        stage, lambda: generation_is_observed(stage, "RelayRoute", "chat", tenant="finance")
    )
    stage.server.remove("Provider", "own")


async def a_provider_in_force_that_no_spec_names(stage: Stage) -> None:
    stage.provider("own")
    await with_a_tenant(stage)
    stage.route(stable={"provider": "own"})
    await until(stage, lambda: phase(stage) == "Stable")
    stage.route(stable={"provider": "legacy"})
    await until(
        stage, lambda: generation_is_observed(stage, "RelayRoute", "chat", tenant="finance")
    )
    stage.secret("own-key", value="bmV3")
    # two looks at the versions of Secrets
    await stage.settle(70)
    stage.server.remove("Provider", "own")


async def a_stable_route(stage: Stage) -> None:
    await _with_a_route(stage, "Stable")


async def a_progressing_route(stage: Stage) -> None:
    await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)


async def a_probed_route(stage: Stage) -> None:
    """A canary whose key is refused, and corrected after a while."""
    stage.relays.fail_probes("new", "Unauthorized", "401 to a probe")
    await _with_a_route(stage, "Preflight", canary=CANARY, analysis=ANALYSIS)
    reason = "PreflightFailed"
    await until(
        stage,
        lambda: (
            stage.condition("RelayRoute", "chat", "Ready", tenant="finance").get("reason") == reason
        ),
    )
    stage.relays.mend("new")
    await until(stage, lambda: phase(stage) == "Progressing")


async def a_route_that_is_not_probed(stage: Stage) -> None:
    stage.relays.fail_probes("new", "Unreachable", "no connection")
    await _with_a_route(stage, "Preflight", canary=CANARY, analysis=ANALYSIS)
    await stage.settle(70)


SHADOW = {"percent": 10, "minDuration": "10s", "minRequests": 20}


async def a_shadowed_route(stage: Stage) -> None:
    canary = CANARY | {"shadow": SHADOW}
    await _with_a_route(stage, "Shadowing", canary=canary, analysis=ANALYSIS)


async def a_route_that_shadowed_enough(stage: Stage) -> None:
    canary = CANARY | {"shadow": SHADOW}
    made = await _with_a_route(stage, "Shadowing", canary=canary, analysis=ANALYSIS)
    for _ in range(20):
        stage.copy(made, match=20)
        await stage.settle(3)
        if phase(stage) == "Progressing":
            return
    raise AssertionError(f"not Progressing: {phase(stage)}")


async def a_holding_route(stage: Stage) -> None:
    await _with_a_route(stage, "Holding", canary={"provider": "new", "percent": 10})


async def a_paused_route(stage: Stage) -> None:
    await _with_a_route(stage, "Paused", canary=CANARY, analysis=ANALYSIS, paused=True)


async def a_promoted_route(stage: Stage) -> None:
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)
    await _served(stage, made, ends="Promoted")


async def a_baking_route(stage: Stage) -> None:
    canary = CANARY | {"bake": "10h"}
    made = await _with_a_route(stage, "Progressing", canary=canary, analysis=ANALYSIS)
    await _served(stage, made, ends="Baking")


async def _served(stage: Stage, made: dict[str, Any], *, ends: str) -> None:
    for _ in range(20):
        stage.serve(made, 50)
        await stage.settle(11)
        if phase(stage) == ends:
            return
    raise AssertionError(f"not {ends}: {phase(stage)}")


async def a_rolled_back_route(stage: Stage) -> None:
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)
    await _failed(stage, made, ends="RolledBack")


async def a_frozen_route(stage: Stage) -> None:
    analysis = ANALYSIS | {"onBreach": "Freeze"}
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=analysis)
    await _failed(stage, made, ends="Frozen")


async def _failed(stage: Stage, made: dict[str, Any], *, ends: str) -> None:
    for _ in range(20):
        stage.serve(made, 100, failed=50)
        await stage.settle(3)
        if phase(stage) == ends:
            return
    raise AssertionError(f"not {ends}: {phase(stage)}")


async def a_canary_that_waits_its_turn(stage: Stage) -> None:
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)
    stage.clock.now += 1
    stage.route("other", match={"models": ["o"]}, canary=CANARY, analysis=ANALYSIS)
    await until(stage, lambda: _ready_reason(stage, "other") == "AwaitingBudget")
    await _failed(stage, made, ends="RolledBack")
    await until(stage, lambda: phase(stage, "other") == "Progressing")


async def a_throttled_canary(stage: Stage) -> None:
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)
    for _ in range(20):
        stage.serve(made, 40, throttled=20)
        await stage.settle(2)
        if _ready_reason(stage, "chat") == "Throttled":
            return
    raise AssertionError("not throttled")


async def an_evacuated_canary(stage: Stage) -> None:
    analysis = ANALYSIS | {"onStableBreach": "Evacuate"}
    canary = CANARY | {"bake": "10h", "progression": PROGRESSION | {"every": "1h"}}
    made = await _with_a_route(stage, "Progressing", canary=canary, analysis=analysis)
    for _ in range(60):
        await _serve_well_beside_a_failing_stable(stage, made)
        if _weight_is_told(stage) == 100:
            return
    raise AssertionError("not evacuated")


async def a_canary_frozen_by_stable(stage: Stage) -> None:
    made = await _with_a_route(stage, "Progressing", canary=CANARY, analysis=ANALYSIS)
    for _ in range(60):
        await _serve_well_beside_a_failing_stable(stage, made)
        if phase(stage) == "Frozen":
            return
    raise AssertionError("not frozen")


async def _serve_well_beside_a_failing_stable(stage: Stage, made: dict[str, Any]) -> None:
    documents = list(stage.relays.documents.values())
    stage.serve(made, 50)
    stable = documents[0].tenant.routes[0].stable.fingerprint
    stage.serve(made, 50, fingerprint=stable, failed=20)
    await stage.settle(1)


def _weight_is_told(stage: Stage) -> int:
    return int(stage.status("RelayRoute", "chat", tenant="finance")["weights"]["canaryPercent"])


def _ready_reason(stage: Stage, route: str) -> str:
    found = stage.condition("RelayRoute", route, "Ready", tenant="finance")
    return str(found.get("reason", ""))


async def a_canary_after_another_was_rolled_back(stage: Stage) -> None:
    await a_rolled_back_route(stage)
    stage.provider("newer")
    stage.route(canary={"provider": "newer", "percent": 10})
    await until(stage, lambda: phase(stage) == "Holding")


async def a_refused_spec_that_lowers_a_canary(stage: Stage) -> None:
    await a_progressing_route(stage)
    await _refused_at(stage, 10)
    await _refused_at(stage, 0)


async def _refused_at(stage: Stage, percent: int) -> None:
    stage.route(canary={"provider": "nobody", "percent": percent}, analysis=ANALYSIS)
    await until(
        stage, lambda: generation_is_observed(stage, "RelayRoute", "chat", tenant="finance")
    )


async def a_tenant_whose_objects_others_change(stage: Stage) -> None:
    await a_stable_route(stage)
    service = stage.server.stored("Service", "relay", namespace=SPACE)
    service["spec"]["ports"][0]["port"] = 9999
    stage.server.put(service)
    deployment = stage.server.stored("Deployment", "relay", namespace=SPACE)
    containers = deployment["spec"]["template"]["spec"]["containers"]
    containers.append({"name": "evil", "image": "evil"})
    stage.server.put(deployment)
    stage.server.remove("ServiceAccount", "relay", namespace=SPACE)
    await until(stage, lambda: _as_intended(stage))


def _as_intended(stage: Stage) -> bool:
    ports = stage.server.stored("Service", "relay", namespace=SPACE)["spec"]["ports"]
    template = stage.server.stored("Deployment", "relay", namespace=SPACE)["spec"]["template"]
    return (
        [port["port"] for port in ports] == [8080]
        and len(template["spec"]["containers"]) == 1
        and stage.server.get("ServiceAccount", "relay", namespace=SPACE) is not None
    )


async def a_route_that_goes(stage: Stage) -> None:
    await _with_a_route(stage, "Holding", canary={"provider": "new", "percent": 10})
    stage.clock.now += 1
    stage.route("younger")
    await until(
        stage,
        lambda: (
            stage.condition("RelayRoute", "younger", "Accepted", tenant="finance").get("reason")
            == "Conflicted"
        ),
    )
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await until(stage, lambda: phase(stage, "younger") == "Stable")


SCENES: tuple[Scene, ...] = (
    a_tenant_that_changes,
    a_tenant_made_again,
    a_tenant_whose_namespace_is_taken,
    a_tenant_whose_objects_others_change,
    a_provider_that_changes,
    a_provider_in_force_that_no_spec_names,
    a_stable_route,
    a_progressing_route,
    a_probed_route,
    a_route_that_is_not_probed,
    a_shadowed_route,
    a_route_that_shadowed_enough,
    a_holding_route,
    a_paused_route,
    a_promoted_route,
    a_baking_route,
    a_frozen_route,
    a_rolled_back_route,
    a_canary_that_waits_its_turn,
    a_throttled_canary,
    an_evacuated_canary,
    a_canary_frozen_by_stable,
    a_canary_after_another_was_rolled_back,
    a_refused_spec_that_lowers_a_canary,
    a_route_that_goes,
)
