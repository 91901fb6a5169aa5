"""State shared by all requests of one worker."""

from typing import Final, final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metrics import WorkerMetrics
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.shadow import Shadows
from relay.calls.attempts.unheard_answers.drained_answers import DrainedAnswers
from relay.calls.attempts.unheard_answers.usage_waits import UsageWaits
from relay.calls.ledger.ledger_access import LedgerAccess
from relay.calls.retry_budget import RetryBudget
from relay.calls.tenants.tenant_map import TenantMap
from relay.outbox.attempt_writer import AttemptWriter


@final
class CallContext:
    """Handed to whatever handles a request; frozen. Admission, routing and counters are the tenant's own."""

    __slots__ = (
        "budget",
        "drained_answers",
        "exceptions",
        "max_body_bytes",
        "metrics",
        "needed_records",
        "providers",
        "shadows",
        "stream_keepalive_seconds",
        "tenants",
        "usage",
        "usage_waits",
    )

    def __init__(
        self,
        *,
        tenants: TenantMap,
        providers: ProviderAccess,
        shadows: Shadows,
        budget: RetryBudget,
        metrics: WorkerMetrics,
        exceptions: ExceptionLog,
        needed_records: AttemptWriter | None,
        max_body_bytes: int,
        stream_keepalive_seconds: float,
        usage: LedgerAccess,
        usage_waits: UsageWaits,
        drained_answers: DrainedAnswers,
    ) -> None:
        self.tenants: Final = tenants
        self.providers: Final = providers
        self.shadows: Final = shadows
        self.budget: Final = budget
        self.metrics: Final = metrics
        self.exceptions: Final = exceptions
        # calls are refused while it is full; None where they are served without being recorded
        self.needed_records: Final = needed_records
        self.max_body_bytes: Final = max_body_bytes
        self.stream_keepalive_seconds: Final = stream_keepalive_seconds
        self.usage: Final = usage
        self.usage_waits: Final = usage_waits
        self.drained_answers: Final = drained_answers
