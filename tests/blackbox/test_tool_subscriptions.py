"""Subscriptions of clients without a session: they are told of changes in what their tenant is granted, and of nothing else."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform
from tests.blackbox.tool_calls import FINANCE, MCP, SECRET, TOOLS, ask, code
from tests.blackbox.tool_server import ToolServer, note, serving
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Wire, request_bytes
from tests.unit.relay.tools.protocol import approved, raw

from relay.tools.seats import MOST_STREAMS
from relay_contract.document import Document
from relay_contract.tools.manifest import Grant, Manifest
from relay_contract.tools.tool_server import ToolServer as DocumentedServer

ID = "io.modelcontextprotocol/subscriptionId"
REPORT, OTHER = "file:///reports/1", "file:///reports/2"


def acknowledging(body: dict[str, Any]) -> bytes:
    """Answers a subscription as a server does that tells of everything."""
    wanted = body["params"]["notifications"]
    return note(
        "notifications/subscriptions/acknowledged", notifications=wanted, _meta={ID: body["id"]}
    )


def grant(server: str, tools: tuple[str, ...], prefix: str = "", *resources: str) -> Grant:
    definitions = approved(*(one for one in TOOLS if one["name"] in tools))
    return Grant(
        server=server,
        prefix=prefix,
        tools=tools,
        tool_definitions=definitions,
        resources=resources,
    )


def granting(platform: Platform, *grants: tuple[Grant, ToolServer], **fields: Any) -> Document:
    servers = tuple(
        DocumentedServer(name=one.server, url=server.url, key_file=f"tools-{one.server}")
        for one, server in grants
    )
    manifest = Manifest(grants=tuple(one for one, _ in grants))
    return platform.document(tool_servers=servers, tools=manifest, **fields)


@pytest.fixture
def crm() -> Iterator[ToolServer]:
    """Starts a second server, which tells of changes."""
    with serving(ToolServer(tools=TOOLS, acknowledges=acknowledging)) as server:
        yield server
        server.say(None)


@pytest.fixture
def told(erp: ToolServer) -> Iterator[ToolServer]:
    """Lets the first server tell of changes."""
    erp.acknowledges = acknowledging
    yield erp
    erp.say(None)


@pytest.fixture
def office(relay: Relay, platform: Platform, told: ToolServer, crm: ToolServer) -> Relay:
    """Grants tools of both servers, and reports of the first."""
    return granted_office(relay, platform, told, crm)


def granted_office(relay: Relay, platform: Platform, erp: ToolServer, crm: ToolServer) -> Relay:
    for server in ("erp", "crm"):
        relay.give_key(f"tools-{server}", SECRET)
    erp_grant = grant("erp", FINANCE, "", "file:///reports/*")
    relay.push(granting(platform, (erp_grant, erp), (grant("crm", ("pay",), "crm_"), crm)))
    return relay


class Listener:
    """Reads the events of a subscription."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def next(self) -> dict[str, Any]:
        """Returns the next message."""
        text = self._wire.until(b"\n\n").decode()
        lines = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
        if not lines:
            return self.next()
        content: dict[str, Any] = json.loads("".join(lines))
        return content

    def is_told_nothing(self) -> bool:
        """Returns whether only comments come within a second and a half."""
        return b"data:" not in self._wire.pending(1.5)

    def is_over(self) -> bool:
        """Returns whether the answer ends here."""
        return self._wire.until(b"0\r\n\r\n").strip() == b"0"

    def is_kept_alive(self) -> bool:
        """Returns whether a comment comes."""
        return self._wire.until(b": waiting\n\n").endswith(b": waiting\n\n")


def asked_to_listen(relay: Relay, wire: Wire, key: str, **notifications: Any) -> Answer:
    """Asks for a subscription with the id "s-1"; returns the head of the answer."""
    body = raw("subscriptions/listen", id="s-1", notifications=notifications)
    fields = {
        "authorization": f"Bearer {key}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "subscriptions/listen",
    }
    wire.send(request_bytes("POST", MCP, fields, body))
    return wire.head()


