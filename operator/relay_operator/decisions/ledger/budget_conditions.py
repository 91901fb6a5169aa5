"""What is said of a tenant's budget and credit: a condition, a percentage, and the sentence of an alert."""

from collections.abc import Sequence
from typing import Final

from relay_contract.billing.budget import Alert, BudgetStanding
from relay_operator.api.tenant import Billing
from relay_operator.decisions import timestamps
from relay_operator.decisions.conditions import Condition, condition
from relay_operator.decisions.ledger.usd import usd_text
from relay_operator.names import ConditionType, Reason

_MICROSECONDS: Final = 1_000_000


def of_tenant(
    billing: Billing, standings: Sequence[BudgetStanding], undelivered: int = 0
) -> list[Condition]:
    """Builds WithinBudget of a Tenant that has a budget or credit; nothing before the ledger has told how it stands.

    undelivered is how many of its alerts were given up.
    """
    if (billing.budget is None and billing.credit is None) or not standings:
        return []
    nearest = max(standings, key=percent_of)
    is_within = nearest.spent < nearest.amount
    spent = Reason.CREDIT_SPENT if nearest.kind == "credit" else Reason.BUDGET_SPENT
    return [
        condition(
            ConditionType.WITHIN_BUDGET,
            is_within,
            Reason.WITHIN_BUDGET,
            spent,
            (_within(nearest) if is_within else _spent(nearest)) + _undelivered(undelivered),
        )
    ]


def _undelivered(alerts: int) -> str:
    if not alerts:
        return ""
    named = "1 alert" if alerts == 1 else f"{alerts} alerts"
    return f"; the webhook's receiver has not taken {named} of this Tenant for three days, which relay-ledger alerts lists"


def unbounded(billing: Billing) -> str:
    """Says what of a tenant's billing bounds nothing on a platform that has no ledger; empty without any.

    A price list alone bounds nothing anyway, and relays count the calls and tokens of a session themselves.
    """
    caps = billing.session_caps
    rows = (
        ("budget", billing.budget is not None),
        ("credit", billing.credit is not None),
        ("sessionCaps.amount", caps is not None and caps.amount is not None),
    )
    needing = ", ".join(f"spec.billing.{name}" for name, is_set in rows if is_set)
    if not needing:
        return ""
    return (
        f"the platform has no ledger, so nothing is counted against {needing}, and no call is refused for it. "
        f"Set the chart's value ledger.enabled, or remove {needing}"
    )


def percent_of(standing: BudgetStanding) -> int:
    """Returns how much of a limit is spent, in percent, rounded down; all of nothing."""
    if standing.amount <= 0:
        return 100
    return max(standing.spent, 0) * 100 // standing.amount


def percent(standings: Sequence[BudgetStanding]) -> int:
    """Returns that of the limit which is nearest its end."""
    return max(map(percent_of, standings), default=0)


def alert_message(alert: Alert) -> str:
    """Says which threshold was crossed, by what, and until when it counts."""
    if alert.kind == "credit":
        left = alert.amount - alert.spent
        return (
            f"less than {usd_text(alert.threshold)} USD of the credit are left ({usd_text(left)} USD);"
            " calls are refused once nothing is. Add credit by POST /v1/credits of the ledger"
        )
    return (
        f"{alert.threshold} % of the budget of {usd_text(alert.amount)} USD are spent"
        f" ({usd_text(alert.spent)} USD); it renews at {_text(alert.ends_at)}"
    )


def _within(standing: BudgetStanding) -> str:
    # the percentage moves all the time: the message says what it is of, status.billing how far it is
    if standing.kind == "credit":
        return f"of {usd_text(standing.amount)} USD that were paid in advance not all is spent"
    return f"the budget of {usd_text(standing.amount)} USD until {_text(standing.ends_at)} is not spent"


def _spent(standing: BudgetStanding) -> str:
    if standing.kind == "credit":
        return (
            f"all of {usd_text(standing.amount)} USD that were paid in advance is spent, and calls are refused with"
            " insufficient_quota. Add credit by POST /v1/credits of the ledger"
        )
    refused = (
        "calls are refused with insufficient_quota until then"
        if standing.hard
        else "the budget is soft, and calls are served"
    )
    return (
        f"the budget of {usd_text(standing.amount)} USD until {_text(standing.ends_at)} is spent; {refused}."
        " Raise spec.billing.budget.amount to change that"
    )


def _text(at: int) -> str:
    return timestamps.to_text(at / _MICROSECONDS)
