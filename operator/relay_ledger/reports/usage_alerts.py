"""What a tenant is told of the alerts of its budget and credit: `GET /v1/usage/alerts`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, assert_never

from relay_contract.billing.attempt_event import MAX_PICO_USD
from relay_contract.billing.budget import alert_message_id
from relay_ledger.budgets.alert_delivery import AlertRecord, threshold_text
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.usage_history import BadQuestion

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
Place = tuple[int, str, int, int, int]
"""Where an alert stands among those of its tenant: when it was crossed, and what tells it from others of that moment."""
_NAMES: Final = frozenset({"limit", "after"})
_LIMIT: Final = re.compile(r"[1-9][0-9]{0,2}")
_NUMBER: Final = "([0-9]{1,19})"
_PLACE: Final = re.compile("-".join((_NUMBER, "(budget|credit)", *[_NUMBER] * 3)))


@dataclass(frozen=True, slots=True)
class AlertsQuestion:
    """How many alerts, and after which place."""

    most: int = DEFAULT_LIMIT
    after: Place | None = None


def read_alerts_question(query: Sequence[tuple[str, str]]) -> AlertsQuestion:
    """Reads a request's query; raises BadQuestion."""
    given = dict(query)
    if len(given) < len(query) or not given.keys() <= _NAMES:
        raise BadQuestion("alerts are asked for by limit and after, each once at most")
    return AlertsQuestion(_limit(given.get("limit")), _place(given.get("after")))


def usage_alerts(
    tenant_uid: str, alerts: Sequence[AlertRecord], following: Place | None
) -> dict[str, Any]:
    """Lays a page out; next is what to ask for after it, null where no earlier ones are kept."""
    return {
        "object": "usage.alerts",
        "currency": "USD",
        "data": [_told(tenant_uid, one) for one in alerts],
        "next": None if following is None else "-".join(map(str, following)),
    }


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    if _LIMIT.fullmatch(text) is None or int(text) > MAX_LIMIT:
        raise BadQuestion(f"limit is a number from 1 to {MAX_LIMIT}")
    return int(text)


def _place(text: str | None) -> Place | None:
    if text is None:
        return None
    found = _PLACE.fullmatch(text)
    numbers = [] if found is None else [int(found[number]) for number in (1, 3, 4, 5)]
    if found is None or max(numbers) > MAX_PICO_USD:
        raise BadQuestion("after is the `next` of an earlier answer")
    crossed_at, starts_at, amount, threshold = numbers
    return crossed_at, found[2], starts_at, amount, threshold


def _told(tenant_uid: str, record: AlertRecord) -> dict[str, Any]:
    alert = record.alert
    return {
        "id": alert_message_id(tenant_uid, alert),
        "limit": alert.kind,
        "threshold": threshold_text(alert),
        "amount": usd_text(alert.amount),
        "spent": usd_text(alert.spent),
        "period_start": utc_text(alert.starts_at),
        # credit has no end
        "period_end": utc_text(alert.ends_at) if alert.kind == "budget" else None,
        "crossed_at": utc_text(alert.crossed_at),
        "delivery": _delivery(record),
    }


def _delivery(record: AlertRecord) -> Mapping[str, str]:
    match record.state:
        case "delivered":
            return {
                "state": "delivered",
                "at": utc_text(record.told_at),
                "message": "the platform was told",
            }
        case "pending":
            until = utc_text(record.tried_until)
            return {
                "state": "pending",
                "tried_until": until,
                "message": f"the platform's receiver has not taken it yet; it is sent again every few minutes until {until}",
            }
        case "dead":
            return {
                "state": "dead",
                "at": utc_text(record.given_up_at),
                "message": "the platform's receiver did not take it for three days, so it is not sent any more; the platform can have it sent again",
            }
        case "dismissed":
            return {
                "state": "dismissed",
                "at": utc_text(record.told_at),
                "message": "the platform's receiver did not take it for three days, and the platform has decided not to have it sent again",
            }
        case _ as never:
            assert_never(never)
