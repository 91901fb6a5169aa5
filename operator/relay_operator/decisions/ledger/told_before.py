"""What a status says of the ledger's matters, for an operator that has not heard of the ledger yet: it is no news that it has begun."""

from collections.abc import Mapping
from typing import Any, Final

from relay_operator.decisions.conditions import Condition, find
from relay_operator.names import ConditionType, Reason

_OF_THE_LEDGER: Final = (ConditionType.PRICED, ConditionType.RECONCILED)


def told_before(status: Mapping[str, Any]) -> list[Condition]:
    """Returns these conditions as they stand; one of another version of the operator is left out."""
    return [one for type_ in _OF_THE_LEDGER for one in _told(status, type_)]


def _told(status: Mapping[str, Any], type_: ConditionType) -> list[Condition]:
    told = find(status, type_)
    reason = next((one for one in Reason if one == told.get("reason")), None)
    holds = told.get("status")
    if reason is None or holds not in ("True", "False", "Unknown"):
        return []
    return [
        Condition(type=type_, status=holds, reason=reason, message=str(told.get("message", "")))
    ]
