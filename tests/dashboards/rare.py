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


def _one(name: str, labels: str, values: str = "1x20") -> Mapping[str, str]:
    return {f"{name}{{{labels}}}": values}


RARE: Final[Mapping[tuple[str, str, str], Mapping[str, str]]] = {
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
    ("relay-migration", "Shadow copies", "{{outcome}}"): _one(
        "relay_shadow_total", f'{_RELAY},route="chat",outcome="match"', _RISING
    ),
}
