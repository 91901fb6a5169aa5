"""Clients of the era with sessions (MCP 2025-11-25): a session is its own tenant's and key's, and the same gate holds in it."""

import json
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.session_server import SessionServer, serving_sessions
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform
from tests.blackbox.test_tool_records import records
from tests.blackbox.tool_calls import FINANCE, MARKETING, MCP, SECRET, TOOLS, code
from tests.blackbox.tool_server import called, note
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Gone, Wire, request_bytes
from tests.documents import with_tenant
from tests.unit.relay.tools.protocol import approved, tool

from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer as DocumentedServer

GREETING = {
    "protocolVersion": "2025-11-25",
    "capabilities": {"elicitation": {}, "tasks": {"list": {}}, "experimental": {"x": {}}},
    "clientInfo": {"name": "client", "version": "1"},
}
ELICITATION = {
    "jsonrpc": "2.0",
    "id": 7,
    "method": "elicitation/create",
    "params": {"message": "Which one?", "requestedSchema": {"type": "object", "properties": {}}},
}


@pytest.fixture
def crm() -> Iterator[SessionServer]:
    """Starts a server with sessions."""
    with serving_sessions(SessionServer(tools=[*TOOLS])) as server:
        yield server


def granted_at(
    platform: Platform, crm: SessionServer, names: tuple[str, ...], *more: Grant, **fields: Any
) -> Document:
    """Returns a tenant's document with these tools of the server, and other grants of servers that are not there."""
    grant = Grant(
        server="crm",
        tools=names,
        tool_definitions=approved(*(one for one in TOOLS if one["name"] in names)),
        **fields,
    )
    servers = [DocumentedServer(name="crm", url=crm.url, key_file="tools-crm")]
    servers += [
        DocumentedServer(name=one.server, url="http://127.0.0.1:9/mcp", key_file="tools-crm")
        for one in more
    ]
    return platform.document(tool_servers=servers, tools=Manifest(grants=(*more, grant)))


@pytest.fixture
def office(relay: Relay, platform: Platform, crm: SessionServer) -> Relay:
    """Gives the session's relay three of the server's tools."""
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE))
    return relay


def body(method: str, *, id: Any = 1, **params: Any) -> dict[str, Any]:  # noqa: A002
    content = {"jsonrpc": "2.0", "id": id, "method": method, "params": params}
    return content if id is not None else {k: v for k, v in content.items() if k != "id"}


def say(
    relay: Relay, session: str | None, content: dict[str, Any], *, key: str = KEY, **headers: str
) -> Answer:
    """Posts a message in a session."""
    fields = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        **headers,
    }
    if session is not None:
        fields["mcp-session-id"] = session
    return relay.ask("POST", MCP, body=json.dumps(content).encode(), key=key, headers=fields)


def begun(relay: Relay, *, key: str = KEY) -> str:
    """Begins a session and returns its id."""
    answer = say(relay, None, body("initialize", **GREETING), key=key)
    assert answer.status == 200, answer
    session = answer.header("mcp-session-id")
    assert session is not None
    assert say(relay, session, body("notifications/initialized", id=None), key=key).status == 202
    return session


def call(relay: Relay, session: str | None, name: str, *, id: Any = 1, key: str = KEY) -> Answer:  # noqa: A002
    return say(relay, session, body("tools/call", id=id, name=name, arguments={"n": 1}), key=key)


def names(relay: Relay, session: str) -> list[str]:
    answer = say(relay, session, body("tools/list"))
    assert answer.status == 200, answer
    return [one["name"] for one in answer.json()["result"]["tools"]]


# -- a session -----------------------------------------------------------------------------------------------------


def test_the_relay_greets_in_the_servers_place(office: Relay, crm: SessionServer) -> None:
    answer = say(office, None, body("initialize", id="first", **GREETING))
    assert answer.status == 200
    assert answer.json() == {
        "jsonrpc": "2.0",
        "id": "first",
        "result": {
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {"listChanged": True}, "logging": {}},
            "serverInfo": {"name": "relay", "version": "1"},
        },
    }
    session = answer.header("mcp-session-id")
    assert session is not None
    assert not set(crm.streams) & {session}
    _, _, fields, greeting = crm.seen[0]
    assert fields["authorization"] == f"Bearer {SECRET}"
    assert greeting["params"]["capabilities"] == {"elicitation": {}}
    assert greeting["params"]["clientInfo"] == GREETING["clientInfo"]


