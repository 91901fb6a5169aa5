"""Relay pods as the watch last showed them. A label is a claim of who made the pod: only some claims can be true."""

import ipaddress
from collections.abc import Callable, Container, Iterator

from relay_operator import names
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.relay_pods import troubles
from relay_operator.decisions.rollouts.deployments import resources_of
from relay_operator.reconcile.watched_objects import Body

_MOST_PODS_A_NAMESPACE = 256
"""A Tenant has 50 at most, and as many again of each older form that terminates."""
_MOST_UNCLAIMED = 1024
"""Pods of tenants that are not known: a pod can be shown before its Tenant."""


def is_relay_pod(body: Body) -> bool:
    """Tells whether the pod is in the namespace of the tenant that its label names, as every relay pod is."""
    metadata = body["metadata"]
    labels = metadata.get("labels") or {}
    tenant = labels.get(names.LABEL_TENANT)
    return (
        isinstance(tenant, str)
        and metadata["namespace"] == names.tenant_namespace(tenant)
        and labels.get(names.LABEL_NAME) == names.RELAY
    )


class WatchedPods:
    """Keeps pods by namespace and UID, and the form of each that has been queued for reconciling."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, Pod]] = {}
        self._queued: dict[str, Pod] = {}
        self._strange: set[str] = set()
        self._are_tenants_listed = False
        self.changes = 0
        """How often a pod was shown that was not known, or not like that."""
        self.changed: Callable[[str], None] = lambda _namespace: None
        """Called with the namespace of a pod that came, went or is another than before."""

    def store(self, body: Body, *, claimed: Container[str]) -> None:
        """Keeps the pod that a list or a watch shows. claimed are the tenants that are known."""
        if is_relay_pod(body) and self._has_room(body["metadata"], claimed):
            self.keep(_pod(body))

    def tenants_are_listed(self, claimed: Container[str]) -> None:
        """Takes in that every Tenant has been shown: until then all of their pods may be listed before them."""
        self._are_tenants_listed = True
        kept = 0
        for namespace in sorted(self._strangers(claimed)):
            kept += len(self._pods[namespace])
            if kept > _MOST_UNCLAIMED:
                for uid in self._pods.pop(namespace):
                    self._queued.pop(uid, None)
                self.changed(namespace)

    def keep(self, pod: Pod) -> None:
        kept = self._pods.setdefault(pod.namespace, {})
        before, kept[pod.uid] = kept.get(pod.uid), pod
        if before != pod:
            self.changes += 1
            self.changed(pod.namespace)

    def take_in(self, body: Body, *, deleted: bool, claimed: Container[str]) -> bool:
        """Stores what an event shows; True when its tenant must be queued: a fact changed, or the pod went."""
        namespace, uid = body["metadata"]["namespace"], body["metadata"]["uid"]
        if deleted or not is_relay_pod(body):
            return self._remove(namespace, uid)
        self.store(body, claimed=claimed)
        pod = self._pods.get(namespace, {}).get(uid)
        if pod is None or self._queued.get(uid) == pod:
            return False
        self._queued[uid] = pod
        return True

    def has_shown(self, body: Body) -> bool:
        """Tells whether this very pod is known, in whatever form."""
        return body["metadata"]["uid"] in self._pods.get(body["metadata"]["namespace"], {})

    def _remove(self, namespace: str, uid: str) -> bool:
        self._queued.pop(uid, None)
        pods = self._pods.get(namespace, {})
        known = pods.pop(uid, None) is not None
        if known and not pods:
            del self._pods[namespace]
        if known:
            self.changed(namespace)
        return known

    def _has_room(self, metadata: Body, claimed: Container[str]) -> bool:
        namespace = metadata["namespace"]
        pods = self._pods.get(namespace, {})
        if metadata["uid"] in pods:
            return True
        if len(pods) >= _MOST_PODS_A_NAMESPACE and not self._drop_one_without_address(namespace):
            return False
        if metadata["labels"][names.LABEL_TENANT] in claimed:
            return True
        if self._are_tenants_listed:
            strangers = self._strangers(claimed)
            if sum(len(self._pods[one]) for one in strangers) >= _MOST_UNCLAIMED:
                return False
        self._strange.add(namespace)
        return True

    def _drop_one_without_address(self, namespace: str) -> bool:
        """Makes room for a pod by one that nothing is sent to, such as an evicted one that nobody deletes; tells whether there was one."""
        pods = self._pods[namespace]
        uid = next((uid for uid, pod in pods.items() if not pod.ip), None)
        if uid is None:
            return False
        del pods[uid]
        self._queued.pop(uid, None)
        self.changed(namespace)
        return True

    def _strangers(self, claimed: Container[str]) -> set[str]:
        """Returns the namespaces with pods of tenants that are not known; looks at those alone that had some before."""
        self._strange = {
            one
            for one in self._strange
            if one in self._pods and one.removeprefix(names.NAMESPACE_PREFIX) not in claimed
        }
        return self._strange

    def all(self) -> Iterator[Pod]:
        """Yields the pods of all namespaces."""
        for pods in self._pods.values():
            yield from pods.values()

    def addressable(self, namespace: str) -> tuple[Pod, ...]:
        """Returns the pods of a namespace that have an address."""
        return tuple(pod for pod in self._pods.get(namespace, {}).values() if pod.ip)

    def troubles(self, namespace: str) -> tuple[str, ...]:
        """Returns why pods of a namespace are not up, each reason once, with a pod that has it."""
        found: dict[str, str] = {}
        for pod in self._pods.get(namespace, {}).values():
            if pod.trouble and not pod.terminating:
                found.setdefault(pod.trouble, pod.name)
        return tuple(f"pod {name}: {trouble}" for trouble, name in sorted(found.items()))

    def resources(self, namespace: str) -> set[tuple[str, str, str]]:
        """Returns the compute resources of all pods of a namespace, those that terminate included."""
        pods = self._pods.get(namespace, {}).values()
        return {one for pod in pods for one in pod.resources}

    def namespaces(self) -> tuple[str, ...]:
        """Returns the namespaces with such a pod."""
        return tuple(self._pods)


def _pod(body: Body) -> Pod:
    """Returns the facts of a relay pod the control plane works with; a finished pod has no address."""
    status = body.get("status") or {}
    conditions = {one.get("type"): one.get("status") for one in status.get("conditions") or ()}
    restarts = sum(one.get("restartCount") or 0 for one in status.get("containerStatuses") or ())
    finished = status.get("phase") in ("Succeeded", "Failed")
    return Pod(
        namespace=body["metadata"]["namespace"],
        name=body["metadata"]["name"],
        uid=body["metadata"]["uid"],
        ip="" if finished else _address(status.get("podIP", "")),
        incarnation=restarts,
        ready=conditions.get("Ready") == "True",
        terminating="deletionTimestamp" in body["metadata"],
        trouble=troubles.of_pod(body),
        host_ip=_address(status.get("hostIP", "")),
        resources=resources_of(body.get("spec") or {}),
    )


def _address(text: str) -> str:
    """Returns what is an IP address, and nothing for anything else: it becomes part of a URL.

    A zone (fe80::1%eth0, RFC 4007) means something on one node alone.
    """
    try:
        return "" if "%" in str(text) else str(ipaddress.ip_address(text))
    except ValueError:
        return ""
