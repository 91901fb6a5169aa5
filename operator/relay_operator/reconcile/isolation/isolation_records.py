"""Keeps what is known of the isolation of every tenant, and whether its providers' keys are handed out."""

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.isolation import record as records
from relay_operator.decisions.isolation.finding import Finding
from relay_operator.decisions.isolation.record import Record
from relay_operator.reconcile.fleet.relay_directory import turn
from relay_operator.reconcile.watched_objects import Watched
from relay_operator.reconcile.watched_state import WatchedState

UNREADY_SECONDS = 10.0
"""Pods none of which is ready for this long are probed all the same."""
_SECONDS_EACH = 1.5
"""Two tenants in three seconds at most are probed for no reason but that it is long ago: each of 5,000 every two hours."""

Incarnation = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Withholding:
    """Tells why no key of a provider is handed out; until_probed tells that this ends with the first probe."""

    why: str
    until_probed: bool = False


class IsolationRecords:
    """Records by namespace. is_required tells whether a tenant that is not isolated is given no key of a provider.

    What is due stands in a heap, so that time costs what is due and not what there is. Nobody sets clock; wall is for what is told.
    """

    def __init__(
        self,
        *,
        watched_state: WatchedState,
        is_required: bool,
        period_seconds: float,
        clock: Callable[[], float],
        wall: Callable[[], float],
    ) -> None:
        self._watched_state = watched_state
        self._period_seconds = period_seconds
        self._clock, self._wall = clock, wall
        self._records: dict[str, Record] = {}
        self._uids: dict[str, str] = {}
        self._due: list[tuple[float, str]] = []
        self._waiting: set[str] = set()
        self._changed: set[str] = set()
        self._ready: dict[str, frozenset[Incarnation]] = {}
        self._unready_since: dict[str, float] = {}
        self.is_required = is_required

    def of(self, namespace: str) -> Record:
        """Returns the record of a tenant; one that an earlier life of the operator told is taken over.

        Another Tenant of the same name inherits nothing.
        """
        name = self._watched_state.tenant_of_namespace(namespace)
        watched = self._watched_state.tenants.get(name) if name is not None else None
        return Record() if watched is None else self.of_tenant(watched)

    def of_tenant(self, watched: Watched[Tenant]) -> Record:
        """Returns the record of a Tenant that exists."""
        namespace = names.tenant_namespace(watched.name)
        if self._uids.get(namespace) != watched.uid:
            self._uids[namespace] = watched.uid
            self._ready.pop(namespace, None)
            self._keep(namespace, self._remembered(namespace, watched.status))
        return self._records[namespace]

    def _remembered(self, namespace: str, status: Mapping[str, Any]) -> Record:
        """Returns what an earlier life of the operator told; who was isolated is probed in turn, as many a second as at rest.

        The probes of nodes take the tenants of each in the same order, so that they come before most of these, which then need not be.
        """
        record = records.remembered(status)
        if not record.finding.holds:
            return record
        place = turn(namespace) * self._watched_state.tenants.count
        return replace(record, due_at=self._clock() + place * _SECONDS_EACH)

    def begin(self, namespace: str) -> None:
        """Notes that a round of probes of a tenant begins: it sees what changed before."""
        self._changed.discard(namespace)

    def note(self, namespace: str, found: Finding, *, jitter: float) -> bool:
        """Takes in what a round of probes found; tells whether the tenant has to be reconciled because of it."""
        before = self.of(namespace)
        period = max(self._period_seconds, self._watched_state.tenants.count * _SECONDS_EACH)
        after = records.after(
            before, found, now=self._clock(), period_seconds=period, jitter=jitter
        )
        if after.proven_at != before.proven_at:
            after = replace(after, proven_at=self._wall())
        if namespace in self._changed:
            # while it was being probed: what was found is of both, before and after
            after = records.due_soon(after, now=self._clock())
        self._keep(namespace, after)
        return (after.finding, after.is_open) != (before.finding, before.is_open)

    def note_pods(self, namespace: str, pods: Iterable[Pod]) -> None:
        """Lets a tenant be probed within a moment where one of its pods is ready that was not when last looked at.

        Where none is, it is probed all the same after a while: they may wait for a certificate. Pods that a new life of the
        operator finds are those of which an earlier one told, or wait for their tenant's turn.
        """
        staying = [pod for pod in pods if not pod.terminating]
        ready = frozenset((pod.uid, pod.incarnation) for pod in staying if pod.ready)
        record = self.of(namespace)
        before = self._ready.get(namespace)
        is_inherited = before is None and bool(record.finding.holds)
        if not is_inherited and ready - (before or frozenset()):
            self.probe_anew(namespace)
        self._ready[namespace] = ready
        if ready or not staying:
            self._unready_since.pop(namespace, None)
        elif namespace not in self._unready_since:
            self._unready_since[namespace] = self._clock()
            self._keep(namespace, replace(record, due_at=self._clock() + UNREADY_SECONDS))

    def wait_for_pods(self, namespace: str) -> None:
        """Lets a tenant without a pod to probe from be due once its pods are unready for long, if it has any."""
        since = self._unready_since.get(namespace)
        if since is not None:
            self._keep(namespace, replace(self.of(namespace), due_at=since + UNREADY_SECONDS))

    def are_unready_for_long(self, namespace: str) -> bool:
        """Tells whether there are pods, and none of them has been ready for a while."""
        since = self._unready_since.get(namespace)
        return since is not None and self._clock() - since >= UNREADY_SECONDS

    def probe_soon(self, namespaces: Iterable[str]) -> None:
        """Lets these tenants be probed within a moment."""
        for namespace in namespaces:
            self._hasten(namespace, self.of(namespace))

    def probe_later(self, namespace: str, *, seconds: float) -> None:
        """Lets a tenant be probed after that time."""
        self._keep(namespace, replace(self.of(namespace), due_at=self._clock() + seconds))

    def probe_anew(self, namespace: str) -> None:
        """Lets a tenant be probed within a moment because its pods or its policies changed."""
        self._changed.add(namespace)
        self._hasten(namespace, records.anew(self.of(namespace)))

    def take_due(self) -> set[str]:
        """Takes out the tenants that are due; each comes again once its record changes."""
        now, due = self._clock(), set()
        while self._due and self._due[0][0] <= now:
            due_at, namespace = heapq.heappop(self._due)
            record = self._records.get(namespace)
            if record is not None and record.due_at == due_at:
                self._waiting.discard(namespace)
                due.add(namespace)
        return due

    def forget(self, namespace: str) -> None:
        """Drops what is known of a tenant that is gone."""
        for kept in (self._records, self._uids, self._ready, self._unready_since):
            kept.pop(namespace, None)
        self._changed.discard(namespace)
        self._waiting.discard(namespace)

    def withholding(self, namespace: str, *, has_keys: bool) -> Withholding | None:
        """Says why no key of a provider is handed out to a tenant; None where they are.

        has_keys tells that it has keys already, which it keeps until a probe shows that it is not isolated.
        """
        if not self.is_required:
            return None
        record = self.of(namespace)
        if record.finding.holds is False:
            why = f"no key is handed out while the tenant is not isolated: {record.finding.message}"
            return Withholding(why=why)
        if record.is_open and not has_keys:
            why = "keys are handed out once a probe has shown that the network enforces the tenant's policies"
            return Withholding(why=why, until_probed=True)
        return None

    def _keep(self, namespace: str, record: Record) -> None:
        known = self._records.get(namespace)
        self._records[namespace] = record
        if namespace not in self._waiting or known is None or known.due_at != record.due_at:
            self._waiting.add(namespace)
            heapq.heappush(self._due, (record.due_at, namespace))

    def _hasten(self, namespace: str, record: Record) -> None:
        """Keeps a record that is due within a moment, and no later for being told so again and again."""
        soon = records.due_soon(record, now=self._clock())
        is_sooner = namespace in self._waiting and record.due_at <= soon.due_at
        self._keep(namespace, record if is_sooner else soon)