def test_calls_and_lists_pass_the_same_gate(office: Relay, crm: SessionServer) -> None:
    session = begun(office)
    assert names(office, session) == list(FINANCE)
    for count in (1, 2):
        result = call(office, session, "read_invoice").json()["result"]
        assert result["structuredContent"] == {"count": count}
        assert (
            result["content"] == called({"name": "read_invoice", "arguments": {"n": 1}})["content"]
        )
    asked = crm.methods()
    denied, unknown = call(office, session, "pay"), call(office, session, "no_such_tool")
    assert (denied.status, denied.body) == (unknown.status, unknown.body)
    assert code(denied, 200) == -32602
    assert code(say(office, session, body("tasks/list")), 200) == -32601
    assert crm.methods() == asked
    assert KEY not in str(crm.seen)


def test_what_names_nothing_goes_to_the_server_and_is_answered(
    office: Relay, crm: SessionServer
) -> None:
    session = begun(office)
    assert say(office, session, body("ping")).json()["result"] == {}
    assert say(office, session, body("logging/setLevel", level="debug")).json()["result"] == {}
    cancelled = body("notifications/cancelled", id=None, requestId=4)
    assert say(office, session, cancelled).status == 202
    assert say(office, session, body("notifications/tasks/status", id=None)).status == 400
    assert crm.methods() == [
        "initialize",
        "notifications/initialized",
        "logging/setLevel",
        "notifications/cancelled",
    ]


def test_a_server_asks_its_client_inside_a_call(office: Relay, crm: SessionServer) -> None:
    crm.asks["stream"] = ELICITATION
    session = begun(office)
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "mcp-session-id": session,
    }
    content = json.dumps(body("tools/call", name="stream", arguments={})).encode()
    with Wire(office.port) as wire:
        wire.send(request_bytes("POST", MCP, fields, content))
        assert wire.head().header("content-type") == "text/event-stream"
        asked = message_of(wire.chunk())
        assert asked["params"] == ELICITATION["params"]
        assert asked["id"] != ELICITATION["id"]
        reply = {"jsonrpc": "2.0", "id": asked["id"], "result": {"action": "accept"}}
        assert say(office, session, reply).status == 202
        answer = message_of(wire.chunk())
    told = answer["result"]["structuredContent"]["reply"]
    assert told == {"jsonrpc": "2.0", "id": 7, "result": {"action": "accept"}}
    for odd in ("5:7", "0:{}", "0:", "7", "0:true", 7):
        assert say(office, session, {**reply, "id": odd}).status == 400


def test_every_worker_goes_on_with_a_session(
    new_relay: NewRelay, platform: Platform, crm: SessionServer
) -> None:
    relay = new_relay(workers="2")
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE))
    session = begun(relay)
    counts = [
        call(relay, session, "read_invoice").json()["result"]["structuredContent"]["count"]
        for _ in range(24)
    ]
    assert counts == list(range(1, 25))
    assert crm.methods().count("initialize") == 1


def test_a_session_ends_at_its_server(office: Relay, crm: SessionServer) -> None:
    session = begun(office)
    assert len(crm.streams) == 1
    ended = office.ask("DELETE", MCP, headers={"mcp-session-id": session})
    assert ended.status == 204
    assert not crm.streams
    assert code(call(office, session, "read_invoice"), 404) == -32001
    again = office.ask("DELETE", MCP, headers={"mcp-session-id": session})
    assert code(again, 404) == -32001


def test_a_server_that_lost_its_sessions_makes_the_client_begin_anew(
    office: Relay, crm: SessionServer
) -> None:
    session = begun(office)
    crm.forget()
    assert code(call(office, session, "read_invoice"), 404) == -32001
    assert say(office, session, body("notifications/initialized", id=None)).status == 404
    assert call(office, begun(office), "read_invoice").status == 200


