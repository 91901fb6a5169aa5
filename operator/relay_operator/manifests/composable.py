"""Custom resources that a document can be composed from.

What the document's own checks refuse is refused of the object that says it, when it is read; later it would stop every
object that shares the document.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from relay_contract import document
from relay_operator.api.custom_resource import first_problem
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute, Side
from relay_operator.api.tenant import Tenant
from relay_operator.api.tiers import Tiers
from relay_operator.api.tool_server import ToolServer
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composition
from relay_operator.manifests.tools import tool_use

Body = Mapping[str, Any]

_DIGEST = "0" * 64
_NO_TIERS = Tiers()
_CLUSTER_DOMAIN = "cluster.local"


def tenant(body: Body, tiers: Tiers = _NO_TIERS) -> Tenant:
    """Parses a Tenant, with what its tier supplies. Raises InvalidSpec, here and below, that names the first field that
    does not fit.
    """
    spec = body.get("spec")
    if not isinstance(spec, Mapping):
        return filled_tenant(body)
    effective = tiers.fill_in(spec)
    parsed = filled_tenant({**body, "spec": effective.spec})
    return parsed.model_copy(update={"origin": effective.origin})


def filled_tenant(body: Body) -> Tenant:
    """Parses a Tenant as it is, whatever tier it names."""
    parsed = Tenant.parse({**body, "origin": {}})
    with _refusals_of_the_document():
        keys = {
            key.name: document.ApiKey(name=key.name, sha256=_DIGEST) for key in parsed.spec.api_keys
        }
        composition.tenant_part(
            parsed,
            keys,
            replicas=parsed.spec.relay.fewest_pods,
            tools=tool_use.patterns_alone(parsed.spec.tools),
        )
    return parsed


def provider(body: Body, cluster_domain: str = _CLUSTER_DOMAIN) -> Provider:
    """Parses a Provider, whose Service has its name in a cluster of this DNS domain."""
    parsed = Provider.parse({**body, "clusterDomain": cluster_domain})
    with _refusals_of_the_document():
        composition.provider_part(parsed, share=1)
    return parsed


def tool_server(body: Body, cluster_domain: str = _CLUSTER_DOMAIN) -> ToolServer:
    """Parses a ToolServer, as provider does a Provider."""
    parsed = ToolServer.parse({**body, "clusterDomain": cluster_domain})
    with _refusals_of_the_document():
        tool_use.server_part(parsed)
    return parsed


def route(body: Body) -> RelayRoute:
    """Parses a RelayRoute."""
    parsed = RelayRoute.parse(body)
    with _refusals_of_the_document():
        fragment(parsed)
    return parsed


def fragment(route: RelayRoute) -> document.Route:
    """Composes a route's fragment as far as its spec alone decides it: fingerprints stand for any Providers."""
    spec = route.spec
    sides = (spec.stable, *([spec.canary] if spec.canary else []), *spec.fallback)
    providers = {side.provider: _some_provider(side) for side in sides}
    return composition.route_part(route, providers, canary_percent=0)


def _some_provider(side: Side) -> Provider:
    return Provider.parse(
        {"metadata": {"name": side.provider, "uid": ""}, "spec": {"endpoint": {}}}
    )


@contextmanager
def _refusals_of_the_document() -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        raise InvalidSpec(first_problem(error)) from error
