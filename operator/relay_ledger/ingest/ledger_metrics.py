"""The metrics of the ledger."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from relay_ledger.ingest.booked_use import BookedUse
from relay_ledger.store.batch_booking import Receipt
from relay_ledger.store.ledger import Standing


class LedgerMetrics:
    """Counts since the start, and holds what the database says now."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._records = Counter(
            "relay_ledger_records",
            "Records by what became of them: booked, repeated (booked before), quarantined.",
            ["result"],
            registry=self.registry,
        )
        self._quarantined = Counter(
            "relay_ledger_quarantined_records",
            "Records kept apart: unreadable, conflict, early, late, unbookable.",
            ["reason"],
            registry=self.registry,
        )
        self._unpriced = Counter(
            "relay_ledger_unpriced_attempts",
            "Attempts booked without a price, by account: cost (of a provider), charge (of a tenant).",
            ["account"],
            registry=self.registry,
        )
        self._unpriced_calls = Counter(
            "relay_ledger_unpriced_tool_calls",
            "Tool calls booked without a price, by account: cost (of a tool server), charge (of a tenant).",
            ["account"],
            registry=self.registry,
        )
        self._refused = Counter(
            "relay_ledger_refused_batches",
            "Batches of which nothing was booked, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self.booking_seconds = Histogram(
            "relay_ledger_booking_seconds",
            "From a batch's last byte to its commit.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self._attempts = Gauge(
            "relay_ledger_attempts",
            "Attempts known: opened, closed, swept (closed by the ledger alone), unopened (closed, and not opened yet)."
            " opened + unopened = closed + swept + in flight.",
            ["state"],
            registry=self.registry,
        )
        self._in_flight = Gauge(
            "relay_ledger_in_flight_attempts",
            "Attempts that are opened and not closed.",
            registry=self.registry,
        )
        self._quarantine = Gauge(
            "relay_ledger_quarantine_lines",
            "Lines that are kept apart now, without those that were released or dismissed.",
            registry=self.registry,
        )
        self._statements = Counter(
            "relay_ledger_final_statements",
            "Statements that this process made final once their grace was over.",
            registry=self.registry,
        )
        self._statements_held = Gauge(
            "relay_ledger_statements_held",
            "Statements that are due and could not be made final at the last look; the log event statement_held says why.",
            registry=self.registry,
        )
        self._reconciled_at = Gauge(
            "relay_ledger_reconciled_timestamp_seconds",
            "When the ledger last compared a provider with its own reports by itself, in seconds since 1970.",
            ["provider"],
            registry=self.registry,
        )
        self._ended = Counter(
            "relay_ledger_connections_ended",
            "Connections that were ended, or not let in, by reason: idle, slow_head, slow_request, address (has as many as it may), full.",
            ["reason"],
            registry=self.registry,
        )
        self._audit_differences = Gauge(
            "relay_ledger_audit_differences",
            "Sums that are not those of their postings, and attempts that do not balance, at the last audit.",
            registry=self.registry,
        )
        self._audited_at = Gauge(
            "relay_ledger_audit_timestamp_seconds",
            "When the last audit ended that found no difference, in seconds since 1970; 0 before the first.",
            registry=self.registry,
        )
        self._use = BookedUse()
        self.registry.register(self._use)
        for result in ("booked", "repeated", "quarantined"):
            self._records.labels(result)
        for account in ("cost", "charge"):
            self._unpriced.labels(account)
            self._unpriced_calls.labels(account)

    def booked(self, receipt: Receipt) -> None:
        """Counts a batch that is on disk."""
        self._records.labels("booked").inc(receipt.booked)
        self._records.labels("repeated").inc(receipt.repeated)
        self._records.labels("quarantined").inc(len(receipt.quarantined))
        self._count_reasons(line.reason for line in receipt.quarantined)
        for account, attempts in receipt.unpriced.items():
            self._unpriced.labels(account).inc(attempts)
        for account, calls in receipt.unpriced_calls.items():
            self._unpriced_calls.labels(account).inc(calls)
        self._use.add(receipt.served)
        self._use.add_calls(receipt.called)

    def refused(self, reason: str) -> None:
        """Counts a batch of which nothing is booked."""
        self._refused.labels(reason).inc()

    def finalized(self) -> None:
        """Counts a statement that is final now."""
        self._statements.inc()

    def held(self, statements: int) -> None:
        """Shows how many statements wait for something."""
        self._statements_held.set(statements)

    def reconciled(self, provider: str, at_seconds: float) -> None:
        """Shows that a provider was compared with its own reports."""
        self._reconciled_at.labels(provider).set(at_seconds)

    def connection_ended(self, reason: str) -> None:
        """Counts a connection that is ended by the ledger, or not let in."""
        self._ended.labels(reason).inc()

    def audited(self, differences: int, at_seconds: float) -> None:
        """Shows what an audit found."""
        self._audit_differences.set(differences)
        if not differences:
            self._audited_at.set(at_seconds)

    def stand(self, standing: Standing) -> None:
        """Shows what the database says."""
        tally = standing.tally
        for state in ("opened", "closed", "swept", "unopened"):
            self._attempts.labels(state).set(getattr(tally, state))
        self._in_flight.set(standing.in_flight)
        self._quarantine.set(standing.quarantined)

    def _count_reasons(self, reasons: Iterable[str]) -> None:
        for reason in reasons:
            self._quarantined.labels(reason).inc()
