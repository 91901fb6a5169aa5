"""The bench's own way to the API server: many requests at once, and watches that tell when something happened."""

import asyncio
import base64
import contextlib
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
import orjson
import yaml

Manifest = Mapping[str, Any]

CUSTOM: Final = "/apis/relay-operator.dev/v1alpha1"
TENANTS: Final = f"{CUSTOM}/tenants"
ROUTES: Final = f"{CUSTOM}/relayroutes"
_AT_ONCE: Final = 16
_MERGE: Final = {"content-type": "application/merge-patch+json"}
_PAGE: Final = 500


class ApiClient:
    """Speaks to the API server as the kubeconfig's user."""

    def __init__(self, session: aiohttp.ClientSession, server: str) -> None:
        self._session, self._server = session, server

    async def create(self, path: str, manifest: Manifest) -> None:
        """Creates an object in the collection; one that is there stays as it is."""
        await self._send("POST", path, manifest, {"content-type": "application/json"})

    async def create_all(self, found: Iterable[tuple[str, Manifest]]) -> None:
        """Creates objects, some at a time."""
        places = asyncio.Semaphore(_AT_ONCE)

        async def one(path: str, manifest: Manifest) -> None:
            async with places:
                await self.create(path, manifest)

        await asyncio.gather(*(one(path, manifest) for path, manifest in found))

    async def merge(self, path: str, patch: Manifest) -> None:
        """Changes an object by a merge patch."""
        await self._send("PATCH", path, patch, _MERGE)

    async def get(self, path: str, **query: str) -> Any:
        """Returns an object or a list, as JSON."""
        return orjson.loads(await self.read(path, **query))

    async def read(self, path: str, **query: str) -> bytes:
        """Returns what stands behind a path."""
        async with self._session.get(self._server + path, params=query) as response:
            response.raise_for_status()
            return await response.read()

    async def items(self, path: str, **query: str) -> tuple[list[dict[str, Any]], str]:
        """Returns all objects of a collection, and the version from which a watch goes on."""
        found: list[dict[str, Any]] = []
        more = {"limit": str(_PAGE), **query}
        while True:
            page = await self.get(path, **more)
            found += page["items"]
            metadata = page["metadata"]
            if not metadata.get("continue"):
                return found, metadata["resourceVersion"]
            more["continue"] = metadata["continue"]

    async def watch(
        self, path: str, seen: Callable[[str, dict[str, Any], float], None], **query: str
    ) -> None:
        """Calls seen with the type, the object and the moment of all there is, and of every event from then on, until cancelled."""
        found, version = await self.items(path, **query)
        for one in found:
            seen("ADDED", one, time.monotonic())
        while True:
            more = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "1", **query}
            async with self._session.get(self._server + path, params=more) as response:
                response.raise_for_status()
                async for line in response.content:
                    at = time.monotonic()
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        raise OSError(f"watch of {path}: {event['object'].get('message')}")
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        seen(event["type"], event["object"], at)

    async def _send(
        self, method: str, path: str, body: Manifest, headers: Mapping[str, str]
    ) -> None:
        data = orjson.dumps(body)
        async with self._session.request(
            method, self._server + path, data=data, headers=headers
        ) as response:
            if response.status >= 300 and (method, response.status) != ("POST", 409):
                said = (await response.read())[:300].decode(errors="replace")
                raise OSError(f"{method} {path} answered {response.status}: {said}")


@contextlib.asynccontextmanager
async def connected(kubeconfig: str) -> AsyncIterator[ApiClient]:
    """Connects with the only user of a kubeconfig, given as text."""
    content = yaml.safe_load(kubeconfig)
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    connector = aiohttp.TCPConnector(ssl=client_context(cluster, user), limit=0)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, read_bufsize=2**22
    ) as session:
        yield ApiClient(session, cluster["server"])


def client_context(cluster: Mapping[str, str], user: Mapping[str, str]) -> ssl.SSLContext:
    """Returns how a kubeconfig's user with a certificate connects to its cluster."""
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    with tempfile.TemporaryDirectory() as home:
        files = [Path(home) / name for name in ("certificate", "key")]
        for file, entry in zip(files, ("client-certificate-data", "client-key-data"), strict=True):
            file.write_bytes(base64.b64decode(user[entry]))
        context.load_cert_chain(files[0], files[1])
    return context