def test_a_session_goes_without_a_server_that_is_down(
    relay: Relay, platform: Platform, crm: SessionServer
) -> None:
    relay.give_key("tools-crm", SECRET)
    down = Grant(server="wiki", tools=("search",), tool_definitions=approved(tool("search")))
    relay.push(granted_at(platform, crm, FINANCE, down))
    session = begun(relay)
    assert names(relay, session) == list(FINANCE)
    assert call(relay, session, "read_invoice").status == 200
    assert code(call(relay, session, "search"), 502) == -32603


def test_without_any_server_no_session_begins(
    relay: Relay, platform: Platform, crm: SessionServer
) -> None:
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE))
    crm.version = "2026-07-28"
    assert code(say(relay, None, body("initialize", **GREETING)), 502) == -32603


@pytest.mark.parametrize(("size", "status"), [(200_000, 200), (300_000, 502)])
def test_a_greeting_may_be_only_so_long(
    office: Relay, crm: SessionServer, size: int, status: int
) -> None:
    crm.capabilities = {"tools": {}, "experimental": {"x": {"y": "z" * size}}}
    answer = say(office, None, body("initialize", **GREETING))
    assert answer.status == status
    assert b"zzz" not in answer.body


def test_calls_in_a_session_are_booked_and_limited(
    new_relay: NewRelay, platform: Platform, crm: SessionServer
) -> None:
    relay = new_relay()
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE))
    session = begun(relay)
    call(relay, session, "read_invoice")
    call(relay, session, "pay")
    call(relay, "no-session", "read_invoice")
    relay.push(granted_at(platform, crm, FINANCE, requests_per_minute=6))
    call(relay, session, "read_invoice")
    limited = call(relay, session, "read_invoice")
    assert code(limited, 429) == -32000
    assert code(say(relay, None, body("initialize", **GREETING)), 429) == -32000
    written = records(relay, 5)
    assert [line["outcome"] for line in written] == ["ok", "denied", "refused", "ok", "limited"]
    assert session not in relay.output()


def test_headers_that_say_something_else_than_a_message_refuse_it_in_sessions_too(
    office: Relay, crm: SessionServer
) -> None:
    session = begun(office)
    asked = body("tools/call", name="read_invoice", arguments={"n": 1})
    before = len(crm.seen)
    for fields in ({"mcp-method": "tools/list"}, {"mcp-name": "pay"}, {"mcp-method": ""}):
        assert code(say(office, session, asked, **fields), 400) == -32020
    note = body("notifications/roots/list_changed", id=None)
    assert code(say(office, session, note, **{"mcp-method": "ping"}), 400) == -32020
    assert len(crm.seen) == before
    same = {"mcp-method": "tools/call", "mcp-name": "read_invoice"}
    assert say(office, session, asked, **same).status == 200


def test_a_reply_to_what_the_client_was_never_asked_reaches_no_server(
    office: Relay, crm: SessionServer
) -> None:
    sessions = begun(office), begun(office)
    with streaming(office, sessions[0]) as wire:
        crm.say(json.dumps(ELICITATION).encode())
        asked = message_of(wire.chunk())["id"]
    before = len(crm.seen)
    for session, identity in (
        (sessions[0], 7),
        (sessions[0], "7"),
        (sessions[0], "0:7"),
        (sessions[0], asked.rpartition(":")[0] + ":8"),
        (sessions[1], asked),
    ):
        reply = {"jsonrpc": "2.0", "id": identity, "result": {"action": "accept"}}
        assert code(say(office, session, reply), 400) == -32600
    assert len(crm.seen) == before
    reply = {"jsonrpc": "2.0", "id": asked, "result": {"action": "accept"}}
    assert say(office, sessions[0], reply).status == 202


class Sessionless(SessionServer):
    """A server that gives its sessions no ids."""

    def begin(self) -> str:
        self.streams[""] = queue.Queue()
        self.counts[""] = 0
        self.told[""] = []
        return ""


def test_a_server_that_repeats_what_it_was_shown_tells_sessions_nothing_of_it(
    office: Relay, crm: SessionServer
) -> None:
    shown = {"message": f"Bearer {SECRET}?", "requestedSchema": {"type": "object"}}
    asked = {**ELICITATION, "params": shown}
    with streaming(office, begun(office)) as wire:
        crm.say(json.dumps(asked).encode())
        told = wire.chunk()
    assert message_of(told)["params"]["message"] == "Bearer [hidden]?"
    assert SECRET.encode() not in told


