"""Relay pods as the watch last showed them."""

from collections.abc import Iterator

from relay_operator.cluster.relays import Pod
from relay_operator.reconcile.watched_objects import Body


class WatchedPods:
    """Keeps pods by namespace and UID, and the form of each that has been queued for reconciling."""

    def __init__(self) -> None:
        self._pods: dict[str, dict[str, Pod]] = {}
        self._queued: dict[str, Pod] = {}

    def store(self, body: Body) -> None:
        """Keeps the pod that a list or a watch shows."""
        self.keep(_pod(body))

    def keep(self, pod: Pod) -> None:
        self._pods.setdefault(pod.namespace, {})[pod.uid] = pod

    def take_in(self, body: Body, *, deleted: bool) -> bool:
        """Stores what an event shows; True when its tenant must be queued: a fact changed, or the pod went."""
        pod = _pod(body)
        if deleted:
            self._queued.pop(pod.uid, None)
            return self._pods.get(pod.namespace, {}).pop(pod.uid, None) is not None
        self.keep(pod)
        if self._queued.get(pod.uid) == pod:
            return False
        self._queued[pod.uid] = pod
        return True

    def all(self) -> Iterator[Pod]:
        """Yields the pods of all namespaces."""
        for pods in self._pods.values():
            yield from pods.values()

    def addressable(self, namespace: str) -> tuple[Pod, ...]:
        """Returns the pods of a namespace that have an address."""
        return tuple(pod for pod in self._pods.get(namespace, {}).values() if pod.ip)

    def all_addressable(self) -> tuple[Pod, ...]:
        """Returns the pods of all namespaces that have an address."""
        return tuple(pod for pod in self.all() if pod.ip)


def _pod(body: Body) -> Pod:
    """Returns the facts of a relay pod the control plane works with; a finished pod has no address."""
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
