"""Conditions: merged so that a transition time moves only with the status (Kubernetes API conventions)."""

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from relay_operator.decisions.outcome import Obstacle, Refused
from relay_operator.decisions.timestamps import from_text, to_text
from relay_operator.names import ConditionType, Reason

Status = Literal["True", "False", "Unknown"]

GRACE_SECONDS = 10.0
"""A kubelet brings a new key to its pods within about two seconds, once it is made to look."""

# Present only while true, as kstatus expects of abnormal conditions.
ABNORMAL = frozenset({ConditionType.RECONCILING, ConditionType.STALLED})

_MOST_CHARACTERS = 1024
"""Of a message: a person reads it."""

_STATUSES: dict[bool | None, Status] = {True: "True", False: "False", None: "Unknown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    type: ConditionType
    status: Status
    reason: Reason
    message: str = ""


def condition(
    type_: ConditionType,
    holds: bool | None,
    reason_true: Reason,
    reason_false: Reason,
    message: str,
) -> Condition:
    """Builds one row of a table of conditions. holds None means unknown and takes reason_false."""
    reason = reason_true if holds else reason_false
    return Condition(type=type_, status=_STATUSES[holds], reason=reason, message=message)


def not_accepted(obstacle: Obstacle, *also: Condition) -> list[Condition]:
    """Builds the conditions of an object that an obstacle keeps from its goal: Ready=False, and either Stalled
    (only a person can help) or Reconciling.
    """
    reason, message = obstacle.reason, obstacle.message
    final = isinstance(obstacle, Refused)
    return [
        condition(ConditionType.READY, False, reason, reason, message),
        *also,
        condition(ConditionType.STALLED, final, reason, reason, message),
        condition(ConditionType.RECONCILING, not final, reason, reason, message),
    ]


def find(status: Mapping[str, Any], type_: ConditionType) -> Mapping[str, Any]:
    """Returns one condition of a status; an empty one when it is absent."""
    listed = status.get("conditions") or ()
    return next((one for one in listed if one.get("type") == type_.value), {})


def with_grace(
    wanted: Sequence[Condition],
    told: Mapping[str, Any],
    *,
    on_its_way: Container[Reason],
    now: float,
) -> Sequence[Condition]:
    """Keeps Ready true for GRACE_SECONDS while something new is on its way to pods that serve the last: it never flaps.

    told is the status so far; Reconciling tells since when. on_its_way are the reasons for which pods go on serving.
    """
    ready = next(one for one in wanted if one.type is ConditionType.READY)
    is_reconciling = any(
        one.type is ConditionType.RECONCILING and one.status == "True" for one in wanted
    )
    before = find(told, ConditionType.READY)
    if ready.status == "True" or before.get("status") != "True":
        return wanted
    if not is_reconciling or ready.reason not in on_its_way:
        return wanted
    reason = next((one for one in Reason if one == before.get("reason")), None)
    if reason is None:
        # of another version of the operator
        return wanted
    since = find(told, ConditionType.RECONCILING).get("lastTransitionTime")
    # one that is later than now was told by a clock that is set right since
    if since is not None and abs(now - from_text(since)) >= GRACE_SECONDS:
        return wanted
    kept = replace(ready, status="True", reason=reason, message=str(before.get("message", "")))
    return [kept if one is ready else one for one in wanted]


def merge(
    current: Iterable[Mapping[str, Any]],
    wanted: Iterable[Condition],
    *,
    generation: int,
    now: float,
) -> list[dict[str, Any]]:
    """Builds the list to write: the wanted conditions, each with its old transition time if its status is unchanged."""
    before = {one.get("type"): one for one in current}
    merged = []
    for one in wanted:
        if one.type in ABNORMAL and one.status != "True":
            continue
        old = before.get(one.type.value, {})
        unchanged = old.get("status") == one.status and old.get("lastTransitionTime")
        merged.append(
            {
                "type": one.type.value,
                "status": one.status,
                "reason": one.reason.value,
                "message": _bounded(one.message),
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if unchanged else to_text(now),
            }
        )
    return merged


def _bounded(message: str) -> str:
    too_long = len(message) > _MOST_CHARACTERS
    return message[: _MOST_CHARACTERS - 1] + "…" if too_long else message
