"""What the watches last said: parents and relay pods by key. A hint for reconciling, never a reason to delete."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_operator import names
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.cluster.relays import Pod
from relay_operator.errors import InvalidSpec
from relay_operator.manifests.environment import Upstream

Body = dict[str, Any]


@dataclass(slots=True)
class WatchedState:
    """routes and pods are kept by namespace; upstreams by provider, once resolved.

    resolved are the providers that were looked at since the operator's start: what is missing in upstreams has no
    address for certain only then.
    """

    tenants: dict[str, Body] = field(default_factory=dict)
    providers: dict[str, Body] = field(default_factory=dict)
    routes: dict[str, dict[str, Body]] = field(default_factory=dict)
    pods: dict[str, dict[str, Pod]] = field(default_factory=dict)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)

    def knows(self, kind: str, namespace: str, name: str) -> bool:
        """Whether the watch has shown this object and not its deletion."""
        return name in {"Tenant": self.tenants, "Provider": self.providers}.get(
            kind, self.routes.get(namespace, {})
        )

    def tenant_of_namespace(self, namespace: str) -> str | None:
        """Name of the tenant whose namespace this is by name; whether it owns it is for the reconciler to check."""
        name = namespace.removeprefix(names.NAMESPACE_PREFIX)
        return name if name != namespace and name in self.tenants else None

    def usable_providers(self) -> dict[str, Provider]:
        """Providers whose spec can be used and whose address is resolved."""
        usable = {}
        for name, body in self.providers.items():
            if name not in self.upstreams:
                continue
            try:
                usable[name] = Provider.parse(body)
            except InvalidSpec:
                continue
        return usable

    def unresolved(self, providers: Iterable[str]) -> set[str]:
        """Finds those of the providers that exist and were not looked at since the operator's start."""
        return {name for name in providers if name in self.providers} - self.resolved

    def parsed_routes(self, namespace: str) -> dict[str, RelayRoute]:
        """The namespace's routes that can be parsed."""
        parsed = {}
        for name, body in self.routes.get(namespace, {}).items():
            try:
                parsed[name] = RelayRoute.parse(body)
            except InvalidSpec:
                continue
        return parsed

    def relay_pods(self, namespace: str) -> tuple[Pod, ...]:
        """Relay pods that have an address."""
        return tuple(pod for pod in self.pods.get(namespace, {}).values() if pod.ip)

    def all_relay_pods(self) -> tuple[Pod, ...]:
        """Returns the relay pods of every tenant that have an address."""
        return tuple(pod for pods in self.pods.values() for pod in pods.values() if pod.ip)

    def tenants_using(self, provider: str) -> set[str]:
        """Tenants with a route that names the provider, whether or not the route is accepted."""
        using = set()
        for namespace, routes in self.routes.items():
            tenant = self.tenant_of_namespace(namespace)
            if tenant is not None and any(
                provider in self.named_providers(body) for body in routes.values()
            ):
                using.add(tenant)
        return using

    def provider_share(self, provider: str, tenant: str) -> float:
        """The tenant's share, by weight, of a provider's quota among the tenants that route to it; 0 to 1."""
        weights = {name: self._weight(name) for name in self.tenants_using(provider) | {tenant}}
        return weights[tenant] / sum(weights.values())

    def _weight(self, tenant: str) -> int:
        spec = self.tenants.get(tenant, {}).get("spec", {})
        return int(spec.get("queue", {}).get("weight", 1))

    @staticmethod
    def named_providers(route: Mapping[str, Any]) -> set[str]:
        """Providers a route's spec names, wherever."""
        spec = route.get("spec", {})
        sides = [spec.get("stable"), spec.get("canary"), *spec.get("fallback", [])]
        return {side.get("provider", "") for side in sides if side}


def pod_from(body: Body) -> Pod:
    """The facts of a relay pod the control plane works with."""
    status = body.get("status", {})
    conditions = {
        condition["type"]: condition["status"] for condition in status.get("conditions", [])
    }
    restarts = sum(
        container.get("restartCount", 0) for container in status.get("containerStatuses", [])
    )
    finished = status.get("phase") in ("Succeeded", "Failed")
    return Pod(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        ip="" if finished else status.get("podIP", ""),
        incarnation=restarts,
        ready=conditions.get("Ready") == "True",
        terminating="deletionTimestamp" in body["metadata"],
    )
