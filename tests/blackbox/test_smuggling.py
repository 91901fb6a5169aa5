"""Requests whose end two parsers could place differently are refused and their connection closed (RFC 9112).

Each case carries a second request in bytes that may or may not be its body. Checked are the status, the end of the
connection, and that the provider never gets the smuggled call.
"""

import itertools
import random
from dataclasses import dataclass

import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

BODY = chat_body()
LENGTH = len(BODY)
AUTHORISED = {"authorization": f"Bearer {KEY}"}
SMUGGLED_MODEL = "gpt-4.1-mini"
SMUGGLED = request_bytes("POST", CHAT, AUTHORISED, chat_body(model=SMUGGLED_MODEL))
CHUNKED_BODY = b"%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)


def request(
    *fields: bytes, body: bytes = b"", line: bytes = b"POST " + CHAT.encode() + b" HTTP/1.1"
) -> bytes:
    """Returns a request with exactly these header lines, after host and key."""
    fixed = (line, b"host: relay.test", b"authorization: Bearer " + KEY.encode())
    return b"\r\n".join((*fixed, *fields)) + b"\r\n\r\n" + body


@dataclass(frozen=True)
class Case:
    """Data to send; the answer's status must be one of these, and the connection must end."""

    data: bytes
    statuses: tuple[int, ...] = (400,)


LENGTH_FIELD = b"content-length: %d" % LENGTH
CHUNKED = b"transfer-encoding: chunked"

