"""Ready does not flap while something new is on its way, and every change of it posts one Event."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator.names import Reason

SPACE = "relay-finance"


async def a_serving_route() -> tuple[Stage, Life]:
    stage = Stage()
    for name in ("legacy", "new"):
        stage.provider(name)
    stage.tenant()
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    stage.route()
    await stage.settle()
    assert ready(stage, "RelayRoute") == ready(stage, "Tenant") == "True"
    return stage, life


def ready(stage: Stage, kind: str) -> str:
    name, tenant = ("chat", "finance") if kind == "RelayRoute" else ("finance", "")
    return str(stage.condition(kind, name, "Ready", tenant=tenant)["status"])


async def readiness(stage: Stage, kind: str, *, seconds: float) -> list[str]:
    """Returns what Ready was during that time, each change once."""
    seen = [ready(stage, kind)]
    for _ in range(int(seconds / 0.1)):
        await stage.settle(0.1)
        if ready(stage, kind) != seen[-1]:
            seen.append(ready(stage, kind))
    return seen


def changes(stage: Stage, kind: str) -> list[tuple[str, str, str]]:
    """Returns type, reason and note of the Events about Ready of the objects of a kind, in order."""
    return [
        (event["type"], event["reason"], event["message"])
        for event in sorted(stage.server.list("Event"), key=lambda one: str(one["eventTime"]))
        if event["action"] == "Reconcile" and event["involvedObject"]["kind"] == kind
    ]


@pytest.mark.parametrize("kind", ["Tenant", "RelayRoute"])
@in_virtual_time
async def test_ready_stays_while_a_new_document_is_on_its_way(kind: str) -> None:
    stage, life = await a_serving_route()
    stage.relays.silent.add("relay-1")
    stage.route(canary={"provider": "legacy", "percent": 10, "model": "gpt-5"})
    assert await readiness(stage, kind, seconds=8) == ["True"]
    stage.relays.silent.clear()
    assert await readiness(stage, kind, seconds=20) == ["True"]
    assert [reason for _, reason, _ in changes(stage, kind)] == ["Ready"]
    await life.end()


@pytest.mark.parametrize("kind", ["Tenant", "RelayRoute"])
@in_virtual_time
async def test_ready_goes_after_some_seconds_and_comes_back_with_one_event_each(kind: str) -> None:
    stage, life = await a_serving_route()
    stage.relays.silent.add("relay-1")
    stage.route(canary={"provider": "legacy", "percent": 10, "model": "gpt-5"})
    assert await readiness(stage, kind, seconds=30) == ["True", "False"]
    stage.relays.silent.clear()
    assert await readiness(stage, kind, seconds=30) == ["False", "True"]
    found = changes(stage, kind)
    assert [(type_, reason) for type_, reason, _ in found] == [
        ("Normal", Reason.READY),
        ("Warning", Reason.WAITING_FOR_PODS),
        ("Normal", Reason.READY),
    ]
    assert found[1][2].startswith("0 of 1 relay pods run")
    await life.end()


@pytest.mark.parametrize("kind", ["Tenant", "RelayRoute"])
@in_virtual_time
async def test_ready_stays_while_pods_are_given_the_key_of_a_new_provider(kind: str) -> None:
    stage, life = await a_serving_route()
    stage.relays.refused.add("new")
    stage.route(canary={"provider": "new", "percent": 10})
    assert await readiness(stage, kind, seconds=3) == ["True"]
    stage.relays.refused.clear()
    assert await readiness(stage, kind, seconds=20) == ["True"]
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 10
    await life.end()


@in_virtual_time
async def test_a_key_that_does_not_exist_is_told_at_once_in_the_routes_own_words() -> None:
    stage, life = await a_serving_route()
    stage.provider("keyless", key=False)
    stage.route(canary={"provider": "keyless", "percent": 10})
    assert await readiness(stage, "RelayRoute", seconds=3) == ["True", "False"]
    found = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    assert found["reason"] == Reason.SECRET_MISSING
    assert (
        "there is no Secret relay-system/keyless-key with the label relay-operator.dev/provider=keyless; "
        "create it with the entry api-key, or label it" in found["message"]
    )
    assert changes(stage, "RelayRoute")[-1][:2] == ("Warning", Reason.SECRET_MISSING)
    await life.end()


@in_virtual_time
async def test_a_provider_posts_when_it_becomes_ready_and_when_it_is_no_more() -> None:
    stage = Stage()
    stage.provider("new", key=False)
    life = await stage.operator()
    await stage.settle()
    stage.secret("new-key")
    await stage.settle()
    stage.server.remove("Secret", "new-key", namespace="relay-system")
    await stage.settle()
    found = [(type_, reason) for type_, reason, _ in changes(stage, "Provider")]
    assert found == [
        ("Warning", Reason.SECRET_MISSING),
        ("Normal", Reason.READY),
        ("Warning", Reason.SECRET_MISSING),
    ]
    await life.end()


@in_virtual_time
async def test_two_operators_that_overlap_post_each_change_once() -> None:
    stage, life = await a_serving_route()
    second = stage.life()
    await second.start()
    stage.provider("keyless", key=False)
    stage.route(canary={"provider": "keyless", "percent": 10})
    await stage.settle(1)
    await life.end()
    await stage.settle()
    for kind in ("Tenant", "RelayRoute", "Provider"):
        found = [(reason, note) for _, reason, note in changes(stage, kind)]
        warnings = [one for one in found if one[0] != "Ready"]
        assert len(warnings) == len(set(warnings)) == 1
    await second.end()


@in_virtual_time
async def test_the_column_names_the_canary_in_force_and_not_the_one_that_was_refused() -> None:
    stage, life = await a_serving_route()
    stage.route(canary={"provider": "new", "model": "gpt-5", "percent": 10})
    await stage.settle()
    for canary in ("nobody", "new"):
        stage.route(canary={"provider": canary, "model": "gpt-6", "percent": 10})
        await stage.settle(1)
        told = stage.status("RelayRoute", "chat", tenant="finance")["inForce"]
        assert told == {
            "stable": "legacy",
            "canary": "new/gpt-5" if canary == "nobody" else "new/gpt-6",
        }
    stage.route()
    await stage.settle(1)
    told = stage.status("RelayRoute", "chat", tenant="finance")["inForce"]
    assert told == {"stable": "legacy", "canary": ""}
    await life.end()


@in_virtual_time
async def test_a_route_says_what_its_tenant_waits_for() -> None:
    stage = Stage()
    stage.provider("legacy")
    stage.tenant()
    namespace: dict[str, Any] = {"apiVersion": "v1", "kind": "Namespace"}
    stage.server.put({**namespace, "metadata": {"name": SPACE}})
    life = await stage.operator()
    await stage.settle()
    stage.route()
    await stage.settle()
    found = stage.condition("RelayRoute", "chat", "Ready", tenant="finance")
    told = stage.condition("Tenant", "finance", "Ready")["message"]
    assert found["message"] == f"waiting for the relay of Tenant finance: {told}"
    await life.end()
