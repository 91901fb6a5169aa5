"""Keys in Secrets: made once, kept, removed when no longer named, never made twice."""

import base64
from typing import Any

import pytest
from tests.unit.relay_operator.in_memory_api_server import Connection, InMemoryApiServer

from relay_contract.document import API_KEY_PREFIX
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import key_secrets
from relay_operator.errors import Conflict, SigningKeyUnusable

SPACE = "relay-finance"


@pytest.fixture
def server() -> InMemoryApiServer:
    server = InMemoryApiServer()
    for name in (SPACE, "relay-system"):
        server.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return server


def a_tenant(*keys: str) -> Tenant:
    spec = {"apiKeys": [{"name": name} for name in keys]}
    return Tenant.parse({"metadata": {"name": "finance", "uid": "u"}, "spec": spec})


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


async def test_a_secret_that_somebody_made_immutable_keeps_its_keys_and_is_left_alone(
    server: InMemoryApiServer,
) -> None:
    api = server.connect()
    first = await key_secrets.tenant_keys(api, a_tenant("web", "batch"))
    server.put(
        server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE) | {"immutable": True}
    )
    before = server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    api.writes.clear()
    assert await key_secrets.tenant_keys(api, a_tenant("web", "batch")) == first
    changed = await key_secrets.tenant_keys(api, a_tenant("web", "new"))
    assert changed.values == {"web": first.values["web"]}
    assert "Secret relay-finance/relay-api-keys is immutable" in changed.obstacle
    assert "API key new cannot be added" in changed.obstacle
    assert "batch cannot be removed" in changed.obstacle
    assert first.values["batch"] not in changed.obstacle
    assert api.writes == []
    assert server.stored("Secret", names.API_KEYS_SECRET, namespace=SPACE) == before


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


async def test_api_keys_are_made_kept_and_removed_by_name(server: InMemoryApiServer) -> None:
    api = server.connect()
    first = await key_secrets.tenant_keys(api, a_tenant("web", "batch"))
    assert first.values["web"].startswith(f"{API_KEY_PREFIX}finance-")
    assert first.values["web"] != first.values["batch"]
    assert await key_secrets.tenant_keys(api, a_tenant("batch", "web")) == first
    changed = await key_secrets.tenant_keys(api, a_tenant("batch", "new"))
    assert changed.values["batch"] == first.values["batch"]
    stored = server.get("Secret", names.API_KEYS_SECRET, namespace=SPACE)
    assert key_secrets.decode(stored) == changed.values
    assert len(api.writes) == 2


async def test_an_api_key_that_another_operator_makes_meanwhile_is_a_conflict(
    server: InMemoryApiServer,
) -> None:
    class Overtaken(Connection):
        """Another operator writes between this one's look and its write."""

        async def patch(
            self,
            kind: str,
            name: str,
            patch: dict[str, Any],
            *,
            namespace: str = "",
            subresource: str = "",
        ) -> dict[str, Any]:
            await key_secrets.tenant_keys(server.connect(), a_tenant("web", "other"))
            return await super().patch(
                kind, name, patch, namespace=namespace, subresource=subresource
            )

    await key_secrets.tenant_keys(server.connect(), a_tenant("web"))
    with pytest.raises(Conflict):
        await key_secrets.tenant_keys(
            Overtaken(server, server.connect().failures), a_tenant("web", "new")
        )
