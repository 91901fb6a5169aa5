"""Answers that say twice what they are: a client reads all lines of a field, and so does who guards it."""

import gzip
import json
import zlib

import pytest
from tests.unit.relay.calls.test_chat_tools import BODY, STREAMED, Make, call_event, granting
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    DONE,
    STREAM_HEAD,
    MemoryRelay,
    call,
    chunk,
    reply,
    status,
)

BEGINS_AS_A_COMMENT = b"\x3a\x00\x00\x00\x00\xff\xff"
"""Raw deflate (RFC 1951): a block of one letter and an empty one, whose first byte is a colon."""
LINES = "content-encoding: deflate\r\ncontent-encoding: identity\r\n"


def hidden(events: bytes) -> bytes:
    """Compresses events into what looks like a comment, and puts harmless events behind it, which end no deflate stream."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = BEGINS_AS_A_COMMENT + packer.compress(b"\n\n" + events) + packer.flush()
    unpacker = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    assert events in unpacker.decompress(packed)
    return packed + b"\n\n" + CONTENT + DONE


@pytest.mark.parametrize("size", [40, 10_000])
async def test_a_coding_before_identity_hides_no_call_of_a_tool(
    relay_with: Make, size: int
) -> None:
    relay = granting(relay_with)
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAMED))
    head = STREAM_HEAD.replace(b"\r\n\r\n", f"\r\n{LINES}\r\n".encode())
    body = hidden(call_event("pay", "secret"))
    upstream.send(head)
    for at in range(0, len(body), size):
        if not upstream.transport.closed:
            upstream.send(chunk(body[at : at + size]))
    answer = client.transport.taken()
    assert answer.partition(b"\r\n\r\n")[2] == b""
    assert upstream.transport.closed
    assert relay.log.events[0].outcome == "invalid"


@pytest.mark.parametrize("order", [("gzip", "identity"), ("identity", "gzip"), ("", "gzip")])
async def test_a_coding_is_read_on_whatever_line_it_stands(
    relay: MemoryRelay, order: tuple[str, str]
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(BODY))
    lines = "".join(f"content-encoding: {one}\r\n" for one in order)
    packed = gzip.compress(json.dumps(COMPLETION).encode())
    upstream.send(reply(packed, headers="content-type: application/json\r\n" + lines))
    answer = client.transport.taken()
    assert (status(answer), answer.endswith(packed)) == (200, True)
    (booked,) = relay.log.events
    assert (booked.outcome, booked.estimated) == ("ok", False)
