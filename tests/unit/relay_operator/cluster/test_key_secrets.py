"""The signing key: made once, found by successors, never replaced."""

import asyncio
import base64
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_operator import names
from relay_operator.cluster import key_secrets
from relay_operator.errors import SigningKeyUnusable


def a_server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-system"}}
    server.put(namespace)
    return server


@pytest.fixture
def server() -> InMemoryApiServer:
    return a_server()


async def test_the_signing_key_is_made_once_and_found_by_a_successor(
    server: InMemoryApiServer,
) -> None:
    first = await key_secrets.signing_key(server.connect(), namespace="relay-system")
    successor = server.connect()
    second = await key_secrets.signing_key(successor, namespace="relay-system")
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert successor.writes == []
    assert base64.b64decode(key_secrets.public_key_text(first)) == (
        second.public_key().public_bytes_raw()
    )


@pytest.mark.parametrize("value", [None, "eA==", "", "***"])
async def test_a_damaged_signing_key_is_named_and_never_replaced(
    server: InMemoryApiServer, value: str | None
) -> None:
    metadata = {"name": names.SIGNING_KEY_SECRET, "namespace": "relay-system"}
    entry = names.SIGNING_KEY_ENTRY
    data = None if value is None else {entry: value}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    server.put(secret)
    api = server.connect()
    with pytest.raises(SigningKeyUnusable, match=f"entry {entry} of Secret relay-system/"):
        await key_secrets.signing_key(api, namespace="relay-system")
    assert api.writes == []


async def test_of_two_operators_that_make_a_signing_key_both_use_the_first(
    server: InMemoryApiServer,
) -> None:
    class Overtaken(Connection):
        """Another operator creates the Secret between this one's look and its write."""

        async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
            if server.get("Secret", names.SIGNING_KEY_SECRET, namespace="relay-system") is None:
                await key_secrets.signing_key(server.connect(), namespace="relay-system")
            return await super().create(manifest)

    api = Overtaken(server, server.connect().failures)
    mine = await key_secrets.signing_key(api, namespace="relay-system")
    kept = await key_secrets.signing_key(server.connect(), namespace="relay-system")
    assert mine.private_bytes_raw() == kept.private_bytes_raw()


async def settled(api: Connection, *, leads: bool, stop: asyncio.Event) -> bytes | None:
    found = await key_secrets.settled_signing_key(
        api, namespace="relay-system", may_make=lambda: leads, stop=stop
    )
    return None if found is None else found.private_bytes_raw()


@in_virtual_time
async def test_a_standby_makes_no_signing_key_and_waits_for_the_leaders() -> None:
    server, stop = a_server(), asyncio.Event()
    standby, leader = server.connect(), server.connect()
    waiting = asyncio.create_task(settled(standby, leads=False, stop=stop))
    await asyncio.sleep(5)
    assert not waiting.done()
    made = await settled(leader, leads=True, stop=stop)
    assert await waiting == made
    assert standby.writes == []


@in_virtual_time
async def test_an_api_server_that_is_not_there_yet_is_waited_for() -> None:
    server, stop = a_server(), asyncio.Event()
    api = server.connect()
    api.failures.unreachable = True
    waiting = asyncio.create_task(settled(api, leads=True, stop=stop))
    await asyncio.sleep(60)
    api.failures.unreachable = False
    assert await waiting is not None


@in_virtual_time
async def test_an_operator_that_is_told_to_end_waits_for_no_key() -> None:
    stop = asyncio.Event()
    waiting = asyncio.create_task(settled(a_server().connect(), leads=False, stop=stop))
    await asyncio.sleep(2)
    stop.set()
    assert await waiting is None


async def test_a_key_that_another_leader_replaced_is_noticed(server: InMemoryApiServer) -> None:
    api = server.connect()
    key = await key_secrets.signing_key(api, namespace="relay-system")
    assert await key_secrets.is_signing_key(api, key, namespace="relay-system")
    server.remove("Secret", names.SIGNING_KEY_SECRET, namespace="relay-system")
    assert not await key_secrets.is_signing_key(api, key, namespace="relay-system")
    await key_secrets.signing_key(api, namespace="relay-system")
    assert not await key_secrets.is_signing_key(api, key, namespace="relay-system")
