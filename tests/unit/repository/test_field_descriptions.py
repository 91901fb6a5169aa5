"""`kubectl explain` reads like documentation: every field of every custom resource says what it is for."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

CRDS = sorted((Path(__file__).resolve().parents[3] / "crds").glob("*.yaml"))
SET_BY_THE_API_SERVER = {"apiVersion", "kind", "metadata"}
"""Their descriptions too."""


def fields(schema: dict[str, Any], path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walks through all fields, those of objects in arrays and maps included."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}.{name}", field
        yield from fields(field, f"{path}.{name}")
    for inner in (schema.get("items"), schema.get("additionalProperties")):
        if isinstance(inner, dict):
            yield from fields(inner, path)


def all_fields() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for page in CRDS:
        definition = yaml.safe_load(page.read_text())["spec"]
        kind = definition["names"]["kind"]
        for version in definition["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            assert schema["description"]
            found |= dict(fields(schema, kind))
    return {
        path: field
        for path, field in found.items()
        if path.split(".")[1] not in SET_BY_THE_API_SERVER
    }


FIELDS = all_fields()


def test_the_fields_of_all_kinds_are_looked_at() -> None:
    kinds = {path.partition(".")[0] for path in FIELDS}
    assert kinds == {"Tenant", "Provider", "ToolServer", "RelayRoute", "PriceList"}
    assert "Tenant.spec.apiKeys.name" in FIELDS
    assert "RelayRoute.status.conditions.reason" in FIELDS


def test_every_field_is_described_in_words_and_with_a_full_stop() -> None:
    poor = {
        path: text
        for path, field in FIELDS.items()
        if len((text := field.get("description", "")).split()) < 3 or not text.endswith(".")
    }
    assert poor == {}


def test_every_value_that_a_field_can_have_is_named_in_its_description() -> None:
    unexplained = {}
    for path, field in FIELDS.items():
        values = field.get("enum") or field.get("items", {}).get("enum") or ()
        absent = [value for value in values if str(value) not in field["description"]]
        if absent:
            unexplained[path] = absent
    assert unexplained == {}
