"""One migration: where it stands, both sides' errors and latency with their limits, the evidence against the canary, and rollbacks."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards.panels import (
    GREEN,
    PHASE_COLOURS,
    RATE,
    RED,
    VERDICT_COLOURS,
    YELLOW,
    Query,
    Row,
    annotation,
    bars,
    graph,
    number,
    timeline,
    variable,
)
from tests.dashboards.panels import (
    board as made,
)

_OF_IT = 'OPERATOR, namespace="$namespace", route="$route"'
_ITS = 'RELAYS, NAMESPACE_LABEL="$namespace", route="$route"'
_COUNTED = 'SLO, NAMESPACE_LABEL="$namespace", route="$route"'


def board() -> Dashboard:
    """Returns the dashboard."""
    return made(
        uid="relay-migration",
        title="Relays: one migration",
        about="One route's canary: its weight, both sides' errors and latency with their limits, the evidence against it, and rollbacks.",
        rows=(_standing(), _course(), _errors(), _latency(), _evidence(), _more()),
        variables=(
            variable(
                "namespace",
                label="Namespace",
                query="label_values(relay_operator_route_ready{OPERATOR}, namespace)",
            ),
            variable(
                "route",
                label="Route",
                query='label_values(relay_operator_route_ready{OPERATOR, namespace="$namespace"}, route)',
            ),
        ),
        annotations=(
            annotation(
                "Rolled back",
                f'max(relay_operator_route_phase{{{_OF_IT}, phase="RolledBack"}}) == 1',
                colour=RED,
            ),
        ),
        span="now-24h",
    )


def _standing() -> Row:
    route = "relay_operator_route"
    return Row(
        title="Where it stands",
        panels=(
            number(
                "Phase",
                Query(f"max by (phase) ({route}_phase{{{_OF_IT}}})", "{{phase}}"),
                by_name=PHASE_COLOURS,
                about="kubectl relay why says what moved it last, and on which evidence.",
            ),
            number(
                "Weight",
                Query(f"max({route}_canary_weight_percent{{{_OF_IT}}})", "canary"),
                Query(f"max({route}_canary_target_percent{{{_OF_IT}}})", "target"),
                unit="percent",
                about="Share of the sessions that the canary has, and is to have in the end.",
            ),
            number(
                "Verdict",
                Query(
                    f"max by (verdict, reason) ({route}_verdict{{{_OF_IT}}})",
                    "{{verdict}}: {{reason}}",
                ),
                by_name=VERDICT_COLOURS,
                about="None without a canary on trial.",
            ),
            number(
                "Calls on this step",
                Query(f"max({route}_step_requests{{{_OF_IT}}})", "answered"),
                Query(f"max({route}_step_requests_needed{{{_OF_IT}}})", "needed"),
            ),
            number(
                "Next step, at the earliest",
                Query(f"1000 * max({route}_step_due_timestamp_seconds{{{_OF_IT}}})", "due"),
                unit="dateTimeFromNow",
                about="It also takes the calls and a healthy verdict, and a person's approval where the spec asks for it.",
            ),
            number(
                "Last rollback",
                Query(
                    f"1000 * max({route}_rolled_back_timestamp_seconds{{{_OF_IT}}})", "rolled back"
                ),
                unit="dateTimeFromNow",
            ),
        ),
    )


def _course() -> Row:
    started = f"rate(relay_slo_attempts_started_total{{{_COUNTED}}}{RATE})"
    canary = f'rate(relay_slo_attempts_started_total{{{_COUNTED}, side="canary"}}{RATE})'
    return Row(
        title="Course",
        panels=(
            graph(
                "Weight over time",
                Query(
                    f"max(relay_operator_route_canary_weight_percent{{{_OF_IT}}})",
                    "canary's weight",
                ),
                Query(f"100 * sum({canary}) / sum({started})", "calls it gets"),
                Query(f"max(relay_operator_route_canary_target_percent{{{_OF_IT}}})", "target"),
                unit="percent",
                width=12,
                top=100,
                about="The weight counts sessions, so the share of calls goes another way where sessions are long.",
            ),
            timeline(
                "Phases",
                Query(f"max by (phase) (relay_operator_route_phase{{{_OF_IT}}})", "{{phase}}"),
                colours=PHASE_COLOURS,
            ),
        ),
    )


def _share(bad: str) -> str:
    """Returns the share of such attempts among those that count: what met a quota or was the caller's mistake does not."""
    counts = " - ".join(
        f"sum by (side) (rate(relay_slo_attempts_{name}_total{{{_COUNTED}}}{RATE}))"
        for name in ("finished", "throttled", "refused")
    )
    return f"sum by (side) (rate(relay_slo_attempts_{bad}_total{{{_COUNTED}}}{RATE})) / ({counts})"


def _allowed(metric: str, legend: str) -> Query:
    return Query(
        f'max by (metric, test) (relay_operator_route_allowed_ratio{{{_OF_IT}, metric=~"{metric}"}})',
        legend,
        is_limit=True,
    )


def _errors() -> Row:
    by_outcome = f'rate(relay_upstream_attempts_total{{{_ITS}, outcome!="ok"}}{RATE})'
    started = f"rate(relay_slo_attempts_started_total{{{_COUNTED}}}{RATE})"
    return Row(
        title="Errors",
        panels=(
            graph(
                "Share of calls that fail",
                Query(_share("failed"), "{{side}}"),
                _allowed("Errors", "limit: {{test}}"),
                unit="percentunit",
                about="Of what counts: neither quota (429) nor callers' mistakes. The limit increase follows what stable does.",
            ),
            graph(
                "How they fail",
                Query(
                    f"sum by (side, provider, outcome) ({by_outcome})",
                    "{{side}} {{provider}} {{outcome}}",
                ),
                unit="ops",
            ),
            graph("Calls", Query(f"sum by (side) ({started})", "{{side}}"), unit="reqps"),
        ),
    )


