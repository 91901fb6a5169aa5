"""Counts and logs what one tenant asks of tool servers."""

from relay.accounting.logs import WorkerLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.tool_call_event import ToolCallEvent


class ToolCallRecorder:
    """One per tenant and worker; outlives every document."""

    __slots__ = ("_log", "_metrics", "_tenant", "_tenant_uid")

    def __init__(
        self, *, tenant: str, tenant_uid: str, metrics: WorkerMetrics, log: WorkerLog
    ) -> None:
        self._tenant = tenant
        self._tenant_uid = tenant_uid
        self._metrics = metrics
        self._log = log

    def record(self, event: ToolCallEvent) -> None:
        """Books a request that has ended."""
        self._metrics.tool_calls[(event.server, event.method, event.outcome)] += 1
        if event.server:
            self._metrics.tool_call_duration.of(event.server).observe(event.seconds)
        self._log.record_tool_call(event, tenant=self._tenant, tenant_uid=self._tenant_uid)
