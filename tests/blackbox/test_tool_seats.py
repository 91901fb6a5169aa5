"""A tool server that is silent keeps seats of its own callers alone: other servers and other keys go on."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.session_server import SessionServer, serving_sessions
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform
from tests.blackbox.test_tool_sessions import GREETING, begun, body, names
from tests.blackbox.tool_calls import MCP, SECRET, TOOLS, call, code
from tests.blackbox.tool_server import ToolServer, called, result, serving
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import approved, raw, tool

from relay.tools.seats import MOST_ROUNDS
from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer as DocumentedServer

CALLS_OF_ONE_KEY = 36
"""Of 64 seats 16 are kept for the other server, and of the rest 12 for the other key."""
MODERN = {
    "authorization": f"Bearer {KEY}",
    "content-type": "application/json",
    "accept": "application/json, text/event-stream",
    "mcp-protocol-version": "2026-07-28",
    "mcp-method": "tools/call",
    "mcp-name": "read_invoice",
}


def two_servers(platform: Platform, erp_url: str, mail_url: str) -> Document:
    """Returns the document of a tenant with a tool at each of two servers."""
    grants = tuple(
        Grant(server=server, tools=(name,), tool_definitions=approved(tool(name)))
        for server, name in (("erp", "read_invoice"), ("mail", "pay"))
    )
    servers = tuple(
        DocumentedServer(name=name, url=url, key_file="tools")
        for name, url in (("erp", erp_url), ("mail", mail_url))
    )
    return platform.document(tool_servers=servers, tools=Manifest(grants=grants))


@pytest.fixture
def silent() -> Iterator[str]:
    """Opens a port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"


def opened(stack: ExitStack, relay: Relay, fields: dict[str, str], content: bytes) -> Wire:
    """Sends a message without waiting for its answer."""
    wire = stack.enter_context(Wire(relay.port))
    wire.send(request_bytes("POST", MCP, fields, content))
    return wire


def test_a_server_that_hangs_costs_its_own_calls_alone(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    release = threading.Event()

    def hangs(asked: dict[str, Any]) -> Any:
        release.wait(50)
        return result(asked, called(asked["params"]))

    erp.behaviours["read_invoice"] = hangs
    relay = new_relay()
    relay.give_key("tools", SECRET)
    with serving(ToolServer(tools=[*TOOLS])) as mail, ExitStack() as stack:
        relay.push(two_servers(platform, erp.url, mail.url))
        asked = raw("tools/call", name="read_invoice", arguments={"n": 1})
        wires = [opened(stack, relay, MODERN, asked) for _ in range(80)]
        try:
            eventually(lambda: len(erp.calls()), lambda count: count >= CALLS_OF_ONE_KEY)
            steady(lambda: len(erp.calls()), for_seconds=0.2)
            assert len(erp.calls()) == CALLS_OF_ONE_KEY
            refused = call(relay, "read_invoice")
            assert code(refused, 429) == -32603
            assert refused.header("retry-after") == "1"
            for _ in range(20):
                assert call(relay, "pay").status == 200
            other = {**MODERN, "authorization": f"Bearer {OTHER_KEY}"}
            others = opened(stack, relay, other, asked)
            eventually(lambda: len(erp.calls()), lambda count: count == CALLS_OF_ONE_KEY + 1)
        finally:
            release.set()
        statuses = [wire.answer().status for wire in wires]
        assert (statuses.count(200), statuses.count(429)) == (CALLS_OF_ONE_KEY, 44)
        assert others.answer().status == 200
        # every seat is free again
        assert call(relay, "read_invoice").status == 200


def test_a_server_that_does_not_greet_costs_no_session_of_the_others(
    new_relay: NewRelay, platform: Platform, silent: str
) -> None:
    relay = new_relay()
    relay.give_key("tools", SECRET)
    with serving_sessions(SessionServer(tools=[*TOOLS])) as mail, ExitStack() as stack:
        relay.push(two_servers(platform, silent, mail.url))
        fields = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
        greeting = json.dumps(body("initialize", **GREETING)).encode()
        wires: list[Wire] = []

        def greeted() -> bool:
            return len(mail.methods()) == len(wires)

        while len(wires) < MOST_ROUNDS + 6:
            wires += [opened(stack, relay, fields, greeting) for _ in range(10)]
            eventually(greeted)
        session = begun(relay)
        assert names(relay, session) == ["pay"]
        assert all(wire.answer().status == 200 for wire in wires)
