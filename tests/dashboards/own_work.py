"""The operator's own work: who leads, what waits, how the API server answers, and what it costs."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards.panels import RATE, Query, Row, graph, number
from tests.dashboards.panels import board as made

_QUEUE_WAIT = (
    f"sum by (urgency, le) (rate(relay_operator_queue_wait_seconds_bucket{{OPERATOR}}{RATE}))"
)
_RECONCILE = (
    f"sum by (kind, le) (rate(relay_operator_reconcile_duration_seconds_bucket{{OPERATOR}}{RATE}))"
)
_API = f"sum by (verb, le) (rate(relay_operator_api_request_duration_seconds_bucket{{OPERATOR}}{RATE}))"
_TICK = f"sum by (le) (rate(relay_operator_slo_tick_duration_seconds_bucket{{OPERATOR}}{RATE}))"
_PUSH = (
    f"sum by (outcome, le) (rate(relay_operator_push_duration_seconds_bucket{{OPERATOR}}{RATE}))"
)
_LAG = f"sum by (instance, le) (rate(relay_operator_loop_lag_seconds_bucket{{OPERATOR}}{RATE}))"


def board() -> Dashboard:
    """Returns the dashboard."""
    return made(
        uid="relay-operator",
        title="Relay Operator",
        about="The operator's own work. Fleet, tenants and migrations have dashboards of their own.",
        rows=(_leading(), _work(), _api_server(), _canaries(), _process()),
    )


def _leading() -> Row:
    return Row(
        title="Who leads",
        panels=(
            number(
                "Leaders",
                Query("sum by (shard) (relay_operator_leader{OPERATOR})", "leaders {{shard}}"),
                width=12,
                about="One. None: nobody acts. Two for longer than a takeover: RelayOperatorTwoLeaders.",
            ),
            number(
                "Operators up",
                Query("count(up{OPERATOR} == 1)", "operators"),
                width=12,
                about="As many as operator.replicas.",
            ),
            graph(
                "Number of the leader",
                Query(
                    "max by (shard, instance) (relay_operator_leader_epoch{OPERATOR})",
                    "{{instance}}",
                ),
                width=12,
                about="A step is a takeover.",
            ),
            graph(
                "Lease",
                Query(
                    f"sum by (instance) (rate(relay_operator_lease_failures_total{{OPERATOR}}{RATE}))",
                    "failed {{instance}}",
                ),
                Query(
                    f"sum(rate(relay_operator_leads_given_back_total{{OPERATOR}}{RATE}))",
                    "given back",
                ),
                unit="ops",
                width=12,
                about="Reads and writes of the Lease that failed, and leads that were given back since the watches did not show the "
                "cluster.",
            ),
        ),
    )


def _work() -> Row:
    done = f"rate(relay_operator_reconcile_duration_seconds_count{{OPERATOR}}{RATE})"
    undone = (
        f'rate(relay_operator_reconcile_duration_seconds_count{{OPERATOR, outcome!="done"}}{RATE})'
    )
    return Row(
        title="Work",
        panels=(
            graph(
                "Objects that wait",
                Query("max by (urgency) (relay_operator_queue_keys{OPERATOR})", "{{urgency}}"),
                about="By urgency: immediate and urgent take traffic or keys away, background is the resync.",
            ),
            graph(
                "The one that waits longest",
                Query(
                    "max by (urgency) (relay_operator_queue_oldest_seconds{OPERATOR})",
                    "{{urgency}}",
                ),
                unit="s",
            ),
            graph(
                "Wait until a worker (p99)",
                Query(f"histogram_quantile(0.99, {_QUEUE_WAIT})", "{{urgency}}"),
                unit="s",
            ),
            graph("Reconciles", Query(f"sum by (kind) ({done})", "{{kind}}"), unit="ops"),
            graph(
                "Reconciles that did not come to their end",
                Query(f"sum by (kind, outcome) ({undone})", "{{kind}} {{outcome}}"),
                unit="ops",
                about="They are tried again. A defect is a bug: the log has it.",
            ),
            graph(
                "Time of reconciles",
                Query(f"histogram_quantile(0.5, {_RECONCILE})", "p50 {{kind}}"),
                Query(f"histogram_quantile(0.99, {_RECONCILE})", "p99 {{kind}}"),
                unit="s",
            ),
        ),
    )


def _api_server() -> Row:
    calls = f"rate(relay_operator_api_requests_total{{OPERATOR}}{RATE})"
    failed = f'rate(relay_operator_api_requests_total{{OPERATOR, code!~"2.."}}{RATE})'
    return Row(
        title="API server",
        panels=(
            graph("Requests", Query(f"sum by (verb) ({calls})", "{{verb}}"), unit="reqps", width=6),
            graph(
                "Requests that did not succeed",
                Query(f"sum by (verb, code) ({failed})", "{{verb}} {{code}}"),
                unit="reqps",
                width=6,
                about="none is no answer in time. Some 404 and 409 are usual.",
            ),
            graph(
                "Time until the answer (p99)",
                Query(f"histogram_quantile(0.99, {_API})", "{{verb}}"),
                unit="s",
                width=6,
            ),
            graph(
                "Age of the watches",
                Query("max by (watch) (relay_operator_watch_age_seconds{OPERATOR})", "{{watch}}"),
                unit="s",
                width=6,
                about="Time since each last brought an event or a bookmark; bookmarks come about once a minute.",
            ),
        ),
    )


def _canaries() -> Row:
    pushes = f"rate(relay_operator_push_duration_seconds_count{{OPERATOR}}{RATE})"
    messages = f"increase(relay_operator_webhook_messages_total{{OPERATOR}}{RATE})"
    return Row(
        title="Canaries and relays",
        panels=(
            graph(
                "A look at all active canaries",
                Query(f"histogram_quantile(0.5, {_TICK})", "p50"),
                Query(f"histogram_quantile(0.99, {_TICK})", "p99"),
                unit="s",
                width=6,
                about="Nothing while there is none.",
            ),
            graph(
                "Time of pushes",
                Query(f"histogram_quantile(0.5, {_PUSH})", "p50 {{outcome}}"),
                Query(f"histogram_quantile(0.99, {_PUSH})", "p99 {{outcome}}"),
                unit="s",
                width=6,
                about="Until a relay pod has taken a configuration in.",
            ),
            graph(
                "Pushes", Query(f"sum by (outcome) ({pushes})", "{{outcome}}"), unit="ops", width=6
            ),
            graph(
                "Messages of the webhook",
                Query(f"sum by (outcome) ({messages})", "{{outcome}}"),
                Query("max(relay_operator_webhook_waiting{OPERATOR})", "waiting"),
                width=6,
            ),
        ),
    )


def _process() -> Row:
    return Row(
        title="Process",
        panels=(
            graph(
                "Lag of the event loop (p99)",
                Query(f"histogram_quantile(0.99, {_LAG})", "{{instance}}"),
                unit="s",
                about="Everything in the operator waits for as long.",
            ),
            graph(
                "CPU",
                Query(
                    f"sum by (instance) (rate(process_cpu_seconds_total{{OPERATOR}}{RATE}))",
                    "{{instance}}",
                ),
                about="Cores.",
            ),
            graph(
                "Memory",
                Query(
                    "max by (instance) (process_resident_memory_bytes{OPERATOR})", "{{instance}}"
                ),
                unit="bytes",
            ),
        ),
    )
