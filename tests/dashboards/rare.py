"""Questions of the dashboards that a cluster on a good day has no answer to, and series with which each has one.

Series are written as promtool has them. Every other question is to have an answer in the story of the demonstration.
"""

from collections.abc import Mapping
from typing import Final

VARIABLES: Final = {
    "__rate_interval": "5m",
    "namespace": "relay-finance",
    "tenant": "finance",
    "route": "chat",
}
_OPERATOR: Final = 'job="relay-operator"'
_ROUTE: Final = f'{_OPERATOR},namespace="relay-finance",route="chat"'
_TENANT: Final = f'{_OPERATOR},namespace="relay-finance",tenant="finance"'
_RELAY: Final = 'job="relays",namespace="relay-finance",pod="relay-1"'
_RISING: Final = "0+6x20"
_Scene = Mapping[tuple[str, str, str], Mapping[str, str]]


def _one(name: str, labels: str, values: str = "1x20") -> Mapping[str, str]:
    return {f"{name}{{{labels}}}": values}


_LEDGER: Final = 'job="relay-ledger",instance="a"'
_SERVED: Final = f'{_LEDGER},provider="legacy",model="gpt-4.1"'


def _ledger(panel: str, legend: str, *series: Mapping[str, str]) -> _Scene:
    together = {name: values for one in series for name, values in one.items()}
    return {("relay-ledger", panel, legend): together}


def _booked_tries(source: str) -> Mapping[str, str]:
    return _one("relay_ledger_booked_attempts_total", f'{_SERVED},source="{source}"', _RISING)


def _micro_usd(account: str) -> Mapping[str, str]:
    return _one("relay_ledger_booked_micro_usd_total", f'{_SERVED},account="{account}"', _RISING)


def _tool_micro_usd(account: str) -> Mapping[str, str]:
    labels = f'{_LEDGER},server="erp",account="{account}"'
    return _one("relay_ledger_booked_tool_micro_usd_total", labels, _RISING)


def _tool_calls(method: str, outcome: str) -> Mapping[str, str]:
    labels = f'{_RELAY},server="erp",method="{method}",outcome="{outcome}"'
    return _one("relay_tool_calls_total", labels, _RISING)


