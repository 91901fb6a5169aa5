"""Checks that the operator and the ledger start with the least and the most that the chart's schema takes of each number."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.chart.rendering import flags, manifests, template
from tests.chart.test_chart import SCHEMA

from relay_ledger.settings import Settings as LedgerSettings
from relay_operator.settings import Settings

OF_OTHERS = ("alerts", "podMonitors", "tiers")
"""Sections that reach neither process as a setting."""
JUST_ABOVE = 0.001


def numbers(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields every number with bounds below a value, by its path."""
    if "$ref" in schema:
        schema = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    if "maximum" in schema:
        yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from numbers(inner, f"{path}.{name}")


NUMBERS = {
    path: bounds
    for section, schema in SCHEMA["properties"].items()
    if section not in OF_OTHERS
    for path, bounds in numbers(schema, section)
}


def least(bounds: dict[str, Any]) -> float:
    return float(bounds.get("minimum", bounds.get("exclusiveMinimum", 0) + JUST_ABOVE))


def values(which: str) -> list[str]:
    found = {
        path: bounds["maximum"] if which == "most" else least(bounds)
        for path, bounds in NUMBERS.items()
    }
    return [
        f"{path}={json.dumps(int(one) if one == int(one) else one)}" for path, one in found.items()
    ]


@pytest.mark.parametrize("which", ["least", "most"])
def test_the_bounds_of_the_schema_are_taken(which: str) -> None:
    assert len(NUMBERS) > 20
    report = '{"provider": "openai", "dialect": "openai", "secretName": "admin"}'
    sets = ["ledger.enabled=true", f"ledger.reports.sources=[{report}]", *values(which)]
    pods = {
        one["metadata"]["name"]: one["spec"]["template"]["spec"]["containers"][0]["env"]
        for one in manifests(template(*flags(sets, "--set-json")))
        if one["kind"] == "Deployment"
    }
    Settings.model_validate(fields(pods["relay-operator"], "OPERATOR_"))
    ledger = fields(pods["relay-operator-ledger"], "RELAY_LEDGER_")
    LedgerSettings.model_validate(ledger | {"reports": json.loads(ledger["reports"])})


def fields(environment: list[dict[str, Any]], prefix: str) -> dict[str, str]:
    return {
        one["name"].removeprefix(prefix).lower(): one["value"]
        for one in environment
        if "value" in one
    }
