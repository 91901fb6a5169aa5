"""What custom resource definitions lack of what this version reads: the fields of an object that an API server would drop in silence."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from relay_operator.api.custom_resource import Part
from relay_operator.api.provider import ProviderSpec
from relay_operator.api.relay_route import RelayRouteSpec
from relay_operator.api.tenant import TenantSpec
from relay_operator.api.tool_server import ToolServerSpec

Schema = Mapping[str, Any]

_SPECS: Final[Mapping[str, type[Part]]] = {
    "Tenant": TenantSpec,
    "Provider": ProviderSpec,
    "RelayRoute": RelayRouteSpec,
    "ToolServer": ToolServerSpec,
}


def lacking(schemas: Mapping[str, Schema]) -> tuple[str, ...]:
    """Returns the fields that the schemas of our kinds do not have, as KIND.spec.PATH; of kinds without a schema none."""
    return tuple(
        f"{kind}.{path}"
        for kind, model in _SPECS.items()
        if kind in schemas
        for path in _of_kind(model.model_json_schema(by_alias=True), schemas[kind])
    )


def _of_kind(wanted: Schema, found: Schema) -> list[str]:
    spec = found.get("properties", {}).get("spec", {})
    return sorted(set(_missing(wanted, spec, wanted.get("$defs", {}), "spec")))


def _missing(
    wanted: Schema, found: Schema, forms: Mapping[str, Schema], path: str
) -> Iterator[str]:
    """Walks both schemas side by side: a part of ours may be named, or one of several forms."""
    if "$ref" in wanted:
        wanted = forms[wanted["$ref"].rpartition("/")[2]]
    for form in (*wanted.get("anyOf", ()), *wanted.get("oneOf", ())):
        yield from _missing(form, found, forms, path)
    for inner in ("items", "additionalProperties"):
        if isinstance(wanted.get(inner), Mapping):
            yield from _missing(wanted[inner], found.get(inner) or {}, forms, path)
    there = found.get("properties", {})
    for name, part in wanted.get("properties", {}).items():
        if name in there:
            yield from _missing(part, there[name], forms, f"{path}.{name}")
        else:
            yield f"{path}.{name}"