_TOOL_TIMES: Final = {
    f'relay_tool_call_duration_seconds_bucket{{{_RELAY},server="erp",le="{bound}"}}': _RISING
    for bound in ("0.1", "+Inf")
}
_BUCKETS: Final = {
    f'relay_ledger_booking_seconds_bucket{{{_LEDGER},le="{bound}"}}': _RISING
    for bound in ("0.05", "+Inf")
}
_IN_FLIGHT: Final = _one("relay_ledger_in_flight_attempts", _LEDGER)
_AUDITS: Final[_Scene] = {
    **_ledger("Audit differences", "sums", _one("relay_ledger_audit_differences", _LEDGER, "0x20")),
    **_ledger(
        "Since the last good audit",
        "age",
        _one("relay_ledger_audit_timestamp_seconds", _LEDGER, "60x20"),
    ),
    **_ledger(
        "Since the last reconciliation",
        "{{provider}}",
        _one("relay_ledger_reconciled_timestamp_seconds", f'{_LEDGER},provider="legacy"', "60x20"),
    ),
    **_ledger(
        "Statements held", "statements", _one("relay_ledger_statements_held", _LEDGER, "0x20")
    ),
    **_ledger(
        "Statements made final",
        "made",
        _one("relay_ledger_final_statements_total", _LEDGER, "0x20"),
    ),
    **_ledger(
        "Damaged bytes in outboxes",
        "bytes",
        _one("relay_outbox_skipped_bytes_total", _RELAY, "0x20"),
    ),
}
_ACCOUNTS: Final[_Scene] = {
    **_ledger(
        "Attempts recorded by relays",
        "opened",
        _one("relay_outbox_attempts_opened_total", _RELAY, _RISING),
    ),
    **_ledger(
        "Attempts recorded by relays",
        "ended",
        _one("relay_outbox_attempts_closed_total", _RELAY, _RISING),
    ),
    **_ledger(
        "Attempts recorded by relays",
        "left open",
        _one("relay_outbox_attempts_left_open_total", _RELAY, "0x20"),
    ),
    **_ledger(
        "Attempts known to the ledger",
        "{{state}}",
        _one("relay_ledger_attempts", f'{_LEDGER},state="opened"', "3x20"),
    ),
    **_ledger("Attempts under way", "in relays", _one("relay_outbox_attempts_under_way", _RELAY)),
    **_ledger("Attempts under way", "in the ledger", _IN_FLIGHT),
    **_ledger(
        "Records kept apart",
        "{{reason}}",
        _one("relay_ledger_quarantined_records_total", f'{_LEDGER},reason="late"', _RISING),
    ),
    **_ledger(
        "Attempts booked without a price",
        "{{account}}",
        _one("relay_ledger_unpriced_attempts_total", f'{_LEDGER},account="cost"', _RISING),
    ),
    **_ledger(
        "Connections ended by the ledger",
        "{{reason}}",
        _one("relay_ledger_connections_ended_total", f'{_LEDGER},reason="idle"', _RISING),
    ),
    **_ledger(
        "Room that is used",
        "not read yet, at most",
        _one("relay_outbox_unread_bytes", _RELAY, "0x20"),
    ),
    **_ledger(
        "Deliveries by answer",
        "records delivered",
        _one("relay_outbox_records_shipped_total", _RELAY, _RISING),
    ),
}
LEDGER: Final[_Scene] = {
    **_AUDITS,
    **_ACCOUNTS,
    **_ledger("Kept apart", "lines", _one("relay_ledger_quarantine_lines", _LEDGER, "0x20")),
    **_ledger("Open attempts", "attempts", _IN_FLIGHT),
    **_ledger(
        "Not accounted for",
        "attempts",
        _IN_FLIGHT,
        _one("relay_ledger_attempts", f'{_LEDGER},state="opened"', "3x20"),
        _one("relay_ledger_attempts", f'{_LEDGER},state="closed"', "2x20"),
    ),
    **_ledger(
        "Oldest record that waits", "age", _one("relay_outbox_oldest_seconds", _RELAY, "0x20")
    ),
    **_ledger(
        "Models without a price",
        "{{account}}",
        _one("relay_operator_unpriced_models", f'{_OPERATOR},account="cost"', "0x20"),
    ),
    **_ledger(
        "Nothing left",
        "budgets and credits",
        _one("relay_operator_budgets_spent", _OPERATOR, "0x20"),
    ),
    **_ledger("Cost per model", "{{provider}} {{model}}", _micro_usd("cost")),
    **_ledger("Charge per model", "{{model}}", _micro_usd("charge")),
    **_ledger(
        "Thresholds of budgets crossed",
        "{{limit}}",
        _one("relay_operator_budget_alerts_total", f'{_OPERATOR},limit="budget"', "0x20"),
    ),
    **_ledger("Attempts by evidence", "{{source}}", _booked_tries("partial")),
    **_ledger(
        "Share that providers counted",
        "{{provider}}",
        _booked_tries("provider"),
        _booked_tries("unknown"),
    ),
    **_ledger("Cost per tool server", "{{server}}", _tool_micro_usd("cost")),
    **_ledger("Charge per tool server", "{{server}}", _tool_micro_usd("charge")),
    **_ledger(
        "Tool calls booked",
        "{{server}}",
        _one("relay_ledger_booked_tool_calls_total", f'{_LEDGER},server="erp"', _RISING),
    ),
    **_ledger(
        "Tool calls booked",
        "without a price: {{account}}",
        _one("relay_ledger_unpriced_tool_calls_total", f'{_LEDGER},account="cost"', _RISING),
    ),
    **_ledger(
        "Requests to tool servers by outcome", "{{outcome}}", _tool_calls("tools/call", "ok")
    ),
    **_ledger("Tools that chat was denied", "{{method}}", _tool_calls("chat.tools", "denied")),
    **_ledger(
        "Records that wait",
        "{{namespace}}",
        _one("relay_outbox_records_waiting", _RELAY, "0x20"),
    ),
    **_ledger("Room that is used", "{{namespace}}", _one("relay_outbox_bytes", _RELAY)),
    **_ledger(
        "Deliveries by answer",
        "{{answer}}",
        _one("relay_outbox_deliveries_total", f'{_RELAY},answer="200"', _RISING),
    ),
    **_ledger(
        "Records lost to the books",
        "dropped {{record}}",
        _one("relay_outbox_records_dropped_total", f'{_RELAY},record="opened"', "0x20"),
    ),
    **_ledger(
        "Records lost to the books",
        "kept apart",
        _one("relay_outbox_records_quarantined_total", _RELAY, "0x20"),
    ),
    **_ledger(
        "Records",
        "{{result}}",
        _one("relay_ledger_records_total", f'{_LEDGER},result="booked"', _RISING),
    ),
    **_ledger("Time to book a batch", "p50", _BUCKETS),
    **_ledger("Time to book a batch", "p99", _BUCKETS),
    **_ledger(
        "Batches refused",
        "{{reason}}",
        _one("relay_ledger_refused_batches_total", f'{_LEDGER},reason="busy"', _RISING),
    ),
}
"""Those about the ledger, which the demonstration does without."""

