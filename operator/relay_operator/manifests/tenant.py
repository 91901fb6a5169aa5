"""All objects of a tenant, in the order in which they must exist: bounds, isolation, credentials, then the relay."""

from collections.abc import Iterable

from relay_operator.api.tenant import Tenant
from relay_operator.manifests import capacity, namespace, policies, workload
from relay_operator.manifests.environment import Manifest, Platform, Upstream


def bounds(
    tenant: Tenant, present: capacity.Amounts = (), *, routes: int = 0
) -> tuple[Manifest, ...]:
    """Returns what bounds what may be in the namespace. present are the resources of pods of other templates; routes are counted."""
    return capacity.quota(tenant, present, routes=routes), capacity.limit_range(tenant, present)


def sealing_off(tenant: Tenant) -> tuple[Manifest, ...]:
    """Returns those of the isolation that are the same for every spec."""
    return policies.default_deny(tenant), namespace.service_account(tenant)


def isolation(
    tenant: Tenant, platform: Platform, upstreams: Iterable[Upstream], *, note: str = ""
) -> tuple[Manifest, ...]:
    """Returns the network policies and the ServiceAccount: in force before any credential or weight."""
    return (
        policies.default_deny(tenant),
        policies.relay_traffic(tenant, platform, upstreams, note=note),
        namespace.service_account(tenant),
    )


def relay(tenant: Tenant, deployment: Manifest | None) -> tuple[Manifest, ...]:
    """Returns the objects that serve the traffic; no Deployment where it is to be left as it is."""
    deployments = () if deployment is None else (deployment,)
    return (*deployments, workload.service(tenant), workload.disruption_budget(tenant))
