"""What is no body is bounded wherever it stands: trailers and chunk extensions, of clients and of providers."""

import socket
import time

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import CHAT_ANSWER, DONE, ScriptedProvider, chunk, scripted
from tests.blackbox.tenant import KEY, Platform, provider, route
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes

HEAD_BYTES = 32 * 1024
"""The relay's bound on a head, and on everything else that is no body."""
READ_BYTES = 256 * 1024
ENDLESS_BYTES = 64 * 1024 * 1024
PIECE = 4096

OPENED = {
    "one trailer": b"0\r\nx-endless: ",
    "a trailer's name": b"0\r\n",
    "an extension": b"2;x=",
}
NO_BODY = {**OPENED, "many trailers": b"0\r\n"}


def endless(kind: str) -> bytes:
    return b"x-a: b\r\n" * (PIECE // 8) if kind == "many trailers" else b"a" * PIECE


def start(key: str | None) -> bytes:
    fields = {"transfer-encoding": "chunked"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    body = chat_body()
    return request_bytes("POST", CHAT, fields) + b"%x\r\n%b\r\n" % (len(body), body)


@pytest.mark.parametrize("kind", NO_BODY)
def test_a_request_whose_trailers_do_not_end_is_refused(relay: Relay, kind: str) -> None:
    with relay.wire() as wire:
        wire.send(start(KEY) + NO_BODY[kind])
        pieces = 0
        while not wire.pending(0.02):
            wire.send(endless(kind))
            pieces += 1
        # what came in one read with the last of the body is not counted
        assert pieces * PIECE <= HEAD_BYTES + READ_BYTES
        answer = wire.answer()
        assert (answer.status, answer.header("connection")) == (431, "close")
        assert wire.ended()


@pytest.mark.parametrize("kind", NO_BODY)
@pytest.mark.parametrize("key", [KEY, None], ids=["with a key", "without"])
def test_the_connection_of_endless_trailers_is_closed(
    relay: Relay, kind: str, key: str | None
) -> None:
    sent = 0
    with socket.create_connection(("127.0.0.1", relay.port), timeout=10) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        connection.sendall(start(key) + NO_BODY[kind])
        try:
            while sent < ENDLESS_BYTES:
                sent += connection.send(endless(kind))
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert sent < ENDLESS_BYTES


def test_trailers_are_dropped(relay: Relay, stable: object) -> None:
    with relay.wire() as wire:
        wire.send(start(KEY) + b"0\r\nx-checksum: abc\r\n\r\n")
        assert wire.answer().status == 200


def test_other_calls_go_on_beside_endless_trailers(relay: Relay) -> None:
    """One byte a packet: the parser copies what it has of the value with each."""
    with relay.wire() as wire:
        wire.send(start(None) + NO_BODY["one trailer"])
        assert wire.answer().status == 401
        deadline = time.monotonic() + 2
        try:
            while time.monotonic() < deadline:
                wire.send(b"a" * 100)
        except (BrokenPipeError, ConnectionResetError):
            pass
        else:
            raise AssertionError("the relay goes on to read trailers")
    assert relay.chat().status == 200


STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
UNARY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize("kind", NO_BODY)
@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "unary"])
def test_a_providers_endless_trailers_end_the_call(
    patient_relay: Relay, platform: Platform, kind: str, is_stream: bool
) -> None:
    events = chunk('{"content":"hi"}') + chunk("{}", '"stop"') + DONE
    body = events if is_stream else CHAT_ANSWER
    head = STREAM if is_stream else UNARY
    rest = endless(kind) * (8 * 1024 * 1024 // PIECE)
    answer = head + b"%x\r\n%b\r\n" % (len(body), body) + NO_BODY[kind] + rest
    with scripted(ScriptedProvider([answer])) as other:
        patient_relay.push(
            platform.document(providers=[provider("stable", other.url)], routes=[route("stable")])
        )
        with patient_relay.wire() as wire:
            wire.send(
                request_bytes(
                    "POST",
                    CHAT,
                    {"authorization": f"Bearer {KEY}", "connection": "close"},
                    chat_body(stream=is_stream),
                )
            )
            seen = wire.rest()
        # a small document is not passed on before it is whole
        assert (b"200 OK" if is_stream else b"502 Bad Gateway") in seen
        assert not seen.endswith(b"0\r\n\r\n") or b'"error"' in seen
        eventually(
            lambda: patient_relay.metrics().total("relay_in_flight"), lambda calls: calls == 0
        )


def test_a_row_of_interim_answers_without_an_end_is_no_answer(
    patient_relay: Relay, platform: Platform
) -> None:
    provider_ = ScriptedProvider([b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" * 20_000])
    with scripted(provider_) as other:
        patient_relay.push(
            platform.document(providers=[provider("stable", other.url)], routes=[route("stable")])
        )
        assert patient_relay.chat().status in (502, 504)
