"""Secrets of tenants' namespaces that the platform has no use for any more."""

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer


class RetiredSecrets:
    """Those of one name. They are not watched: each namespace is asked for once in a life of the operator."""

    def __init__(self, api: ApiServer, name: str) -> None:
        self._api = api
        self._name = name
        self._without: set[str] = set()

    async def delete(self, namespace: str) -> None:
        """Deletes that of a namespace if it is ours. Raises ApiServerRefused, Conflict or Unavailable."""
        if namespace in self._without:
            return
        live = await self._api.get("Secret", self._name, namespace=namespace)
        labels = (live or {}).get("metadata", {}).get("labels") or {}
        if live is not None and labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY:
            uid = live["metadata"]["uid"]
            await self._api.delete("Secret", self._name, namespace=namespace, uid=uid)
        self._without.add(namespace)

    def forget(self, namespace: str) -> None:
        """Forgets that a namespace was looked at, when its tenant is gone."""
        self._without.discard(namespace)
