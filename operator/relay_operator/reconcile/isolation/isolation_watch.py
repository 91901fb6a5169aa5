"""Measures the isolation of every tenant: when it is new, when its policies or pods change, and every now and then.

A network that stops to enforce policies does so on a node, for all who run there. So on every node some tenant is probed
much more often than each of them, in turns; what that one shows lets the others on its node be probed at once. A relay pod
that lies, is silent or never ends its answer costs its own tenant, and one of a bounded number of places for some seconds.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Callable
from typing import Final

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.isolation.finding import Finding
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
_SECONDS_OF_A_NODE: Final = 1.0
"""One node a second at most, however many there are: of more than twenty, each one's turn comes later."""
_TRIED_ON_A_NODE: Final = 8
"""Tenants that are looked at for a pod to probe from."""
_SWEEP_SECONDS: Final = 300.0
"""Between probes of all tenants of a node because of what one of them showed, which may be a lie."""


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
        self._due: set[str] = set()
        self._line: list[tuple[bool, float, str]] = []
        self._changed: set[str] = set()
        watched_state.directory.changed = self._changed.add
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._turns: dict[str, int] = {}
        self._last_on: dict[str, str] = {}
        self._looked_at = 0.0
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
        for namespace in [one for one, task in self._probing.items() if task.done()]:
            self._end(namespace, self._probing.pop(namespace))
        self._take_in_changes()
        nodes = len(self._watched_state.directory.hosts())
        pause = max(_SENTINEL_SECONDS, nodes * _SECONDS_OF_A_NODE)
        if self._clock() - self._looked_at >= pause:
            self._looked_at = self._clock()
            self._choose_sentinels()
        self._take_due()
        self._start_due()

    def _end(self, namespace: str, probing: asyncio.Task[None]) -> None:
        """Logs what nobody expected of a round: one tenant's pods must not end the watch of all; it is probed again."""
        error = None if probing.cancelled() else probing.exception()
        if error is not None:
            logger.error(
                "probe ended unexpectedly, will retry",
                exc_info=error,
                extra={"namespace": namespace},
            )
            self._records.probe_later(namespace, seconds=_SENTINEL_SECONDS)

    def _take_in_changes(self) -> None:
        """Takes in the pods of the tenants whose pods changed, and forgets those that are gone."""
        self._watched_state.directory.settle()
        while self._changed:
            namespace = self._changed.pop()
            if self._watched_state.leads(namespace):
                self._records.note_pods(namespace, self._watched_state.relay_pods(namespace))
            else:
                self._records.forget(namespace)
                self._turns.pop(namespace, None)

    def _pods(self, namespace: str) -> list[Pod]:
        """Returns the pods to probe a tenant from: those that are ready; all of them where none is for long."""
        pods = [pod for pod in self._watched_state.relay_pods(namespace) if not pod.terminating]
        ready = [pod for pod in pods if pod.ready]
        return pods if not ready and self._records.are_unready_for_long(namespace) else ready

    def _choose_sentinels(self) -> None:
        """Lets some tenant of every node be probed, the next in turn of those with a pod to probe from."""
        directory = self._watched_state.directory
        hosts = directory.hosts()
        self._last_on = {host: self._last_on.get(host, "") for host in hosts}
        for host in hosts:
            for _ in range(_TRIED_ON_A_NODE):
                chosen = self._last_on[host] = directory.next_on(host, after=self._last_on[host])
                is_led = self._watched_state.leads(chosen)
                if is_led and any(pod.host_ip == host for pod in self._pods(chosen)):
                    self._records.probe_soon([chosen])
                    break

    def _take_due(self) -> None:
        for namespace in self._records.take_due():
            self._due.add(namespace)
            heapq.heappush(self._line, (*self._urgency(namespace), namespace))

    def _start_due(self) -> None:
        """Starts those that have waited longest; first those whose keys wait for it."""
        being_probed = []
        while self._line and len(self._probing) < _MOST_AT_ONCE:
            entry = heapq.heappop(self._line)
            namespace = entry[-1]
            if namespace not in self._due:
                continue
            if namespace in self._probing:
                being_probed.append(entry)
                continue
            self._due.discard(namespace)
            pods = self._pods(namespace) if self._watched_state.leads(namespace) else []
            if pods:
                probing = self._probe(namespace, self._turn(namespace, pods))
                self._probing[namespace] = asyncio.create_task(probing)
            else:
                # due again as soon as one is ready
                self._records.wait_for_pods(namespace)
        for entry in being_probed:
            heapq.heappush(self._line, entry)

    def _urgency(self, namespace: str) -> tuple[bool, float]:
        record = self._records.of(namespace)
        return not record.is_open, record.due_at

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
            self._records.probe_soon([namespace])
            return
        self._records.begin(namespace)
        found = await self._prober.probe(tenant, pods, publication.opened)
        was_exposed = self._records.of(namespace).finding.holds is False
        if self._records.note(namespace, found, jitter=random.random()):
            self._tell(namespace, self._records.of(namespace).finding)
            if self._records.of(namespace).finding.holds is False and not was_exposed:
                self._sweep({pod.host_ip for pod in pods})

    def _tell(self, namespace: str, finding: Finding) -> None:
        is_exposed = finding.holds is False
        fields = {
            "namespace": namespace,
            "reason": finding.reason.value,
            "why": finding.message,
        }
        level = logging.WARNING if is_exposed else logging.INFO
        logger.log(level, "isolation judged", extra=fields)
        key = Key("Tenant", "", namespace.removeprefix(names.NAMESPACE_PREFIX))
        self._queue.add(key, Urgency.URGENT if is_exposed else Urgency.NORMAL)

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
        """Lets all tenants of these nodes be probed, but for nodes of which all were a moment ago."""
        now = self._clock()
        hosts = {
            host
            for host in hosts
            if now - self._swept_at.get(host, -_SWEEP_SECONDS) >= _SWEEP_SECONDS
        }
        self._swept_at |= dict.fromkeys(hosts, now)
        for host in hosts:
            there = self._watched_state.directory.on(host)
            self._records.probe_soon(filter(self._watched_state.leads, there))
