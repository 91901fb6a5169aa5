"""Fields that do not reach a provider, however a caller spells them."""

import pytest
from tests.unit.relay.memory import MemoryRelay, call

WITHHELD = (
    *("content_length", "transfer_encoding", "x_tenant_id", "X_Forwarded_For", "proxy_authorization"),
    *("openai_organization", "x-api_key", "accept_encoding", "x_private"),
)  # fmt: skip


@pytest.mark.parametrize("name", WITHHELD)
async def test_underscores_are_no_way_around(relay: MemoryRelay, name: str) -> None:
    client, upstream = relay.client(), relay.provider()
    lines = f"Connection: x-private\r\n{name}: planted\r\nx_kept: yes\r\n"
    client.send(call(headers=lines))
    sent = upstream.transport.taken().lower()
    assert b"planted" not in sent
    assert b"\r\nx_kept: yes\r\n" in sent
