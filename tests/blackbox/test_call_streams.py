"""A stream that answers a call goes on after it was broken off, at the server and at the client, and the call is booked once."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.blackbox.breaking_server import EVENTS, STEPS, BreakingServer
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.session_server import serving_sessions
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform
from tests.blackbox.test_tool_records import records
from tests.blackbox.test_tool_sessions import begun, body, event_id, granted_at, message_of, opened
from tests.blackbox.tool_calls import FINANCE, MCP, SECRET, TOOLS, code
from tests.blackbox.wire import Answer, Wire, request_bytes
from tests.documents import with_tenant

from relay_contract.tools.manifest import Idempotency

TOOL = "read_invoice"
WHOLE = [*range(1, STEPS + 1), "answer"]


@pytest.fixture
def crm() -> Iterator[BreakingServer]:
    """Starts a server whose answers are there at once."""
    server = BreakingServer(tools=[*TOOLS])
    server.may_answer.set()
    with serving_sessions(server):
        yield server
        server.may_answer.set()


@pytest.fixture
def office(new_relay: NewRelay, platform: Platform, crm: BreakingServer) -> Relay:
    """Starts a relay that grants three of the server's tools."""
    return granting(new_relay(), platform, crm)


def granting(relay: Relay, platform: Platform, crm: BreakingServer, **fields: Any) -> Relay:
    relay.give_key("tools-crm", SECRET)
    relay.push(granted_at(platform, crm, FINANCE, **fields))
    return relay


@contextmanager
def calling(relay: Relay, session: str, name: str = TOOL) -> Iterator[Wire]:
    """Calls a tool, and yields the connection past the head of the answer."""
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-session-id": session,
    }
    content = json.dumps(body("tools/call", name=name, arguments={"n": 1})).encode()
    with Wire(relay.port) as wire:
        wire.send(request_bytes("POST", MCP, fields, content))
        head = wire.head()
        assert head.header("content-type") == "text/event-stream", wire.body_of(head)
        yield wire


@contextmanager
def resuming(relay: Relay, session: str, last: str) -> Iterator[Wire]:
    """Goes on after an event, and yields the connection past the head of the answer."""
    fields = {
        "authorization": f"Bearer {KEY}",
        "accept": "text/event-stream",
        "mcp-session-id": session,
        "last-event-id": last,
    }
    with Wire(relay.port) as wire:
        wire.send(request_bytes("GET", MCP, fields, b""))
        head = wire.head()
        assert head.status == 200, wire.body_of(head)
        assert head.header("content-type") == "text/event-stream"
        yield wire


def refused(relay: Relay, session: str, last: str, *, key: str = KEY) -> Answer:
    headers = {"mcp-session-id": session, "last-event-id": last}
    return relay.ask("GET", MCP, key=key, headers=headers)


def told(wire: Wire) -> list[Any]:
    """Returns the steps that a stream tells, and "answer", to its end."""
    said: list[Any] = []
    while chunk := wire.chunk():
        for text in chunk.decode().split("\n\n"):
            if "data: {" in text:
                content = message_of(text.encode())
                said.append(content["params"]["progress"] if "params" in content else "answer")
    return said


def left_after(relay: Relay, session: str, events: int) -> str:
    """Calls a tool and goes away after so many events; returns the id of the last one."""
    with calling(relay, session) as wire:
        chunks = [wire.chunk() for _ in range(events)]
    return id_of(chunks[-1])


def id_of(chunk: bytes) -> str:
    return event_id(chunk[chunk.index(b"id: ") :])


def outcomes(relay: Relay, count: int) -> list[str]:
    return [line["outcome"] for line in records(relay, count)]


# -- broken off by the server --------------------------------------------------------------------------------------