@contextmanager
def listening(relay: Relay, key: str = KEY, **notifications: Any) -> Iterator[Listener]:
    """Opens a subscription with the id "s-1"."""
    with Wire(relay.port) as wire:
        head = asked_to_listen(relay, wire, key, **notifications)
        assert (head.status, head.header("content-type")) == (200, "text/event-stream")
        yield Listener(wire)


def acknowledged(**notifications: Any) -> dict[str, Any]:
    params = {"_meta": {ID: "s-1"}, "notifications": notifications}
    return {
        "jsonrpc": "2.0",
        "method": "notifications/subscriptions/acknowledged",
        "params": params,
    }


def changed(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "method": method, "params": {"_meta": {ID: "s-1"}, **params}}


TOOLS_CHANGED = "notifications/tools/list_changed"
UPDATED = "notifications/resources/updated"
ENDED = {"jsonrpc": "2.0", "id": "s-1", "result": {"resultType": "complete", "_meta": {ID: "s-1"}}}


def test_a_subscription_brings_what_was_asked_for_and_is_granted(
    office: Relay, told: ToolServer, crm: ToolServer
) -> None:
    with listening(office, toolsListChanged=True, resourceSubscriptions=[REPORT]) as client:
        assert client.next() == acknowledged(toolsListChanged=True, resourceSubscriptions=[REPORT])
        for server in (told, crm):
            # not asked for, not granted, or of no subscription
            server.say(note("notifications/prompts/list_changed"))
            server.say(note(UPDATED, uri=OTHER))
            server.say(note("notifications/progress", progressToken=1, progress=1))
            server.say(note("notifications/message", level="info", data="seen"))
        crm.say(note(UPDATED, uri=REPORT))
        assert client.is_told_nothing()
        crm.say(note(TOOLS_CHANGED, _meta={ID: "of another", "hint": "crm"}))
        assert client.next() == changed(TOOLS_CHANGED)
        told.say(note(UPDATED, uri=REPORT))
        assert client.next() == changed(UPDATED, uri=REPORT)
    asked = [body["params"]["notifications"] for _, body in told.requests + crm.requests]
    assert asked == [
        {"resourceSubscriptions": [REPORT], "toolsListChanged": True},
        {"toolsListChanged": True},
    ]


def test_what_no_server_tells_of_is_not_acknowledged(
    office: Relay, told: ToolServer, crm: ToolServer
) -> None:
    told.acknowledges = lambda body: note(
        "notifications/subscriptions/acknowledged", notifications={}, _meta={ID: body["id"]}
    )
    with listening(office, toolsListChanged=True, resourceSubscriptions=[REPORT]) as client:
        assert client.next() == acknowledged(toolsListChanged=True)
        told.say(note(UPDATED, uri=REPORT))
        assert client.is_told_nothing()


def test_a_server_without_subscriptions_is_made_good_for_its_lists_alone(
    office: Relay, platform: Platform, told: ToolServer, crm: ToolServer
) -> None:
    told.acknowledges = None
    body = raw("subscriptions/listen", notifications={"resourceSubscriptions": [REPORT]})
    assert code(ask(office, body), 404) == -32601
    with listening(office, toolsListChanged=True) as client:
        assert client.next() == acknowledged(toolsListChanged=True)
        smaller = grant("erp", FINANCE[:1], "", "file:///reports/*")
        office.push(granting(platform, (smaller, told), (grant("crm", ("pay",), "crm_"), crm)))
        assert client.next() == changed(TOOLS_CHANGED)


def test_a_denied_resource_and_one_that_nobody_has_are_refused_alike(office: Relay) -> None:
    answers = [
        ask(office, raw("subscriptions/listen", notifications={"resourceSubscriptions": [uri]}))
        for uri in ("file:///payroll/1", "x:nothing")
    ]
    assert answers[0].body == answers[1].body
    assert (answers[0].status, answers[1].status) == (200, 200)


