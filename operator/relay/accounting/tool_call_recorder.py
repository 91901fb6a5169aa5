"""Counts and logs what one tenant asks of tool servers, and records it for the ledger."""

from typing import Final

from relay.accounting.logs import WorkerLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.tool_call_event import ToolCallEvent
from relay.outbox.attempt_names import label
from relay.outbox.tool_call_records import ToolCallRecords
from relay_contract.billing.attempt_event import EVENT_VERSION
from relay_contract.billing.tool_call import ToolCall, ToolOutcome, tool_call_line

_MICROS_PER_SECOND: Final = 1_000_000


class ToolCallRecorder:
    """One per tenant and worker; outlives every document. Without a ledger there are no records."""

    __slots__ = ("_log", "_metrics", "_records", "_tenant", "_tenant_uid")

    def __init__(
        self,
        *,
        tenant: str,
        tenant_uid: str,
        metrics: WorkerMetrics,
        log: WorkerLog,
        records: ToolCallRecords | None = None,
    ) -> None:
        self._tenant = tenant
        self._tenant_uid = tenant_uid
        self._metrics = metrics
        self._log = log
        self._records = records

    def opened(self, event: ToolCallEvent) -> None:
        """Records for the ledger that a request may be sent to its server, so that it is known of whatever becomes of this process."""
        if self._records is not None:
            line = self._line(event, "unknown", self._records.relay)
            self._records.opened(event.id(self._tenant_uid), event.called_at, line)

    def record(self, event: ToolCallEvent, *, was_opened: bool) -> None:
        """Books a request that has ended."""
        self._metrics.tool_calls[(event.server, event.method, event.outcome)] += 1
        if event.server:
            self._metrics.tool_call_duration.of(event.server).observe(event.seconds)
        self._log.record_tool_call(event, tenant=self._tenant, tenant_uid=self._tenant_uid)
        if self._records is not None:
            line = self._line(event, event.outcome, self._records.relay)
            self._records.ended(
                event.id(self._tenant_uid), event.called_at, line, was_opened=was_opened
            )

    def _line(self, event: ToolCallEvent, outcome: ToolOutcome, relay: str) -> bytes:
        call = ToolCall(
            version=EVENT_VERSION,
            id=event.id(self._tenant_uid),
            kind="tool",
            tenant_uid=self._tenant_uid,
            tenant=label(self._tenant),
            relay=relay,
            call_id=event.call_id,
            round_id=event.round_id,
            called_at=event.called_at,
            ended_at=event.called_at + max(0, int(event.seconds * _MICROS_PER_SECOND)),
            key_name=label(event.key),
            method=label(event.method),
            server=label(event.server),
            name=label(event.name),
            own_name=label(event.own_name),
            rule=label(event.rule),
            limit=label(event.limit),
            revision=label(event.revision),
            outcome=outcome,
            request_bytes=event.request_bytes,
            answer_bytes=event.answer_bytes,
            request_id=label(event.request_id),
        )
        return tool_call_line(call)
