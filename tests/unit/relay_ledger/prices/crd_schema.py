"""What the schema of a custom resource definition says of an object; its CEL rules are the API server's alone (tests/contract)."""

import functools
import re
from pathlib import Path
from typing import Any, Final

import yaml

CRDS: Final = Path(__file__).resolve().parents[4] / "crds"
_TYPES: Final = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


@functools.cache
def schema_of(plural: str) -> dict[str, Any]:
    """Returns the schema of spec; read once, as nobody changes it."""
    crd = yaml.load((CRDS / f"{plural}.yaml").read_text(), Loader=yaml.CSafeLoader)
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema["properties"]["spec"]  # type: ignore[no-any-return]


def problems(value: Any, schema: dict[str, Any], where: str = "spec") -> list[str]:
    """Returns what the schema has against a value, all the way down."""
    if not isinstance(value, _TYPES[schema["type"]]) or (
        isinstance(value, bool) and schema["type"] != "boolean"
    ):
        return [f"{where}: no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        found += [
            f"{where}.{one} is missing"
            for one in schema.get("required", [])
            if one not in value and "default" not in schema["properties"][one]
        ]
        for name, inner in value.items():
            if name in schema["properties"]:
                found += problems(inner, schema["properties"][name], f"{where}.{name}")
            else:
                found.append(f"{where}.{name} is unknown")
    if isinstance(value, list):
        for place, inner in enumerate(value):
            found += problems(inner, schema["items"], f"{where}[{place}]")
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys:
            named = [tuple(one.get(key, "") for key in keys) for one in value]
            found += [f"{where}: one of {keys} stands twice"] * (len(set(named)) < len(named))
    return found + [f"{where}: {one}" for one in _bounds(value, schema)]


def _bounds(value: Any, schema: dict[str, Any]) -> list[str]:
    sized = isinstance(value, str | list | dict)
    size = len(value) if sized else value
    least = [
        schema[one]
        for one in ("minLength", "minItems", "minProperties", "minimum")
        if one in schema
    ]
    most = [
        schema[one]
        for one in ("maxLength", "maxItems", "maxProperties", "maximum")
        if one in schema
    ]
    found = [f"{size} is below {one}" for one in least if size < one]
    found += [f"{size} is above {one}" for one in most if size > one]
    if "pattern" in schema and not re.search(schema["pattern"], value):
        found.append(f"{value!r} does not match")
    if "enum" in schema and value not in schema["enum"]:
        found.append(f"{value!r} is none of {schema['enum']}")
    return found
