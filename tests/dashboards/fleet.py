"""All tenants at a glance: what is not well, which canaries are on trial, what callers get, and how the relays are."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards.panels import (
    RATE,
    RED,
    YELLOW,
    Query,
    Row,
    graph,
    listing,
    number,
)
from tests.dashboards.panels import (
    board as made,
)

_ON_TRIAL = 'phase!~"Stable|Promoted|RolledBack"'
_TO_MIGRATION = (
    "Open the migration",
    "/d/relay-migration?var-namespace=${__data.fields.namespace}&var-route=${__data.fields.route}",
)
_TO_TENANT = ("Open the tenant", "/d/relay-tenant?var-tenant=${__data.fields.tenant}")
_BAD = ((1, YELLOW),)


def board() -> Dashboard:
    """Returns the dashboard."""
    return made(
        uid="relay-fleet",
        title="Relays: fleet",
        about="All tenants: what is not well, which canaries are on trial, and what callers get.",
        rows=(_now(), _migrations(), _calls(), _relays()),
    )


def _now() -> Row:
    return Row(
        title="Now",
        panels=(
            number("Tenants", Query("count(relay_operator_tenant_ready{OPERATOR})", "tenants")),
            number(
                "Tenants not Ready",
                Query("count(relay_operator_tenant_ready{OPERATOR} == 0) or vector(0)", "tenants"),
                steps=_BAD,
                about="Their condition Ready says why: kubectl get tenants.",
            ),
            number("Routes", Query("count(relay_operator_route_ready{OPERATOR})", "routes")),
            number(
                "Routes not Ready",
                Query("count(relay_operator_route_ready{OPERATOR} == 0) or vector(0)", "routes"),
                steps=_BAD,
                about="Their condition Ready says why: kubectl get relayroutes -A.",
            ),
            number(
                "Canaries on trial",
                Query(
                    f"count(relay_operator_route_phase{{OPERATOR, {_ON_TRIAL}}}) or vector(0)",
                    "canaries",
                ),
                about="With weight, or about to get some.",
            ),
            number(
                "Rolled back within a day",
                Query(
                    "count(time() - relay_operator_route_rolled_back_timestamp_seconds{OPERATOR} < 86400) or vector(0)",
                    "routes",
                ),
                steps=((1, RED),),
                about="Routes of which a canary was rolled back.",
            ),
        ),
    )


def _migrations() -> Row:
    weights = (
        f"max by (namespace, route, phase) (relay_operator_route_phase{{OPERATOR, {_ON_TRIAL}}})"
        " * on (namespace, route) group_left ()"
        " max by (namespace, route) (relay_operator_route_canary_weight_percent{OPERATOR})"
    )
    rolled_back = (
        "sort_desc(1000 * max by (namespace, route)"
        " (relay_operator_route_rolled_back_timestamp_seconds{OPERATOR}))"
    )
    return Row(
        title="Migrations",
        panels=(
            graph(
                "Routes by phase",
                Query("sum by (phase) (relay_operator_route_phase{OPERATOR})", "{{phase}}"),
                stacked=True,
            ),
            graph(
                "Canaries by verdict",
                Query("sum by (verdict) (relay_operator_route_verdict{OPERATOR})", "{{verdict}}"),
                stacked=True,
                about="Only Breached rolls back.",
            ),
            graph(
                "Canaries that wait",
                Query("sum(relay_operator_route_awaiting_approval{OPERATOR})", "for approval"),
                Query("sum(relay_operator_route_step_overdue{OPERATOR})", "step overdue"),
                Query(
                    "count(relay_operator_route_unmeasurable_since_timestamp_seconds{OPERATOR}) or vector(0)",
                    "not measurable",
                ),
                about="For a person, past a step's deadline, or without figures.",
            ),
            listing(
                "Canaries on trial, by weight",
                Query(f"sort_desc({weights})", "weight"),
                unit="percent",
                link=_TO_MIGRATION,
            ),
            listing(
                "Last rollbacks",
                Query(rolled_back, "rolled back"),
                unit="dateTimeFromNow",
                link=_TO_MIGRATION,
            ),
        ),
    )


def _calls() -> Row:
    answers = f"rate(relay_requests_total{{RELAYS}}{RATE})"
    failed = f'rate(relay_requests_total{{RELAYS, status=~"5.."}}{RATE})'
    attempts = f'rate(relay_upstream_attempts_total{{RELAYS, outcome!="ok"}}{RATE})'
    first_token = (
        f"sum by (side, le) (rate(relay_time_to_first_token_seconds_bucket{{RELAYS}}{RATE}))"
    )
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
                "Calls answered with a server error, worst tenants",
                Query(
                    f"topk(10, sum by (NAMESPACE_LABEL) ({failed}) / sum by (NAMESPACE_LABEL) ({answers}))",
                    "{{NAMESPACE_LABEL}}",
                ),
                unit="percentunit",
                about="Share of each tenant's calls; RelayErrors tells of it.",
            ),
            graph(
                "Attempts at providers that failed",
                Query(f"sum by (provider, outcome) ({attempts})", "{{provider}} {{outcome}}"),
                unit="ops",
            ),
            graph(
                "Time to the first token (p99)",
                Query(f"histogram_quantile(0.99, {first_token})", "{{side}}"),
                unit="s",
            ),
            graph(
                "Calls that relays refused",
                Query(
                    f"sum by (reason) (rate(relay_rejections_total{{RELAYS}}{RATE}))", "{{reason}}"
                ),
                unit="reqps",
            ),
            graph(
                "Tokens",
                Query(
                    f"sum by (provider, kind) (rate(relay_tokens_total{{RELAYS}}{RATE}))",
                    "{{provider}} {{kind}}",
                ),
                about="A second, as providers reported them. cached is within input, reasoning within output.",
            ),
        ),
    )


def _relays() -> Row:
    not_isolated = "relay_operator_tenant_isolated{OPERATOR} == 0"
    not_ready = "relay_operator_tenant_ready{OPERATOR} == 0"
    overhead = f"sum by (le) (rate(relay_overhead_seconds_bucket{{RELAYS}}{RATE}))"
    return Row(
        title="Relays",
        panels=(
            graph(
                "Relay pods",
                Query("sum(relay_operator_tenant_relay_pods{OPERATOR})", "asked for"),
                Query(
                    "sum(relay_operator_tenant_relay_pods_programmed{OPERATOR})",
                    "with the newest configuration",
                ),
                about="Those that do not run the newest configuration are missing, not ready, or cut off from the operator.",
            ),
            graph(
                "Tenants in a change of the platform",
                Query("sum by (state) (relay_operator_rollout_tenants{OPERATOR})", "{{state}}"),
                about="stuck: new pods of one do not come up, and the change goes no further.",
            ),
            graph(
                "Time that relays add",
                Query(f"histogram_quantile(0.5, {overhead})", "p50"),
                Query(f"histogram_quantile(0.99, {overhead})", "p99"),
                unit="s",
            ),
            graph(
                "Calls that wait for a seat, longest lines",
                Query(
                    "topk(10, sum by (NAMESPACE_LABEL) (relay_queue_depth{RELAYS}))",
                    "{{NAMESPACE_LABEL}}",
                ),
            ),
            graph(
                "Tenants that are not kept apart",
                Query(f"count({not_isolated}) or vector(0)", "tenants"),
                about="No Provider's key is handed out to them: RelayTenantNotIsolated.",
            ),
            listing(
                "Tenants that are not Ready",
                Query(f"max by (namespace, tenant) ({not_ready})", "Ready"),
                width=8,
                link=_TO_TENANT,
            ),
        ),
    )
