"""One tenant: whether it is well, what its callers get, where its routes stand, its tokens, keys and relay pods."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards.panels import (
    GREEN,
    PHASE_COLOURS,
    RATE,
    RED,
    Query,
    Row,
    graph,
    listing,
    number,
    timeline,
    variable,
)
from tests.dashboards.panels import (
    board as made,
)

_OF_IT = 'OPERATOR, namespace="$namespace"'
_ITS = 'RELAYS, NAMESPACE_LABEL="$namespace"'
_YES_NO = {"1": ("yes", GREEN), "0": ("no", RED)}
_TO_MIGRATION = (
    "Open the migration",
    "/d/relay-migration?var-namespace=${__data.fields.namespace}&var-route=${__data.fields.route}",
)


def board() -> Dashboard:
    """Returns the dashboard."""
    return made(
        uid="relay-tenant",
        title="Relays: one tenant",
        about="One tenant: what its callers get, where its routes stand, its tokens, keys and relay pods.",
        rows=(_state(), _calls(), _routes(), _tools(), _tokens_and_keys(), _pods()),
        variables=(
            variable(
                "tenant",
                label="Tenant",
                query="label_values(relay_operator_tenant_ready{OPERATOR}, tenant)",
            ),
            variable(
                "namespace",
                label="Namespace",
                query='label_values(relay_operator_tenant_ready{OPERATOR, tenant="$tenant"}, namespace)',
                is_hidden=True,
            ),
        ),
    )


def _state() -> Row:
    ends = f"min(relay_tls_certificate_expiration_timestamp_seconds{{{_ITS}}} > 0)"
    return Row(
        title="State",
        panels=(
            number(
                "Ready",
                Query(f"max(relay_operator_tenant_ready{{{_OF_IT}}})", "Ready"),
                words=_YES_NO,
                about="The condition Ready says why not: kubectl describe tenant $tenant.",
            ),
            number(
                "Kept apart",
                Query(f"max(relay_operator_tenant_isolated{{{_OF_IT}}})", "isolated"),
                words=_YES_NO,
                about="Whether its network policies are enforced, as probes from its own pods show.",
            ),
            number(
                "Relay pods",
                Query(f"max(relay_operator_tenant_relay_pods{{{_OF_IT}}})", "asked for"),
                Query(
                    f"max(relay_operator_tenant_relay_pods_programmed{{{_OF_IT}}})", "programmed"
                ),
                about="Asked for, and ready with the newest configuration.",
            ),
            number(
                "Configuration",
                Query(f"min(relay_document_generation{{{_ITS}}})", "oldest"),
                Query(f"max(relay_document_generation{{{_ITS}}})", "newest"),
                about="Generation that relay pods run: the oldest and the newest one.",
            ),
            number(
                "Certificate ends",
                Query(f"1000 * {ends}", "ends"),
                unit="dateTimeFromNow",
                about="Of the certificate that callers are shown; none without TLS.",
            ),
            number(
                "Probed",
                Query(
                    f"1000 * max(relay_operator_tenant_isolation_probed_timestamp_seconds{{{_OF_IT}}})",
                    "probed",
                ),
                unit="dateTimeFromNow",
                about="When its isolation was last judged.",
            ),
        ),
    )


def _calls() -> Row:
    answers = f"rate(relay_requests_total{{{_ITS}}}{RATE})"
    duration = f"sum by (le) (rate(relay_request_duration_seconds_bucket{{{_ITS}}}{RATE}))"
    queue = f"sum by (le) (rate(relay_queue_wait_seconds_bucket{{{_ITS}}}{RATE}))"
    return Row(
        title="Calls",
        panels=(
            graph(
                "Calls by status",
                Query(f"sum by (status) ({answers})", "{{status}}"),
                unit="reqps",
                stacked=True,
            ),
            graph(
                "Calls by model", Query(f"sum by (model) ({answers})", "{{model}}"), unit="reqps"
            ),
            graph(
                "Time of a call",
                Query(f"histogram_quantile(0.5, {duration})", "p50"),
                Query(f"histogram_quantile(0.99, {duration})", "p99"),
                unit="s",
                about="From the request's first byte to the answer's last.",
            ),
            graph(
                "Calls refused by the relay",
                Query(
                    f"sum by (reason) (rate(relay_rejections_total{{{_ITS}}}{RATE}))", "{{reason}}"
                ),
                unit="reqps",
                about="Limits, queue, keys; docs/reference/refusals.md has each reason.",
            ),
            graph(
                "Seats and line",
                Query(f"sum(relay_in_flight{{{_ITS}}})", "calls with a seat"),
                Query(f"sum(relay_queue_depth{{{_ITS}}})", "calls in line"),
            ),
            graph(
                "Time in line (p99)",
                Query(f"histogram_quantile(0.99, {queue})", "p99"),
                unit="s",
            ),
        ),
    )


def _routes() -> Row:
    attempts = f"rate(relay_upstream_attempts_total{{{_ITS}}}{RATE})"
    failed = f'rate(relay_upstream_attempts_total{{{_ITS}, outcome!="ok"}}{RATE})'
    first_token = (
        f"sum by (route, side, le) (rate(relay_time_to_first_token_seconds_bucket{{{_ITS}}}{RATE}))"
    )
    weights = (
        f"max by (namespace, route, phase) (relay_operator_route_phase{{{_OF_IT}}})"
        " * on (namespace, route) group_left ()"
        f" max by (namespace, route) (relay_operator_route_canary_weight_percent{{{_OF_IT}}})"
    )
    return Row(
        title="Routes",
        panels=(
            listing(
                "Routes",
                Query(weights, "canary's weight"),
                unit="percent",
                link=_TO_MIGRATION,
            ),
            timeline(
                "Phases",
                Query(
                    f"max by (phase, route) (relay_operator_route_phase{{{_OF_IT}}})",
                    "{{phase}} {{route}}",
                ),
                colours=PHASE_COLOURS,
            ),
            graph(
                "Attempts at providers",
                Query(
                    f"sum by (route, side, provider) ({attempts})",
                    "{{side}} {{route}} {{provider}}",
                ),
                unit="ops",
            ),
            graph(
                "Attempts that failed",
                Query(
                    f"sum by (provider, side, outcome) ({failed})",
                    "{{side}} {{provider}} {{outcome}}",
                ),
                unit="ops",
            ),
            graph(
                "Time to the first token (p99)",
                Query(f"histogram_quantile(0.99, {first_token})", "{{side}} {{route}}"),
                unit="s",
            ),
            graph(
                "Answers of another provider",
                Query(
                    f"sum by (route, reason) (rate(relay_fallbacks_total{{{_ITS}}}{RATE}))",
                    "{{route}}: tried on, {{reason}}",
                ),
                Query(
                    f"sum by (route, provider) (rate(relay_passed_over_total{{{_ITS}}}{RATE}))",
                    "{{route}}: {{provider}} passed over",
                ),
                unit="ops",
                width=12,
                about="Attempts after one that failed, and providers passed over since they had said when to come back.",
            ),
            graph(
                "Clients that left",
                Query(
                    f"sum by (route) (rate(relay_client_disconnects_total{{{_ITS}}}{RATE}))",
                    "{{route}}",
                ),
                unit="ops",
                width=12,
                about="Before the answer was whole.",
            ),
        ),
    )


def _tools() -> Row:
    asked = f"rate(relay_tool_calls_total{{{_ITS}}}{RATE})"
    duration = f"sum by (le) (rate(relay_tool_call_duration_seconds_bucket{{{_ITS}}}{RATE}))"
    return Row(
        title="Tools",
        panels=(
            graph(
                "Requests to tool servers",
                Query(f"sum by (server, outcome) ({asked})", "{{server}} {{outcome}}"),
                unit="reqps",
                stacked=True,
                about="Without a server: not granted.",
            ),
            graph(
                "Requests by method",
                Query(f"sum by (method) ({asked})", "{{method}}"),
                unit="reqps",
                about="chat.tools and chat.tool_calls are what chat calls and their answers were denied.",
            ),
            graph(
                "Time of a request to a tool server",
                Query(f"histogram_quantile(0.5, {duration})", "p50"),
                Query(f"histogram_quantile(0.99, {duration})", "p99"),
                unit="s",
            ),
        ),
    )


def _tokens_and_keys() -> Row:
    used = (
        f"1000 * max by (key, generation) (relay_api_key_last_used_timestamp_seconds{{{_ITS}}} > 0)"
    )
    due = f"relay_operator_api_key_rotation_due_timestamp_seconds{{{_OF_IT}}}"
    until = f"relay_operator_api_key_previous_until_timestamp_seconds{{{_OF_IT}}}"
    return Row(
        title="Tokens and keys",
        panels=(
            graph(
                "Tokens",
                Query(
                    f"sum by (provider, kind) (rate(relay_tokens_total{{{_ITS}}}{RATE}))",
                    "{{provider}} {{kind}}",
                ),
                about="A second, as providers reported them.",
            ),
            graph(
                "Usage that was not reported",
                Query(
                    f"sum by (side) (rate(relay_usage_estimated_total{{{_ITS}}}{RATE}))",
                    "{{side}} estimated",
                ),
                Query(
                    f"sum by (side) (rate(relay_usage_unreadable_total{{{_ITS}}}{RATE}))",
                    "{{side}} unreadable",
                ),
                unit="ops",
            ),
            listing("Keys last used", Query(used, "used"), unit="dateTimeFromNow", width=8),
            listing(
                "Keys due to be rotated",
                Query(f"1000 * max by (key) ({due})", "due"),
                unit="dateTimeFromNow",
            ),
            listing(
                "Former keys that are still accepted",
                Query(f"1000 * max by (key) ({until})", "until"),
                unit="dateTimeFromNow",
            ),
        ),
    )


def _pods() -> Row:
    overhead = f"sum by (le) (rate(relay_overhead_seconds_bucket{{{_ITS}}}{RATE}))"
    return Row(
        title="Relay pods",
        panels=(
            graph(
                "Time that the relay adds",
                Query(f"histogram_quantile(0.5, {overhead})", "p50"),
                Query(f"histogram_quantile(0.99, {overhead})", "p99"),
                unit="s",
                width=6,
            ),
            graph(
                "Connections",
                Query(f"sum(relay_client_connections{{{_ITS}}})", "of clients"),
                Query(
                    f"sum by (provider) (relay_upstream_connections{{{_ITS}}})", "to {{provider}}"
                ),
                width=6,
            ),
            graph(
                "Request bodies in memory",
                Query(f"sum(relay_buffered_bytes{{{_ITS}}})", "all pods"),
                unit="bytes",
                width=6,
            ),
            graph(
                "Log lines dropped",
                Query(f"sum(rate(relay_log_lines_dropped_total{{{_ITS}}}{RATE}))", "lines"),
                unit="ops",
                width=6,
                about="Standard output was stuck.",
            ),
        ),
    )
