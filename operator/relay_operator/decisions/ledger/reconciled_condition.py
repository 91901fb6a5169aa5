"""The condition that says whether what is booked of a Provider agrees with the Provider's own reports."""

from typing import Final

from relay_operator.decisions import timestamps
from relay_operator.decisions.conditions import Condition, condition
from relay_operator.decisions.ledger.standing import Reconciled
from relay_operator.names import ConditionType, Reason

_MICROSECONDS: Final = 1_000_000
_MONTH: Final = len("2026-11")


def of_provider(name: str, found: Reconciled | None) -> Condition:
    """Builds the condition of a Provider; found is what was found last, None if nobody has compared yet."""
    if found is None:
        message = (
            "nobody has compared what is booked with the provider's own reports; do it with "
            f"relay-ledger reconcile {name} --period MONTH"
        )
        return _reconciled(None, Reason.NEVER_RECONCILED, message)
    sums = found.summary
    if not sums.compared:
        message = f"{_period(found)}: nothing is booked and nothing reported"
        return _reconciled(None, Reason.NOTHING_COMPARED, message)
    if sums.flagged:
        message = (
            f"{_totals(found)}; {sums.flagged} figures are more than 1 % apart, of {', '.join(sums.names)}. "
            f"relay-ledger reconcile {name} --period {_period(found)} shows each with its causes"
        )
        return _reconciled(False, Reason.DIFFERENCE_FOUND, message)
    if sums.provisional == sums.compared:
        message = f"{_totals(found)}; all of it is too young to count, so compare again in two days"
        return _reconciled(None, Reason.NOT_SETTLED, message)
    young = (
        f", of {sums.provisional} that are too young it is not known" if sums.provisional else ""
    )
    message = f"{_totals(found)}; none of {sums.compared} figures is more than 1 % apart{young}"
    return _reconciled(True, Reason.WITHIN_ONE_PERCENT, message)


def _totals(found: Reconciled) -> str:
    sums = found.summary
    apart = f", {sums.percent} % apart" if sums.percent else ""
    causes = f" ({', '.join(sums.causes)})" if sums.causes else ""
    return (
        f"{_period(found)}, compared at {timestamps.to_text(found.made_at / _MICROSECONDS)}: booked {sums.booked} {sums.unit}, "
        f"reported {sums.reported}, difference {sums.difference}{apart}{causes}"
    )


def _period(found: Reconciled) -> str:
    return timestamps.to_text(found.start / _MICROSECONDS)[:_MONTH]


def _reconciled(holds: bool | None, reason: Reason, message: str) -> Condition:
    return condition(ConditionType.RECONCILED, holds, reason, reason, message)
