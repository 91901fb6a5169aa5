"""The metrics that a relay exports: names, labels, buckets. Dashboards and the control plane rely on them."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["counter", "gauge", "histogram"]
Page = Literal["metrics", "slo"]
Labels = tuple[str, ...]

LATENCY_BUCKETS: Final[tuple[float, ...]] = (
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    120.0,
    300.0,
)
OVERHEAD_BUCKETS: Final[tuple[float, ...]] = (
    0.00005,
    0.0001,
    0.00025,
    0.0005,
    0.001,
    0.0025,
    0.005,
    0.01,
    0.05,
    0.1,
    0.5,
)
"""Seconds; the promise is a median of 150 us."""
QUEUE_WAIT_BUCKETS: Final = (0.001, *LATENCY_BUCKETS)


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """A metric. merge says how several workers' gauges become one: their sum, or their largest.

    A gauge that outlives its worker stays true of it after its end, as counters do.
    """

    name: str
    kind: Kind
    labels: Labels
    help: str
    page: Page = "metrics"
    buckets: tuple[float, ...] = ()
    merge: Literal["sum", "max"] = "sum"
    outlives_worker: bool = False


_SIDE: Final = ("tenant_uid", "route", "side", "fingerprint")
_CANARY: Final = ("tenant_uid", "route", "fingerprint")

FAMILIES: Final = (
    MetricFamily(
        "relay_requests_total", "counter", ("endpoint", "model", "status"), "Answered calls."
    ),
    MetricFamily(
        "relay_request_duration_seconds",
        "histogram",
        ("endpoint", "model"),
        "From the request's first byte to the answer's last.",
        buckets=LATENCY_BUCKETS,
    ),
    MetricFamily(
        "relay_overhead_seconds",
        "histogram",
        (),
        "Time the relay itself added: before the provider was asked, less the queue, and after its first byte.",
        buckets=OVERHEAD_BUCKETS,
    ),
    MetricFamily(
        "relay_time_to_first_token_seconds",
        "histogram",
        ("route", "side"),
        "From the attempt's start to the first content, reasoning or tool call, of a document to its first byte.",
        buckets=LATENCY_BUCKETS,
    ),
    MetricFamily(
        "relay_queue_wait_seconds",
        "histogram",
        (),
        "Time calls waited for a provider's quota and for a seat.",
        buckets=QUEUE_WAIT_BUCKETS,
    ),
    MetricFamily("relay_in_flight", "gauge", (), "Calls that hold a seat."),
    MetricFamily("relay_queue_depth", "gauge", (), "Calls that wait for a seat."),
    MetricFamily("relay_client_connections", "gauge", (), "Open client connections."),
    MetricFamily(
        "relay_upstream_connections", "gauge", ("provider",), "Open provider connections."
    ),
    MetricFamily("relay_buffered_bytes", "gauge", (), "Request bodies held in memory."),
    MetricFamily(
        "relay_api_key_last_used_timestamp_seconds",
        "gauge",
        ("key", "generation"),
        "When a request last came with the key of this name, current or previous; 0 for not since the pod's start.",
        merge="max",
        outlives_worker=True,
    ),
    MetricFamily(
        "relay_tokens_total",
        "counter",
        ("route", "side", "provider", "model", "kind"),
        "Tokens as providers reported them; kind is input, output, cached (within input) or reasoning (within output).",
    ),
    MetricFamily("relay_rejections_total", "counter", ("reason",), "Calls the relay refused."),
    MetricFamily(
        "relay_upstream_attempts_total",
        "counter",
        ("route", "side", "provider", "outcome"),
        "Attempts at providers by how they ended; sides are those of callers, shadow (copies) and preflight (probes).",
    ),
    MetricFamily(
        "relay_fallbacks_total",
        "counter",
        ("route", "reason"),
        "Further attempts after one that was not processed, or after a failure that retryOn of its provider names.",
    ),
    MetricFamily(
        "relay_passed_over_total",
        "counter",
        ("route", "provider"),
        "Calls that passed over a provider which had said when to come back (429, 503 or 529 with retry-after).",
    ),
    MetricFamily(
        "relay_client_disconnects_total",
        "counter",
        ("route",),
        "Calls whose client left before the answer was whole.",
    ),
    MetricFamily(
        "relay_drained_answers_total",
        "counter",
        ("provider", "end"),
        "Answers whose caller left and whose provider has afterDisconnect: Drain, by how reading on ended: usage (reported), unreported, seconds, tokens (its bounds), stopped (with the process), refused (too many at once; cancelled instead).",
    ),
    MetricFamily(
        "relay_shadow_total",
        "counter",
        ("route", "outcome"),
        "Shadow copies by how they compared, or why they were skipped.",
    ),
    MetricFamily(
        "relay_usage_estimated_total",
        "counter",
        ("route", "side"),
        "Attempts whose tokens were estimated because none were reported, or none that can be true.",
    ),
    MetricFamily(
        "relay_usage_unreadable_total",
        "counter",
        ("route", "side"),
        "Attempts whose provider reported usage without token counts, or with counts that no such call can have.",
    ),
    MetricFamily(
        "relay_tool_calls_total",
        "counter",
        ("server", "method", "outcome"),
        "Requests for tools, prompts and resources by how they ended; server is empty of what is not granted. Methods chat.tools and chat.tool_calls: denied in chat calls and in their answers.",
    ),
    MetricFamily(
        "relay_tool_call_duration_seconds",
        "histogram",
        ("server",),
        "From the first byte of such a request to its answer.",
        buckets=LATENCY_BUCKETS,
    ),
    MetricFamily(
        "relay_log_lines_dropped_total",
        "counter",
        (),
        "Log lines given up because standard output was stuck.",
    ),
    MetricFamily(
        "relay_outbox_attempts_opened_total",
        "counter",
        (),
        "Attempts recorded for the ledger; opened are closed, under way or left open.",
    ),
    MetricFamily(
        "relay_outbox_attempts_closed_total", "counter", (), "Of those opened, those that ended."
    ),
    MetricFamily(
        "relay_outbox_attempts_left_open_total",
        "counter",
        (),
        "Of those opened, those whose process was killed; the ledger closes them as unknown.",
    ),
    MetricFamily(
        "relay_outbox_attempts_under_way", "gauge", (), "Of those opened, those that go on."
    ),
    MetricFamily(
        "relay_outbox_records_dropped_total",
        "counter",
        ("record",),
        "Records (opened, closed, tool_call) for which the outbox had no room.",
    ),
    MetricFamily(
        "relay_outbox_records_shipped_total", "counter", (), "Records that the ledger has."
    ),
    MetricFamily(
        "relay_outbox_records_quarantined_total",
        "counter",
        (),
        "Of the shipped, those that the ledger kept apart instead of booking them.",
    ),
    MetricFamily(
        "relay_outbox_records_waiting",
        "gauge",
        (),
        "Records that are read and not delivered; more wait in relay_outbox_unread_bytes.",
    ),
    MetricFamily("relay_outbox_unread_bytes", "gauge", (), "Bytes of records not read yet."),
    MetricFamily("relay_outbox_bytes", "gauge", (), "Space that the outbox takes."),
    MetricFamily(
        "relay_outbox_oldest_seconds",
        "gauge",
        (),
        "Age of the oldest record that waits for the ledger.",
        merge="max",
    ),
    MetricFamily(
        "relay_outbox_deliveries_total",
        "counter",
        ("answer",),
        "Batches by the ledger's answer: a status, or none.",
    ),
    MetricFamily(
        "relay_outbox_skipped_bytes_total",
        "counter",
        (),
        "Bytes of the outbox in which no record could be found.",
    ),
    MetricFamily(
        "relay_slo_attempts_started_total", "counter", _SIDE, "Attempts begun.", page="slo"
    ),
    MetricFamily(
        "relay_slo_attempts_finished_total",
        "counter",
        _SIDE,
        "Attempts ended, in whatever way but cancelled.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_cancelled_total",
        "counter",
        _SIDE,
        "Attempts that nobody waited for any more: the client left. Started are finished, cancelled or under way.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_failed_total",
        "counter",
        _SIDE,
        "Of the finished, those the side is to blame for: 5xx, 401 to 404, no connection, silence, broken or unusable answers.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_truncated_total",
        "counter",
        _SIDE,
        "Of the failed, answers that ended early.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_throttled_total",
        "counter",
        _SIDE,
        "Of the finished, those answered 429: quota, not fault.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_refused_total",
        "counter",
        _SIDE,
        "Of the finished, those refused as the caller's mistake. A canary that refuses what stable accepts is to blame itself.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_reported_total",
        "counter",
        _SIDE,
        "Of the ended, those whose provider reported the tokens used.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_under_way",
        "gauge",
        _SIDE,
        "Attempts begun and not ended.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_slow_total",
        "counter",
        (*_SIDE, "signal"),
        "Attempts over the objective of the signal.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_attempts_timed_total",
        "counter",
        (*_SIDE, "signal"),
        "Attempts the signal was measured for.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_tokens_total",
        "counter",
        (*_SIDE, "kind"),
        "Tokens as reported, without estimates.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_overhead_seconds_total",
        "counter",
        _SIDE,
        "Time the relay itself added.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_shadow_total",
        "counter",
        (*_CANARY, "pair", "outcome"),
        "Shadow copies of routes that have them, as in relay_shadow_total; with pair stable those that stable was asked again.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_breaker_open",
        "gauge",
        _CANARY,
        "1 while a worker keeps traffic off the canary.",
        page="slo",
        merge="max",
    ),
    MetricFamily(
        "relay_slo_breaker_trips_total",
        "counter",
        _CANARY,
        "Times the breaker opened.",
        page="slo",
    ),
    MetricFamily(
        "relay_slo_breaker_failed_probes",
        "gauge",
        _CANARY,
        "Probes that failed since the breaker was last closed while calls of stable did not, in the worker with the most.",
        page="slo",
        merge="max",
    ),
)
"""Names the control plane and dashboards rely on; tests/unit/relay/accounting/test_metric_catalogue.py holds them fixed."""

BY_NAME: Final = {family.name: family for family in FAMILIES}
