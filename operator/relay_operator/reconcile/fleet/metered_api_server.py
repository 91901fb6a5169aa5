"""The API server as reconcilers use it: every call is counted for the tenant that it is made for, and nothing is written for a Tenant
that another operator acts for.
"""

from collections.abc import AsyncIterator, Callable

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import NotLeading
from relay_operator.reconcile.work_queue import PLATFORM


class MeteredApiServer:
    """Hands every call on, after telling spend whose it is: the namespace of a tenant, or PLATFORM.

    The operator's own namespace is no tenant's. is_others tells whether a namespace is of a Tenant of another operator: a reconcile
    goes on after its Tenant has moved there, and what it still writes is as that Tenant was. Such writes raise NotLeading.
    """

    def __init__(
        self,
        api: ApiServer,
        spend: Callable[[str], None],
        *,
        operator_namespace: str,
        is_others: Callable[[str], bool],
    ) -> None:
        self._api = api
        self._spend_of = spend
        self._operator_namespace = operator_namespace
        self._is_others = is_others

    def _spend(self, owner: str) -> None:
        self._spend_of(PLATFORM if owner == self._operator_namespace else owner)

    def _spend_on_write(self, owner: str) -> None:
        if self._is_others(owner):
            raise NotLeading(f"write for {owner}: not sent, its Tenant is another operator's")
        self._spend(owner)

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        self._spend(_owner(kind, namespace, name))
        return await self._api.get(kind, name, namespace=namespace)

    async def list_metadata(
        self, kind: str, *, selector: str = "", namespace: str = ""
    ) -> list[Manifest]:
        self._spend(_owner(kind, namespace, ""))
        return await self._api.list_metadata(kind, selector=selector, namespace=namespace)

    def watch_metadata(
        self, kind: str, name: str = "", *, since: str = "", namespace: str = "", selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        self._spend(_owner(kind, namespace, ""))
        return self._api.watch_metadata(
            kind, name, since=since, namespace=namespace, selector=selector
        )

    async def create(self, manifest: Manifest) -> Manifest:
        self._spend_on_write(_owner_of(manifest))
        return await self._api.create(manifest)

    async def apply(self, manifest: Manifest) -> Manifest:
        self._spend_on_write(_owner_of(manifest))
        return await self._api.apply(manifest)

    async def patch(
        self, kind: str, name: str, patch: Manifest, *, namespace: str = "", subresource: str = ""
    ) -> Manifest:
        self._spend_on_write(_owner(kind, namespace, name))
        return await self._api.patch(
            kind, name, patch, namespace=namespace, subresource=subresource
        )

    async def delete(self, kind: str, name: str, *, namespace: str = "", uid: str) -> None:
        self._spend_on_write(_owner(kind, namespace, name))
        await self._api.delete(kind, name, namespace=namespace, uid=uid)


def _owner_of(manifest: Manifest) -> str:
    metadata = manifest["metadata"]
    if manifest["kind"] == "Event":
        # of a Tenant it stands in the namespace default
        about = manifest["involvedObject"]
        return _owner(about["kind"], about.get("namespace") or "", about["name"])
    return _owner(manifest["kind"], metadata.get("namespace", ""), metadata["name"])


def _owner(kind: str, namespace: str, name: str) -> str:
    if kind == "Tenant":
        return names.tenant_namespace(name) if name else PLATFORM
    home = name if kind == "Namespace" else namespace
    return home if home.startswith(names.NAMESPACE_PREFIX) else PLATFORM
