"""Routes are used, refused or waiting, and each gets the weight that the rest of the cluster allows."""

from dataclasses import replace
from typing import Any

import pytest

from relay_contract import document
from relay_contract.preflight import Preflight
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.state import Phase
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.decisions.route_acceptance import (
    Claimant,
    Decided,
    Ruling,
    Surroundings,
    claimant,
    conflicts,
    refusal_of,
    rule,
)
from relay_operator.names import Reason


def a_provider(name: str, *models: str) -> Provider:
    spec = {
        "endpoint": {"url": f"https://{name}.example.com/v1"},
        "models": [{"name": model} for model in models],
    }
    return Provider.parse({"metadata": {"name": name, "uid": f"uid-{name}"}, "spec": spec})


def a_route(
    name: str = "chat", *, created: str = "2026-01-01T00:00:00Z", **spec: Any
) -> RelayRoute:
    body = {"stable": {"provider": "legacy"}} | spec
    metadata = {
        "name": name,
        "namespace": "relay-finance",
        "uid": f"uid-{name}",
        "creationTimestamp": created,
    }
    return RelayRoute.parse({"metadata": metadata, "spec": body})


CANARY = {"provider": "new", "percent": 100, "progression": {"stepPercent": 10, "every": "1h"}}
AROUND = Surroundings(
    conflicts={},
    known=frozenset({"legacy", "new", "broken"}),
    usable={"legacy": a_provider("legacy", "gpt-4.1"), "new": a_provider("new", "gpt-4.1", "x")},
    reachable=frozenset({"legacy", "new"}),
)


def no_runs() -> CanaryRuns:
    return CanaryRuns(evidence=Evidence(scrape_seconds=2))


def the_refusal(route: RelayRoute, around: Surroundings = AROUND) -> Refused:
    refusal = refusal_of(route, around)
    assert refusal is not None
    return refusal


def test_an_unknown_provider_is_refused_with_those_that_the_tenant_may_use() -> None:
    refusal = the_refusal(a_route(stable={"provider": "nobody"}))
    assert refusal.reason is Reason.PROVIDER_NOT_FOUND
    assert refusal.message == (
        "this Tenant can use no Provider nobody: none of that name exists, or its allowedTenants does not select the Tenant; "
        "it can use: broken, legacy, new"
    )


def test_a_provider_out_of_the_tenants_region_is_refused_by_name() -> None:
    around = replace(AROUND, distant={"us": "Provider us is in region us"})
    refusal = the_refusal(a_route(fallback=[{"provider": "us"}]), around)
    assert refusal == Refused(
        reason=Reason.PROVIDER_NOT_ALLOWED, message="Provider us is in region us"
    )
    # it is not offered either
    assert "us" not in the_refusal(a_route(stable={"provider": "nobody"}), around).message.split()


def test_a_provider_that_cannot_be_used_is_not_said_to_be_missing() -> None:
    refusal = the_refusal(a_route(fallback=[{"provider": "broken"}]))
    assert refusal.reason is Reason.PROVIDER_NOT_FOUND
    assert refusal.message == "Provider broken cannot be used yet: it was not looked at yet"


@pytest.mark.parametrize(
    "spec",
    [{"stable": {"provider": "legacy", "model": "x"}}, {"match": {"models": ["x"]}}],
    ids=["named by the side", "kept from the call"],
)
def test_a_model_the_provider_lacks_is_refused_with_those_it_has(spec: dict[str, Any]) -> None:
    refusal = the_refusal(a_route(**spec))
    assert refusal.reason is Reason.MODEL_NOT_FOUND
    assert "it has gpt-4.1" in refusal.message


def claimants(*routes: RelayRoute) -> dict[str, Claimant]:
    return {one.metadata.name: claimant(one.metadata, one.spec.match) for one in routes}


def test_of_two_routes_that_match_the_same_calls_the_older_keeps_them() -> None:
    older = a_route("older", match={"models": ["a", "b"]})
    younger = a_route("younger", created="2026-01-02T00:00:00Z", match={"models": ["b"]})
    apart = a_route(
        "apart", created="2026-01-03T00:00:00Z", match={"models": ["b"], "tasks": ["x"]}
    )
    assert conflicts(claimants(younger, apart, older)) == {"younger": "older"}
    refusal = the_refusal(
        younger, replace(AROUND, conflicts=conflicts(claimants(younger, apart, older)))
    )
    assert refusal.reason is Reason.CONFLICTED
    assert refusal.message.startswith("route older already matches the same calls")


