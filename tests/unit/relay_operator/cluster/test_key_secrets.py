"""The signing key: made once, found by successors, never replaced."""

import base64
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer

from relay_operator import names
from relay_operator.cluster import key_secrets
from relay_operator.errors import SigningKeyUnusable


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "relay-system"}}
    server.put(namespace)
    return server


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
