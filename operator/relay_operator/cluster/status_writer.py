"""Writes the status of custom resources, and only when something in it is new."""

from collections.abc import Iterable, Mapping
from typing import Any

from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import conditions
from relay_operator.decisions.conditions import Condition
from relay_operator.errors import ApiServerRefused

ObjectKey = tuple[str, str, str]
"""kind, namespace, name"""


class StatusWriter:
    """The only writer of our kinds' status. It remembers what it wrote, which the watch shows a moment later."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self._written: dict[ObjectKey, tuple[str, Mapping[str, Any]]] = {}

    async def write(
        self,
        kind: str,
        body: Mapping[str, Any],
        fields: Mapping[str, Any],
        wanted: Iterable[Condition],
        *,
        now: float,
    ) -> bool:
        """Brings the object's status to these fields and conditions; True when that took a write.

        body is the object as watched; a field set to None is removed, in an object inside as well.
        """
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        generation = int(metadata.get("generation", 1))
        current = self.told(kind, body)
        merged = conditions.merge(
            current.get("conditions", ()), wanted, generation=generation, now=now
        )
        status = {**fields, "observedGeneration": generation, "conditions": merged}
        if all(_present(current.get(key)) == _present(value) for key, value in status.items()):
            return False
        try:
            await self._api.patch(
                kind,
                metadata["name"],
                {"status": status},
                namespace=key[1],
                subresource="status",
            )
        except ApiServerRefused as error:
            if error.status != 404:
                raise
            return False
        self._written[key] = (metadata["uid"], status)
        return True

    def told(self, kind: str, body: Mapping[str, Any]) -> Mapping[str, Any]:
        """Returns the object's status as far as is known: what was written last, else what the watch showed."""
        metadata = body["metadata"]
        key = (kind, metadata.get("namespace", ""), metadata["name"])
        uid, written = self._written.get(key, ("", {}))
        return (written if uid == metadata["uid"] else {}) or body.get("status") or {}

    def forget(self, kind: str, namespace: str, name: str) -> None:
        """Drops the memory of an object that is gone."""
        self._written.pop((kind, namespace, name), None)


def _present(value: Any) -> Any:
    """Leaves out of an object what a patch removes, as the API server stores it."""
    if not isinstance(value, Mapping):
        return value
    return {name: _present(inner) for name, inner in value.items() if inner is not None}
