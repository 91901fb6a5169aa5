"""Checks that the operator and the ledger start with the least and the most that the chart's schema takes of each number."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
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


TEXTS = {
    "prometheus.url": "prometheus_url",
    "webhook.url": "webhook_url",
    "webhook.allowedCIDRs[]": "webhook_allowed_cidrs",
    "dns.cidrs[]": "dns_cidrs",
    "dns.nameservers[]": "dns_nameservers",
    "dns.podSelector": "dns_pod_selector",
    "network.clusterCIDRs[]": "cluster_cidrs",
    "network.clusterDomain": "cluster_domain",
    "prometheus.podSelector": "prometheus_pod_selector",
    "prometheus.labels.job": "prometheus_job_label",
}
"""Texts of which the operator has a form of its own, with the setting that each becomes."""


@pytest.mark.parametrize(("path", "setting"), TEXTS.items())
@given(drawn=st.data())
def test_a_text_that_the_schema_takes_is_taken(
    path: str, setting: str, drawn: st.DataObject
) -> None:
    value = drawn.draw(st.from_regex(re.compile(pattern_of(path), re.ASCII), fullmatch=True))
    Settings.model_validate({setting: value, "webhook_secret_file": "/a"})


@given(drawn=st.data())
def test_a_header_that_the_schema_takes_is_taken(drawn: st.DataObject) -> None:
    schema = at("prometheus.headers")
    name, value = (
        drawn.draw(st.from_regex(re.compile(one["pattern"], re.ASCII), fullmatch=True))
        for one in (schema["propertyNames"], schema["additionalProperties"])
    )
    Settings.model_validate({"prometheus_headers": {name: value}})


def test_every_name_of_a_secret_has_the_form_of_one() -> None:
    secrets = [path for path in texts(SCHEMA, "") if path.lower().endswith("secretname")]
    assert len(secrets) > 5
    for path in secrets:
        assert re.search(pattern_of(path), "Not_A_Name") is None, path


def texts(schema: dict[str, Any], path: str) -> Iterator[str]:
    """Yields the path of every value that is a text."""
    schema = resolved(schema)
    if schema.get("type") == "string":
        yield path
    for name, inner in schema.get("properties", {}).items():
        yield from texts(inner, f"{path}.{name}".lstrip("."))
    if "items" in schema:
        yield from texts(schema["items"], f"{path}[]")


def at(path: str) -> dict[str, Any]:
    """Returns the schema of a value."""
    schema = SCHEMA
    for name in path.replace("[]", ".[]").split("."):
        schema = resolved(schema["items"] if name == "[]" else schema["properties"][name])
    return schema


def pattern_of(path: str) -> str:
    """Returns what a text must match; one may refer to a form, beside what else holds for it."""
    schema = at(path)
    parts = [schema, *(resolved(one) for one in schema.get("allOf", ()))]
    (pattern,) = (one["pattern"] for one in parts if "pattern" in one)
    return str(pattern)


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
    return found


def fields(environment: list[dict[str, Any]], prefix: str) -> dict[str, str]:
    return {
        one["name"].removeprefix(prefix).lower(): one["value"]
        for one in environment
        if "value" in one
    }
