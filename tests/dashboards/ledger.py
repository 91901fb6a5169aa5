"""The ledger: what is used and what it costs, on which evidence, whether relays are behind, and what is not in the books."""

from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.dashboards.panels import RATE, RED, YELLOW, Query, Row, bars, graph, number
from tests.dashboards.panels import board as made

_USD = "currencyUSD"
_EVIDENCE = (
    "By the evidence of their tokens: provider is its own count, unknown is what nobody can tell."
)


def board() -> Dashboard:
    """Returns the dashboard."""
    return made(
        uid="relay-ledger",
        title="Relays: ledger",
        about="What all tenants use and what it costs, on which evidence, whether relays are behind, and what is not in the books.",
        rows=(_state(), _money(), _use(), _tools(), _delivery(), _booking()),
        span="now-24h",
    )


def _state() -> Row:
    spent = "max(relay_operator_budgets_spent{OPERATOR})"
    return Row(
        title="State",
        panels=(
            number(
                "Kept apart",
                Query("max(relay_ledger_quarantine_lines{LEDGER})", "lines"),
                steps=((1, RED),),
                about="Lines that are not booked. relay_ledger_quarantined_records_total tells why.",
            ),
            number(
                "Open attempts",
                Query("max(relay_ledger_in_flight_attempts{LEDGER})", "attempts"),
                about="Opened and not closed: calls under way, and those of relays that were killed until they are swept.",
            ),
            number(
                "Not accounted for",
                Query(
                    'max(abs(sum by (instance) (relay_ledger_attempts{LEDGER, state=~"opened|unopened"})'
                    ' - sum by (instance) (relay_ledger_attempts{LEDGER, state=~"closed|swept"})'
                    " - sum by (instance) (relay_ledger_in_flight_attempts{LEDGER})))",
                    "attempts",
                ),
                steps=((1, RED),),
                about="Opened and unopened, less closed, swept and in flight: nothing else than 0.",
            ),
            number(
                "Oldest record that waits",
                Query("max(relay_outbox_oldest_seconds{RELAYS})", "age"),
                unit="s",
                steps=((60, YELLOW), (600, RED)),
                about="In any relay pod.",
            ),
            number(
                "Models without a price",
                Query("max by (account) (relay_operator_unpriced_models{OPERATOR})", "{{account}}"),
                steps=((1, YELLOW),),
                about="The condition Priced of Providers and Tenants names them.",
            ),
            number(
                "Nothing left",
                Query(spent, "budgets and credits"),
                steps=((1, YELLOW),),
                about="Budgets and credits that are spent; the condition WithinBudget names the tenant.",
            ),
        ),
    )


def _money() -> Row:
    booked = f'increase(relay_ledger_booked_micro_usd_total{{LEDGER, account="%s"}}{RATE})'
    return Row(
        title="Money",
        panels=(
            graph(
                "Cost per model",
                Query(
                    f"sum by (provider, model) ({booked % 'cost'}) / 1e6", "{{provider}} {{model}}"
                ),
                unit=_USD,
                stacked=True,
                about="What providers are paid, in each step of the graph.",
            ),
            graph(
                "Charge per model",
                Query(f"sum by (model) ({booked % 'charge'}) / 1e6", "{{model}}"),
                unit=_USD,
                stacked=True,
                about="What tenants are charged. Corrections are in reports alone.",
            ),
            graph(
                "Thresholds of budgets crossed",
                Query(
                    f"sum by (limit) (increase(relay_operator_budget_alerts_total{{OPERATOR}}{RATE}))",
                    "{{limit}}",
                ),
            ),
        ),
    )


def _use() -> Row:
    attempts = f"increase(relay_ledger_booked_attempts_total{{LEDGER}}{RATE})"
    day = "increase(relay_ledger_booked_attempts_total{LEDGER%s}[1d])"
    reported = day % ', source="provider"'
    used = day % ', source!="none"'
    return Row(
        title="Use",
        panels=(
            graph(
                "Tokens",
                Query(
                    f"sum by (model, kind) (increase(relay_tokens_total{{RELAYS}}{RATE}))",
                    "{{model}} {{kind}}",
                ),
                stacked=True,
                about="As providers reported them.",
            ),
            graph(
                "Attempts by evidence",
                Query(f"sum by (source) ({attempts})", "{{source}}"),
                stacked=True,
                about=_EVIDENCE,
            ),
            bars(
                "Share that providers counted",
                Query(
                    f"sum by (provider) ({reported}) / sum by (provider) ({used})", "{{provider}}"
                ),
                width=8,
                about="Of a day's attempts that may have used anything.",
            ),
        ),
    )


