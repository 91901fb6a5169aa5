"""The message of a webhook about one move of a canary, and the id by which a receiver knows it again."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from relay_operator import names
from relay_operator.decisions import timestamps
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.route_status import InForce, Move
from relay_operator.names import Reason

_LIMITS: Final = frozenset(
    {Reason.SLO_BREACH, Reason.STEP_DEADLINE, Reason.UNMEASURABLE, Reason.UNRECORDED}
)
"""Reasons for which a canary is rolled back, and with a weight left frozen or held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message; every attempt to deliver it sends the same bytes under the same id."""

    id: str
    type: str
    body: bytes


def of_move(
    metadata: Mapping[str, Any], move: Move, *, run: Run, in_force: InForce | None
) -> Message:
    """Writes the message of a move.

    The id follows from the route and its move, as the name of the Event does, so that a restarted operator, or another one,
    tells it under the same. Phase, sides and evidence are those of the moment of writing.
    """
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    told = f"{uid}\0{move.at}\0{move.reason}\0{move.message}"
    data = {
        "tenant": namespace.removeprefix(names.NAMESPACE_PREFIX),
        "namespace": namespace,
        "route": name,
        "uid": uid,
        "run": run.state.run,
        "phase": run.state.phase.value,
        "weights": {
            "stablePercent": 100 - move.canary_percent,
            "canaryPercent": move.canary_percent,
        },
        "stable": in_force.stable if in_force is not None else "",
        "canary": in_force.canary if in_force is not None else "",
        "reason": move.reason,
        "message": move.message,
        "evidence": [_row(row) for row in run.told.metrics],
    }
    kind = f"relayroute.{_type(move)}"
    content = {"type": kind, "timestamp": timestamps.to_text(move.at), "data": data}
    return Message(
        id=f"msg_{hashlib.sha256(told.encode()).hexdigest()[:32]}",
        type=kind,
        body=orjson.dumps(content),
    )


def _type(move: Move) -> str:
    """Returns the last part of the type: what happened, whatever the reason was."""
    if move.reason in _LIMITS:
        if move.canary_percent == 0:
            return "rolled_back"
        return "frozen" if move.reason == Reason.SLO_BREACH else "held"
    if move.reason in (Reason.SHARED_INCIDENT, Reason.STABLE_UNHEALTHY):
        return "frozen"
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", move.reason).lower()


def _row(row: Any) -> dict[str, Any]:
    return {
        "name": row.name,
        "canary": row.canary,
        "stable": row.stable,
        "limit": row.limit,
        "evidence": row.evidence,
        "certified": row.certified,
        "message": row.message,
    }
