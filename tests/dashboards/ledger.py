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
        rows=(
            *(_state(), _audit(), _money(), _use(), _tools(), _delivery()),
            *(_accounts(), _booking()),
        ),
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


def _audit() -> Row:
    last_good = "max(relay_ledger_audit_timestamp_seconds{LEDGER}) > 0"
    last_report = "max by (provider) (relay_ledger_reconciled_timestamp_seconds{LEDGER})"
    damaged = "increase(relay_outbox_skipped_bytes_total{RELAYS}[1d])"
    return Row(
        title="Audits and statements",
        panels=(
            number(
                "Audit differences",
                Query("max(relay_ledger_audit_differences{LEDGER})", "sums"),
                steps=((1, RED),),
                about="Sums that are not those of their postings, and attempts that do not balance, at the last audit. 0 before the first one too.",
            ),
            number(
                "Since the last good audit",
                Query(f"time() - ({last_good})", "age"),
                unit="s",
                steps=((180_000, YELLOW),),
                about="None before the first audit, a quarter of an hour after the ledger's start.",
            ),
            number(
                "Since the last reconciliation",
                Query(f"time() - {last_report}", "{{provider}}"),
                unit="s",
                steps=((180_000, YELLOW),),
                about="With the provider's own reports; none without ledger.reports.sources.",
            ),
            number(
                "Statements held",
                Query("max(relay_ledger_statements_held{LEDGER})", "statements"),
                steps=((1, YELLOW),),
                about="They are due and cannot be made final; the log event statement_held tells why.",
            ),
            number(
                "Statements made final",
                Query("sum(increase(relay_ledger_final_statements_total{LEDGER}[30d]))", "made"),
                about="In the last 30 days.",
            ),
            number(
                "Damaged bytes in outboxes",
                Query(f"sum({damaged})", "bytes"),
                unit="bytes",
                steps=((1, RED),),
                about="In a day, of relay pods' files of records, in which no record could be found.",
            ),
        ),
    )


def _accounts() -> Row:
    relayed = "relay_outbox_attempts_%s_total{RELAYS}"
    return Row(
        title="Attempts from their opening to their end",
        panels=(
            graph(
                "Attempts recorded by relays",
                Query(f"sum(rate({relayed % 'opened'}{RATE}))", "opened"),
                Query(f"sum(rate({relayed % 'closed'}{RATE}))", "ended"),
                Query(f"sum(rate({relayed % 'left_open'}{RATE}))", "left open"),
                unit="ops",
                about="Left open are those of processes that were killed; the ledger closes them as unknown.",
            ),
            graph(
                "Attempts known to the ledger",
                Query("max by (state) (relay_ledger_attempts{LEDGER})", "{{state}}"),
                about="opened and unopened together are closed, swept and in flight.",
            ),
            graph(
                "Attempts under way",
                Query("sum(relay_outbox_attempts_under_way{RELAYS})", "in relays"),
                Query("max(relay_ledger_in_flight_attempts{LEDGER})", "in the ledger"),
                about="The ledger's follow those of relays, later by what a delivery takes.",
            ),
            graph(
                "Records kept apart",
                Query(
                    f"sum by (reason) (increase(relay_ledger_quarantined_records_total{{LEDGER}}{RATE}))",
                    "{{reason}}",
                ),
                about="In quarantine: relay-ledger quarantine lists them.",
            ),
            graph(
                "Attempts booked without a price",
                Query(
                    f"sum by (account) (increase(relay_ledger_unpriced_attempts_total{{LEDGER}}{RATE}))",
                    "{{account}}",
                ),
                about="cost: of a provider. charge: of a tenant. relay-ledger prices reprice books them once there is a price.",
            ),
            graph(
                "Connections ended by the ledger",
                Query(
                    f"sum by (reason) (increase(relay_ledger_connections_ended_total{{LEDGER}}{RATE}))",
                    "{{reason}}",
                ),
                about="Or not let in: idle, slow, or more than an address or the port may have.",
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
                Query("max(relay_outbox_unread_bytes{RELAYS})", "not read yet, at most"),
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
                Query(
                    f"sum(rate(relay_outbox_records_shipped_total{{RELAYS}}{RATE}))",
                    "records delivered",
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
