"""Writes status, and only when it says something new."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition
from relay_operator.errors import ApiServerRefused


class StatusWriter:
    """The one writer of our kinds' status."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._written: dict[str, Mapping[str, Any]] = {}

    async def write(
        self,
        kind: str,
        body: Mapping[str, Any],
        fields: Mapping[str, Any],
        wanted: Iterable[Condition],
        *,
        now: float,
    ) -> bool:
        """The object's status has these fields and conditions; True when that took a write.

        body is the object as watched; a field set to None is removed.
        """
        metadata = body["metadata"]
        generation = int(metadata.get("generation", 1))
        current = self._written.get(metadata["uid"]) or body.get("status") or {}
        merged = conditions.merge(
            current.get("conditions", ()), wanted, generation=generation, now=now
        )
        status = {**fields, "observedGeneration": generation, "conditions": merged}
        if all(current.get(key) == value for key, value in status.items()):
            return False
        try:
            await self._api.patch(
                kind,
                metadata["name"],
                {"status": status},
                namespace=metadata.get("namespace", ""),
                subresource="status",
            )
        except ApiServerRefused as error:
            if error.status != 404:
                raise
            return False
        self._written[metadata["uid"]] = status
        return True

    def forget(self, uid: str) -> None:
        self._written.pop(uid, None)
