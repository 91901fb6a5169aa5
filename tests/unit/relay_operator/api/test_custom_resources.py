"""The frozen forms and the CRDs describe the same objects."""

import types
import typing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from relay_operator.api.durations import seconds
from relay_operator.api.provider import Provider, ProviderSpec
from relay_operator.api.quantities import amount
from relay_operator.api.relay_route import RelayRouteSpec
from relay_operator.api.tenant import Tenant, TenantSpec
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composable
from relay_operator.names import API_VERSION

CRDS = Path(__file__).resolve().parents[4] / "crds"
KINDS = [("tenants", TenantSpec), ("providers", ProviderSpec), ("relayroutes", RelayRouteSpec)]


def schema_of(plural: str) -> dict[str, Any]:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def model_in(annotation: Any) -> type[BaseModel] | None:
    """The model an annotation holds, alone, optional or in a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (tuple, typing.Union, types.UnionType):
        return next(
            (found for part in typing.get_args(annotation) if (found := model_in(part))), None
        )
    return None


def differences(model: type[BaseModel], schema: dict[str, Any], where: str) -> list[str]:
    """Fields that only one of the two knows, all the way down."""
    schema = schema.get("items", schema)
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    found = [f"{where}.{name}" for name in fields.keys() ^ schema.get("properties", {}).keys()]
    for name, field in fields.items():
        nested = model_in(field.annotation)
        if nested is not None and name in schema.get("properties", {}):
            found += differences(nested, schema["properties"][name], f"{where}.{name}")
        required = name in schema.get("required", [])
        if required != field.is_required() and name in schema.get("properties", {}):
            found.append(f"{where}.{name} (required)")
    return found


@pytest.mark.parametrize(("plural", "model"), KINDS, ids=[plural for plural, _ in KINDS])
def test_crd_and_model_know_the_same_fields(plural: str, model: type[BaseModel]) -> None:
    assert differences(model, schema_of(plural)["properties"]["spec"], "spec") == []


def unbounded(schema: dict[str, Any], where: str) -> list[str]:
    """Strings, lists, maps and numbers of a spec without an upper bound."""
    kind = schema.get("type")
    bound = {
        "string": ("maxLength", "enum"),
        "array": ("maxItems",),
        "integer": ("maximum", "format"),
        "number": ("maximum",),
    }
    found = [where] if kind in bound and not any(key in schema for key in bound[kind]) else []
    if kind == "object" and "additionalProperties" in schema and "maxProperties" not in schema:
        found.append(where)
    for name, part in schema.get("properties", {}).items():
        found += unbounded(part, f"{where}.{name}")
    return found + (unbounded(schema["items"], f"{where}[]") if "items" in schema else [])


@pytest.mark.parametrize("plural", [plural for plural, _ in KINDS])
def test_everything_a_person_may_write_is_bounded(plural: str) -> None:
    assert unbounded(schema_of(plural)["properties"]["spec"], "spec") == []


@pytest.mark.parametrize("plural", [plural for plural, _ in KINDS])
def test_kinds_follow_the_conventions(plural: str) -> None:
    crd = yaml.safe_load((CRDS / f"{plural}.yaml").read_text())["spec"]
    version = crd["versions"][0]
    assert f"{crd['group']}/{version['name']}" == API_VERSION
    assert crd["names"]["categories"] == ["relay"]
    assert version["subresources"] == {"status": {}}
    status = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    assert status["default"] == {"observedGeneration": -1}
    assert status["properties"]["conditions"]["x-kubernetes-list-map-keys"] == ["type"]


@pytest.mark.parametrize(
    ("text", "expected"), [("10s", 10), ("1h30m", 5400), ("500ms", 0.5), ("1m0s", 60)]
)
def test_durations_in_kubernetes_spelling(text: str, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "10", "s", "1d", "10 s", "-5s", "1s2"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        seconds(text)


def test_a_body_that_does_not_fit_names_the_field() -> None:
    with pytest.raises(InvalidSpec, match=r"spec\.queue\.concurrency"):
        Tenant.parse(
            {"metadata": {"name": "a", "uid": "u"}, "spec": {"queue": {"concurrency": "many"}}}
        )


def test_a_service_reference_becomes_a_cluster_address() -> None:
    ref = {"namespace": "providers", "name": "legacy", "port": 80}
    provider = Provider.parse(
        {"metadata": {"name": "p", "uid": "u"}, "spec": {"endpoint": {"serviceRef": ref}}}
    )
    assert provider.url == "http://legacy.providers.svc.cluster.local:80/v1"


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("100m", Decimal("0.1")),
        ("64Mi", Decimal(64 * 1024**2)),
        ("1.5G", Decimal(1_500_000_000)),
        (2, Decimal(2)),
        ("1e3", Decimal(1000)),
        ("2E", Decimal(2 * 10**18)),
        (".5", Decimal("0.5")),
        ("+1k", Decimal(1000)),
    ],
)
def test_amounts_are_read_as_kubernetes_does(text: object, number: Decimal) -> None:
    assert amount(text) == number


@pytest.mark.parametrize("text", ["", "-1", "1 Mi", "Mi", "1Zi", "1e", "much", None])
def test_what_is_no_amount_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="is not an amount"):
        amount(text)


@pytest.mark.parametrize(
    "resources",
    [
        {"limits": {"memory": "64Mi"}},
        {"limits": {"cpu": "50m"}},
        {"requests": {"memory": "1Gi"}},
        {"requests": {"cpu": "-1"}, "limits": {"cpu": 1}},
    ],
)
def test_resources_that_the_api_server_would_refuse_are_refused_of_the_tenant(
    resources: dict[str, Any],
) -> None:
    body = {"metadata": {"name": "a", "uid": "u"}, "spec": {"relay": {"resources": resources}}}
    with pytest.raises(InvalidSpec, match=r"spec\.relay\.resources"):
        Tenant.parse(body)


def test_a_service_has_its_name_in_the_domain_of_the_cluster() -> None:
    reference = {"namespace": "models", "name": "vllm", "port": 8000, "path": "/v1"}
    body = {"metadata": {"name": "p", "uid": "u"}, "spec": {"endpoint": {"serviceRef": reference}}}
    usual = composable.provider(body)
    elsewhere = composable.provider(body, cluster_domain="k8s.example.com")
    assert usual.url == "http://vllm.models.svc.cluster.local:8000/v1"
    assert elsewhere.url == "http://vllm.models.svc.k8s.example.com:8000/v1"
