"""The PriceLists of the cluster: read when they change, by polling, since there are few and a price of now is written before it counts."""

from typing import Any

from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused

_KIND = "PriceList"
_NOT_FOUND = 404


class PriceLists:
    """Knows each by name, as the API server last showed it."""

    def __init__(self, api: ApiServer) -> None:
        self._api = api
        self.bodies: dict[str, dict[str, Any]] = {}
        self.is_defined = True

    async def look(self) -> None:
        """Reads those that have changed. Raises ApiServerRefused or Unavailable.

        A cluster whose definitions are older than the operator has none, and keeps what was known.
        """
        try:
            listed = await self._api.list_metadata(_KIND)
        except ApiServerRefused as error:
            if error.status != _NOT_FOUND:
                raise
            self.is_defined = False
            return
        self.is_defined = True
        found: dict[str, dict[str, Any]] = {}
        for metadata in listed:
            name = metadata["name"]
            known = self.bodies.get(name)
            if known is not None and _version(known["metadata"]) == _version(metadata):
                found[name] = known
                continue
            body = await self._api.get(_KIND, name)
            if body is not None:
                found[name] = body
        self.bodies = found


def _version(metadata: dict[str, Any]) -> tuple[str, str]:
    return metadata["uid"], metadata["resourceVersion"]