def test_two_routes_for_everything_are_one_claim() -> None:
    assert conflicts(claimants(a_route("a"), a_route("b"))) == {"b": "a"}


def test_a_refused_route_leaves_in_force_what_is() -> None:
    runs = no_runs()
    ruling = rule(a_route(stable={"provider": "nobody"}), AROUND, runs, now=0.0)
    assert isinstance(ruling.outcome, Refused)
    assert ruling.weight_percent is None
    assert runs.runs == {}


def test_a_route_waits_for_the_network_policy_of_each_provider() -> None:
    ruling = rule(
        a_route(canary=CANARY), replace(AROUND, reachable=frozenset({"legacy"})), no_runs(), now=0.0
    )
    assert ruling.weight_percent is None
    assert ruling.outcome == Waiting(
        reason=Reason.PROVISIONING,
        message="waiting for the network policy and key of provider new, "
        "which the operator is bringing to the relay pods",
    )


def passed(probed: Ruling, runs: CanaryRuns) -> Ruling:
    """Lets a relay pod pass the preflight that a ruling asks for."""
    told = Preflight(route="chat", token=probed.preflight or "", state="Passed")
    runs.hear_probes(("relay-finance", "chat"), [told], pods=1, now=1.0)
    return rule(a_route(canary=CANARY), AROUND, runs, now=1.0)


def test_a_canary_gets_no_weight_before_every_pod_holds_its_key() -> None:
    runs = no_runs()
    waiting = rule(
        a_route(canary=CANARY), replace(AROUND, keyless=frozenset({"new"})), runs, now=0.0
    )
    assert isinstance(waiting.outcome, Waiting)
    assert waiting.weight_percent == 0
    probed = rule(a_route(canary=CANARY), AROUND, runs, now=1.0)
    assert isinstance(probed.outcome, Decided)
    assert probed.weight_percent == 0
    assert probed.preflight is not None
    started = passed(probed, runs)
    assert (started.weight_percent, started.preflight) == (10, None)


def test_no_call_is_copied_to_a_canary_that_waits_for_its_key() -> None:
    runs, keyless = no_runs(), replace(AROUND, keyless=frozenset({"new"}))
    for shadow, copied in (({"percent": 10, "minRequests": 50}, False), ({"percent": 10}, True)):
        ruling = rule(a_route(canary=CANARY | {"shadow": shadow}), keyless, runs, now=0.0)
        assert (type(ruling.outcome), ruling.copies) == (Waiting, copied)


def test_a_running_canary_does_not_wait_for_the_key_of_a_new_pod() -> None:
    runs = no_runs()
    passed(rule(a_route(canary=CANARY), AROUND, runs, now=0.0), runs)
    ruling = rule(
        a_route(canary=CANARY), replace(AROUND, keyless=frozenset({"new"})), runs, now=1.0
    )
    assert (type(ruling.outcome), ruling.weight_percent) == (Decided, 10)


def test_a_route_without_a_canary_is_decided_with_weight_zero() -> None:
    ruling = rule(a_route(), AROUND, no_runs(), now=0.0)
    assert isinstance(ruling.outcome, Decided)
    assert ruling.outcome.decision.reason is Reason.NO_CANARY
    assert ruling.weight_percent == 0


def test_the_route_in_force_corrects_what_status_says() -> None:
    runs = no_runs()
    first = rule(a_route(canary=CANARY), AROUND, runs, now=0.0)
    assert isinstance(first.outcome, Decided)
    key = ("relay-finance", "chat")
    fingerprint = runs.runs[key].state.fingerprint
    in_force = document.Route(
        name="chat",
        stable=document.Side(provider="legacy", fingerprint="0" * 12),
        canary=document.Side(provider="new", fingerprint=fingerprint),
        canary_percent=0,
    )
    status = {
        "phase": "Progressing",
        "canaryFingerprint": fingerprint,
        "weights": {"canaryPercent": 10},
        "step": {"index": 1, "startedAt": "2026-01-01T00:00:00.000000Z"},
    }
    restarted = a_route(canary=CANARY).model_copy(update={"status": status})
    ruling = rule(restarted, replace(AROUND, in_force=in_force), no_runs(), now=5.0)
    assert isinstance(ruling.outcome, Decided)
    assert ruling.outcome.decision.state.phase is Phase.ROLLED_BACK
    assert ruling.weight_percent == 0
