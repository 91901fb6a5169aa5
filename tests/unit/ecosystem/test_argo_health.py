"""The health check on the page for GitOps reads what the operator writes as the conditions mean it."""

from typing import Any

import pytest
from tests.ecosystem import argo_health, kstatus
from tests.unit.kubectl_relay.scenes import played
from tests.unit.relay_operator.virtual_time import in_virtual_time

HEALTH = {
    "climbing": "Healthy",
    "rolled back": "Degraded",
    "awaiting approval": "Suspended",
    "frozen": "Degraded",
    "paused": "Healthy",
    "promoted": "Healthy",
    "without a canary": "Healthy",
    "refused": "Degraded",
}
MEANT = {
    "Healthy": "Current",
    "Degraded": "Failed",
    "Progressing": "InProgress",
    "Suspended": "InProgress",
}


def of(body: dict[str, Any]) -> tuple[str, str]:
    return argo_health.health(body, argo_health.checks()[body["kind"]])


@pytest.mark.parametrize("story", HEALTH)
@in_virtual_time
async def test_health_is_what_the_conditions_say(story: str) -> None:
    told = await played(story)
    status, message = of(told.route)
    assert (status, MEANT[status]) == (HEALTH[story], kstatus.meant(told.route))
    assert message == kstatus.conditions(told.route)["Ready"]["message"]
    assert kstatus.contradiction(told.route) == ""
    for body in (told.tenant, *told.providers):
        assert MEANT[of(body)[0]] == kstatus.meant(body)


@in_virtual_time
async def test_what_the_operator_has_not_seen_is_on_its_way() -> None:
    told = await played("climbing")
    newer = told.route["metadata"] | {"generation": told.route["metadata"]["generation"] + 1}
    for body in (
        told.route | {"metadata": newer},
        {**told.route, "status": {"observedGeneration": -1}},
    ):
        assert of(body)[0] == "Progressing"
    assert of({"kind": "Tenant", "metadata": {"generation": 1}})[0] == "Progressing"


def test_every_kind_has_a_check() -> None:
    assert set(argo_health.checks()) == set(argo_health.KINDS)
