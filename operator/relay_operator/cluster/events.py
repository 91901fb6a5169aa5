"""Kubernetes Events for people: what the operator decided, once per decision."""

import logging
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import OperatorError

logger = logging.getLogger(__name__)


class EventRecorder:
    """Posts Events (events.k8s.io/v1). A lost Event is logged, never retried: status holds the truth."""

    def __init__(self, api: ApiServer, *, instance: str) -> None:
        self._api = api
        self._instance = instance

    async def announce(
        self,
        body: Mapping[str, Any],
        *,
        kind: str,
        action: str,
        reason: names.Reason,
        message: str,
        level: Literal["Normal", "Warning"] = "Normal",
    ) -> None:
        """An Event about the object; cluster-scoped objects' Events go to the namespace default."""
        metadata = body["metadata"]
        namespace = metadata.get("namespace") or "default"
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": f"{metadata['name'][:200]}.{uuid.uuid4().hex[:12]}",
                "namespace": namespace,
            },
            "eventTime": datetime.now(tz=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "reportingController": names.GROUP,
            "reportingInstance": self._instance,
            "action": action,
            "reason": reason.value,
            "note": message[:1000],
            "type": level,
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
        except OperatorError as error:
            logger.warning("event not posted", extra={"reason": reason.value, "why": str(error)})
