"""A body costs what its size says: no other text of that size holds the relay longer, or takes more memory."""

import time
from collections.abc import Iterator

import pytest
from tests.blackbox.relays import CHAT, NewRelay, Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.wire import Answer, request_bytes

MIB = 1024 * 1024
SIZE = 31 * MIB
TRIES = 3
SLOWER = 15.0
"""Time against that of a plain body: generous for a shared machine, and a tenth of what a slow path costs at this size."""
MEMORY = 2.5
"""Memory against the size of the body, which is held twice while its pieces are joined."""


def filled(start: bytes, repeated: bytes, end: bytes) -> bytes:
    """Returns a body of SIZE bytes, but for less than one repetition."""
    return start + repeated * ((SIZE - len(start) - len(end)) // len(repeated)) + end


TURN = (
    '{"role":"assistant","content":"as \\"asked\\":\\n caf\u00e9 \u65e5\u672c","tool_calls":[{"id":"call_1",'
    '"type":"function","function":{"name":"f","arguments":"{\\"model\\":\\"x\\"}"}}]},'
).encode()
SCHEMA = (
    b'{"type":"function","function":{"name":"f","parameters":{"type":"object",'
    b'"properties":{"model":{"type":"string"},"n":{"type":"integer"}}}}},'
)
PLAIN = filled(b'{"model":"unknown","x":"', b"a", b'"}')
BODIES = {
    "model twice": filled(b'{"model":"a","x":"', b"a", b'","model":"b"}'),
    "escaped key": filled(b'{"mod\\u0065l":"unknown","x":"', b"a", b'"}'),
    "one escape": filled(b'{"model":"unknown","x":"\\u0041', b"a", b'"}'),
    "an agent's turns": filled(b'{"model":"unknown","messages":[', TURN, b"{}]}"),
    "an agent's turns, model twice": filled(
        b'{"model":"a","model":"unknown","messages":[', TURN, b"{}]}"
    ),
    "tools with a property model": filled(b'{"model":"unknown","tools":[', SCHEMA, b"{}]}"),
    "a lone surrogate": filled(b'{"model":"unknown","x":"\\ud800', b"a", b'"}'),
    "escapes": filled(b'{"model":"unknown","x":"', b"\\u0041", b'"}'),
    "empty objects": filled(b'{"model":"unknown","x":[', b"{},", b"{}]}"),
    "wide characters": filled(b'{"model":"unknown","x":"\xf0\x9f\x98\x80', b"a", b'"}'),
}


@pytest.fixture(scope="module")
def seconds_of_a_plain_body() -> dict[int, float]:
    """Remembers the time of a plain body for each relay process."""
    return {}


def seconds(relay: Relay, body: bytes) -> float:
    """Returns the shortest time from the last byte of the body to its answer; the loop serves nobody else then."""
    return min(_tries(relay, body))


def _tries(relay: Relay, body: bytes) -> Iterator[float]:
    for _ in range(TRIES):
        with relay.wire(deadline_seconds=50) as wire:
            wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, body)[:-1])
            # all that was sent is read when the relay has answered this
            assert relay.ask("GET", "/v1/models").status == 200
            start = time.monotonic()
            wire.send(body[-1:])
            answer: Answer = wire.answer()
            yield time.monotonic() - start
            assert answer.status in (400, 404), answer


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_no_body_holds_the_relay_longer_than_a_plain_one_of_its_size(
    relay: Relay,
    platform: Platform,
    seconds_of_a_plain_body: dict[int, float],
    body: bytes,
) -> None:
    relay.push(platform.document())
    plain = seconds_of_a_plain_body.get(relay.process.pid) or seconds(relay, PLAIN)
    seconds_of_a_plain_body[relay.process.pid] = plain
    assert seconds(relay, body) < SLOWER * plain


@pytest.mark.parametrize("name", ["empty objects", "wide characters", "an agent's turns"])
def test_no_body_takes_more_memory_than_its_size_says(new_relay: NewRelay, name: str) -> None:
    relay = new_relay()
    body = BODIES[name]
    before = relay.process.peak_memory_bytes()
    assert relay.ask("POST", CHAT, body=body, deadline_seconds=50).status == 404
    assert relay.process.peak_memory_bytes() - before < MEMORY * len(body)
