"""Reads of objects as the API server has them. What is absent is empty: a newer operator may tell other things."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from relay_operator.decisions.timestamps import from_text

Object = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """A condition as it stands. since is RFC 3339, of its last change of status."""

    type: str
    status: str
    reason: str
    message: str
    since: str


_ABNORMAL = ("Stalled", "Reconciling", "Oversubscribed", "RolledBack")
"""Types that are good while they are not true."""
_NOT_TOLD = ("Ready", "Stalled", "Reconciling")
"""Ready has a line of its own, and the other two say the same."""

UNSEEN = "the operator has not looked at the newest spec yet"
"""Said wherever status is shown that is about an earlier spec."""


def part(body: Object, *path: str) -> Object:
    """Returns an object inside of another, empty if it is not there."""
    found: Any = body
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def entries(body: Object, name: str) -> list[Object]:
    """Returns a list of objects."""
    found = body.get(name)
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def text(body: Object, name: str) -> str:
    """Returns a field as text."""
    found = body.get(name)
    return "" if found is None else str(found)


def number(body: Object, name: str) -> int:
    """Returns a whole number, 0 if it is not there."""
    found = body.get(name)
    return int(found) if isinstance(found, int | float) else 0


def name_of(body: Object) -> str:
    """Returns the object's name."""
    return text(part(body, "metadata"), "name")


def seconds_of(body: Object, name: str) -> float:
    """Returns a moment in seconds since the epoch, 0 if it is not there."""
    found = text(body, name)
    return from_text(found) if found else 0.0


def is_observed(body: Object) -> bool:
    """Tells whether status is about the newest spec."""
    seen = part(body, "status").get("observedGeneration")
    return bool(seen == part(body, "metadata").get("generation"))


def conditions(body: Object) -> list[ConditionView]:
    """Returns the conditions, in their order."""
    return [
        ConditionView(
            type=text(one, "type"),
            status=text(one, "status"),
            reason=text(one, "reason"),
            message=text(one, "message"),
            since=text(one, "lastTransitionTime"),
        )
        for one in entries(part(body, "status"), "conditions")
    ]


def condition(body: Object, type_: str) -> ConditionView:
    """Returns one condition; an Unknown one without a reason if it is not there."""
    absent = ConditionView(type=type_, status="Unknown", reason="", message="", since="")
    return next((one for one in conditions(body) if one.type == type_), absent)


def troubles(body: Object) -> tuple[ConditionView, ...]:
    """Returns the conditions that speak of something wrong, beside Ready."""
    return tuple(
        one
        for one in conditions(body)
        if one.type not in _NOT_TOLD
        and one.status == ("True" if one.type in _ABNORMAL else "False")
        and one.type != "Promoted"
    )


def side(body: Object) -> str:
    """Writes a side of a spec as status does: provider or provider/model."""
    provider, model = text(body, "provider"), text(body, "model")
    return f"{provider}/{model}" if model else provider
