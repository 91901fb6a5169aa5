"""Credentials for the registry of the image reach the namespace of every tenant, from Secrets that the platform names."""

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.surroundings import SYSTEM
from tests.unit.relay_operator.virtual_time import in_virtual_time

SPACE = "relay-finance"
FIRST = {"registry.test": {"auth": "Zmlyc3Q="}}
SECOND = {"other.test": {"auth": "c2Vjb25k"}}


def put(stage: Stage, name: str, entry: str, value: Any) -> None:
    encoded = base64.b64encode(json.dumps(value).encode()).decode()
    metadata = {"name": name, "namespace": SYSTEM}
    body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {entry: encoded}}
    stage.server.put(body)


def stage_with(*named: str) -> Stage:
    stage = Stage()
    stage.platform = replace(stage.platform, image_pull_secrets=named)
    stage.tenant()
    return stage


def copied(stage: Stage) -> Any:
    secret = stage.server.get("Secret", "relay-image-pull", namespace=SPACE)
    if secret is None:
        return None
    assert secret["type"] == "kubernetes.io/dockerconfigjson"
    return json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))["auths"]


def pod_spec(stage: Stage) -> dict[str, Any]:
    deployment = stage.server.stored("Deployment", "relay", namespace=SPACE)
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


@in_virtual_time
async def test_the_credentials_of_all_named_secrets_are_in_one_that_relay_pods_name() -> None:
    stage = stage_with("first", "second")
    put(stage, "first", ".dockerconfigjson", {"auths": FIRST})
    put(stage, "second", ".dockercfg", SECOND)
    life = await stage.operator()
    await stage.settle()
    assert copied(stage) == FIRST | SECOND
    assert pod_spec(stage)["imagePullSecrets"] == [{"name": "relay-image-pull"}]
    # renewed ones follow with the next look at the tenant
    put(stage, "second", ".dockercfg", {})
    await stage.settle(700)
    assert copied(stage) == FIRST
    await life.end()


@in_virtual_time
async def test_without_any_nothing_is_copied() -> None:
    stage = stage_with()
    life = await stage.operator()
    await stage.settle()
    assert copied(stage) is None
    assert "imagePullSecrets" not in pod_spec(stage)
    await life.end()


@pytest.mark.parametrize("value", [None, "no map", {"auths": 3}, {}])
@in_virtual_time
async def test_a_secret_that_holds_none_keeps_nothing_else_from_the_tenant(value: Any) -> None:
    stage = stage_with("first")
    put(stage, "first", ".dockerconfigjson", {"auths": FIRST})
    life = await stage.operator()
    await stage.settle()
    put(stage, "first", ".dockerconfigjson", value)
    await stage.settle(700)
    assert copied(stage) == FIRST
    assert pod_spec(stage)["imagePullSecrets"]
    await life.end()


@in_virtual_time
async def test_it_goes_when_none_is_named_any_more_and_no_pod_was_made_with_it() -> None:
    stage = stage_with("first")
    put(stage, "first", ".dockerconfigjson", {"auths": FIRST})
    life = await stage.operator()
    await stage.settle()
    stage.roll()
    await stage.settle()
    await life.end()
    stage.platform = replace(stage.platform, image_pull_secrets=())
    life = await stage.operator()
    await stage.settle()
    assert "imagePullSecrets" not in pod_spec(stage)
    assert copied(stage) == FIRST, "a former pod may have to pull its image once more"
    stage.roll()
    await stage.settle()
    assert copied(stage) is None
    await life.end()


@in_virtual_time
async def test_one_of_the_name_that_is_not_the_operators_stays() -> None:
    stage = stage_with()
    own = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/dockerconfigjson"}
    config = base64.b64encode(json.dumps({"auths": SECOND}).encode()).decode()
    metadata = {"name": "relay-image-pull", "namespace": SPACE}
    life = await stage.operator()
    await stage.settle()
    stage.server.put(own | {"metadata": metadata, "data": {".dockerconfigjson": config}})
    stage.roll()
    await stage.settle()
    assert copied(stage) == SECOND
    await life.end()
