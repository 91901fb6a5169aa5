"""Answers keep to the connection and the call they belong to, whatever framing a provider or a client uses."""

import threading
from typing import Any

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    GOOD_STREAM,
    ScriptedProvider,
    chunk,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import KEY, OTHER_KEY, Platform, provider, route
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, Gone, Wire, request_bytes

from relay_contract.document import Document

ERROR_EVENT = b'data: {"error":{"message":"boom","type":"server_error","code":500}}\n\n'


def pointed_at(platform: Platform, scripted_provider: ScriptedProvider) -> Document:
    """A document with one route to the scripted provider."""
    return platform.document(
        providers=[provider("stable", scripted_provider.url)], routes=[route("stable")]
    )


def ask(wire: Wire, *, key: str = KEY, method: str = "POST", **fields: Any) -> None:
    """Sends one chat call on the connection."""
    wire.send(request_bytes(method, CHAT, {"authorization": f"Bearer {key}"}, chat_body(**fields)))


STREAMS = {
    "usage hidden": GOOD_STREAM,
    "error as the last event": chunk('{"content":"hi"}') + ERROR_EVENT,
    "cut without an end": chunk('{"content":"hi"}'),
    "without the end mark": chunk('{"content":"hi"}') + chunk("{}", '"stop"'),
    "comments": b": hello\n\n" + GOOD_STREAM,
}


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_the_answer_behind_a_stream_is_whole(
    relay: Relay, platform: Platform, events: bytes, length: bool
) -> None:
    answers = [stream(events, length=length), unary(CHAT_ANSWER)]
    with scripted(ScriptedProvider(answers)) as other:
        relay.push(pointed_at(platform, other))
        with relay.wire() as wire:
            ask(wire, stream=True)
            first = wire.answer()
            assert first.status == 200
            assert b"content" in first.body
            try:
                ask(wire)
                second = wire.answer()
            except (Gone, OSError):
                return  # an aborted connection misleads nobody
            assert second.status == 200
            assert second.json()["choices"][0]["message"]["content"] == "hi"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified", "205 Reset Content"])
def test_an_answer_without_a_body_leaves_nothing_behind_it(
    relay: Relay, platform: Platform, status: str
) -> None:
    bare = f"HTTP/1.1 {status}\r\n".encode()
    bare += b"content-length: 0\r\n\r\n" if status.startswith("205") else b"\r\n"
    with scripted(ScriptedProvider([bare, unary(CHAT_ANSWER)])) as other:
        relay.push(pointed_at(platform, other))
        with relay.wire() as wire:
            ask(wire)
            first = wire.answer()
            assert first.status in (204, 502, 205), first
            try:
                ask(wire, key=OTHER_KEY)
                second = wire.answer()
            except (Gone, OSError):
                return
            assert second.status == 200
            assert second.json()["choices"][0]["message"]["content"] == "hi"


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
@pytest.mark.parametrize("framing", ["transfer-encoding: chunked", "content-length: 7"])
def test_a_body_that_has_no_place_in_its_answer_never_meets_another_call(
    relay: Relay, platform: Platform, status: str, framing: str
) -> None:
    bare = f"HTTP/1.1 {status}\r\n{framing}\r\n\r\n".encode()
    may_come = threading.Event()
    late = (bare, may_come, b"2\r\nhi\r\n0\r\n\r\n")
    with scripted(ScriptedProvider([late, unary(CHAT_ANSWER)])) as other:
        relay.push(pointed_at(platform, other))
        assert relay.chat().status in (204, 502)
        threading.Timer(0.2, may_come.set).start()
        second = relay.chat(key=OTHER_KEY)
        may_come.set()
        assert second.status == 200, second
        assert second.json()["choices"][0]["message"]["content"] == "hi"


def test_a_provider_that_answers_before_it_read_the_body_gets_no_second_call(
    relay: Relay, platform: Platform
) -> None:
    early = unary(b'{"error":{"message":"too large"}}', status=b"413 Content Too Large")
    with scripted(ScriptedProvider([early], reads_body=False)) as other:
        relay.push(pointed_at(platform, other))
        large = chat_body(messages=[{"role": "user", "content": "x" * 8_000_000}])
        answer = relay.ask("POST", CHAT, body=large)
        assert answer.status == 413
        assert relay.chat(key=OTHER_KEY).status == 413
        assert all(head.startswith(b"POST ") for head in other.heads), other.heads


CALL = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
LARGE = request_bytes(
    "POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body(user="x" * 300_000)
)
BEHIND = {
    "a second call": CALL,
    "half of a head": CALL[:40],
    "half of a large call": LARGE[:-10],
    "half of a large call behind a second one": CALL + LARGE[:-10],
}
"""More of a large one than the kernel holds: what nobody reads keeps the end of the connection out."""


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_a_client_that_leaves_behind_another_call_frees_its_provider_at_once(
    patient_relay: Relay, platform: Platform, behind: bytes
) -> None:
    with scripted(ScriptedProvider([], hangs=True)) as other:
        patient_relay.push(pointed_at(platform, other))
        wire = patient_relay.wire()
        wire.send(CALL + behind)
        eventually(lambda: other.heads, what="the first call to arrive")
        wire.close()
        eventually(lambda: other.closed, within_seconds=3, what="the provider to be let go")