RARE: Final[_Scene] = {
    ("relay-operator", "Reconciles that did not come to their end", "{{kind}} {{outcome}}"): _one(
        "relay_operator_reconcile_duration_seconds_count",
        f'{_OPERATOR},kind="Tenant",outcome="conflict"',
        _RISING,
    ),
    ("relay-operator", "Messages of the webhook", "{{outcome}}"): _one(
        "relay_operator_webhook_messages_total", f'{_OPERATOR},outcome="delivered"', _RISING
    ),
    ("relay-fleet", "Calls that relays refused", "{{reason}}"): _one(
        "relay_rejections_total", f'{_RELAY},reason="queue_full"', _RISING
    ),
    ("relay-tenant", "Calls refused by the relay", "{{reason}}"): _one(
        "relay_rejections_total", f'{_RELAY},reason="queue_full"', _RISING
    ),
    ("relay-fleet", "Tenants that are not Ready", "Ready"): _one(
        "relay_operator_tenant_ready", _TENANT, "0x20"
    ),
    ("relay-tenant", "Certificate ends", "ends"): _one(
        "relay_tls_certificate_expiration_timestamp_seconds", _RELAY, "1800000000x20"
    ),
    ("relay-tenant", "Answers of another provider", "{{route}}: tried on, {{reason}}"): _one(
        "relay_fallbacks_total", f'{_RELAY},route="chat",reason="unreachable"', _RISING
    ),
    ("relay-tenant", "Answers of another provider", "{{route}}: {{provider}} passed over"): _one(
        "relay_passed_over_total", f'{_RELAY},route="chat",provider="legacy"', _RISING
    ),
    ("relay-tenant", "Requests to tool servers", "{{server}} {{outcome}}"): _tool_calls(
        "tools/call", "ok"
    ),
    ("relay-tenant", "Requests by method", "{{method}}"): _tool_calls("chat.tools", "denied"),
    ("relay-tenant", "Time of a request to a tool server", "p50"): _TOOL_TIMES,
    ("relay-tenant", "Time of a request to a tool server", "p99"): _TOOL_TIMES,
    ("relay-tenant", "Clients that left", "{{route}}"): _one(
        "relay_client_disconnects_total", f'{_RELAY},route="chat"', _RISING
    ),
    ("relay-tenant", "Keys due to be rotated", "due"): _one(
        "relay_operator_api_key_rotation_due_timestamp_seconds", f'{_TENANT},key="production"'
    ),
    ("relay-tenant", "Former keys that are still accepted", "until"): _one(
        "relay_operator_api_key_previous_until_timestamp_seconds", f'{_TENANT},key="production"'
    ),
    ("relay-tenant", "Usage that was not reported", "{{side}} estimated"): _one(
        "relay_usage_estimated_total", f'{_RELAY},route="chat",side="stable"', _RISING
    ),
    ("relay-tenant", "Usage that was not reported", "{{side}} unreadable"): _one(
        "relay_usage_unreadable_total", f'{_RELAY},route="chat",side="stable"', _RISING
    ),
    ("relay-migration", "Certified", "certified"): _one(
        "relay_operator_route_step_certified", _ROUTE
    ),
    ("relay-migration", "Drift of tokens", "{{kind}}, for certain"): _one(
        "relay_operator_route_token_drift_percent", f'{_ROUTE},kind="output"'
    ),
    ("relay-migration", "Drift of tokens", "limit"): _one(
        "relay_operator_route_token_drift_limit_percent", _ROUTE, "5x20"
    ),
    ("relay-migration", "Cost of a call", "above stable's"): _one(
        "relay_operator_route_cost_increase_percent", _ROUTE, "12x20"
    ),
    ("relay-migration", "Cost of a call", "limit"): _one(
        "relay_operator_route_cost_increase_limit_percent", _ROUTE, "10x20"
    ),
    ("relay-migration", "Cost of a call", "holds the climb"): _one(
        "relay_operator_route_cost_held", _ROUTE, "1x20"
    ),
    ("relay-migration", "Shadow copies", "{{outcome}}"): _one(
        "relay_shadow_total", f'{_RELAY},route="chat",outcome="match"', _RISING
    ),
    **LEDGER,
}
