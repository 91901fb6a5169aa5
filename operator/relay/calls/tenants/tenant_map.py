"""The tenants that one worker serves; one today."""

from relay.accounting.logs import WorkerLog
from relay.accounting.metric_catalogue import Labels
from relay.accounting.metric_report import Report
from relay.accounting.metrics import WorkerMetrics
from relay.budgets.purse import Purse
from relay.calls.tenants.key_use import LAST_USED, KeyUse, labels
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.outbox.attempt_writer import AttemptWriter
from relay.outbox.tool_call_records import ToolCallRecords
from relay.routing.snapshot import KeyGrant, Snapshot


class KeyHolder:
    """An API key in force, with its tenant, the snapshot that grants it, and its last use, which outlives snapshots."""

    __slots__ = ("key", "snapshot", "tenant", "use")

    def __init__(
        self, tenant: TenantRuntime, snapshot: Snapshot, key: KeyGrant, use: KeyUse
    ) -> None:
        self.tenant = tenant
        self.snapshot = snapshot
        self.key = key
        self.use = use


class TenantMap:
    """Tenants by UID, and the API keys of all of them by digest."""

    __slots__ = ("_holders", "_tenants")

    def __init__(self) -> None:
        self._tenants: dict[str, TenantRuntime] = {}
        self._holders: dict[bytes, KeyHolder] = {}

    def install(
        self,
        snapshot: Snapshot,
        *,
        share: float,
        metrics: WorkerMetrics,
        log: WorkerLog,
        purse: Purse,
        now: float,
        records: AttemptWriter | None = None,
        tool_records: ToolCallRecords | None = None,
    ) -> None:
        """Puts the snapshot in force for its tenant, which is a new one if its UID is."""
        uid = snapshot.document.tenant.uid
        tenant = self._tenants.get(uid)
        if tenant is None:
            self._tenants[uid] = TenantRuntime(
                snapshot,
                share=share,
                metrics=metrics,
                log=log,
                purse=purse,
                now=now,
                records=records,
                tool_records=tool_records,
            )
        else:
            tenant.install(snapshot, share=share, now=now)
        known = self._holders
        self._holders = {
            digest: KeyHolder(one, one.snapshot, key, _use_of(known.get(digest), one))
            for one in self._tenants.values()
            for digest, key in one.snapshot.keys.items()
        }

    def holder(self, digest: bytes) -> KeyHolder | None:
        """Finds the API key with this SHA-256 digest."""
        return self._holders.get(digest)

    def tenant(self, uid: str) -> TenantRuntime | None:
        """Finds the tenant with this UID."""
        return self._tenants.get(uid)

    @property
    def empty(self) -> bool:
        """True before the first document."""
        return not self._tenants

    def all(self) -> list[TenantRuntime]:
        """Returns every tenant."""
        return list(self._tenants.values())

    def report_uses(self, report: Report, *, wall: float, now: float) -> None:
        """Adds when each key was last used; wall and now are this moment since the epoch and as the loop counts."""
        latest: dict[Labels, int] = {}
        for holder in self._holders.values():
            name = labels(holder.key.name, is_previous=holder.key.is_previous)
            latest[name] = max(latest.get(name, 0), holder.use.seen(wall=wall, now=now))
        report[LAST_USED] = list(latest.items())


def _use_of(known: KeyHolder | None, tenant: TenantRuntime) -> KeyUse:
    """Returns the last use of a key that this tenant had before, or that of a new one."""
    return known.use if known is not None and known.tenant is tenant else KeyUse()
