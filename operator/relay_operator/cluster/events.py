"""Kubernetes Events about the moves of canaries, one for each move."""

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


class EventRecorder:
    """Posts Events (events.k8s.io/v1). A lost Event is logged, never retried: status holds the truth."""

    def __init__(self, api: ApiServer, *, instance: str) -> None:
        self._api = api
        self._instance = instance

    async def announce(
        self, body: Mapping[str, Any], *, kind: str, action: str, move: Move
    ) -> None:
        """Posts a move as an Event about the object; Events of cluster-scoped objects go to the namespace default.

        The name follows from the move, so one that is posted again after a restart is refused as a duplicate.
        """
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": _name(metadata, move), "namespace": namespace},
            "eventTime": timestamps.to_precise_text(move.at),
            "reportingController": names.GROUP,
            "reportingInstance": self._instance,
            "action": action,
            "reason": move.reason,
            "note": move.message[:1000],
            "type": "Warning" if move.reason == names.Reason.SLO_BREACH else "Normal",
            "regarding": {
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


def _name(metadata: Mapping[str, Any], move: Move) -> str:
    text = "\0".join((metadata["uid"], str(move.at), move.reason, move.message))
    return f"{metadata['name'][:200]}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"
