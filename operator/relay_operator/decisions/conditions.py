"""Conditions: merged so that a transition time moves only with the status (Kubernetes API conventions)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from relay_operator.names import ConditionType, Reason

Status = Literal["True", "False", "Unknown"]

# Present only while true, as kstatus expects of abnormal conditions.
ABNORMAL = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: ConditionType
    status: Status
    reason: Reason
    message: str = ""


def timestamp(now: float) -> str:
    """RFC 3339 in UTC, whole seconds, of seconds since the epoch."""
    return datetime.fromtimestamp(now, tz=UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def merge(
    current: Iterable[Mapping[str, Any]],
    wanted: Iterable[Condition],
    *,
    generation: int,
    now: float,
) -> list[dict[str, Any]]:
    """The list to write: the wanted conditions, with the old transition time where the status did not change."""
    before = {condition.get("type"): condition for condition in current}
    merged = []
    for condition in wanted:
        if condition.type in ABNORMAL and condition.status != "True":
            continue
        old = before.get(condition.type.value, {})
        unchanged = old.get("status") == condition.status
        merged.append(
            {
                "type": condition.type.value,
                "status": condition.status,
                "reason": condition.reason.value,
                "message": condition.message[:1024],
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if unchanged else timestamp(now),
            }
        )
    return merged
