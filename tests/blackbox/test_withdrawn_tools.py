"""Requests under way when their grant or key goes: from then on nothing more of what the server says reaches the caller."""

import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.session_server import serving_sessions
from tests.blackbox.tenant import Platform
from tests.blackbox.test_tool_records import records
from tests.blackbox.test_tool_seats import MODERN, Endless, opened
from tests.blackbox.test_tool_sessions import begun, body, granted_at
from tests.blackbox.tool_calls import FINANCE, MCP, SECRET, TOOLS, call, code, document
from tests.blackbox.tool_server import Reply, ToolServer, called, note, result, serving
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes
from tests.documents import with_tenant
from tests.tool_isolation.watched_server import WatchedServer
from tests.unit.relay.tools.protocol import raw

from relay_contract.document import Document
from relay_contract.tools.manifest import Idempotency

WITHDRAWN = -32000
LEFT = ("list_orders",)
ASKED = raw("tools/call", name="read_invoice", arguments={"n": 1})


@dataclass(slots=True)
class WaitingServer(ToolServer):
    """Answers as soon as it may."""

    may: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)

    def reply(self, body: dict[str, Any]) -> Reply:
        self.asked.set()
        self.may.wait(20)
        if body["method"] == "tools/call":
            return result(body, called(body["params"]))
        listed = {"resultType": "complete", "tools": self.tools}
        return result(body, listed)


@pytest.fixture
def waiting() -> Iterator[WaitingServer]:
    """Starts a server that answers nothing yet."""
    server = WaitingServer(tools=[*TOOLS])
    with serving(server):
        yield server
        server.may.set()


@pytest.fixture
def endless() -> Iterator[Endless]:
    """Starts a server whose streams have no end."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
    progress = note("notifications/progress", progressToken=1, progress=1)
    with contextlib.closing(Endless(head, b"data: %b\n\n" % progress)) as server:
        yield server


@pytest.fixture
def ready(new_relay: NewRelay) -> Relay:
    """Starts a relay with the credentials of both kinds of servers."""
    relay = new_relay()
    relay.give_key("tools-erp", SECRET)
    relay.give_key("tools-crm", SECRET)
    return relay


def last_message(wire: Wire) -> dict[str, Any]:
    """Reads a stream to its end and returns what it said last."""
    last = b""
    while chunk := wire.chunk():
        last = chunk
    data = [line[6:] for line in last.split(b"\n") if line.startswith(b"data: ")]
    found: dict[str, Any] = json.loads(data[-1])
    return found


def without_the_key(granted: Document) -> Document:
    kept = tuple(key for key in granted.tenant.keys if key.name != "production")
    return with_tenant(granted, keys=kept)


def test_a_stream_ends_when_its_tool_is_taken_away(
    ready: Relay, platform: Platform, endless: Endless
) -> None:
    ready.push(document(platform, endless, FINANCE))
    with ExitStack() as stack:
        wires = [opened(stack, ready, MODERN, ASKED) for _ in range(3)]
        assert all(wire.head().status == 200 for wire in wires)
        assert all(b"notifications/progress" in wire.chunk() for wire in wires)
        ready.push(document(platform, endless, LEFT))
        for wire in wires:
            last = last_message(wire)
            assert (last["id"], last["error"]["code"]) == (1, WITHDRAWN)
        # it costs the server nothing any more
        eventually(lambda: endless.let_go == endless.begun == 3)
    assert [one["outcome"] for one in records(ready, 3)] == ["cancelled"] * 3


def test_a_stream_whose_tool_stays_goes_on_through_other_changes(
    ready: Relay, platform: Platform, endless: Endless
) -> None:
    ready.push(document(platform, endless, FINANCE))
    with ExitStack() as stack:
        wire = opened(stack, ready, MODERN, ASKED)
        assert wire.head().status == 200
        for names in (("read_invoice",), ("read_*", "list_orders"), FINANCE):
            ready.push(document(platform, endless, names))
            for _ in range(200):
                assert b"notifications/progress" in wire.chunk()


def test_a_stream_ends_with_its_key(ready: Relay, platform: Platform, endless: Endless) -> None:
    ready.push(document(platform, endless, FINANCE))
    with ExitStack() as stack:
        wire = opened(stack, ready, MODERN, ASKED)
        assert wire.head().status == 200
        ready.push(without_the_key(document(platform, endless, FINANCE)))
        assert last_message(wire)["error"]["code"] == WITHDRAWN


def test_a_stream_in_a_session_ends_when_its_tool_is_taken_away(
    ready: Relay, platform: Platform
) -> None:
    with serving_sessions(WatchedServer(tools=[*TOOLS])) as server, ExitStack() as stack:
        ready.push(granted_at(platform, server, FINANCE))
        session = begun(ready)
        fields = {
            "authorization": MODERN["authorization"],
            "content-type": "application/json",
            "mcp-session-id": session,
        }
        arguments = {"behave": "endless", "seconds": 20}
        asked = body("tools/call", name="read_invoice", arguments=arguments)
        wire = stack.enter_context(Wire(ready.port))
        wire.send(request_bytes("POST", MCP, fields, json.dumps(asked).encode()))
        assert wire.head().status == 200
        assert b"notifications/progress" in wire.chunk()
        ready.push(granted_at(platform, server, LEFT))
        assert last_message(wire)["error"]["code"] == WITHDRAWN


def test_an_answer_is_not_told_when_its_tool_was_taken_away_meanwhile(
    ready: Relay, platform: Platform, waiting: WaitingServer
) -> None:
    ready.push(document(platform, waiting, FINANCE))
    with ExitStack() as stack:
        wire = opened(stack, ready, MODERN, ASKED)
        assert waiting.asked.wait(10)
        ready.push(document(platform, waiting, LEFT))
        waiting.may.set()
        answer = wire.answer()
    assert code(answer, 200) == WITHDRAWN
    assert b"read_invoice" not in answer.body
    (written,) = records(ready, 1)
    assert (written["outcome"], written["server"]) == ("cancelled", "erp")


def test_an_answer_that_may_not_be_told_is_no_answer_to_a_repeat(
    ready: Relay, platform: Platform, waiting: WaitingServer
) -> None:
    once = Idempotency(tools=("read_invoice",), seconds=60)
    ready.push(document(platform, waiting, FINANCE, idempotency=once))
    with ExitStack() as stack:
        wire = opened(stack, ready, MODERN, ASKED)
        assert waiting.asked.wait(10)
        ready.push(document(platform, waiting, LEFT))
        waiting.may.set()
        assert code(wire.answer(), 200) == WITHDRAWN
    ready.push(document(platform, waiting, FINANCE, idempotency=once))
    assert "is not known" in call(ready, "read_invoice").json()["error"]["message"]
    assert len(waiting.calls()) == 1


def test_a_list_is_that_of_the_grants_when_it_arrives(
    ready: Relay, platform: Platform, waiting: WaitingServer
) -> None:
    ready.push(document(platform, waiting, FINANCE))
    fields = {**MODERN, "mcp-method": "tools/list"}
    del fields["mcp-name"]
    with ExitStack() as stack:
        wire = opened(stack, ready, fields, raw("tools/list"))
        assert waiting.asked.wait(10)
        ready.push(document(platform, waiting, LEFT))
        waiting.may.set()
        listed = wire.answer().json()["result"]["tools"]
    assert [one["name"] for one in listed] == list(LEFT)
