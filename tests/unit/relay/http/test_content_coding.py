"""Bodies that were compressed although identity was asked for."""

import gzip
import itertools
import time
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.http import content_coding
from relay.http.content_coding import Inflater, is_coded

BODY = b'{"choices":[{"message":{"content":"' + bytes(range(65, 91)) * 40 + b'"}}]}'


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED = {
    "gzip": gzip.compress(BODY),
    " X-GZIP ": gzip.compress(BODY),
    "deflate": zlib.compress(BODY),
    "Deflate": raw_deflate(BODY),
    "gzip in two members": gzip.compress(BODY[:100]) + gzip.compress(BODY[100:]),
    "gzip with padding": gzip.compress(BODY) + b"\0" * 9,
}


@pytest.mark.parametrize("name", PACKED)
@given(cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_a_body_in_any_pieces_is_decoded(name: str, cuts: list[int]) -> None:
    packed = PACKED[name]
    inflater = Inflater(name.split(" in ")[0].split(" with ")[0].encode())
    places = sorted({cut % (len(packed) + 1) for cut in cuts} | {0, len(packed)})
    pieces = [inflater.feed(packed[a:b]) for a, b in itertools.pairwise(places)]
    assert b"".join(pieces) == BODY
    assert (inflater.readable, inflater.broken) == (True, False)


@pytest.mark.parametrize("coding", [b"br", b"zstd", b"gzip, br", b"compress"])
def test_another_coding_is_not_read(coding: bytes) -> None:
    inflater = Inflater(coding)
    assert inflater.feed(b"\x1f\x8b\x08") == b""
    assert (inflater.readable, inflater.broken) == (False, False)


def test_what_nobody_can_decode_is_broken() -> None:
    inflater = Inflater(b"gzip")
    assert inflater.feed(b"<html>") == b""
    assert (inflater.readable, inflater.broken) == (False, True)


def test_a_few_bytes_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content_coding, "MOST_AT_ONCE_BYTES", 1000)
    inflater = Inflater(b"gzip")
    assert len(inflater.feed(gzip.compress(bytes(1_000_000)))) == 1000
    assert (inflater.readable, inflater.broken) == (False, False)


def test_a_read_of_empty_members_takes_no_longer_than_any_other() -> None:
    """Each is 20 bytes, and what is behind it was copied for each: a second for a mebibyte, in which nobody else is served."""
    inflater = Inflater(b"gzip")
    data = gzip.compress(b"") * (2**20 // 20)
    began = time.process_time()
    assert inflater.feed(data) == b""
    assert time.process_time() - began < 0.2
    assert (inflater.readable, inflater.broken) == (False, False)


def test_members_that_come_one_by_one_are_all_read() -> None:
    inflater = Inflater(b"gzip")
    pieces = [inflater.feed(gzip.compress(b"%d " % number)) for number in range(200)]
    assert b"".join(pieces).split() == [b"%d" % number for number in range(200)]
    assert (inflater.readable, inflater.broken) == (True, False)


@pytest.mark.parametrize(
    ("value", "coded"),
    [
        *[(b"identity", False), (b" Identity", False), (b"", False), (b"gzip", True)],
        *[(b"identity, identity", False), (b"gzip, identity", True), (b"identity,br", True)],
    ],
)
def test_identity_is_no_coding(value: bytes, coded: bool) -> None:
    assert is_coded(value) == coded