@pytest.mark.parametrize("abruptly", [False, True])
@pytest.mark.parametrize("breaks", [(1,), (3,), (EVENTS - 1,), (1, 3), (2, 2, 4)])
def test_the_relay_asks_a_server_for_the_rest(
    office: Relay, crm: BreakingServer, breaks: tuple[int, ...], abruptly: bool
) -> None:
    crm.breaks, crm.abruptly = breaks, abruptly
    with calling(office, begun(office)) as wire:
        assert told(wire) == WHOLE
    assert crm.asked == [f"0-{place - 1}" for place in breaks]
    (line,) = records(office, 1)
    assert (line["outcome"], line["name"]) == ("ok", TOOL)


def test_a_server_that_names_no_event_before_it_ends_has_given_no_answer(
    office: Relay, crm: BreakingServer
) -> None:
    crm.breaks = (0,)
    session = begun(office)
    answer = office.ask(
        "POST",
        MCP,
        body=json.dumps(body("tools/call", name=TOOL, arguments={})).encode(),
        headers={"content-type": "application/json", "mcp-session-id": session},
    )
    assert code(answer, 502) == -32603
    assert crm.asked == []
    assert outcomes(office, 1) == ["invalid"]


@pytest.mark.parametrize(
    ("status", "told_code", "outcome"),
    [
        (400, -32600, "refused"),
        (405, -32600, "refused"),
        (409, -32603, "unavailable"),
        (500, -32603, "unavailable"),
    ],
)
def test_a_server_that_does_not_go_on_with_its_own_stream_is_asked_three_times(
    office: Relay, crm: BreakingServer, status: int, told_code: int, outcome: str
) -> None:
    crm.breaks, crm.refusals = (2,), [status] * 9
    with calling(office, begun(office)) as wire:
        said = [wire.chunk() for _ in range(3)]
    assert message_of(said[-1])["error"]["code"] == told_code
    assert crm.asked == ["0-1"] * 3
    assert outcomes(office, 1) == [outcome]


def test_a_server_that_goes_on_at_the_third_time_is_gone_on_with(
    office: Relay, crm: BreakingServer
) -> None:
    crm.breaks, crm.refusals = (2,), [409, 503]
    with calling(office, begun(office)) as wire:
        assert told(wire) == WHOLE
    assert outcomes(office, 1) == ["ok"]


def test_the_rest_of_a_list_is_filtered_like_its_beginning(
    office: Relay, crm: BreakingServer
) -> None:
    crm.breaks = (1,)
    session = begun(office)
    answer = office.ask(
        "POST",
        MCP,
        body=json.dumps(body("tools/list")).encode(),
        headers={"content-type": "application/json", "mcp-session-id": session},
    )
    last = [line for line in answer.body.split(b"\n") if line.startswith(b"data: ")][-1]
    names = [one["name"] for one in json.loads(last[6:])["result"]["tools"]]
    assert names == list(FINANCE)
    assert b"id: " not in answer.body


def test_the_rest_is_not_asked_for_once_the_tool_is_no_longer_granted(
    office: Relay, platform: Platform, crm: BreakingServer
) -> None:
    crm.breaks, crm.retry = (2,), 4000
    with calling(office, begun(office)) as wire:
        first = wire.chunk()
        office.push(granted_at(platform, crm, ("list_orders",)))
        said = [wire.chunk(), wire.chunk()]
    assert first.startswith(b"retry: 4000\n")
    assert "error" in message_of(said[-1])
    assert crm.asked == []
    assert outcomes(office, 1) == ["cancelled"]


def test_a_call_that_is_carried_out_once_goes_on_and_names_no_events(
    new_relay: NewRelay, platform: Platform, crm: BreakingServer
) -> None:
    once = Idempotency(tools=("*",), seconds=60)
    relay = granting(new_relay(), platform, crm, idempotency=once)
    crm.breaks = (2,)
    session = begun(relay)
    with calling(relay, session) as wire:
        chunks = list(iter(wire.chunk, b""))
    assert "result" in message_of(chunks[-1])
    assert not [one for one in chunks if b"id: " in one.partition(b"data")[0]]
    assert outcomes(relay, 1) == ["ok"]


# -- broken off by the client --------------------------------------------------------------------------------------


