"""The flows that a queue knows: registered, or learned from what they submit and forgotten after long idleness."""

from collections.abc import Iterable, Iterator
from typing import Final

from relay.admission.priority_lanes import Backlog, FlowRecord, TenantBacklog
from relay.admission.seats import SeatPool
from relay.admission.tickets import Flow

FORGET_SECONDS: Final = 300.0
"""A flow that is not registered is forgotten after this much idleness."""


class FlowTable:
    """Every known flow with its latest weight and guarantee; guarantees are granted in order of appearance."""

    __slots__ = ("_pool", "_records", "_tenants", "backlog")

    def __init__(self, pool: SeatPool) -> None:
        self._pool = pool
        self._records: dict[tuple[str, str], FlowRecord] = {}
        self._tenants: dict[str, TenantBacklog] = {}
        self.backlog = Backlog()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[FlowRecord]:
        return iter(self._records.values())

    def get(self, flow: Flow) -> FlowRecord | None:
        """Returns what is known of the flow."""
        return self._records.get((flow.tenant, flow.key))

    def waiting(self) -> list[FlowRecord]:
        """Returns the flows with something in the queue."""
        return [record for record in self._records.values() if record.queued]

    def learn(
        self, flow: Flow, *, virtual_time: float, cost_seconds: float, now: float
    ) -> FlowRecord:
        """Adds the flow or updates its weight and guarantee; cost_seconds is the assumed cost of a new flow's calls."""
        record = self._records.get((flow.tenant, flow.key))
        if record is None:
            record = self._add(flow, cost_seconds=cost_seconds, now=now)
            promised = 0
        else:
            promised = record.flow.guaranteed_seats
            record.reweigh(flow, virtual_time)
        if flow.guaranteed_seats != promised:
            self._pool.grant_guarantees(self)
        return record

    def _add(self, flow: Flow, *, cost_seconds: float, now: float) -> FlowRecord:
        tenant = self._tenants.get(flow.tenant)
        if tenant is None:
            tenant = self._tenants[flow.tenant] = TenantBacklog(self.backlog)
        record = FlowRecord(flow, tenant, cost_seconds, now)
        self._records[flow.tenant, flow.key] = record
        self._pool.expect(len(self._records))
        return record

    def register(
        self, flows: Iterable[Flow], *, virtual_time: float, cost_seconds: float, now: float
    ) -> None:
        """Keeps exactly these flows, with their guarantees, however long they are idle."""
        for record in self._records.values():
            record.registered = False
        for flow in flows:
            record = self.learn(flow, virtual_time=virtual_time, cost_seconds=cost_seconds, now=now)
            record.registered = True
        self._pool.grant_guarantees(self)

    def forget_idle(self, *, virtual_time: float, epoch: int, now: float) -> None:
        """Removes flows after long idleness; a debt keeps its flow until it is paid or forgiven."""
        gone = [
            key
            for key, record in self._records.items()
            if not record.registered
            and now - record.left_at > FORGET_SECONDS
            and record.is_settled(virtual_time, epoch)
        ]
        if not gone:
            return
        for key in gone:
            del self._records[key]
        tenants = {tenant for tenant, _ in self._records}
        self._tenants = {name: self._tenants[name] for name in tenants}
        self._pool.grant_guarantees(self)