def test_nothing_of_a_resource_that_was_revoked_passes(
    office: Relay, platform: Platform, told: ToolServer, crm: ToolServer
) -> None:
    with listening(office, toolsListChanged=True, resourceSubscriptions=[REPORT]) as client:
        client.next()
        smaller = grant("erp", FINANCE, "", OTHER)
        office.push(granting(platform, (smaller, told), (grant("crm", ("pay",), "crm_"), crm)))
        told.say(note(UPDATED, uri=REPORT))
        assert client.next() == changed(TOOLS_CHANGED)
        # the client has to ask anew, and learns by that what it may
        assert client.next() == ENDED


def test_a_server_that_ends_its_part_ends_the_subscription_in_order(
    office: Relay, told: ToolServer
) -> None:
    with listening(office, toolsListChanged=True) as client:
        client.next()
        told.say(None)
        assert client.next() == ENDED
        assert client.is_over()


def test_a_server_that_says_what_it_may_not_ends_its_part(office: Relay, told: ToolServer) -> None:
    with listening(office, toolsListChanged=True) as client:
        client.next()
        told.say(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"}).encode())
        assert client.next() == ENDED


def test_a_server_that_acknowledges_nothing_cannot_keep_the_others_changes(
    office: Relay, told: ToolServer, crm: ToolServer
) -> None:
    told.acknowledges = lambda _: note(TOOLS_CHANGED)
    with listening(office, toolsListChanged=True) as client:
        assert client.next() == acknowledged(toolsListChanged=True)
        crm.say(note(TOOLS_CHANGED))
        assert client.next() == changed(TOOLS_CHANGED)


def test_a_revoked_key_ends_the_subscription(
    office: Relay, platform: Platform, told: ToolServer, crm: ToolServer
) -> None:
    with listening(office, toolsListChanged=True) as client:
        client.next()
        grants = ((grant("erp", FINANCE), told), (grant("crm", ("pay",), "crm_"), crm))
        office.push(granting(platform, *grants, keys=platform.document().tenant.keys[1:]))
        told.say(note(TOOLS_CHANGED))
        assert client.next() == ENDED


def test_a_client_that_leaves_frees_the_servers_streams(office: Relay) -> None:
    def connections() -> float:
        seen = office.metrics()
        return sum(
            seen.total("relay_upstream_connections", provider=f"tools/{server}")
            for server in ("erp", "crm")
        )

    before = connections()
    with listening(office, toolsListChanged=True) as client:
        client.next()
    eventually(connections, lambda now: now <= before, what="upstream connections")


def test_one_key_cannot_take_the_streams_of_another(office: Relay, told: ToolServer) -> None:
    full = acknowledged(resourceSubscriptions=[REPORT])
    with ExitStack() as opened:
        taken = 0
        for _ in range(MOST_STREAMS):
            wire = opened.enter_context(Wire(office.port))
            head = asked_to_listen(office, wire, KEY, resourceSubscriptions=[REPORT])
            if head.status != 200 or Listener(wire).next() != full:
                break
            taken += 1
        assert 0 < taken < MOST_STREAMS
        with listening(office, OTHER_KEY, resourceSubscriptions=[REPORT]) as client:
            assert client.next() == full
            told.say(note(UPDATED, uri=REPORT))
            assert client.next() == changed(UPDATED, uri=REPORT)


def test_a_silent_subscription_is_kept_alive(
    new_relay: NewRelay, platform: Platform, told: ToolServer, crm: ToolServer
) -> None:
    relay = granted_office(new_relay(stream_keepalive_seconds="1"), platform, told, crm)
    with listening(relay, toolsListChanged=True) as client:
        client.next()
        assert client.is_kept_alive()


def test_changes_of_one_tenant_are_nothing_to_another(
    office: Relay, new_relay: NewRelay, platform: Platform, told: ToolServer, crm: ToolServer
) -> None:
    other = new_relay()
    other.give_key("tools-crm", SECRET)
    other.push(granting(platform, (grant("crm", ("pay",)), crm)))
    with (
        listening(office, toolsListChanged=True) as mine,
        listening(other, toolsListChanged=True) as theirs,
    ):
        mine.next()
        theirs.next()
        told.say(note(TOOLS_CHANGED))
        assert mine.next() == changed(TOOLS_CHANGED)
        assert theirs.is_told_nothing()