@pytest.mark.parametrize("events", range(1, EVENTS))
def test_a_client_goes_on_after_the_last_event_that_it_saw(
    office: Relay, crm: BreakingServer, events: int
) -> None:
    crm.may_answer.clear()
    session = begun(office)
    last = left_after(office, session, events)
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        assert told(wire) == WHOLE[events - 1 :]
    assert crm.asked == [f"0-{events - 1}"]
    # of the first request, and no other
    (line,) = records(office, 1)
    assert (line["outcome"], line["method"], line["name"]) == ("ok", "tools/call", TOOL)
    assert line["request_bytes"] > 0


def test_a_client_and_a_server_may_both_break_off_twice(office: Relay, crm: BreakingServer) -> None:
    crm.breaks = (2, 3)
    crm.may_answer.clear()
    session = begun(office)
    last = left_after(office, session, 2)
    with resuming(office, session, last) as wire:
        last = id_of(wire.chunk())
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        assert told(wire) == [3, "answer"]
    assert outcomes(office, 1) == ["ok"]


def test_how_a_tool_ended_is_booked_from_the_rest(office: Relay, crm: BreakingServer) -> None:
    crm.is_error = True
    crm.may_answer.clear()
    session = begun(office)
    last = left_after(office, session, 2)
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        told(wire)
    assert outcomes(office, 1) == ["tool_error"]


def test_an_answer_that_got_lost_is_told_again_and_booked_once(
    office: Relay, crm: BreakingServer
) -> None:
    session = begun(office)
    with calling(office, session) as wire:
        last = id_of(wire.chunk())
        assert told(wire) == WHOLE
    for _ in range(2):
        with resuming(office, session, last) as wire:
            assert told(wire) == WHOLE
    assert outcomes(office, 1) == ["ok"]


def test_the_request_that_came_last_goes_on_and_the_one_before_it_ends(
    office: Relay, crm: BreakingServer
) -> None:
    crm.may_answer.clear()
    session = begun(office)
    with calling(office, session) as first:
        last = id_of(first.chunk())
        with resuming(office, session, last) as second, resuming(office, session, last) as third:
            assert told(first)[-1:] != ["answer"]
            assert told(second)[-1:] != ["answer"]
            crm.may_answer.set()
            assert told(third) == WHOLE
    assert outcomes(office, 1) == ["ok"]


def test_a_client_is_told_how_long_to_wait(office: Relay, crm: BreakingServer) -> None:
    crm.retry = 2500
    with calling(office, begun(office)) as wire:
        assert wire.chunk().startswith(b"retry: 2500\nid: ")
        assert b"retry" not in wire.chunk()
    crm.retry = 999_999_999
    with calling(office, begun(office)) as wire:
        assert wire.chunk().startswith(b"retry: 60000\nid: ")


def test_every_worker_goes_on_with_a_call(
    new_relay: NewRelay, platform: Platform, crm: BreakingServer
) -> None:
    relay = granting(new_relay(workers="3"), platform, crm)
    session = begun(relay)
    for _ in range(12):
        crm.may_answer.clear()
        last = left_after(relay, session, 2)
        with resuming(relay, session, last) as wire:
            last = id_of(wire.chunk())
        crm.may_answer.set()
        with resuming(relay, session, last) as wire:
            assert told(wire) == [3, "answer"]
        with resuming(relay, session, last) as wire:
            assert told(wire) == [3, "answer"]
    assert outcomes(relay, 12) == ["ok"] * 12


# -- whose it is ---------------------------------------------------------------------------------------------------


