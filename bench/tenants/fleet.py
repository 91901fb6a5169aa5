"""The fleet as the API server tells of it: what is ready, and when a tenant's children were written."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from bench.tenants import objects
from bench.tenants.api_client import ROUTES, TENANTS, ApiClient, Manifest

_DOCUMENTS: Final = "/api/v1/configmaps"
_POLL_SECONDS: Final = 0.25
_CHILD_SECONDS: Final = 60.0
_UNREADY: Final = 200
"""Tenants at a time that are being brought up, more than the operator has under way: so that growing can end at any size."""


class Fleet:
    """Knows which namespaces exist, which Tenants and routes are ready, and waits for documents that are written."""

    def __init__(self, api: ApiClient) -> None:
        self._api = api
        self._namespaces: set[str] = set()
        self._new_namespaces: asyncio.Queue[str] = asyncio.Queue()
        self._ready: dict[str, set[str]] = {"Tenant": set(), "RelayRoute": set()}
        self._weights: dict[str, int] = {}
        self._documents: dict[str, asyncio.Future[float]] = {}

    async def grow(self, numbers: range, *, seconds: float, say: Callable[[str], None]) -> int:
        """Creates Tenants, and the route of each as soon as there is a namespace for it; no more at a time than are soon ready.

        Returns how many there are in all: those of all numbers, or as many as there are after that time.
        """
        began = told = time.monotonic()
        made = numbers.start
        while made < numbers.stop and time.monotonic() - began < seconds:
            room = min(_UNREADY - self.unready(made) // 2, numbers.stop - made)
            if room > 0:
                coming = range(made, made + room)
                await self._api.create_all((TENANTS, objects.tenant(number)) for number in coming)
                made += room
            if time.monotonic() - told > 30:
                told = time.monotonic()
                say(f"  {made} Tenants after {told - began:.0f} s, {self.unready(made)} unready")
            await asyncio.sleep(_POLL_SECONDS)
        return made

    async def add_routes(self, numbers: range) -> None:
        """Creates the route of each of these Tenants as soon as there is a namespace for it."""
        wanted = {objects.namespace(number): number for number in numbers}
        async with asyncio.TaskGroup() as group:
            while wanted:
                space = await self._new_namespaces.get()
                if space in wanted:
                    route = objects.route(wanted.pop(space))
                    group.create_task(self._api.create(routes_of(space), route))

    def unready(self, count: int) -> int:
        """Returns how many of the first so many Tenants, and of their routes, are not ready."""
        tenants = {objects.tenant_name(n) for n in range(count)} - self._ready["Tenant"]
        routes = {objects.namespace(n) for n in range(count)} - self._ready["RelayRoute"]
        return len(tenants) + len(routes)

    def weighted(self) -> int:
        """Returns how many canaries have calls, as their routes' statuses tell."""
        return sum(1 for weight in self._weights.values() if weight)

    async def child_written(self, number: int, patch: Manifest) -> float:
        """Changes a Tenant; returns the seconds until its document was written anew."""
        space = objects.namespace(number)
        written: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._documents[space] = written
        began = time.monotonic()
        await self._api.merge(f"{TENANTS}/{objects.tenant_name(number)}", patch)
        try:
            async with asyncio.timeout(_CHILD_SECONDS):
                return await written - began
        finally:
            del self._documents[space]

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watches, for as long as it is entered."""
        named = {"fieldSelector": "metadata.name=relay-document"}
        watches = [
            self._api.watch("/api/v1/namespaces", self._namespace_seen),
            self._api.watch(TENANTS, self._object_seen),
            self._api.watch(ROUTES, self._object_seen),
            self._api.watch(_DOCUMENTS, self._document_seen, **named),
        ]
        tasks = [asyncio.create_task(one) for one in watches]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            found = await asyncio.gather(*tasks, return_exceptions=True)
            for one in found:
                if isinstance(one, Exception):
                    raise one

    def _namespace_seen(self, _: str, body: dict[str, Any], at: float) -> None:
        name = body["metadata"]["name"]
        if name not in self._namespaces:
            self._namespaces.add(name)
            self._new_namespaces.put_nowait(name)

    def _object_seen(self, _: str, body: dict[str, Any], at: float) -> None:
        metadata, status = body["metadata"], body.get("status", {})
        # objects of a list do not say their kind
        kind = "RelayRoute" if "namespace" in metadata else "Tenant"
        key = metadata["namespace"] if kind == "RelayRoute" else metadata["name"]
        ready = any(
            one["type"] == "Ready"
            and one["status"] == "True"
            and one.get("observedGeneration") == metadata["generation"]
            for one in status.get("conditions", ())
        )
        (self._ready[kind].add if ready else self._ready[kind].discard)(key)
        if kind == "RelayRoute":
            self._weights[key] = status.get("weights", {}).get("canaryPercent", 0)

    def _document_seen(self, _: str, body: dict[str, Any], at: float) -> None:
        waiting = self._documents.get(body["metadata"]["namespace"])
        if waiting is not None and not waiting.done():
            waiting.set_result(at)


def routes_of(space: str) -> str:
    """Returns the collection of a namespace's routes."""
    return ROUTES.replace("/relayroutes", f"/namespaces/{space}/relayroutes")


async def until(
    look: Callable[[], int], what: str, *, seconds: float, say: Callable[[str], None]
) -> float:
    """Waits until nothing is left of what is counted; returns how long that took. Says what is left every half a minute."""
    began = told = time.monotonic()
    while left := look():
        now = time.monotonic()
        if now - began > seconds:
            raise TimeoutError(f"{left} {what} after {seconds:g} s")
        if now - told > 30:
            told = now
            say(f"  {left} {what} after {now - began:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)
    return time.monotonic() - began