def test_a_server_that_keeps_no_sessions_is_not_told_by_ids_whose_requests_end(
    office: Relay, platform: Platform
) -> None:
    with serving_sessions(Sessionless(tools=[*TOOLS])) as bare:
        office.push(granted_at(platform, bare, FINANCE))
        session = begun(office)
        for note in (
            body("notifications/cancelled", id=None, requestId=1),
            body("notifications/progress", id=None, progressToken=1, progress=1),
        ):
            assert say(office, session, note).status == 202
    assert bare.methods() == ["initialize", "notifications/initialized"]


def test_messages_that_are_no_calls_have_a_rate_of_their_own(
    office: Relay, platform: Platform, crm: SessionServer
) -> None:
    session = begun(office)
    # at ten messages for a request the bucket holds 20 of them
    office.push(granted_at(platform, crm, FINANCE, requests_per_minute=12))
    before = len(crm.seen)
    messages = [
        body("notifications/cancelled", id=None, requestId=4),
        body("notifications/progress", id=None, progressToken=1, progress=1),
        body("logging/setLevel", level="debug"),
        body("notifications/roots/list_changed", id=None),
    ]
    answers = [say(office, session, messages[place % 4]) for place in range(60)]
    statuses = [answer.status for answer in answers]
    assert statuses[:20] == [202, 202, 200, 202] * 5
    assert 429 in statuses
    assert len(crm.seen) - before == 60 - statuses.count(429)
    limited = next(answer for answer in answers if answer.status == 429)
    assert code(limited, 429) == -32000
    assert int(limited.header("retry-after") or 0) >= 1
    for verb in ("GET", "DELETE"):
        answer = office.ask(verb, MCP, headers={"mcp-session-id": session})
        assert code(answer, 429) == -32000
    # calls have their own bucket
    assert call(office, session, "read_invoice").status == 200


# -- whose it is ---------------------------------------------------------------------------------------------------


def test_without_its_id_a_message_is_refused(office: Relay, crm: SessionServer) -> None:
    begun(office)
    asked = len(crm.seen)
    assert code(call(office, None, "read_invoice"), 400) == -32600
    assert office.ask("GET", MCP).status == 400
    assert office.ask("DELETE", MCP).status == 400
    assert len(crm.seen) == asked


def test_another_keys_and_tenants_sessions_are_unknown(
    new_relay: NewRelay, platform: Platform, crm: SessionServer
) -> None:
    other_uid = "7b1f3c0e-55e2-4d0b-8a0e-2f54c1d6a902"
    given = granted_at(platform, crm, FINANCE)
    one, other = new_relay(document=None), new_relay(document=None, tenant_uid=other_uid)
    for relay, document in ((one, given), (other, with_tenant(given, uid=other_uid))):
        relay.wait_listening()
        relay.give_key("tools-crm", SECRET)
        relay.push(document)
    session, others = begun(one), begun(other)
    asked = len(crm.seen)
    flipped = session[:-5] + ("A" if session[-5] != "A" else "B") + session[-4:]
    upstream = next(iter(crm.streams))
    refused = [
        call(one, named, "read_invoice", key=key)
        for named, key in (
            (others, KEY),
            (session, OTHER_KEY),
            (flipped, KEY),
            (upstream, KEY),
            ("", KEY),
            ("x" * 9000, KEY),
        )
    ]
    assert {(answer.status, answer.body) for answer in refused} == {
        (404, refused[0].body),
    }
    for verb in ("GET", "DELETE"):
        answer = one.ask(verb, MCP, headers={"mcp-session-id": others})
        assert code(answer, 404) == -32001
    assert len(crm.seen) == asked
    assert call(one, session, "read_invoice").status == 200
    assert call(other, others, "read_invoice").status == 200


def test_sessions_of_two_tenants_share_nothing(
    new_relay: NewRelay, platform: Platform, crm: SessionServer
) -> None:
    relays = [new_relay(), new_relay()]
    for relay, granted in zip(relays, (FINANCE, MARKETING), strict=True):
        relay.give_key("tools-crm", SECRET)
        relay.push(granted_at(platform, crm, granted))
    sessions = [begun(relay) for relay in relays]

    def round_trip(number: int) -> bool:
        place = number % 2
        name = ("read_invoice", "pay")[place]
        asked = body("tools/call", id=1, name=name, arguments={"round": number})
        result = say(relays[place], sessions[place], asked).json()["result"]
        return bool(
            result["content"] == called({"name": name, "arguments": {"round": number}})["content"]
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(round_trip, range(1000)))
    assert sorted(crm.counts.values()) == [500, 500]