def test_an_event_of_a_call_is_of_no_use_to_anyone_else(office: Relay, crm: BreakingServer) -> None:
    crm.may_answer.clear()
    session, other = begun(office), begun(office)
    theirs = begun(office, key=OTHER_KEY)
    last = left_after(office, session, 2)
    with opened(office, session) as wire:
        of_the_session = event_id(wire.chunk())
    unknown = refused(office, session, "call.7")
    assert code(unknown, 400) == -32600
    asked = len(crm.seen)
    flipped = last[:-2] + ("A" if last[-2] != "A" else "B") + last[-1]
    for key, holder, shown in (
        (KEY, other, last),
        (OTHER_KEY, theirs, last),
        (KEY, session, flipped),
        (KEY, session, last.removeprefix("call.")),
        (KEY, session, "call." + of_the_session),
        (KEY, session, "call." + session),
        (KEY, session, "call."),
        (KEY, session, "call." + "x" * 5000),
    ):
        answer = refused(office, holder, shown, key=key)
        assert (answer.status, answer.body) == (unknown.status, unknown.body)
    assert code(refused(office, session, last, key=OTHER_KEY), 404) == -32001
    assert len(crm.seen) == asked
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        assert told(wire) == WHOLE[1:]


def test_another_tenants_relay_does_not_know_the_event(
    new_relay: NewRelay, platform: Platform, crm: BreakingServer
) -> None:
    other_uid = "7b1f3c0e-55e2-4d0b-8a0e-2f54c1d6a902"
    one = granting(new_relay(), platform, crm)
    other = new_relay(document=None, tenant_uid=other_uid)
    other.wait_listening()
    other.give_key("tools-crm", SECRET)
    other.push(with_tenant(granted_at(platform, crm, FINANCE), uid=other_uid))
    crm.may_answer.clear()
    last = left_after(one, begun(one), 2)
    theirs = begun(other)
    asked = len(crm.seen)
    assert code(refused(other, theirs, last), 400) == -32600
    assert len(crm.seen) == asked


def test_a_tool_that_is_no_longer_granted_is_not_gone_on_with(
    office: Relay, platform: Platform, crm: BreakingServer
) -> None:
    crm.may_answer.clear()
    session = begun(office)
    last = left_after(office, session, 2)
    office.push(granted_at(platform, crm, ("list_orders",)))
    asked = len(crm.seen)
    crm.may_answer.set()
    answer = refused(office, session, last)
    assert (answer.status, answer.body) == (400, refused(office, session, "call.7").body)
    assert len(crm.seen) == asked


def test_a_client_whose_server_does_not_know_the_event_is_told_so_at_once(
    office: Relay, crm: BreakingServer
) -> None:
    crm.may_answer.clear()
    session = begun(office)
    last = left_after(office, session, 2)
    crm.refusals = [400]
    assert code(refused(office, session, last), 400) == -32600
    assert crm.asked == ["0-1"]
    # the call may still be gone on with
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        assert told(wire) == WHOLE[1:]
    assert outcomes(office, 1) == ["ok"]


def test_a_server_that_still_holds_the_connection_of_before_is_asked_again(
    office: Relay, crm: BreakingServer
) -> None:
    session = begun(office)
    crm.may_answer.clear()
    with calling(office, session) as first:
        last = id_of(first.chunk())
        crm.refusals = [409, 409]
        with resuming(office, session, last) as second:
            crm.may_answer.set()
            assert told(second) == WHOLE
    assert crm.asked == ["0-0"] * 3
    assert outcomes(office, 1) == ["ok"]


def test_a_call_whose_server_does_not_go_on_with_it_for_its_client_is_booked_once(
    office: Relay, crm: BreakingServer
) -> None:
    session = begun(office)
    crm.may_answer.clear()
    last = left_after(office, session, 2)
    crm.refusals = [409] * 3
    answer = refused(office, session, last)
    assert code(answer, 502) == -32603
    # it may be gone on with by whoever comes later
    crm.may_answer.set()
    with resuming(office, session, last) as wire:
        assert told(wire) == WHOLE[1:]
    assert outcomes(office, 1) == ["ok"]


def test_a_call_that_nobody_goes_on_with_is_booked_when_the_relay_ends(
    new_relay: NewRelay, platform: Platform, crm: BreakingServer
) -> None:
    relay = granting(new_relay(drain_accept_seconds="0", drain_seconds="2"), platform, crm)
    crm.may_answer.clear()
    left_after(relay, begun(relay), 2)
    relay.process.send_signal(signal.SIGTERM)
    assert relay.process.wait() == 0
    assert outcomes(relay, 1) == ["cancelled"]
