"""Measures the isolation of every tenant: when it is new, when its policies or pods change, and every now and then.

A network that stops to enforce policies does so on a node, for all who run there. So on every node some tenant is probed
much more often than each of them, in turns; what that one shows lets the others on its node be probed at once. A relay pod
that lies, is silent or never ends its answer costs its own tenant, and one of a bounded number of places for some seconds.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from typing import Final

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.relays import Pod
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.isolation.prober import MOST_PODS, Prober
from relay_operator.reconcile.watched_objects import Invalid
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

logger = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.5
_MOST_AT_ONCE: Final = 8
_SENTINEL_SECONDS: Final = 20.0
"""Between probes of some tenant on a node."""
_UNREADY_SECONDS: Final = 10.0
"""A pod that is not ready for this long is probed all the same: it may wait for a certificate."""
_SWEEP_SECONDS: Final = 300.0
"""Between probes of all tenants of a node because of what one of them showed, which may be a lie."""

Incarnation = tuple[str, int]


class IsolationWatch:
    """Probes until cancelled."""

    def __init__(
        self,
        *,
        records: IsolationRecords,
        prober: Prober,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        clock: Callable[[], float],
    ) -> None:
        self._records = records
        self._prober = prober
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._clock = clock
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._seen: dict[str, frozenset[Incarnation]] = {}
        self._unready_since: dict[str, float] = {}
        self._turns: dict[str, int] = {}
        self._last_on: dict[str, str] = {}
        self._sentinels_at = 0.0
        self._swept_at: dict[str, float] = {}

    async def run(self) -> None:
        """Looks at every tick which tenants are due."""
        try:
            while True:
                self._tick()
                await asyncio.sleep(_TICK_SECONDS)
        finally:
            for task in self._probing.values():
                task.cancel()

    def _tick(self) -> None:
        now = self._clock()
        for namespace in [one for one, task in self._probing.items() if task.done()]:
            # raises what nobody expected, so that the operator is started anew
            self._probing.pop(namespace).result()
        serving = dict(self._serving())
        self._records.forget_all_but(serving)
        self._seen = {name: known for name, known in self._seen.items() if name in serving}
        self._unready_since = {
            name: since for name, since in self._unready_since.items() if name in serving
        }
        for namespace, pods in serving.items():
            self._note_new_pods(namespace, pods)
        if now - self._sentinels_at >= _SENTINEL_SECONDS:
            self._sentinels_at = now
            self._choose_sentinels(serving)
        self._start_due(serving, now)

    def _serving(self) -> Iterator[tuple[str, list[Pod]]]:
        """Yields the tenants that own their namespace, with their pods that serve."""
        for name in self._watched_state.tenants.names():
            namespace = names.tenant_namespace(name)
            if self._watched_state.owns(namespace):
                pods = self._watched_state.relay_pods(namespace)
                yield (
                    namespace,
                    self._chosen(namespace, [pod for pod in pods if not pod.terminating]),
                )

    def _chosen(self, namespace: str, pods: list[Pod]) -> list[Pod]:
        """Chooses the pods that are ready; all of them where none is for long."""
        ready = [pod for pod in pods if pod.ready]
        if ready or not pods:
            self._unready_since.pop(namespace, None)
            return ready
        since = self._unready_since.setdefault(namespace, self._clock())
        return pods if self._clock() - since >= _UNREADY_SECONDS else []

    def _note_new_pods(self, namespace: str, pods: list[Pod]) -> None:
        now_there = frozenset((pod.uid, pod.incarnation) for pod in pods)
        if now_there - self._seen.get(namespace, frozenset()):
            self._records.probe_anew(namespace)
        self._seen[namespace] = now_there

    def _choose_sentinels(self, serving: dict[str, list[Pod]]) -> None:
        on: dict[str, list[str]] = {}
        for namespace, pods in sorted(serving.items()):
            for host in {pod.host_ip for pod in pods}:
                on.setdefault(host, []).append(namespace)
        for host, namespaces in on.items():
            last = self._last_on.get(host, "")
            chosen = next((one for one in namespaces if one > last), namespaces[0])
            self._last_on[host] = chosen
            self._records.probe_soon([chosen])
        self._last_on = {host: last for host, last in self._last_on.items() if host in on}

    def _start_due(self, serving: dict[str, list[Pod]], now: float) -> None:
        """Starts those that have waited longest; first those whose keys wait for it."""
        due = [
            (not record.is_open, record.due_at, namespace)
            for namespace, pods in serving.items()
            if pods and namespace not in self._probing
            if (record := self._records.of(namespace)).due_at <= now
        ]
        for _, _, namespace in sorted(due)[: _MOST_AT_ONCE - len(self._probing)]:
            probing = self._probe(namespace, self._turn(namespace, serving[namespace]))
            self._probing[namespace] = asyncio.create_task(probing)

    def _turn(self, namespace: str, pods: list[Pod]) -> list[Pod]:
        """Chooses the pods of a round, each in its turn."""
        ordered = sorted(pods, key=lambda pod: pod.name)
        if len(ordered) <= MOST_PODS:
            return ordered
        begin = self._turns.get(namespace, 0) % len(ordered)
        self._turns[namespace] = begin + MOST_PODS
        return [*ordered[begin:], *ordered[:begin]][:MOST_PODS]

    async def _probe(self, namespace: str, pods: list[Pod]) -> None:
        tenant = self._tenant(namespace)
        publication = self._publisher.publication(namespace)
        if tenant is None or publication is None or publication.upstreams is None:
            # nothing was provisioned in this life of the operator yet
            self._records.postpone(namespace, seconds=_TICK_SECONDS)
            return
        self._records.begin(namespace)
        found = await self._prober.probe(tenant, pods, tuple(publication.upstreams.values()))
        was_exposed = self._records.of(namespace).finding.holds is False
        if not self._records.note(namespace, found, jitter=random.random()):
            return
        record = self._records.of(namespace)
        is_exposed = record.finding.holds is False
        logger.log(
            logging.WARNING if is_exposed else logging.INFO,
            "isolation judged",
            extra={
                "namespace": namespace,
                "reason": record.finding.reason.value,
                "why": record.finding.message,
            },
        )
        name = namespace.removeprefix(names.NAMESPACE_PREFIX)
        self._queue.add(Key("Tenant", "", name), Urgency.URGENT if is_exposed else Urgency.NORMAL)
        if is_exposed and not was_exposed:
            self._sweep({pod.host_ip for pod in pods})

    def _tenant(self, namespace: str) -> Tenant | None:
        """Returns the Tenant whose spec is in force."""
        name = self._watched_state.tenant_of_namespace(namespace)
        watched = self._watched_state.tenants.get(name) if name is not None else None
        if watched is None or watched.is_being_deleted:
            return None
        if not isinstance(watched.resource, Invalid):
            return watched.resource
        publication = self._publisher.publication(namespace)
        return publication.tenant if publication is not None else None

    def _sweep(self, hosts: set[str]) -> None:
        now = self._clock()
        hosts = {
            host
            for host in hosts
            if now - self._swept_at.get(host, -_SWEEP_SECONDS) >= _SWEEP_SECONDS
        }
        for host in hosts:
            self._swept_at[host] = now
        self._records.probe_soon(
            namespace
            for namespace, pods in self._serving()
            if any(pod.host_ip in hosts for pod in pods)
        )
