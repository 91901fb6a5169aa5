"""The trial tells how far a call came, and leaves nothing behind in any case."""

import asyncio
from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.commands import trial
from relay_operator.errors import OperatorError

TRIAL = trial.Trial(
    tenant="helm-test", namespace="relay-system", service="trial", port=8080, seconds=20.0
)
SPACE = "relay-helm-test"


async def staged(*, with_operator: bool = True) -> tuple[Stage, Any]:
    """Returns a cluster as the chart's hooks leave it for the trial, with an operator that runs."""
    stage = Stage()
    metadata = {
        "name": SPACE,
        "annotations": {names.ANNOTATION_TENANT: "helm-test"},
        "labels": {names.POD_SECURITY_ENFORCE: "restricted"},
    }
    stage.server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    ports = [{"port": 8080, "targetPort": "provider", "protocol": "TCP"}]
    stage.server.put(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "trial", "namespace": "relay-system"},
            "spec": {"selector": {"app.kubernetes.io/name": "trial"}, "ports": ports},
        }
    )
    life = await stage.operator() if with_operator else None
    await stage.settle()
    return stage, life


def left(stage: Stage) -> list[str]:
    kinds = ("Tenant", "Provider", "RelayRoute")
    return [kind for kind in kinds for _ in stage.server.list(kind)]


@in_virtual_time
async def test_it_calls_with_the_tenants_key_and_removes_all_it_made() -> None:
    stage, life = await staged()
    keys: list[str] = []
    said: list[str] = []

    async def call(key: str) -> bool:
        keys.append(key)
        await asyncio.sleep(0.1)
        return len(keys) > 2

    await trial.attempt(stage.server.connect(), TRIAL, call, say=said.append)
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert said[0] == "Provider helm-test is made"
    assert said[-2:] == [
        "a call went from here through the tenant's relay to its provider and back",
        "tenant helm-test is removed",
    ]
    assert left(stage) == []
    await life.end()


@in_virtual_time
async def test_a_call_that_does_not_come_through_is_explained_and_all_is_removed() -> None:
    stage, life = await staged()

    async def call(_: str) -> bool:
        return False

    with pytest.raises(OperatorError) as refused:
        await trial.attempt(stage.server.connect(), TRIAL, call, say=lambda _: None)
    said = str(refused.value)
    assert said.startswith("no call came through in 20 s; Provider helm-test: ")
    assert "Tenant helm-test: " in said
    assert "no operator has looked at it" not in said
    assert left(stage) == []
    await life.end()


@in_virtual_time
async def test_without_an_operator_it_says_so() -> None:
    stage, _ = await staged(with_operator=False)

    async def call(_: str) -> bool:
        return True

    with pytest.raises(OperatorError, match="Tenant helm-test: no operator has looked at it"):
        await trial.attempt(stage.server.connect(), TRIAL, call, say=lambda _: None)
    assert left(stage) == []


@in_virtual_time
async def test_what_an_interrupted_trial_left_is_removed_and_said() -> None:
    stage, life = await staged()
    stage.server.put(trial.manifests(TRIAL)[0])

    async def call(_: str) -> bool:
        return True

    with pytest.raises(OperatorError, match="Provider helm-test was there already"):
        await trial.attempt(stage.server.connect(), TRIAL, call, say=lambda _: None)
    assert left(stage) == []
    await life.end()
