"""Routes: the outcome of each is in status, and its fragment and weight are in the relays."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.names import Reason

SPACE = "relay-finance"


async def a_stage() -> tuple[Stage, Life]:
    """Sets up a tenant with one relay pod, and two providers; no route yet."""
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    await stage.settle()
    return stage, life


def condition(stage: Stage, type_: str, route: str = "chat") -> tuple[str, str]:
    found = stage.condition("RelayRoute", route, type_, tenant="finance")
    return found.get("status", ""), found.get("reason", "")


def served(stage: Stage) -> list[str]:
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    return [route.name for route in stage.relays.documents[uid].tenant.routes]


@in_virtual_time
async def test_a_route_is_in_force_in_every_pod_before_it_is_ready() -> None:
    stage, life = await a_stage()
    stage.relays.silent.add("relay-1")
    stage.route()
    await stage.settle()
    assert condition(stage, "Ready") == ("False", Reason.WAITING_FOR_PODS)
    stage.relays.silent.clear()
    await stage.settle()
    assert condition(stage, "Ready") == ("True", Reason.NO_CANARY)
    assert served(stage) == ["chat"]
    await life.end()


@in_virtual_time
async def test_a_route_outside_of_a_tenants_namespace_needs_a_person() -> None:
    stage, life = await a_stage()
    stage.server.put(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-nobody"}}
    )
    stage.route(tenant="nobody")
    await stage.settle()
    found = stage.condition("RelayRoute", "chat", "Ready", tenant="nobody")
    assert (found["status"], found["reason"]) == ("False", Reason.NOT_A_TENANT_NAMESPACE)
    assert stage.condition("RelayRoute", "chat", "Stalled", tenant="nobody")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_route_waits_for_its_tenants_relay() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SPACE}})
    stage.route()
    life = await stage.operator()
    await stage.settle()
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.NAMESPACE_CONFLICT
    assert condition(stage, "Ready") == ("False", Reason.PROVISIONING)
    assert condition(stage, "Reconciling") == ("True", Reason.PROVISIONING)
    assert condition(stage, "Stalled") == ("", "")
    await life.end()


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"stable": {"provider": "nobody"}}, Reason.PROVIDER_NOT_FOUND),
        ({"canary": {"provider": "new", "percent": "much"}}, Reason.INVALID_SPEC),
    ],
    ids=["refused", "invalid"],
)
@in_virtual_time
async def test_the_last_valid_spec_of_a_route_stays_in_force(
    spec: dict[str, Any], reason: Reason
) -> None:
    stage, life = await a_stage()
    stage.route(canary={"provider": "new", "percent": 10})
    await stage.settle()
    stage.route(**spec)
    await stage.settle()
    assert condition(stage, "Accepted") == ("False", reason)
    assert condition(stage, "Stalled") == ("True", reason)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 10
    stage.route()
    await stage.settle()
    assert condition(stage, "Ready") == ("True", Reason.NO_CANARY)
    await life.end()


@in_virtual_time
async def test_a_younger_route_takes_over_once_the_older_is_gone() -> None:
    stage, life = await a_stage()
    stage.route("older")
    await stage.settle()
    stage.route("younger")
    await stage.settle()
    assert condition(stage, "Accepted", "younger") == ("False", Reason.CONFLICTED)
    stage.server.remove("RelayRoute", "older", namespace=SPACE)
    await stage.settle()
    assert condition(stage, "Accepted", "younger") == ("True", Reason.ACCEPTED)
    assert served(stage) == ["younger"]
    await life.end()


@in_virtual_time
async def test_an_older_route_takes_what_it_begins_to_match_from_a_younger_one_in_force() -> None:
    stage, life = await a_stage()
    stage.route("zeta", match={"models": ["gpt-5"]})
    await stage.settle()
    stage.route("alpha", match={"models": ["gpt-4.1", "o3"]})
    await stage.settle()
    assert served(stage) == ["alpha", "zeta"]
    stage.route("zeta", match={"models": ["gpt-5", "gpt-4.1"]})
    await stage.settle()
    assert condition(stage, "Accepted", "zeta") == ("True", Reason.ACCEPTED)
    assert condition(stage, "Accepted", "alpha") == ("False", Reason.CONFLICTED)
    # the first of them that matches gets the call
    assert served(stage) == ["zeta", "alpha"]
    told = stage.condition("RelayRoute", "alpha", "Ready", tenant="finance")["message"]
    assert "calls that an older route matches are that route's" in told
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert served(stage) == ["zeta", "alpha"]
    assert life.changes == []
    stage.route("zeta", match={"models": ["gpt-5"]})
    await stage.settle()
    assert served(stage) == ["alpha", "zeta"]
    assert condition(stage, "Accepted", "alpha") == ("True", Reason.ACCEPTED)
    await life.end()


UNUSABLE: dict[str, Any] = {"canary": {"provider": "new", "percent": "much"}}


@pytest.mark.parametrize(("older", "younger"), [("alpha", "zeta"), ("zeta", "alpha")])
@pytest.mark.parametrize("is_first", [True, False])
@in_virtual_time
async def test_an_older_route_keeps_its_calls_while_its_spec_cannot_be_used(
    older: str, younger: str, is_first: bool
) -> None:
    stage, life = await a_stage()
    stage.route(older)
    await stage.settle()
    for name, spec in ((older, UNUSABLE), (younger, {}))[:: 1 if is_first else -1]:
        stage.route(name, **spec)
        await stage.settle()
    for _ in range(2):
        assert condition(stage, "Accepted", older) == ("False", Reason.INVALID_SPEC)
        assert condition(stage, "Accepted", younger) == ("False", Reason.CONFLICTED)
        assert served(stage) == [older]
        await life.end()
        life = await stage.operator()
        await stage.settle()
    assert life.changes == []
    stage.server.remove("RelayRoute", older, namespace=SPACE)
    await stage.settle()
    assert condition(stage, "Accepted", younger) == ("True", Reason.ACCEPTED)
    assert served(stage) == [younger]
    await life.end()


@pytest.mark.parametrize(("older", "younger"), [("alpha", "zeta"), ("zeta", "alpha")])
@pytest.mark.parametrize("spec", [UNUSABLE, {"stable": {"provider": "nobody"}}])
@in_virtual_time
async def test_calls_that_two_routes_in_force_match_are_the_olders_whatever_its_spec_asks_for(
    older: str, younger: str, spec: dict[str, Any]
) -> None:
    stage, life = await a_stage()
    stage.route(older, match={"models": ["gpt-4.1"]})
    await stage.settle()
    # not in force, so relays have the older one with what it matched before
    stage.route(older, match={"models": ["o3"]}, **spec)
    await stage.settle()
    stage.route(younger, match={"models": ["gpt-4.1"]})
    await stage.settle()
    assert served(stage)[0] == older
    await life.end()


@in_virtual_time
async def test_a_route_that_was_never_in_force_and_cannot_be_used_keeps_no_other_out() -> None:
    stage, life = await a_stage()
    stage.route("older", **UNUSABLE)
    await stage.settle()
    stage.route("younger")
    await stage.settle()
    assert condition(stage, "Accepted", "younger") == ("True", Reason.ACCEPTED)
    assert served(stage) == ["younger"]
    await life.end()


@in_virtual_time
async def test_a_canary_starts_only_when_every_pod_holds_its_key() -> None:
    stage, life = await a_stage()
    stage.relays.refused.add("new")
    stage.route(canary={"provider": "new", "percent": 10})
    await stage.settle(12)
    assert condition(stage, "Ready") == ("False", Reason.PROVISIONING)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 0
    stage.relays.refused.clear()
    await stage.settle()
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 10
    assert condition(stage, "Ready") == ("True", Reason.NO_ANALYSIS)
    assert stage.moves() == ["Started"]
    await life.end()


@in_virtual_time
async def test_a_document_that_cannot_be_stored_is_told_by_the_route_and_its_tenant() -> None:
    stage, life = await a_stage()
    life.api.failures.statuses["ConfigMap"] = 403
    stage.route()
    await stage.settle()
    ready = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert (ready["status"], ready["reason"]) == ("False", Reason.API_SERVER_REFUSED)
    assert "ConfigMap: 403 injected" in ready["message"]
    assert condition(stage, "Accepted") == ("True", Reason.ACCEPTED)
    assert stage.condition("Tenant", "finance", "Ready")["reason"] == Reason.API_SERVER_REFUSED
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert condition(stage, "Ready") == ("True", Reason.NO_CANARY)
    assert stage.condition("Tenant", "finance", "Ready")["status"] == "True"
    await life.end()


@in_virtual_time
async def test_a_route_whose_document_waits_for_the_api_server_is_reconciling() -> None:
    stage, life = await a_stage()
    life.api.failures.statuses["ConfigMap"] = 503
    stage.route()
    await stage.settle()
    assert condition(stage, "Reconciling") == ("True", Reason.API_SERVER_UNAVAILABLE)
    assert condition(stage, "Stalled") == ("", "")
    assert served(stage) == ["chat"]
    await life.end()


@in_virtual_time
async def test_a_move_during_a_reconcile_never_shows_in_one_half_of_status() -> None:
    stage, life = await a_stage()
    analysis = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}
    spec: dict[str, Any] = {"canary": {"provider": "new", "percent": 50}, "analysis": analysis}
    stage.route(**spec)
    await stage.settle()
    written = stage.server.watch("RelayRoute")

    def roll_back() -> None:
        run = life.canaries.runs[SPACE, "chat"]
        run.verdict = Verdict(outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message="m")
        life.canaries.decide((SPACE, "chat"), now=stage.clock.now)
        life.publisher.set_weight(SPACE, "chat", 0)

    stage.relays.meanwhile = roll_back
    stage.route(match={"models": ["gpt-5"]}, **spec)
    await stage.settle()
    statuses = [event.object["status"] for event in written.taken()]
    assert statuses[-1]["phase"] == "RolledBack"
    for status in statuses:
        [ready] = [one for one in status["conditions"] if one["type"] == "Ready"]
        assert (ready["reason"] == Reason.ROLLED_BACK) == (status["phase"] == "RolledBack")
    await life.end()


@in_virtual_time
async def test_a_deleted_route_leaves_the_relays() -> None:
    stage, life = await a_stage()
    stage.route()
    await stage.settle()
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await stage.settle()
    assert served(stage) == []
    assert ("relay-finance", "chat") not in life.canaries.runs
    await life.end()


@in_virtual_time
async def test_a_route_whose_provider_is_not_usable_says_so_and_recovers() -> None:
    stage, life = await a_stage()
    ref = {"namespace": "relay-system", "name": "llm", "port": 80}
    stage.provider("inside", endpoint={"serviceRef": ref})
    stage.route(stable={"provider": "inside"})
    await stage.settle()
    accepted = stage.condition("RelayRoute", "chat", "Accepted", tenant="finance")
    assert accepted["message"] == (
        "Provider inside cannot be used yet: "
        "there is no Service relay-system/llm; create it, or create a Provider with another serviceRef"
    )
    service = {"apiVersion": "v1", "kind": "Service"}
    metadata = {"name": "llm", "namespace": "relay-system"}
    headless = {"ports": [{"port": 80}]}
    stage.server.put({**service, "metadata": metadata, "spec": headless})
    await stage.settle(10)
    told = stage.condition("Provider", "inside", "Ready")["message"]
    assert told.startswith(
        "Service relay-system/llm has no selector, so that nothing says which pods it leads to; add one"
    )
    spec = {"selector": {"app": "llm"}, "ports": [{"port": 80}]}
    stage.server.put({**service, "metadata": metadata, "spec": spec})
    await stage.settle(10)
    assert condition(stage, "Ready") == ("True", Reason.NO_CANARY)
    await life.end()


@in_virtual_time
async def test_a_tenants_status_names_the_generation_of_a_routes_change() -> None:
    stage, life = await a_stage()
    stage.route()
    await stage.settle()
    publication = life.publisher.publication(SPACE)
    assert publication is not None
    assert stage.status("Tenant", "finance")["relay"]["configGeneration"] == publication.generation
    await life.end()
