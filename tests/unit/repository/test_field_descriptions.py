"""`kubectl explain` reads like documentation: every field of every custom resource says what it is for."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from relay_operator.api.durations import seconds
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.api.tool_server import ToolServer

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


def model_of(annotation: Any) -> type[BaseModel] | None:
    """Returns the form that a field holds, in a list or optional as it may be."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := model_of(one))), None)


def forms(model: type[BaseModel], path: str) -> Iterator[tuple[str, FieldInfo]]:
    """Walks through all fields of a form by the names that the custom resource has for them."""
    for name, field in model.model_fields.items():
        where = f"{path}.{field.alias or to_camel(name)}"
        yield where, field
        inner = model_of(field.annotation)
        if inner is not None:
            yield from forms(inner, where)


def is_told(default: object, text: str) -> bool:
    """Tells whether a description names a default: a number, a word, a duration, or none for nothing."""
    if isinstance(default, bool):
        return text.startswith(str(default).lower())
    if default == "":
        return text == "none"
    try:
        return seconds(text) == default
    except ValueError:
        return text.startswith(f"{default:g}" if isinstance(default, float) else str(default))


def test_every_default_that_a_description_tells_is_the_operators() -> None:
    told = {}
    for resource in (Tenant, Provider, RelayRoute, ToolServer):
        spec = model_of(resource.model_fields["spec"].annotation)
        assert spec is not None
        for path, field in forms(spec, f"{resource.__name__}.spec"):
            found = re.search(
                r"Default (.+?)(?:[;.,]? |[;.]$|\.$)", FIELDS.get(path, {}).get("description", "")
            )
            if found and isinstance(field.default, bool | int | float | str):
                told[path] = (found[1], field.default)
    assert len(told) > 35
    assert {path: one for path, one in told.items() if not is_told(one[1], one[0])} == {}