REFUSED = {
    "length-and-chunked": Case(request(LENGTH_FIELD, CHUNKED, body=CHUNKED_BODY)),
    "chunked-and-length": Case(request(CHUNKED, b"content-length: 5", body=CHUNKED_BODY)),
    "two-lengths": Case(request(LENGTH_FIELD, b"content-length: 0", body=BODY)),
    "two-equal-lengths": Case(request(LENGTH_FIELD, LENGTH_FIELD, body=BODY)),
    "length-list": Case(request(b"content-length: %d, %d" % (LENGTH, LENGTH), body=BODY)),
    "length-signed": Case(request(b"content-length: +%d" % LENGTH, body=BODY)),
    "length-negative": Case(request(b"content-length: -1", body=BODY)),
    "length-hex": Case(request(b"content-length: 0x%x" % LENGTH, body=BODY)),
    "length-empty": Case(request(b"content-length:", body=BODY)),
    "length-words": Case(request(b"content-length: %d bytes" % LENGTH, body=BODY)),
    "length-overflow": Case(
        request(b"content-length: 18446744073709551617", body=BODY), (400, 413)
    ),
    "chunked-twice": Case(request(b"transfer-encoding: chunked, chunked", body=CHUNKED_BODY)),
    "chunked-two-fields": Case(request(CHUNKED, CHUNKED, body=CHUNKED_BODY)),
    "chunked-not-last": Case(request(b"transfer-encoding: chunked, identity", body=CHUNKED_BODY)),
    "coding-unknown": Case(request(b"transfer-encoding: xchunked", body=CHUNKED_BODY), (400, 501)),
    "coding-space-colon": Case(request(b"transfer-encoding : chunked", body=CHUNKED_BODY)),
    "coding-tab-name": Case(request(b"transfer-encoding\t: chunked", body=CHUNKED_BODY)),
    "coding-vertical-tab": Case(request(b"transfer-encoding: \x0bchunked", body=CHUNKED_BODY)),
    "coding-quoted": Case(request(b'transfer-encoding: "chunked"', body=CHUNKED_BODY), (400, 501)),
    "obs-fold": Case(request(b"x-folded: one", b" two", LENGTH_FIELD, body=BODY)),
    "obs-fold-coding": Case(request(b"transfer-encoding:", b" chunked", body=CHUNKED_BODY)),
    "bare-lf-lines": Case(request(LENGTH_FIELD, body=BODY).replace(b"\r\n", b"\n")),
    "bare-cr-in-value": Case(request(b"x-a: one\rtwo", LENGTH_FIELD, body=BODY)),
    "bare-lf-in-value": Case(request(b"x-a: one\ncontent-length: 0", LENGTH_FIELD, body=BODY)),
    "nul-in-value": Case(request(b"x-a: one\x00two", LENGTH_FIELD, body=BODY)),
    "nul-in-name": Case(request(b"x\x00a: one", LENGTH_FIELD, body=BODY)),
    "space-in-name": Case(request(b"x a: one", LENGTH_FIELD, body=BODY)),
    "no-colon": Case(request(b"just words", LENGTH_FIELD, body=BODY)),
    "empty-name": Case(request(b": value", LENGTH_FIELD, body=BODY)),
    "space-before-first-field": Case(
        request(LENGTH_FIELD, body=BODY).replace(b"\r\nhost", b"\r\n host")
    ),
    "two-hosts": Case(request(b"host: other.test", LENGTH_FIELD, body=BODY)),
    "two-keys": Case(request(b"authorization: Bearer other", LENGTH_FIELD, body=BODY)),
    "no-host": Case(request(LENGTH_FIELD, body=BODY).replace(b"host: relay.test\r\n", b"")),
    "chunk-size-bad": Case(request(CHUNKED, body=b"zz\r\n")),
    "chunk-size-signed": Case(request(CHUNKED, body=b"+%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY))),
    "chunk-size-0x": Case(request(CHUNKED, body=b"0x%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY))),
    "chunk-size-overflow": Case(request(CHUNKED, body=b"f" * 17 + b"\r\n"), (400, 413)),
    "chunk-size-empty": Case(request(CHUNKED, body=b"\r\n")),
    "chunk-no-crlf": Case(request(CHUNKED, body=b"%x\r\n%bXX0\r\n\r\n" % (LENGTH, BODY))),
    "chunk-bare-lf": Case(request(CHUNKED, body=b"%x\n%b\n0\n\n" % (LENGTH, BODY))),
    "chunk-extension-lf": Case(
        request(CHUNKED, body=b"%x;a\nb\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY))
    ),
    "line-no-version": Case(
        request(LENGTH_FIELD, body=BODY, line=b"POST " + CHAT.encode()), (400, 505)
    ),
    "line-version-2": Case(
        request(LENGTH_FIELD, body=BODY, line=b"POST " + CHAT.encode() + b" HTTP/2.0"), (400, 505)
    ),
    "line-version-9": Case(
        request(LENGTH_FIELD, body=BODY, line=b"POST " + CHAT.encode() + b" HTTP/9.9"), (400, 505)
    ),
    "line-lowercase-http": Case(
        request(LENGTH_FIELD, body=BODY, line=b"POST " + CHAT.encode() + b" http/1.1"), (400, 505)
    ),
    "line-nul": Case(request(LENGTH_FIELD, body=BODY, line=b"POST /v1\x00 HTTP/1.1")),
    "method-unknown": Case(request(line=b"BREW " + CHAT.encode() + b" HTTP/1.1"), (400, 405, 501)),
    "h2-preface": Case(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", (400, 405, 501, 505)),
    "tls-hello": Case(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 64, (400, 501)),
    "blank": Case(b"\x00\x01\x02\x03\r\n\r\n", (400, 501)),
    "connect": Case(request(line=b"CONNECT example.test:443 HTTP/1.1"), (400, 404, 405, 501)),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_request_with_ambiguous_framing_is_refused_and_its_connection_closed(
    relay: Relay, stable: Upstream, case: Case
) -> None:
    with relay.wire(deadline_seconds=5) as wire:
        wire.send(case.data + SMUGGLED)
        answer = wire.answer()
        assert answer.status in case.statuses, answer
        assert answer.error()["message"]
        assert answer.header("connection") == "close"
        assert wire.ended()
    assert [received.model for received in stable.received()] == []
    assert relay.chat().status == 200


WELL_FORMED = {
    "chunked": request(CHUNKED, body=CHUNKED_BODY),
    "chunked-upper-case": request(b"Transfer-Encoding: CHUNKED", body=CHUNKED_BODY),
    "chunk-extension": request(CHUNKED, body=b"%x;name=value\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)),
    "trailers": request(CHUNKED, body=b"%x\r\n%b\r\n0\r\nx-trailer: 1\r\n\r\n" % (LENGTH, BODY)),
    "many-chunks": request(
        CHUNKED, body=b"".join(b"1\r\n%c\r\n" % byte for byte in BODY) + b"0\r\n\r\n"
    ),
    "leading-zero-size": request(CHUNKED, body=b"000%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)),
    "length": request(LENGTH_FIELD, body=BODY),
    "blank-line-first": b"\r\n" + request(LENGTH_FIELD, body=BODY),
    "absolute-form": request(
        LENGTH_FIELD, body=BODY, line=b"POST http://relay.test" + CHAT.encode() + b" HTTP/1.1"
    ),
    "upgrade-ignored": request(
        b"connection: upgrade",
        b"upgrade: h2c",
        b"http2-settings: AAMAAABk",
        LENGTH_FIELD,
        body=BODY,
    ),
}


@pytest.mark.parametrize("data", WELL_FORMED.values(), ids=WELL_FORMED)
def test_a_request_with_unusual_but_clear_framing_is_served_and_the_next_one_too(
    relay: Relay, stable: Upstream, data: bytes
) -> None:
    with relay.wire() as wire:
        wire.send(data + SMUGGLED)
        assert [wire.answer().status, wire.answer().status] == [200, 200]
    assert [received.model for received in stable.received()] == ["gpt-4.1", SMUGGLED_MODEL]
    assert stable.received()[0].body == BODY


def test_a_transfer_coding_the_relay_does_not_decode_is_refused(
    relay: Relay, stable: Upstream
) -> None:
    with relay.wire() as wire:
        wire.send(request(b"transfer-encoding: gzip, chunked", body=CHUNKED_BODY))
        assert wire.answer().status in (400, 415, 501)
    assert stable.calls() == 0


def test_a_request_to_the_provider_has_one_framing_only(relay: Relay, stable: Upstream) -> None:
    with relay.wire() as wire:
        wire.send(request(CHUNKED, b"trailer: content-length", body=CHUNKED_BODY))
        assert wire.answer().status == 200
    request_seen = stable.only_request()
    framings = request_seen.all_of("content-length") + request_seen.all_of("transfer-encoding")
    assert framings in ([str(LENGTH)], ["chunked"])


def test_a_body_sent_byte_by_byte_is_one_request(relay: Relay, stable: Upstream) -> None:
    with relay.wire() as wire:
        for byte in request(CHUNKED, body=CHUNKED_BODY):
            wire.send(bytes((byte,)))
        assert wire.answer().status == 200
    assert stable.only_request().body == BODY


@pytest.mark.parametrize("seed", range(20))
def test_a_request_is_read_the_same_wherever_packets_end(
    relay: Relay, stable: Upstream, seed: int
) -> None:
    chance = random.Random(seed)
    whole = request(CHUNKED, body=CHUNKED_BODY) + request(LENGTH_FIELD, body=BODY) + SMUGGLED
    cuts = sorted(chance.sample(range(1, len(whole)), 5))
    with relay.wire() as wire:
        for begin, end in itertools.pairwise([0, *cuts, len(whole)]):
            wire.send(whole[begin:end])
            # gives the relay time to read this packet before the next one
            wire.pending(chance.choice((0.0, 0.002)))
        assert [wire.answer().status for _ in range(3)] == [200] * 3
    assert [received.body for received in stable.received()[:2]] == [BODY, BODY]


def test_an_http_1_0_request_is_served_and_its_connection_closed(relay: Relay) -> None:
    with relay.wire() as wire:
        line = b"POST " + CHAT.encode() + b" HTTP/1.0"
        wire.send(request(LENGTH_FIELD, body=BODY, line=line))
        answer = wire.answer()
        assert answer.status == 200
        assert answer.header("transfer-encoding") is None
        assert wire.ended()


def test_a_streamed_answer_to_http_1_0_is_not_chunked(relay: Relay) -> None:
    with relay.wire() as wire:
        body = chat_body(stream=True)
        line = b"POST " + CHAT.encode() + b" HTTP/1.0"
        wire.send(request(b"content-length: %d" % len(body), body=body, line=line))
        answer = wire.answer()
        assert answer.header("transfer-encoding") is None
        assert answer.body.endswith(b"data: [DONE]\n\n")


def test_expect_100_continue_is_answered_with_100(relay: Relay) -> None:
    with relay.wire() as wire:
        wire.send(request(LENGTH_FIELD, b"expect: 100-continue"))
        assert wire.head().status == 100
        wire.send(BODY)
        assert wire.answer().status == 200


def test_expect_100_continue_without_a_key_is_refused_before_the_body(relay: Relay) -> None:
    with relay.wire() as wire:
        headers = {"expect": "100-continue", "content-length": "1000"}
        wire.send(request_bytes("POST", CHAT, headers))
        assert wire.head().status == 401


def test_an_unknown_expectation_is_refused_with_417(relay: Relay) -> None:
    assert relay.chat(headers={"expect": "the-unexpected"}).status == 417


def test_an_answer_to_head_has_no_body(relay: Relay) -> None:
    with relay.wire() as wire:
        wire.send(request(line=b"HEAD /v1/models HTTP/1.1", body=SMUGGLED))
        head = wire.head()
        assert head.status in (200, 405)
        # the next bytes after the head are the next answer, not a body
        assert wire.until(b" ") == b"HTTP/1.1 "


def test_pipelined_requests_are_answered_in_order(relay: Relay, stable: Upstream) -> None:
    stable.behave(latency_ms=30)
    names = [f"request-{number}" for number in range(10)]
    data = b"".join(
        request_bytes("POST", CHAT, {**AUTHORISED, "x-request-id": name}, BODY) for name in names
    )
    with relay.wire() as wire:
        wire.send(data)
        assert [wire.answer().header("x-request-id") for _ in names] == names