def test_a_session_is_over_when_its_servers_are_others(
    office: Relay, platform: Platform, crm: SessionServer
) -> None:
    session = begun(office)
    more = Grant(server="wiki", tools=("search",), tool_definitions=approved(tool("search")))
    office.push(granted_at(platform, crm, FINANCE, more))
    assert code(call(office, session, "read_invoice"), 404) == -32001


def test_a_message_of_another_revision_is_refused(office: Relay) -> None:
    session = begun(office)
    for version, status in (("2025-11-25", 200), ("2025-06-18", 400), ("1999-01-01", 400)):
        answer = say(office, session, body("tools/list"), **{"mcp-protocol-version": version})
        assert answer.status == status


# -- its stream ----------------------------------------------------------------------------------------------------


def message_of(chunk: bytes) -> dict[str, Any]:
    """Returns the message of an event."""
    data = b"".join(line[6:] for line in chunk.split(b"\n") if line.startswith(b"data: "))
    content: dict[str, Any] = json.loads(data)
    return content


@contextmanager
def opened(relay: Relay, session: str, **headers: str) -> Iterator[Wire]:
    """Opens the session's stream, past its beginning."""
    fields = {"authorization": f"Bearer {KEY}", "mcp-session-id": session}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    with Wire(relay.port) as wire:
        wire.send(request_bytes("GET", MCP, {**fields, "accept": "text/event-stream"}, b""))
        head = wire.head()
        assert head.status == 200, wire.body_of(head)
        assert head.header("content-type") == "text/event-stream"
        assert wire.chunk().startswith(b":")
        yield wire


@contextmanager
def streaming(relay: Relay, session: str) -> Iterator[Wire]:
    """Opens the session's stream, past the event that only names its beginning."""
    with opened(relay, session) as wire:
        event_id(wire.chunk())
        yield wire


def event_id(chunk: bytes) -> str:
    """Returns the id that an event of the stream has."""
    first, _, _ = chunk.partition(b"\n")
    assert first.startswith(b"id: "), chunk
    return first.removeprefix(b"id: ").decode()


def test_a_stream_goes_on_after_the_last_event_that_the_client_saw(
    office: Relay, crm: SessionServer
) -> None:
    session = begun(office)
    with opened(office, session) as wire:
        began = event_id(wire.chunk())
        crm.say(note("notifications/message", level="info", data=1))
        seen = event_id(wire.chunk())
    crm.say(note("notifications/prompts/list_changed"))
    crm.say(note("notifications/message", level="info", data=3))
    for last, expected in ((seen, [3]), (began, [1, 3])):
        with opened(office, session, last_event_id=last) as wire:
            chunks = [wire.chunk() for _ in expected]
        # what is not granted does not pass because it comes late
        assert [message_of(chunk)["params"]["data"] for chunk in chunks] == expected
        # the id of the last one is good for what comes after it
        with Wire(office.port) as again:
            fields = {"authorization": f"Bearer {KEY}", "mcp-session-id": session}
            fields["last-event-id"] = event_id(chunks[-1])
            again.send(request_bytes("GET", MCP, fields, b""))
            assert again.answer().status == 200
    asked = [fields.get("last-event-id") for verb, _, fields, _ in crm.seen if verb == "GET"]
    # a server sees ids of its own alone
    assert asked == [None, "1", "3", "0", "3"]


