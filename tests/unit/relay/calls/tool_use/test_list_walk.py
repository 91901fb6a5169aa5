"""A list goes on past a server that does not answer in time, and past pages without anything for the tenant, but not for ever."""

import asyncio
import json
from typing import Any

import pytest
from tests.unit.relay.calls.test_chat_tools import Make, body_of, granting
from tests.unit.relay.memory import Peer, call, reply, status
from tests.unit.relay.tools.protocol import gate, raw, request, tool

from relay.calls.tool_use.list_walk import ListWalk
from relay.tools.decisions import Passed

LISTING = "content-type: application/json\r\nmcp-protocol-version: 2026-07-28\r\nmcp-method: tools/list\r\n"


def asked(**params: Any) -> bytes:
    return call(raw("tools/list", **params), path="/mcp", headers=LISTING)


def page(server: Peer, request: bytes, *names: str, **more: Any) -> bytes:
    """Answers a request for a list; returns what the server is sent next."""
    body = body_of(request)
    result = {"resultType": "complete", "tools": [tool(name) for name in names], **more}
    content = {"jsonrpc": "2.0", "id": json.loads(body)["id"], "result": result}
    return server.send(reply(json.dumps(content).encode()))


def told(client: Peer) -> dict[str, Any]:
    answer = client.transport.taken()
    assert status(answer) == 200, answer
    result: dict[str, Any] = json.loads(body_of(answer))["result"]
    return result


async def test_a_server_that_takes_too_long_is_left_out(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay.calls.tool_use.list_walk.ListWalk.page_seconds", 0.0)
    relay = granting(relay_with)
    client, erp, mail = relay.client(), relay.tool_server("erp"), relay.tool_server("mail")
    client.send(asked())
    assert erp.transport.taken()
    # headers, and then a byte now and then
    erp.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n{")
    monkeypatch.undo()
    await asyncio.sleep(0.001)
    page(mail, mail.transport.taken(), "send")
    assert [one["name"] for one in told(client)["tools"]] == ["mail__send"]
    assert erp.transport.closed


async def test_a_search_for_entries_ends_after_so_many_pages(relay_with: Make) -> None:
    relay = granting(relay_with)
    client, erp = relay.client(), relay.tool_server("erp")
    client.send(asked())
    request = erp.transport.taken()
    for number in range(64):
        assert request
        assert not client.transport.taken()
        request = page(erp, request, "hidden", nextCursor=f"after {number}")
    assert not request
    found = told(client)
    assert found["tools"] == []
    client.send(asked(cursor=found["nextCursor"]))
    assert b'"after 63"' in erp.transport.taken()


async def test_who_leaves_ends_the_search(relay_with: Make) -> None:
    relay = granting(relay_with)
    client, erp, mail = relay.client(), relay.tool_server("erp"), relay.tool_server("mail")
    client.send(asked())
    page(erp, erp.transport.taken(), "hidden")
    assert mail.transport.taken()
    client.hang_up()
    assert mail.transport.closed


@pytest.mark.parametrize(("servers", "seconds"), [(2, 10.0), (5, 4.0), (16, 2.5)])
def test_servers_that_hang_leave_their_clients_time(servers: int, seconds: float) -> None:
    names = tuple(f"s{number}" for number in range(servers))
    asked = gate().decide(request("tools/list"))
    assert isinstance(asked, Passed)
    nobody: Any = None
    walk = ListWalk(nobody, request("tools/list"), asked, gate(), names, lambda _: None)
    assert walk.page_seconds == seconds
    assert servers * seconds < 60
