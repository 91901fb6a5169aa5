"""The store of the API server, by etcd's JSON gateway (etcd.io, "gRPC gateway")."""

import base64
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, Final

import aiohttp
import orjson

OBJECTS: Final = b"/registry/"
"""The API server's default --etcd-prefix."""
_AFTER_OBJECTS: Final = b"/registry0"


class Etcd:
    """Reads and writes keys, as the API server does: each of its objects is one."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session, self._url = session, url

    async def keys(self) -> list[bytes]:
        """Returns the keys of all objects."""
        asked = {"key": _text(OBJECTS), "range_end": _text(_AFTER_OBJECTS), "keys_only": True}
        found = await self._ask("range", asked)
        return [base64.b64decode(one["key"]) for one in found.get("kvs", ())]

    async def value(self, key: bytes) -> bytes:
        """Returns what is stored under a key."""
        [found] = (await self._ask("range", {"key": _text(key)}))["kvs"]
        return base64.b64decode(found["value"])

    async def put_new(self, entries: Iterable[tuple[bytes, bytes]]) -> bool:
        """Writes all of these keys at once, or none where one is there; returns whether it did."""
        found = [(_text(key), _text(value)) for key, value in entries]
        absent = [
            {"key": key, "target": "CREATE", "result": "EQUAL", "create_revision": "0"}
            for key, _ in found
        ]
        puts = [{"request_put": {"key": key, "value": value}} for key, value in found]
        answer = await self._ask("txn", {"compare": absent, "success": puts})
        return bool(answer.get("succeeded"))

    async def _ask(self, call: str, body: Mapping[str, Any]) -> dict[str, Any]:
        url = f"{self._url}/v3/kv/{call}"
        async with self._session.post(url, data=orjson.dumps(body)) as response:
            answer: dict[str, Any] = orjson.loads(await response.read())
        if response.status != 200:
            raise OSError(f"etcd answered {call} with {response.status}: {answer}")
        return answer


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[Etcd]:
    """Connects for as long as it is entered."""
    async with aiohttp.ClientSession() as session:
        yield Etcd(session, url)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()
