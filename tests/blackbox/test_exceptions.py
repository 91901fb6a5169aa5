"""A call whose handling fails is answered or aborted, and everything it held is free again."""

import contextlib

import orjson
import pytest
from tests.blackbox.relays import CHAT, Relay
from tests.blackbox.tenant import KEY, Platform, route
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Gone, request_bytes

from relay_contract.document import Limits, Queue

GOOD = b'{"model":"gpt-4.1","messages":[{"role":"user","content":"hello"}]}'
SURROGATE = rb'"\ud800"'


def nested(depth: int) -> bytes:
    """Returns a text content inside that many lists."""
    content = b"[" * depth + b'"x"' + b"]" * depth
    return b'{"model":"gpt-4.1","messages":[{"role":"user","content":%b}]}' % content


HOSTILE = {
    "surrogate in stream options": (
        b'{"model":"gpt-4.1","stream":true,"stream_options":{"a":%b},"messages":[]}' % SURROGATE
    ),
    "surrogate in content": (
        b'{"model":"gpt-4.1","messages":[{"role":"user","content":%b}]}' % SURROGATE
    ),
    "surrogate in the model": rb'{"model":"gpt-4.1\ud800","messages":[]}',
    "surrogate in a field's name": b'{"model":"gpt-4.1",%b:1,"messages":[]}' % SURROGATE,
    "surrogate in user": b'{"model":"gpt-4.1","user":%b,"messages":[]}' % SURROGATE,
    "surrogate in prompt cache key": (
        b'{"model":"gpt-4.1","prompt_cache_key":%b,"messages":[]}' % SURROGATE
    ),
    "surrogate in previous response": (
        b'{"model":"gpt-4.1","previous_response_id":%b,"input":"x"}' % SURROGATE
    ),
    "surrogate and deep nesting": (
        b'{"model":"gpt-4.1","model":"gpt-4.1","a":%b,"messages":%b}'
        % (SURROGATE, b"[" * 5000 + b"]" * 5000)
    ),
    "nested 990 deep": nested(990),
    "nested 1005 deep": nested(1005),
    "nested 1019 deep": nested(1019),
    "nested 20000 deep": nested(20_000),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without mark": GOOD.decode().encode("utf-16-le"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "byte order mark": b"\xef\xbb\xbf" + GOOD,
    "Latin-1": '{"model":"gpt-4.1","messages":[{"role":"user","content":"\xe9"}]}'.encode(
        "latin-1"
    ),
    "number out of range": b'{"model":"gpt-4.1","max_tokens":1e999,"messages":[]}',
    "huge integer": b'{"model":"gpt-4.1","max_tokens":%b,"messages":[]}' % (b"9" * 5000),
    "model twice, second of another type": b'{"model":"gpt-4.1","model":{"a":[1]},"messages":[]}',
    "messages that are no list": b'{"model":"gpt-4.1","messages":{"role":{"a":1}}}',
    "stream options that are no object": (
        b'{"model":"gpt-4.1","stream":true,"stream_options":[1],"messages":[]}'
    ),
}


def half(platform: Platform) -> dict[str, object]:
    """Gives the relay a canary at 50 % and two seats, so that a lost seat or a failing session key shows."""
    return {
        "queue": Queue(concurrency=2, max_depth=8, max_wait_seconds=1),
        "routes": [route(canary="canary", canary_percent=50)],
    }


def idle(relay: Relay) -> None:
    """Waits until no call holds a seat, a place in the queue or a buffer."""
    names = ("relay_in_flight", "relay_queue_depth", "relay_buffered_bytes")

    def held() -> list[float]:
        metrics = relay.metrics()
        return [metrics.total(name) for name in names]

    eventually(
        held,
        lambda seen: seen == [0, 0, 0],
        what="seats, queue and buffers to be free",
    )


@pytest.mark.parametrize("path", [CHAT, "/v1/responses", "/v1/completions", "/v1/embeddings"])
@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_body_is_answered_and_leaves_every_seat_free(
    relay: Relay, platform: Platform, body: bytes, path: str
) -> None:
    relay.push(platform.document(**half(platform)))
    for _ in range(4):
        answer = relay.ask("POST", path, body=body, deadline_seconds=5)
        assert answer.status in (200, 400, 404, 500, 502), answer
    idle(relay)
    assert relay.ask("POST", CHAT, body=GOOD).status == 200


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_call_answered_before_a_hostile_one_has_its_usage_line(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream, body: bytes
) -> None:
    limits = Limits(tokens_per_minute=100_000)
    relay.push(platform.document(**half(platform), limits=limits))
    name = f"before-{abs(hash(body))}"
    fields = {"authorization": f"Bearer {KEY}"}
    first = request_bytes("POST", CHAT, {**fields, "x-request-id": name}, GOOD)
    second = request_bytes("POST", CHAT, fields, body)
    with relay.wire() as wire:
        wire.send(first + second)
        assert wire.answer().status == 200
        with contextlib.suppress(Gone):
            assert wire.answer().status in (200, 400, 404, 500, 502)
    (event,) = usage_lines(relay, name)
    assert event["outcome"] == "ok"
    idle(relay)


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n" * 800,
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n" * 40,
        b"\x00" * 200,
    ],
    ids=["upgrade behind a call", "800 upgrades", "connect", "h2", "forty calls", "zeros"],
)
def test_an_odd_input_writes_at_most_one_log_line(relay: Relay, text: bytes) -> None:
    before = len(relay.output())
    for _ in range(3):
        with relay.wire() as wire:
            wire.send(text)
            wire.half_close()
            wire.rest()
    written = relay.output()[before:]
    assert "Traceback" not in written
    assert all(len(line) <= 400 for line in written.splitlines())
    assert len(written.splitlines()) <= 1, written


def test_the_log_holds_nothing_of_a_hostile_bodys_text(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(**half(platform)))
    before = len(relay.output())
    secret = b"the words nobody may log"
    relay.ask(
        "POST", CHAT, body=HOSTILE["surrogate in stream options"][:-1] + b',"a":"%b"}' % secret
    )
    assert secret.decode() not in relay.output()[before:]
    for line in relay.output()[before:].splitlines():
        orjson.loads(line)
