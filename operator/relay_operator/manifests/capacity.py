"""Bounds of what runs in a tenant's namespace, sized so that its relay has room and nothing else has; and its autoscaler."""

from collections.abc import Iterable
from decimal import Decimal

from relay_operator import names
from relay_operator.api.quantities import amount, amount_text
from relay_operator.api.tenant import Tenant
from relay_operator.manifests.document_size import MOST_ROUTES
from relay_operator.manifests.environment import Manifest
from relay_operator.manifests.namespace import metadata
from relay_operator.manifests.workload import SURGE_PODS

MOST_ROUTES_KEPT = MOST_ROUTES + 100
"""Routes of one tenant that the API server keeps; those that no document has room for say so, and can be changed or deleted."""
_ROUTES = f"count/relayroutes.{names.GROUP}"

Amounts = Iterable[tuple[str, str, str]]
"""Compute resources of pods: requests or limits, cpu or memory, amount."""

_NOTHING_ELSE = (
    "count/cronjobs.batch",
    "count/daemonsets.apps",
    "count/jobs.batch",
    "count/replicationcontrollers",
    "count/statefulsets.apps",
    "persistentvolumeclaims",
)


def most_pods(tenant: Tenant) -> int:
    """Returns how many relay pods there can be: while all are replaced, each former one drains beside its successor."""
    return 2 * tenant.spec.relay.most_pods + SURGE_PODS


def quota(tenant: Tenant, present: Amounts = (), *, routes: int = 0) -> Manifest:
    """Returns the ResourceQuota. present are the resources of pods that there are, or may be again, of other templates.

    routes are those that there are. From more than a document holds they are bounded as well, or one tenant's would fill the
    operators' memory; not before, for right after the installation the API server cannot count them yet, and would refuse all.
    """
    pods = most_pods(tenant)
    each = _largest(tenant, present)
    hard = {
        f"{kind}.{resource}": amount_text(of_one * pods)
        for (kind, resource), of_one in sorted(each.items())
    }
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": metadata(tenant, names.RELAY),
        "spec": {
            "hard": {
                "pods": str(pods),
                **hard,
                **dict.fromkeys(_NOTHING_ELSE, "0"),
                **({_ROUTES: str(MOST_ROUTES_KEPT)} if are_routes_bounded(routes) else {}),
            }
        },
    }


def are_routes_bounded(routes: int) -> bool:
    """Tells whether a tenant with that many routes is kept from making ever more."""
    return routes > MOST_ROUTES


def limit_range(tenant: Tenant, present: Amounts = ()) -> Manifest:
    """Returns the LimitRange: no container is larger than the relay's, and one that names no resources has the relay's."""
    each = _largest(tenant, present)
    own = tenant.spec.relay.resources
    most = {
        resource: amount_text(
            max(each["limits", resource], each.get(("requests", resource), Decimal()))
        )
        for resource in sorted(own.limits)
    }
    requests = {name: amount_text(amount(value)) for name, value in sorted(own.requests.items())}
    # the API server would fill in a request where there is a limit alone
    requests = {**most, **requests}
    limits = {"type": "Container", "default": most, "defaultRequest": requests, "max": most}
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": metadata(tenant, names.RELAY),
        "spec": {"limits": [{name: value for name, value in limits.items() if value}]},
    }


def autoscaler(tenant: Tenant) -> Manifest | None:
    """Returns the HorizontalPodAutoscaler; None for a tenant that asks for a fixed number of pods."""
    scaling = tenant.spec.relay.autoscaling
    if scaling is None:
        return None
    target = {"type": "Utilization", "averageUtilization": scaling.cpu_percent}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata(tenant, names.RELAY),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.RELAY},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def _largest(tenant: Tenant, present: Amounts) -> dict[tuple[str, str], Decimal]:
    """Returns the largest amount of each resource that the tenant's template names, over all templates."""
    own = tenant.spec.relay.resources
    each = {
        (kind, name): amount(value)
        for kind, amounts in (("requests", own.requests), ("limits", own.limits))
        for name, value in amounts.items()
    }
    for kind, name, text in present:
        if (kind, name) in each:
            each[kind, name] = max(each[kind, name], amount(text))
    return each
