"""Definitions of an earlier version are told by the fields that they lack; those of this checkout lack none."""

import copy
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from relay_operator.errors import ApiServerRefused
from relay_operator.process import definitions

CRDS = Path(__file__).resolve().parents[4] / "crds"
Schemas = dict[str, Any]


@pytest.fixture
def schemas() -> Schemas:
    found = {}
    for file in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(file.read_text())["spec"]
        found[spec["names"]["kind"]] = spec["versions"][0]["schema"]["openAPIV3Schema"]
    return copy.deepcopy(found)


def publish(schemas: Schemas) -> Callable[[], Awaitable[Schemas]]:
    async def published() -> Schemas:
        return schemas

    return published


def count() -> float | None:
    return REGISTRY.get_sample_value("relay_operator_definition_fields_lacking")


def spec(schemas: Schemas, kind: str) -> Any:
    return schemas[kind]["properties"]["spec"]["properties"]


async def test_the_definitions_of_this_checkout_lack_nothing(
    schemas: Schemas, caplog: pytest.LogCaptureFixture
) -> None:
    await definitions.compare(publish(schemas))
    assert count() == 0
    assert caplog.records == []


async def test_each_field_is_named_at_any_depth(
    schemas: Schemas, caplog: pytest.LogCaptureFixture
) -> None:
    del spec(schemas, "Tenant")["tier"]
    del spec(schemas, "Tenant")["limits"]["properties"]["models"]["items"]["properties"]["name"]
    del spec(schemas, "RelayRoute")["canary"]["properties"]["progression"]
    await definitions.compare(publish(schemas))
    assert count() == 3
    [said] = caplog.records
    assert said.levelno == logging.WARNING
    for path in (
        "Tenant.spec.tier",
        "Tenant.spec.limits.models.name",
        "RelayRoute.spec.canary.progression",
    ):
        assert path in said.why  # type: ignore[attr-defined]
    assert "kubectl apply --server-side" in said.why  # type: ignore[attr-defined]


async def test_of_many_fields_a_few_are_named(
    schemas: Schemas, caplog: pytest.LogCaptureFixture
) -> None:
    spec(schemas, "Provider").clear()
    await definitions.compare(publish(schemas))
    assert " more, so the API server drops" in caplog.records[0].why  # type: ignore[attr-defined]


async def test_an_api_server_that_publishes_none_keeps_nobody_from_starting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def refused() -> Schemas:
        raise ApiServerRefused("GET /openapi/v3: 403", status=403)

    with caplog.at_level(logging.INFO):
        await definitions.compare(refused)
    assert "403" in caplog.records[0].why  # type: ignore[attr-defined]
