"""The message of a webhook about a threshold of a tenant's budget or credit."""

import orjson

from relay_contract.billing.budget import Alert, alert_message_id
from relay_operator.cluster.webhook.message import Message
from relay_operator.decisions import timestamps
from relay_operator.decisions.ledger.budget_conditions import alert_message
from relay_operator.decisions.ledger.usd import usd_text

TYPE = "tenant.budget_alert"
_MICROSECONDS = 1_000_000


def of_alert(tenant: str, tenant_uid: str, alert: Alert) -> Message:
    """Writes the message of an alert."""
    data = {
        "tenant": tenant,
        "uid": tenant_uid,
        "limit": alert.kind,
        "threshold": f"{alert.threshold}%"
        if alert.kind == "budget"
        else f"below {usd_text(alert.threshold)} USD",
        "amount": usd_text(alert.amount),
        "spent": usd_text(alert.spent),
        "currency": "USD",
        "periodStart": timestamps.to_text(alert.starts_at / _MICROSECONDS),
        "periodEnd": timestamps.to_text(alert.ends_at / _MICROSECONDS)
        if alert.kind == "budget"
        else None,
        "message": alert_message(alert),
    }
    content = {
        "type": TYPE,
        "timestamp": timestamps.to_text(alert.crossed_at / _MICROSECONDS),
        "data": data,
    }
    return Message(id=alert_message_id(tenant_uid, alert), type=TYPE, body=orjson.dumps(content))