def _latency() -> Row:
    bucket = f"sum by (side, le) (rate(relay_time_to_first_token_seconds_bucket{{{_ITS}}}{RATE}))"
    slow = f"sum by (side, signal) (rate(relay_slo_attempts_slow_total{{{_COUNTED}}}{RATE}))"
    timed = f"sum by (side, signal) (rate(relay_slo_attempts_timed_total{{{_COUNTED}}}{RATE}))"
    return Row(
        title="Latency",
        panels=(
            graph(
                "Time to the first token",
                Query(f"histogram_quantile(0.5, {bucket})", "{{side}} p50"),
                Query(f"histogram_quantile(0.99, {bucket})", "{{side}} p99"),
                Query(
                    f"max by (signal) (relay_operator_route_latency_limit_seconds{{{_OF_IT}}})",
                    "limit: {{signal}}",
                    is_limit=True,
                ),
                unit="s",
                width=12,
                about="Limits of the other signals are drawn too: no call may take longer to its first token than in all.",
            ),
            graph(
                "Share of calls that are too slow",
                Query(f"{slow} / {timed}", "{{side}} {{signal}}"),
                _allowed("FirstToken|Total|Overhead", "limit: {{metric}} {{test}}"),
                unit="percentunit",
                width=12,
                about="Over the limit of their signal, as relays count them.",
            ),
        ),
    )


def _evidence() -> Row:
    found = f"max by (metric, test) (relay_operator_route_evidence_nats{{{_OF_IT}}})"
    needed = f"max by (metric, test) (relay_operator_route_evidence_needed_nats{{{_OF_IT}}})"
    return Row(
        title="Evidence",
        panels=(
            graph(
                "Evidence that a limit is broken",
                Query(found, "{{metric}} {{test}}"),
                Query(needed, "convicts: {{metric}} {{test}}", is_limit=True),
                about="A natural logarithm: how many times better the calls are explained by a worse canary. 6.2 is once in 500 runs "
                "by chance.",
            ),
            bars(
                "Evidence, of what convicts",
                Query(f"{found} / {needed}", "{{metric}} {{test}}"),
                width=8,
                steps=((0.5, YELLOW), (1, RED)),
            ),
            timeline(
                "Verdicts",
                Query(
                    f"max by (verdict) (relay_operator_route_verdict{{{_OF_IT}}})", "{{verdict}}"
                ),
                colours=VERDICT_COLOURS,
                width=8,
            ),
            graph(
                "Calls on the step",
                Query(f"max(relay_operator_route_step_requests{{{_OF_IT}}})", "answered"),
                Query(
                    f"max(relay_operator_route_step_requests_needed{{{_OF_IT}}})",
                    "needed",
                    is_limit=True,
                ),
                width=12,
            ),
            timeline(
                "Certified",
                Query(f"max(relay_operator_route_step_certified{{{_OF_IT}}}) == 1", "certified"),
                colours={"certified": GREEN},
                about="Shown, with 95 % certainty, to keep to every limit on the step.",
            ),
        ),
    )


def _more() -> Row:
    return Row(
        title="What else is looked at",
        panels=(
            graph(
                "Breakers",
                Query(f"sum(relay_slo_breaker_open{{{_COUNTED}}})", "pods that keep calls off it"),
                Query(
                    f"sum(increase(relay_slo_breaker_trips_total{{{_COUNTED}}}{RATE}))", "opened"
                ),
                Query(f"max(relay_slo_breaker_failed_probes{{{_COUNTED}}})", "failed probes"),
                width=6,
                about="More than half of the pods roll the canary back.",
            ),
            graph(
                "Quota and callers' mistakes",
                Query(_share("throttled"), "{{side}} throttled (429)"),
                Query(_share("refused"), "{{side}} refused"),
                unit="percentunit",
                width=6,
                about="Against the calls that count. A canary that refuses what stable accepts is to blame itself.",
            ),
            graph(
                "Drift of tokens",
                Query(
                    f"max by (kind) (relay_operator_route_token_drift_percent{{{_OF_IT}}})",
                    "{{kind}}, for certain",
                ),
                Query(
                    f"max(relay_operator_route_token_drift_limit_percent{{{_OF_IT}}})",
                    "limit",
                    is_limit=True,
                ),
                unit="percent",
                width=6,
                about="By how much the tokens an answer differ from stable's. Nothing without analysis.tokens.",
            ),
            graph(
                "Cost of a call",
                Query(
                    f"max(relay_operator_route_cost_increase_percent{{{_OF_IT}}})",
                    "above stable's",
                ),
                Query(
                    f"max(relay_operator_route_cost_increase_limit_percent{{{_OF_IT}}})",
                    "limit",
                    is_limit=True,
                ),
                Query(f"100 * max(relay_operator_route_cost_held{{{_OF_IT}}})", "holds the climb"),
                unit="percent",
                width=6,
                about="By how much a call of the canary costs more than one of stable. Nothing without analysis.cost.",
            ),
            graph(
                "Shadow copies",
                Query(
                    f"sum by (outcome) (rate(relay_shadow_total{{{_ITS}}}{RATE}))", "{{outcome}}"
                ),
                unit="ops",
                width=6,
                about="How they compared. Nothing without canary.shadow.",
            ),
        ),
    )
