"""Finds the tenant or the route that a command is about."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubectl_relay.cluster.kubectl import Kubectl
from kubectl_relay.errors import Forbidden, NotFound, PluginError
from kubectl_relay.views import raw
from relay_operator.names import NAMESPACE_PREFIX, tenant_namespace


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Names the namespace and the tenant of the options; empty if they name none."""

    namespace: str = ""
    tenant: str = ""

    @property
    def named(self) -> str:
        """Returns the namespace that was named; raises PluginError if the options name two."""
        by_tenant = tenant_namespace(self.tenant) if self.tenant else ""
        if self.namespace and by_tenant and self.namespace != by_tenant:
            raise PluginError(
                f"namespace {self.namespace} and tenant {self.tenant} (whose namespace is {by_tenant}) are two places; "
                "leave one of them out"
            )
        return self.namespace or by_tenant


def route(kubectl: Kubectl, name: str, place: Place) -> Mapping[str, Any]:
    """Reads the route of this name: ROUTE or TENANT/ROUTE. Without a place it is looked for in all namespaces."""
    tenant, slash, own_name = name.rpartition("/")
    if slash:
        place = _with_tenant(place, tenant)
    if place.named:
        return _in_namespace(kubectl, own_name, place.named)
    try:
        found = kubectl.routes_named(own_name)
    except Forbidden:
        return _in_namespace(kubectl, own_name, kubectl.namespace())
    return _only(kubectl, own_name, found)


def tenant_name(kubectl: Kubectl, name: str, place: Place) -> str:
    """Returns the tenant that is named, or whose namespace is; raises PluginError without either, or if they are two."""
    named = _with_tenant(place, name) if name else place
    if named.named:
        found = _tenant_of(named.named)
        if not found:
            raise PluginError(
                f"namespace {named.named} is no tenant's; name the tenant, or its namespace"
            )
        return found
    current = kubectl.namespace()
    if not _tenant_of(current):
        raise PluginError(
            f"which tenant? Name it, or choose its namespace with -n (the current one, {current}, is no tenant's)"
        )
    return _tenant_of(current)


def tenant(kubectl: Kubectl, name: str) -> Mapping[str, Any]:
    """Reads a Tenant; raises NotFound that names those that are there."""
    try:
        return kubectl.tenant(name)
    except NotFound as error:
        others = _names(kubectl.tenants())
        raise NotFound(f"there is no Tenant {name}; {others or 'there is none at all'}") from error


def _with_tenant(place: Place, tenant: str) -> Place:
    """Adds the tenant that a target names; raises PluginError if the options name another."""
    if place.tenant and place.tenant != tenant:
        raise PluginError(
            f"the target names tenant {tenant} and --tenant {place.tenant}; leave one of them out"
        )
    return Place(namespace=place.namespace, tenant=tenant)


def _tenant_of(namespace: str) -> str:
    is_tenants = namespace.startswith(NAMESPACE_PREFIX)
    return namespace.removeprefix(NAMESPACE_PREFIX) if is_tenants else ""


def _in_namespace(kubectl: Kubectl, name: str, namespace: str) -> Mapping[str, Any]:
    try:
        return kubectl.route(namespace, name)
    except NotFound as error:
        others = _names(kubectl.routes(namespace))
        raise NotFound(
            f"there is no RelayRoute {name} in namespace {namespace}; {others or 'that namespace has none'}"
        ) from error


def _only(kubectl: Kubectl, name: str, found: list[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Returns the one route; of several the one in the current namespace."""
    if not found:
        raise NotFound(
            f"there is no RelayRoute {name} in any namespace; kubectl get relayroutes -A lists them"
        )
    if len(found) == 1:
        return found[0]
    current = kubectl.namespace()
    spaces = [raw.text(raw.part(one, "metadata"), "namespace") for one in found]
    if current in spaces:
        return found[spaces.index(current)]
    raise PluginError(
        f"{len(found)} namespaces have a RelayRoute {name}: {_listed(spaces)}; say which with -n NAMESPACE or as TENANT/{name}"
    )


def _names(bodies: list[Mapping[str, Any]]) -> str:
    return f"there are {_listed([raw.name_of(one) for one in bodies])}" if bodies else ""


def _listed(names: list[str]) -> str:
    more = len(names) - 10
    return ", ".join(sorted(names)[:10]) + (f" and {more} more" if more > 0 else "")