def test_an_event_id_is_of_no_use_in_another_session_or_changed(
    office: Relay, crm: SessionServer
) -> None:
    session, other = begun(office), begun(office)
    theirs = begun(office, key=OTHER_KEY)
    with opened(office, session) as wire:
        last = event_id(wire.chunk())
    asked = len(crm.seen)
    unknown = office.ask("GET", MCP, headers={"mcp-session-id": session, "last-event-id": "7"})
    assert code(unknown, 400) == -32600
    flipped = last[:-1] + ("A" if last[-1] != "A" else "B")
    for key, holder, shown in (
        (KEY, other, last),
        (OTHER_KEY, theirs, last),
        (KEY, session, flipped),
        (KEY, session, session),
        (KEY, session, ""),
        (KEY, session, "x" * 5000),
    ):
        headers = {"mcp-session-id": holder, "last-event-id": shown}
        answer = office.ask("GET", MCP, key=key, headers=headers)
        assert (answer.status, answer.body) == (unknown.status, unknown.body)
    assert len(crm.seen) == asked


def test_a_stream_that_no_server_resumes_is_told_to_begin_anew(
    office: Relay, crm: SessionServer
) -> None:
    session = begun(office)
    with opened(office, session) as wire:
        last = event_id(wire.chunk())
    crm.has_stream = False
    headers = {"mcp-session-id": session, "last-event-id": last}
    assert code(office.ask("GET", MCP, headers=headers), 400) == -32600


def test_a_stream_brings_what_may_pass(office: Relay, crm: SessionServer) -> None:
    with streaming(office, begun(office)) as wire:
        crm.say(note("notifications/resources/updated", uri="file:///secret"))
        crm.say(note("notifications/tasks/status", taskId="1"))
        crm.say(note("notifications/prompts/list_changed"))
        crm.say(note("notifications/tools/list_changed", _meta={"added": "list_secrets"}, n=8))
        assert message_of(wire.chunk()) == {
            "jsonrpc": "2.0",
            "method": "notifications/tools/list_changed",
        }
        crm.say(json.dumps(ELICITATION).encode())
        assert message_of(wire.chunk())["id"].endswith(":7")


def test_a_changed_manifest_is_told_and_holds_for_the_next_call(
    office: Relay, platform: Platform, crm: SessionServer
) -> None:
    session = begun(office)
    with streaming(office, session) as wire:
        assert call(office, session, "read_invoice").status == 200
        office.push(granted_at(platform, crm, ("list_orders",)))
        assert code(call(office, session, "read_invoice"), 200) == -32602
        assert message_of(wire.chunk())["method"] == "notifications/tools/list_changed"
        assert names(office, session) == ["list_orders"]


def test_a_revoked_key_ends_the_stream(
    office: Relay, platform: Platform, crm: SessionServer
) -> None:
    session = begun(office)
    given = granted_at(platform, crm, FINANCE)
    with streaming(office, session) as wire:
        kept = tuple(key for key in given.tenant.keys if key.name != "production")
        office.push(with_tenant(given, keys=kept))
        crm.say(note("notifications/tools/list_changed"))
        assert wire.chunk() == b""


def test_a_client_that_leaves_frees_the_servers_stream(office: Relay, crm: SessionServer) -> None:
    before = office.metrics().total("relay_upstream_connections", provider="tools/crm")
    with streaming(office, begun(office)):
        pass
    eventually(
        lambda: office.metrics().total("relay_upstream_connections", provider="tools/crm"),
        lambda left: left <= before + 1,
        what="upstream connections",
    )


def test_a_server_that_says_what_it_may_not_loses_its_stream(
    office: Relay, crm: SessionServer
) -> None:
    with streaming(office, begun(office)) as wire:
        crm.say(b'{"jsonrpc":"2.0","id":1,"result":{}}')
        try:
            assert wire.chunk() == b""
        except Gone:
            pytest.fail("the stream was cut off, not ended")


@pytest.mark.parametrize("resumes", [False, True])
def test_a_stream_that_its_server_still_holds_is_to_be_opened_again(
    office: Relay, crm: SessionServer, resumes: bool
) -> None:
    session = begun(office)
    with opened(office, session) as wire:
        last = event_id(wire.chunk())
    headers = {"mcp-session-id": session, **({"last-event-id": last} if resumes else {})}
    crm.has_stream, crm.no_stream_status = False, 409
    # 405 would tell a client that there is none and never will be
    assert code(office.ask("GET", MCP, headers=headers), 409) == -32600


def test_without_a_stream_of_the_servers_there_is_none(office: Relay, crm: SessionServer) -> None:
    crm.has_stream = False
    answer = office.ask("GET", MCP, headers={"mcp-session-id": begun(office)})
    assert answer.status == 405
