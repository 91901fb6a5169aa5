"""The API server without the reads of a namespace that the operator has just made: nothing is in it but what it has written there.

A new Tenant has some twenty objects, each of which would be looked for before it is written.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.cluster.watch_stream import WatchEvent
from relay_operator.errors import ApiServerRefused

_NEW_SECONDS: Final = 60.0
"""From the creation of a namespace until what is in it is read again before it is written."""
_OURS: Final = frozenset(
    {
        *names.watched_children(),
        ("Secret", names.UPSTREAM_SECRET),
        ("Secret", names.IMAGE_PULL_SECRET),
        ("Secret", names.LEDGER_SECRET),
    }
)
"""Nobody but the operator makes objects of these names. The Secret of the API keys is not among them: its reader waits for the
operator's rights in the namespace, and must not overlook a key.
"""


@dataclass(slots=True)
class _New:
    """A namespace that was made at this time; written are the objects in it, by kind and name, that are there or may be."""

    made_at: float
    written: set[tuple[str, str]] = field(default_factory=set)


class NewNamespaces:
    """Hands every call on, but for reads of what cannot be there yet.

    Who writes an object in spite of everything is overruled as by any other apply: the answer to it shows what they have set.
    """

    def __init__(self, api: ApiServer, *, clock: Callable[[], float]) -> None:
        self._api = api
        self._clock = clock
        self._new: dict[str, _New] = {}

    async def get(self, kind: str, name: str, *, namespace: str = "") -> Manifest | None:
        new = self._new.get(namespace)
        if new is not None and (kind, name) in _OURS and (kind, name) not in new.written:
            if self._clock() - new.made_at < _NEW_SECONDS:
                return None
            del self._new[namespace]
        return await self._api.get(kind, name, namespace=namespace)

    async def list_metadata(
        self, kind: str, *, selector: str = "", namespace: str = ""
    ) -> list[Manifest]:
        return await self._api.list_metadata(kind, selector=selector, namespace=namespace)

    def watch_metadata(
        self, kind: str, name: str = "", *, since: str = "", namespace: str = "", selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        return self._api.watch_metadata(
            kind, name, since=since, namespace=namespace, selector=selector
        )

    async def create(self, manifest: Manifest) -> Manifest:
        created = await self._write(self._api.create, manifest)
        if manifest["kind"] == "Namespace":
            self._begin(manifest["metadata"]["name"])
        return created

    async def apply(self, manifest: Manifest) -> Manifest:
        return await self._write(self._api.apply, manifest)

    async def patch(
        self, kind: str, name: str, patch: Manifest, *, namespace: str = "", subresource: str = ""
    ) -> Manifest:
        return await self._api.patch(
            kind, name, patch, namespace=namespace, subresource=subresource
        )

    async def delete(self, kind: str, name: str, *, namespace: str = "", uid: str) -> None:
        if kind == "Namespace":
            self._new.pop(name, None)
        await self._api.delete(kind, name, namespace=namespace, uid=uid)

    async def _write(
        self, write: Callable[[Manifest], Awaitable[Manifest]], manifest: Manifest
    ) -> Manifest:
        """Writes an object, which may be there from now on, whatever is heard of it."""
        space = manifest["metadata"].get("namespace", "")
        new = self._new.get(space)
        if new is not None:
            new.written.add((manifest["kind"], manifest["metadata"]["name"]))
        try:
            return await write(manifest)
        except ApiServerRefused:
            # it may be another namespace by now, or none
            self._new.pop(space, None)
            raise

    def _begin(self, namespace: str) -> None:
        now = self._clock()
        self._new = {
            space: new for space, new in self._new.items() if now - new.made_at < _NEW_SECONDS
        }
        self._new[namespace] = _New(made_at=now)
