"""What is known of the isolation of every tenant, and whether its providers' keys are handed out."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from relay_operator.decisions.isolation import record as records
from relay_operator.decisions.isolation.finding import Finding
from relay_operator.decisions.isolation.record import Record
from relay_operator.reconcile.watched_state import WatchedState


@dataclass(frozen=True, slots=True, kw_only=True)
class Withholding:
    """Why no key of a provider is handed out; until_probed tells that this ends with the first probe."""

    why: str
    until_probed: bool = False


class IsolationRecords:
    """Records by namespace. is_required tells whether a tenant that is not isolated is given no key of a provider."""

    def __init__(
        self,
        *,
        watched_state: WatchedState,
        is_required: bool,
        period_seconds: float,
        clock: Callable[[], float],
    ) -> None:
        self._watched_state = watched_state
        self._period_seconds = period_seconds
        self._clock = clock
        self._records: dict[str, Record] = {}
        self._changed: set[str] = set()
        self.is_required = is_required

    def of(self, namespace: str) -> Record:
        """Returns the record of a tenant; one that an earlier life of the operator told is taken over."""
        known = self._records.get(namespace)
        if known is None:
            name = self._watched_state.tenant_of_namespace(namespace)
            watched = self._watched_state.tenants.get(name) if name is not None else None
            status = watched.body["status"] if watched is not None else {}
            known = records.remembered(status, now=self._clock())
            if watched is not None:
                self._records[namespace] = known
        return known

    def begin(self, namespace: str) -> None:
        """Notes that a round of probes of a tenant begins: it sees what changed before."""
        self._changed.discard(namespace)

    def note(self, namespace: str, found: Finding, *, jitter: float) -> bool:
        """Takes in what a round of probes found; tells whether the tenant has to be reconciled because of it."""
        before = self.of(namespace)
        after = records.after(
            before, found, now=self._clock(), period_seconds=self._period_seconds, jitter=jitter
        )
        if namespace in self._changed:
            # while it was being probed: what was found is of both, before and after
            after = records.due_soon(after, now=self._clock())
        self._records[namespace] = after
        return (after.finding, after.is_open) != (before.finding, before.is_open)

    def probe_soon(self, namespaces: Iterable[str]) -> None:
        """Lets these tenants be probed within a moment."""
        for namespace in namespaces:
            self._records[namespace] = records.due_soon(self.of(namespace), now=self._clock())

    def probe_anew(self, namespace: str) -> None:
        """Lets a tenant be probed within a moment because its pods or its policies changed."""
        self._changed.add(namespace)
        self._records[namespace] = records.anew(self.of(namespace), now=self._clock())

    def postpone(self, namespace: str, *, seconds: float) -> None:
        """Leaves a tenant alone that has no pod to be probed from."""
        self._records[namespace] = replace(self.of(namespace), due_at=self._clock() + seconds)

    def forget_all_but(self, namespaces: Iterable[str]) -> None:
        """Drops the records of tenants that are gone."""
        kept = set(namespaces)
        self._records = {name: one for name, one in self._records.items() if name in kept}
        self._changed &= kept

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
