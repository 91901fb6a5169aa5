"""Kubernetes Events about what happened to an object: the moves of a canary, what was restored."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import timestamps
from relay_operator.decisions.route_status import Move
from relay_operator.errors import Conflict, OperatorError

logger = logging.getLogger(__name__)

_MOST_NOTE_BYTES = 1024
_WARNINGS = frozenset(
    {
        names.Reason.SLO_BREACH,
        names.Reason.RESTORED,
        names.Reason.PREFLIGHT_FAILED,
        names.Reason.THROTTLED,
        names.Reason.STABLE_UNHEALTHY,
        names.Reason.EVACUATED,
        names.Reason.BUDGET_ALERT,
        names.Reason.DEFINITION_CHANGED,
    }
)


class EventRecorder:
    """Posts Events. A lost Event is logged, never retried: status holds the truth.

    They are of the core group, as those of the control plane's own controllers: events.k8s.io has no lastTimestamp, by which `kubectl describe` sorts.
    """

    def __init__(self, api: ApiServer, *, instance: str) -> None:
        self._api = api
        self._instance = instance

    async def announce(
        self,
        body: Mapping[str, Any],
        *,
        kind: str,
        action: str,
        move: Move,
        identity: str = "",
    ) -> None:
        """Posts a move as an Event about the object; Events of cluster-scoped objects go to the namespace default.

        The name follows from the move, or from its identity where a move that is made again has another time, so one that is
        posted again after a restart is refused as a duplicate.
        """
        name = (
            _name(body, identity)
            if identity
            else _name(body, str(move.at), move.reason, move.message)
        )
        severity = "Warning" if move.reason in _WARNINGS else "Normal"
        await self._post(body, kind=kind, action=action, move=move, name=name, severity=severity)

    async def announce_ready(
        self, body: Mapping[str, Any], *, kind: str, change: Move, since: str, holds: bool
    ) -> None:
        """Posts that Ready has changed, once for the spec's generation, whoever notices first.

        since is what tells one change from a later one of the same kind: the condition before it. holds tells whether
        Ready is true now.
        """
        generation = str(body["metadata"].get("generation", 1))
        name = _name(body, generation, change.reason, since)
        severity = "Normal" if holds else "Warning"
        await self._post(
            body, kind=kind, action="Reconcile", move=change, name=name, severity=severity
        )

    async def _post(
        self,
        body: Mapping[str, Any],
        *,
        kind: str,
        action: str,
        move: Move,
        name: str,
        severity: str,
    ) -> None:
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        when = timestamps.to_text(move.at)
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "eventTime": timestamps.to_precise_text(move.at),
            "firstTimestamp": when,
            "lastTimestamp": when,
            "count": 1,
            "source": {"component": names.GROUP},
            "reportingComponent": names.GROUP,
            "reportingInstance": self._instance,
            "action": action,
            "reason": move.reason,
            "message": _note(move.message),
            "type": severity,
            "involvedObject": {
                "apiVersion": names.API_VERSION,
                "kind": kind,
                "name": metadata["name"],
                "namespace": metadata.get("namespace"),
                "uid": metadata["uid"],
            },
        }
        try:
            await self._api.create(event)
        except Conflict:
            return
        except OperatorError as error:
            logger.warning("event not posted", extra={"reason": move.reason, "why": str(error)})


def _note(message: str) -> str:
    """Returns the message within the API server's bound, which counts bytes."""
    text = message.encode()
    if len(text) <= _MOST_NOTE_BYTES:
        return message
    return text[: _MOST_NOTE_BYTES - 3].decode(errors="ignore") + "…"


def _name(body: Mapping[str, Any], *identity: str) -> str:
    metadata = body["metadata"]
    text = "\0".join((metadata["uid"], *identity))
    return f"{metadata['name'][:200]}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