def _tools() -> Row:
    booked = f'increase(relay_ledger_booked_tool_micro_usd_total{{LEDGER, account="%s"}}{RATE})'
    asked = f"increase(relay_tool_calls_total{{RELAYS}}{RATE})"
    denied = f'increase(relay_tool_calls_total{{RELAYS, method=~"chat[.].+"}}{RATE})'
    unpriced = f"increase(relay_ledger_unpriced_tool_calls_total{{LEDGER}}{RATE})"
    return Row(
        title="Tools",
        panels=(
            graph(
                "Cost per tool server",
                Query(f"sum by (server) ({booked % 'cost'}) / 1e6", "{{server}}"),
                unit=_USD,
                stacked=True,
                about="What the platform pays for calls that servers carried out, in each step of the graph.",
            ),
            graph(
                "Charge per tool server",
                Query(f"sum by (server) ({booked % 'charge'}) / 1e6", "{{server}}"),
                unit=_USD,
                stacked=True,
                about="What tenants are charged for them. Corrections are in reports alone.",
            ),
            graph(
                "Tool calls booked",
                Query(
                    f"sum by (server) (increase(relay_ledger_booked_tool_calls_total{{LEDGER}}{RATE}))",
                    "{{server}}",
                ),
                Query(f"sum by (account) ({unpriced})", "without a price: {{account}}"),
                about="Those that servers carried out. The condition Priced names tools without a price.",
            ),
            graph(
                "Requests to tool servers by outcome",
                Query(f"sum by (outcome) ({asked})", "{{outcome}}"),
                width=12,
                stacked=True,
                about="As relays ended them, those that were denied or limited among them; relay-ledger tools says whose they were.",
            ),
            graph(
                "Tools that chat was denied",
                Query(f"sum by (method) ({denied})", "{{method}}"),
                width=12,
                about="chat.tools: offered or asked for by calls. chat.tool_calls: called in answers.",
            ),
        ),
    )


def _delivery() -> Row:
    return Row(
        title="From relays to the ledger",
        panels=(
            graph(
                "Records that wait",
                Query(
                    "sum by (NAMESPACE_LABEL) (relay_outbox_records_waiting{RELAYS})",
                    "{{NAMESPACE_LABEL}}",
                ),
                width=6,
            ),
            graph(
                "Room that is used",
                Query(
                    "max by (NAMESPACE_LABEL) (relay_outbox_bytes{RELAYS})", "{{NAMESPACE_LABEL}}"
                ),
                unit="bytes",
                width=6,
                about="Of the pod with the most, of ledger.outboxMebibytes.",
            ),
            graph(
                "Deliveries by answer",
                Query(
                    f"sum by (answer) (rate(relay_outbox_deliveries_total{{RELAYS}}{RATE}))",
                    "{{answer}}",
                ),
                unit="ops",
                width=6,
            ),
            graph(
                "Records lost to the books",
                Query(
                    f"sum by (record) (increase(relay_outbox_records_dropped_total{{RELAYS}}{RATE}))",
                    "dropped {{record}}",
                ),
                Query(
                    f"sum(increase(relay_outbox_records_quarantined_total{{RELAYS}}{RATE}))",
                    "kept apart",
                ),
                width=6,
                about="Dropped for want of room, and delivered but not booked.",
            ),
        ),
    )


def _booking() -> Row:
    seconds = f"sum by (le) (rate(relay_ledger_booking_seconds_bucket{{LEDGER}}{RATE}))"
    return Row(
        title="Booking",
        panels=(
            graph(
                "Records",
                Query(
                    f"sum by (result) (rate(relay_ledger_records_total{{LEDGER}}{RATE}))",
                    "{{result}}",
                ),
                unit="ops",
            ),
            graph(
                "Time to book a batch",
                Query(f"histogram_quantile(0.5, {seconds})", "p50"),
                Query(f"histogram_quantile(0.99, {seconds})", "p99"),
                unit="s",
            ),
            graph(
                "Batches refused",
                Query(
                    f"sum by (reason) (rate(relay_ledger_refused_batches_total{{LEDGER}}{RATE}))",
                    "{{reason}}",
                ),
                unit="ops",
            ),
        ),
    )
