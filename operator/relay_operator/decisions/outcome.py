"""Outcomes of a reconcile that did not reach its goal, for every kind; each kind adds its own success."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from relay_operator import names
from relay_operator.errors import ApiServerRefused, Conflict, Unavailable
from relay_operator.names import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An outcome that only a person can change; the message says how. What was in force stays in force."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An outcome that changes by itself as soon as what the message names is there."""

    reason: Reason
    message: str


Obstacle = Refused | Waiting


def of_a_defect(error: Exception) -> Refused:
    """Tells of an error that nobody expected, by its kind alone: its words may hold a secret."""
    message = (
        f"the operator met an error of its own ({type(error).__name__}) and tries again; "
        "its log tells where, and what was in force stays in force"
    )
    return Refused(reason=Reason.INTERNAL_ERROR, message=message)


def of_deletion(metadata: Mapping[str, Any], effect: str) -> Waiting:
    """Tells of an object that was deleted and is still there; effect says what has ended already."""
    finalizers = metadata.get("finalizers") or ()
    holders = ", ".join(one for one in finalizers if one != names.FINALIZER)
    message = f"deleted at {metadata['deletionTimestamp']}: {effect}"
    if holders:
        message += (
            f"; the object goes when its finalizers ({holders}) are removed by whoever set them"
        )
    return Waiting(reason=Reason.TERMINATING, message=message)


def of_no_end(seconds: float) -> Waiting:
    """Tells of a reconcile that was given up."""
    message = (
        f"the operator was not done with this object within {seconds:.0f} s and tries again; the API server or the "
        "relay pods answer slowly, and what was in force stays in force"
    )
    return Waiting(reason=Reason.TOOK_TOO_LONG, message=message)


def obstacle_of(error: ApiServerRefused | Unavailable | Conflict) -> Obstacle:
    """Turns an error of a reconcile into what its object's status says, in the API server's words."""
    match error:
        case Conflict():
            message = f"{error}; the operator tries again"
            return Waiting(reason=Reason.WRITE_CONFLICT, message=message)
        case ApiServerRefused():
            return Refused(reason=Reason.API_SERVER_REFUSED, message=str(error))
        case Unavailable():
            message = f"{error}; the operator tries again"
            return Waiting(reason=Reason.API_SERVER_UNAVAILABLE, message=message)
        case _:
            assert_never(error)
