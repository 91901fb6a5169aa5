"""A Provider that is deleted and made again as another upstream moves no traffic without a canary or a person's word."""

import base64
from typing import Any

import pytest
from tests.unit.relay_operator.operator_life import Life
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract import document
from relay_operator.names import ANNOTATION_ALLOW_JUMP, Reason

SPACE = "relay-finance"
ELSEWHERE: dict[str, Any] = {"endpoint": {"url": "https://elsewhere.example.com/v1"}}
ANALYSIS = {"minRequests": 10, "errorRate": {"maxPercent": 1}}
CANARY = {"provider": "new", "percent": 50, "progression": {"stepPercent": 50, "every": "1h"}}


async def a_stage(**route: Any) -> tuple[Stage, Life]:
    stage = Stage()
    life = await stage.operator_of_a_tenant("legacy", "new")
    stage.route(**route)
    await stage.settle()
    return stage, life


async def made_again(stage: Stage, provider: str, **spec: Any) -> None:
    """Deletes a Provider and makes it again a moment later, with another key."""
    stage.server.remove("Provider", provider)
    await stage.settle(2)
    stage.secret(f"{provider}-key", value=base64.b64encode(b"another").decode())
    stage.provider(provider, key=False, **spec)
    await stage.settle(20)


def in_force(stage: Stage) -> document.Document:
    (found,) = stage.relays.documents.values()
    return found


def address(stage: Stage, provider: str = "legacy") -> str:
    return next(one.url for one in in_force(stage).catalogue.providers if one.name == provider)


def shown_key(stage: Stage, provider: str = "legacy") -> bytes:
    secret = stage.server.stored("Secret", "relay-upstream", namespace=SPACE)
    return base64.b64decode(secret["data"][provider])


def ready(stage: Stage, route: str = "chat") -> tuple[str, str, str]:
    found = stage.condition("RelayRoute", route, "Ready", tenant="finance")
    return found["status"], found["reason"], found["message"]


@pytest.mark.parametrize("restarts", [False, True])
@in_virtual_time
async def test_stable_stays_what_it_was_until_a_person_allows_the_jump(restarts: bool) -> None:
    stage, life = await a_stage()
    await made_again(stage, "legacy", **ELSEWHERE)
    if restarts:
        await life.end()
        life = await stage.operator()
        await stage.settle(20)
    status, reason, message = ready(stage)
    assert (status, reason) == ("False", Reason.UNGUARDED_CHANGE)
    assert "since it was deleted and made again" in message
    assert address(stage) == "https://legacy.example.com/v1"
    assert shown_key(stage) == b"key", "the new key is shown to the former address"
    told = stage.condition("Tenant", "finance", "CredentialsReady")["message"]
    assert "Provider legacy was made again as another upstream" in told
    # no change of the tenant moves it either
    stage.tenant(queue={"concurrency": 7})
    await stage.settle(20)
    assert address(stage) == "https://legacy.example.com/v1"
    token = message.partition(f"{ANNOTATION_ALLOW_JUMP}=")[2].split(";")[0]
    stage.route(annotations={ANNOTATION_ALLOW_JUMP: token})
    await stage.settle(20)
    assert address(stage) == "https://elsewhere.example.com/v1"
    assert shown_key(stage) == b"another"
    assert ready(stage)[:2] == ("True", Reason.NO_CANARY)
    assert "made again" not in stage.condition("Tenant", "finance", "CredentialsReady")["message"]
    await life.end()


@in_virtual_time
async def test_a_provider_that_is_made_as_it_was_ends_the_wait() -> None:
    stage, life = await a_stage()
    await made_again(stage, "legacy", **ELSEWHERE)
    assert ready(stage)[1] == Reason.UNGUARDED_CHANGE
    await made_again(stage, "legacy")
    assert ready(stage)[:2] == ("True", Reason.NO_CANARY)
    assert address(stage) == "https://legacy.example.com/v1"
    # and the new upstream comes by a canary
    stage.provider("second", **ELSEWHERE)
    stage.route(canary=CANARY | {"provider": "second"}, analysis=ANALYSIS)
    await stage.settle(20)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 50
    await life.end()


@in_virtual_time
async def test_other_names_of_models_are_another_upstream_too() -> None:
    models = [{"name": "gpt-4.1", "upstreamName": "gpt-4.1-2025"}]
    stage, life = await a_stage()
    stage.provider("legacy", models=models)
    await stage.settle()
    await made_again(stage, "legacy", models=[{"name": "gpt-4.1", "upstreamName": "gpt-4.1-mini"}])
    assert ready(stage)[1] == Reason.UNGUARDED_CHANGE
    (provider,) = in_force(stage).catalogue.providers
    assert [one.upstream_name for one in provider.models] == ["gpt-4.1-2025"]
    await life.end()


@in_virtual_time
async def test_the_same_upstream_made_again_stops_nothing() -> None:
    stage, life = await a_stage(canary=CANARY, analysis=ANALYSIS)
    before = in_force(stage).tenant.routes[0].stable.fingerprint
    await made_again(stage, "legacy", models=[{"name": "gpt-4.1"}])
    assert ready(stage)[0] == "True"
    assert in_force(stage).tenant.routes[0].stable.fingerprint != before
    assert shown_key(stage) == b"another"
    await life.end()


@in_virtual_time
async def test_a_canary_made_again_elsewhere_begins_anew_without_weight() -> None:
    stage, life = await a_stage(canary=CANARY, analysis=ANALYSIS)
    assert stage.relays.weight("relay-1", "chat", namespace=SPACE) == 50
    (former,) = in_force(stage).tenant.routes
    seen: list[tuple[str, str, int]] = []

    def look() -> None:
        (route,) = in_force(stage).tenant.routes
        assert route.canary is not None
        seen.append((address(stage, "new"), route.canary.fingerprint, route.canary_percent))

    stage.server.remove("Provider", "new")
    await stage.settle(2)
    stage.provider("new", **ELSEWHERE)
    for _ in range(400):
        await stage.settle(0.05)
        look()
    assert former.canary is not None
    moved = [one for one in seen if one[0] == ELSEWHERE["endpoint"]["url"]]
    assert moved
    assert former.canary.fingerprint not in {one[1] for one in moved if one[2]}
    assert moved[-1][2] == 50
    status = stage.status("RelayRoute", "chat", tenant="finance")
    assert [one["reason"] for one in status["history"]] == [
        "Started",
        "ReturnedToStable",
        "Started",
    ]
    await life.end()


@in_virtual_time
async def test_a_route_that_goes_frees_the_name() -> None:
    stage, life = await a_stage()
    await made_again(stage, "legacy", **ELSEWHERE)
    # another route cannot have the new one while this one keeps the former
    stage.route("second", match={"models": ["gpt-5"]})
    await stage.settle(20)
    status, reason, message = ready(stage, "second")
    assert (status, reason) == ("False", Reason.UNGUARDED_CHANGE)
    assert "route chat" in message
    stage.server.remove("RelayRoute", "chat", namespace=SPACE)
    await stage.settle(30)
    assert ready(stage, "second")[0] == "True"
    assert address(stage) == "https://elsewhere.example.com/v1"
    await life.end()