def test_large_calls_that_wait_in_line_are_answered_in_order(
    patient_relay: Relay, stable: Upstream
) -> None:
    stable.behave(latency_ms=200)
    names = [f"large-{number}" for number in range(6)]
    with patient_relay.wire() as wire:
        for name in names:
            wire.send(LARGE.replace(b"\r\n", b"\r\nx-request-id: %b\r\n" % name.encode(), 1))
        assert [wire.answer().header("x-request-id") for _ in names] == names


def test_part_of_a_call_behind_another_has_a_deadline(
    new_relay: NewRelay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([unary(CHAT_ANSWER)])) as other:
        relay = new_relay(
            document=pointed_at(platform, other),
            body_timeout_seconds="1",
            header_timeout_seconds="1",
        )
        with relay.wire() as wire:
            whole = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
            wire.send(whole + whole[:-5])
            assert wire.answer().status == 200
            assert wire.answer().status == 408
            assert wire.ended()


NOMINATED = {
    "two lines": "Connection: keep-alive\r\nConnection: x-a, x-b\r\n",
    "two lines, the other order": "Connection: x-a, x-b\r\nConnection: keep-alive\r\n",
    "upgrade among them": "Connection: upgrade, x-a, x-b\r\nUpgrade: h2c\r\n",
    "spaces and case": "CONNECTION:  X-A ,\tx-B \r\n",
    "one each": "Connection: x-a\r\nConnection: x-b\r\n",
}


@pytest.mark.parametrize("fields", NOMINATED.values(), ids=NOMINATED)
def test_fields_that_a_client_nominates_stay_on_its_hop(
    relay: Relay, platform: Platform, fields: str
) -> None:
    with scripted(ScriptedProvider([unary(CHAT_ANSWER)])) as other:
        relay.push(pointed_at(platform, other))
        body = chat_body()
        with relay.wire() as wire:
            wire.send(
                f"POST {CHAT} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {KEY}\r\n{fields}"
                f"x-a: 1\r\nx-b: 2\r\nx-c: 3\r\ncontent-length: {len(body)}\r\n\r\n".encode()
                + body
            )
            assert wire.answer().status == 200
        (head,) = other.heads
        assert b"x-c: 3" in head.lower()
        assert b"x-a:" not in head.lower()
        assert b"x-b:" not in head.lower()


@pytest.mark.parametrize("fields", NOMINATED.values(), ids=NOMINATED)
def test_fields_that_a_provider_nominates_stay_on_its_hop(
    relay: Relay, platform: Platform, fields: str
) -> None:
    extra = f"{fields}x-a: 1\r\nx-b: 2\r\nx-c: 3\r\n".encode()
    with scripted(ScriptedProvider([unary(CHAT_ANSWER, fields=extra)])) as other:
        relay.push(pointed_at(platform, other))
        answer = relay.chat()
        assert answer.status == 200
        names = {name for name, _ in answer.headers}
        assert "x-c" in names
        assert not names & {"x-a", "x-b", "upgrade"}


BROKEN: dict[str, bytes] = {
    "bare JSON": CHAT_ANSWER,
    "an HTML page": b"<html><body>Bad gateway</body></html>",
    "cut in an event": chunk('{"content":"hi"}') + b'data: {"id":',
    "cut between events": chunk('{"content":"hi"}'),
    "nothing": b"",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("length", [True, False], ids=["length", "chunked"])
def test_a_broken_stream_never_looks_like_a_whole_one(
    relay: Relay, platform: Platform, body: bytes, length: bool
) -> None:
    with scripted(ScriptedProvider([stream(body, length=length)])) as other:
        relay.push(pointed_at(platform, other))
        try:
            answer = relay.chat(stream=True)
        except Gone:
            return
        if answer.status != 200:
            assert answer.status in (502, 504)
            return
        assert b'"error"' in answer.body.rsplit(b"data:", 1)[-1]
        assert DONE.strip() not in answer.body


@pytest.mark.parametrize(
    ("cut", "number"), [(b"", 1), (b'event: x\ndata: {"type":"response.output_text.delta","del', 1)]
)
def test_a_broken_stream_of_responses_ends_with_an_error_event_of_that_api(
    relay: Relay, platform: Platform, cut: bytes, number: int
) -> None:
    created = (
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,'
        b'"response":{"id":"r"}}\n\n'
    )
    with scripted(ScriptedProvider([stream(created + cut)])) as other:
        relay.push(pointed_at(platform, other))
        body = b'{"model":"gpt-4.1","input":"x","stream":true}'
        answer = relay.ask("POST", "/v1/responses", body=body)
        last = answer.body.split(b"\n\n")[-2]
        assert last.startswith(b"event: error\ndata: ")
        event = Answer(0, (), last.removeprefix(b"event: error\ndata: ")).json()
        assert event["type"] == "error"
        assert {"code", "message"} <= event.keys()
        assert event["sequence_number"] == number


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer sk-relay-nobody"}, 401),
        ({"authorization": f"Bearer {KEY}", "content-encoding": "gzip"}, 415),
    ],
    ids=["no key", "unknown key", "a coding"],
)
def test_who_is_refused_instead_of_asked_for_the_body_gets_no_further_answer_there(
    relay: Relay, fields: dict[str, str], status: int
) -> None:
    waiting = {**fields, "expect": "100-continue", "content-length": "50"}
    with relay.wire() as wire:
        wire.send(request_bytes("POST", CHAT, waiting))
        refused = wire.answer()
        assert (refused.status, refused.header("connection")) == (status, "close")
        # without the body, as some clients go on
        wire.send(request_bytes("GET", "/v1/models", {"authorization": f"Bearer {KEY}"}) * 2)
        assert wire.rest() == b""
