"""The memory for request bodies: what a body costs, and what becomes of bodies for which there is no room."""

import contextlib

from tests.blackbox.relays import CHAT, NewRelay, Relay, chat_body
from tests.blackbox.tenant import KEY, OTHER_KEY
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes

MIB = 1024 * 1024


def buffered(relay: Relay) -> float:
    return relay.metrics().total("relay_buffered_bytes")


def head(key: str = KEY, **fields: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    return request_bytes("POST", CHAT, {"authorization": f"Bearer {key}", **named})


def test_a_body_in_the_smallest_chunks_costs_no_more_memory_than_its_size_says(
    new_relay: NewRelay,
) -> None:
    relay = new_relay()
    size = 4 * MIB
    before = relay.process.peak_memory_bytes()
    with relay.wire() as wire:
        wire.send(head(transfer_encoding="chunked"))
        chunks = b"2\r\n  \r\n" * (size // 8)
        for _ in range(4):
            wire.send(chunks)
        eventually(lambda: buffered(relay), lambda now: now == size, what="the whole body")
        held = relay.process.peak_memory_bytes() - before
        wire.send(b"0\r\n\r\n")
        assert wire.answer().status == 400
    assert buffered(relay) == 0
    # a read is 256 KiB
    assert held < 2 * size + MIB


def test_small_bodies_find_room_where_large_ones_are_refused(new_relay: NewRelay) -> None:
    relay = new_relay(max_buffered_bytes=str(9 * MIB))
    with contextlib.ExitStack() as stack:

        def upload(size: int) -> Wire:
            wire = stack.enter_context(relay.wire())
            wire.send(head(content_length=str(size + 1)) + b" " * size)
            return wire

        held = [upload(3 * MIB), upload(2 * MIB)]
        eventually(lambda: buffered(relay), lambda now: now == 5 * MIB, what="two large bodies")
        refused = upload(3 * MIB).answer()
        assert (refused.status, refused.error()["code"]) == (503, "relay_overloaded")
        assert refused.header("retry-after") is not None
        # of another key, and as large as a usual call
        other = relay.chat(key=OTHER_KEY, messages=[{"role": "user", "content": "a" * 100_000}])
        assert other.status == 200
        assert relay.ask("POST", CHAT, body=chat_body()).status == 200
        for wire in held:
            wire.send(b" ")
            assert wire.answer().status == 400
    eventually(lambda: buffered(relay), lambda now: now == 0, what="the end of every body")
