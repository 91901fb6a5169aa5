"""Callers that are taken away: the network policy first, then every relay makes its connections anew."""

from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Life, Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

SPACE = "relay-finance"
WEB, BATCH = {"namespace": "web"}, {"namespace": "batch"}
BLOCK, HALF = {"cidr": "203.0.113.0/24"}, {"cidr": "203.0.113.0/25"}


async def a_serving_tenant(*allowed: dict[str, str]) -> tuple[Stage, Life]:
    stage = Stage()
    stage.tenant(network={"allowFrom": [*allowed]})
    life = await stage.operator()
    await stage.settle()
    stage.pod()
    await stage.settle()
    return stage, life


def renewals(stage: Stage) -> int:
    uid = stage.server.stored("Pod", "relay-1", namespace=SPACE)["metadata"]["uid"]
    return stage.relays.documents[uid].tenant.renewals


def ingress(stage: Stage) -> Any:
    policy = stage.server.stored("NetworkPolicy", "relay", namespace=SPACE)
    return policy["spec"]["ingress"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ([WEB], [WEB, BATCH], 0),
        ([WEB, BATCH], [BATCH, WEB], 0),
        ([WEB, BATCH], [WEB], 1),
        ([WEB], [], 1),
        ([BLOCK], [HALF], 1),
        ([WEB], [BATCH], 1),
    ],
)
@in_virtual_time
async def test_connections_are_made_anew_when_somebody_is_taken_away(
    before: list[dict[str, str]], after: list[dict[str, str]], expected: int
) -> None:
    stage, life = await a_serving_tenant(*before)
    stage.tenant(network={"allowFrom": after})
    await stage.settle()
    assert renewals(stage) == expected
    # and once alone
    stage.tenant(network={"allowFrom": after}, suspend=True)
    await stage.settle(700)
    assert renewals(stage) == expected
    await life.end()


@in_virtual_time
async def test_the_policy_is_in_force_before_connections_are_closed() -> None:
    stage, life = await a_serving_tenant(WEB, BATCH)
    seen: list[Any] = []

    def look() -> None:
        seen.append(str(ingress(stage)).count("batch"))

    stage.relays.meanwhile = look
    stage.tenant(network={"allowFrom": [WEB]})
    await stage.settle()
    assert renewals(stage) == 1
    assert seen[-1] == 0
    # a policy that cannot be written keeps who is there
    life.api.failures.statuses["NetworkPolicy"] = 422
    stage.tenant(network={"allowFrom": []})
    await stage.settle()
    assert renewals(stage) == 1
    life.api.failures.statuses.clear()
    await stage.settle(60)
    assert renewals(stage) == 2
    await life.end()


@in_virtual_time
async def test_callers_taken_away_while_the_operator_was_down_are_noticed() -> None:
    stage, life = await a_serving_tenant(WEB, BATCH)
    await life.end()
    stage.tenant(network={"allowFrom": [BATCH]})
    life = await stage.operator()
    await stage.settle()
    assert renewals(stage) == 1
    await life.end()
    life = await stage.operator()
    await stage.settle()
    assert renewals(stage) == 1
    await life.end()
