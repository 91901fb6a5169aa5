"""The operator's own objects: relay pods that come and go, and children that somebody else changed."""

from typing import Any, Final

from relay_operator import names
from relay_operator.handlers.context import Context
from relay_operator.reconcile.watched_objects import Body
from relay_operator.reconcile.work_queue import Key, Urgency

PODS: Final = "pods"
CHILDREN: Final = (
    ("", "v1", "namespaces"),
    ("", "v1", "configmaps"),
    ("", "v1", "services"),
    ("", "v1", "serviceaccounts"),
    ("apps", "v1", "deployments"),
    ("networking.k8s.io", "v1", "networkpolicies"),
    ("policy", "v1", "poddisruptionbudgets"),
    ("", "v1", "resourcequotas"),
    ("", "v1", "limitranges"),
    ("autoscaling", "v2", "horizontalpodautoscalers"),
    ("rbac.authorization.k8s.io", "v1", "rolebindings"),
)
"""Group, version and plural of every kind of child that is watched. The settings' label selectors keep other objects out."""
KINDS = (
    "Namespace",
    "ConfigMap",
    "Service",
    "ServiceAccount",
    "Deployment",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "ResourceQuota",
    "LimitRange",
    "HorizontalPodAutoscaler",
    "RoleBinding",
)
"""Every kind of child but Secrets: watching those needs the right to read all Secrets of the cluster."""


def watched() -> tuple[str, ...]:
    """Returns the plurals of the kinds that are watched with our label only."""
    return (PODS, *(plural for _, _, plural in CHILDREN))


async def pod_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    context.note_event(type, is_known=context.watched_state.pods.has_shown(body))
    if not context.watched_state.take_in_pod(body, deleted=type == "DELETED"):
        return
    namespace, urgency = body["metadata"]["namespace"], _urgency(type)
    context.queue.add(Key("Tenant", "", namespace.removeprefix(names.NAMESPACE_PREFIX)), urgency)
    for route in context.watched_state.routes.names(namespace=namespace):
        context.queue.add(Key("RelayRoute", namespace, route), urgency)


async def child_seen(body: Body, type: str | None, memo: Any, **_: Any) -> None:  # noqa: A002 - the watches' name
    context: Context = memo
    plain = dict(body)
    metadata = plain["metadata"]
    tenant = names.owner_of(plain["kind"], metadata.get("namespace", ""), metadata["name"])
    watched_state = context.watched_state
    if tenant is None or (watched_state.are_tenants_listed and tenant not in watched_state.tenants):
        return
    context.note_event(type, is_known=context.children.has_seen(plain))
    deleted, key = type == "DELETED", Key("Tenant", "", tenant)
    changed = watched_state.take_in_child(plain, deleted=deleted)
    disturbed = context.children.observe(plain, deleted=deleted)
    pause_seconds = context.children.pause_seconds(plain) if disturbed else 0.0
    if tenant not in watched_state.tenants:
        # its children are listed before it, and are not to be read one by one later
        return
    if pause_seconds:
        context.queue.add_after(key, pause_seconds)
    elif disturbed or changed:
        context.queue.add(key, _urgency(type))


def _urgency(type_: str | None) -> Urgency:
    """Returns how soon a Tenant is to be looked at for what is shown: one of a list of all goes after what somebody changes."""
    return Urgency.BACKGROUND if type_ is None else Urgency.NORMAL
