"""A dialect changes the bytes of events, not their content."""

from collections.abc import Iterator

import pytest
from tests.simulator.api.dialect import Dialect, fragments, spoken

EVENTS = (b'data: {"a":1,"b":2}\n\n', b'event: done\ndata: {"c":[1,2]}\n\n', b"data: [DONE]\n\n")


def read(stream: bytes) -> list[str]:
    """Returns the data of each event, parsed as the standard asks."""
    found: list[str] = []
    data: list[str] = []
    for line in stream.decode().replace("\r\n", "\n").split("\n"):
        name, _, value = line.partition(":")
        if name == "data":
            data.append(value.removeprefix(" "))
        elif not line and data:
            found.append("\n".join(data))
            data = []
    return found


def events() -> Iterator[bytes]:
    return iter(EVENTS)


@pytest.mark.parametrize("dialect", Dialect)
def test_every_dialect_has_the_same_content(dialect: Dialect) -> None:
    said = read(b"".join(spoken(events(), dialect)))
    plain = read(b"".join(EVENTS))
    assert [text.replace("\n", "") for text in said] == plain


@pytest.mark.parametrize(
    "dialect", [dialect for dialect in Dialect if dialect is not Dialect.PLAIN]
)
def test_every_dialect_differs_in_bytes(dialect: Dialect) -> None:
    assert b"".join(spoken(events(), dialect)) != b"".join(EVENTS)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_fragments_are_the_same_bytes_in_pieces_of_one_size(size: int) -> None:
    pieces = list(fragments(events(), size))
    assert b"".join(pieces) == b"".join(EVENTS)
    assert {len(piece) for piece in pieces[:-1]} <= {size}
