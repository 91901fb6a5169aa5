"""A tool server that is silent keeps seats of its own callers alone: other servers and other keys go on."""

import contextlib
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
from tests.blackbox.tool_server import ToolServer, called, note, result, serving
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import approved, raw, tool

from relay.tools.seats import MOST_ROUNDS
from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer as DocumentedServer

MIB = 1024 * 1024
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


class Endless:
    """A server that answers each request with this head, and with these bytes again and again, until the relay has enough."""

    def __init__(self, head: bytes, again: bytes) -> None:
        self._head = head
        self._again = again
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/mcp"
        self.begun = 0
        self.let_go = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            # connections that the relay opens in advance bring no request
            if not connection.recv(65536):
                return
            self.begun += 1
            with contextlib.suppress(OSError):
                connection.sendall(self._head)
                while True:
                    connection.sendall(self._again)
            self.let_go += 1


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


def test_a_server_whose_answers_have_no_end_costs_its_own_calls_alone(
    new_unforked_relay: NewRelay, platform: Platform
) -> None:
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    endless = Endless(head, b"10000\r\n" + b"[" * 0x10000 + b"\r\n")
    relay = new_unforked_relay()
    relay.give_key("tools", SECRET)
    before = relay.process.peak_memory_bytes()
    asked = raw("tools/call", name="read_invoice", arguments={"n": 1})
    with (
        contextlib.closing(endless),
        serving(ToolServer(tools=[*TOOLS])) as mail,
        ExitStack() as stack,
    ):
        relay.push(two_servers(platform, endless.url, mail.url))
        wires = [opened(stack, relay, MODERN, asked) for _ in range(8)]
        for _ in range(10):
            assert call(relay, "pay").status == 200
        assert {code(wire.answer(), 502) for wire in wires} == {-32603}
        eventually(lambda: endless.let_go == endless.begun == 8)
        assert relay.process.peak_memory_bytes() - before < 8 * 2 * 4 * MIB
        assert call(relay, "pay").status == 200


def test_a_stream_without_end_is_left_by_its_client_alone(
    new_relay: NewRelay, platform: Platform
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    progress = note("notifications/progress", progressToken=1, progress=1)
    endless = Endless(head, b"data: %b\n\n" % progress)
    relay = new_relay()
    relay.give_key("tools", SECRET)
    asked = raw("tools/call", name="read_invoice", arguments={"n": 1})
    with contextlib.closing(endless), serving(ToolServer(tools=[*TOOLS])) as mail:
        relay.push(two_servers(platform, endless.url, mail.url))
        with ExitStack() as stack:
            wires = [opened(stack, relay, MODERN, asked) for _ in range(3)]
            for wire in wires:
                assert wire.head().status == 200
                assert b"notifications/progress" in wire.chunk()
            assert call(relay, "pay").status == 200
            assert endless.let_go == 0
        eventually(lambda: endless.let_go == endless.begun == 3)
        assert call(relay, "pay").status == 200
