"""What a fuzzer plays: one client connection with what it sends, and what the provider answers to the calls on it."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Step = bytes | float | Literal["early", "ahead", "close", "reset", "half", "silence"]
"""Bytes to write, seconds to wait, or what happens to the connection.

early: answer before the body is read, and end. ahead: answer before the body is read, and go on reading later. silence: nothing more until the other side ends.
"""
Script = tuple[Step, ...]

MARKER: Final = re.compile(rb"mk[0-9a-f]{8}-[0-9]{2}")
"""Stands in a call's head and body and in its answer: an answer that reaches another caller is recognised by it."""
PLACEHOLDER: Final = b"mk????????-??"
"""Stands in a script where the call's marker is put; as long as one."""
SMALL_BYTES: Final = 8_000
"""What a client sends in most rounds at most."""
Ending = Literal["close", "reset", "stall"]


@dataclass(frozen=True, slots=True)
class Play:
    """One connection of a client.

    calls: how many requests it means to send. orderly: nothing in them is damaged, so that answers come in their order.
    patience: seconds of silence after which the client leaves; None where the relay has to answer or to close. reads: it
    leaves after so many bytes of answers. fair: the answers are good, so what the provider played has to arrive. answers: what the provider plays to the attempts of the connection's calls, the
    last one again and again.
    """

    marker: str
    sends: tuple[bytes | float, ...]
    answers: tuple[Script, ...]
    calls: int = 1
    orderly: bool = True
    fair: bool = False
    patience: float | None = None
    reads: int | None = None
    ending: Ending = "close"
    heads_only: frozenset[int] = frozenset()

    @property
    def sent_bytes(self) -> int:
        """Returns the size of everything the client sends."""
        return sum(len(piece) for piece in self.sends if isinstance(piece, bytes))

    def marker_of(self, call: int) -> bytes:
        """Returns the marker of the connection's call of that number."""
        return f"{self.marker}-{call:02d}".encode()


_REPEATED: Final = re.compile(rb"(.{1,40}?)\1{7,}", re.DOTALL)


def shown(play: Play) -> str:
    """Returns the play as Python, with what repeats itself written once."""
    fields = {name: getattr(play, name) for name in play.__slots__}
    fields["sends"] = f"({', '.join(map(_literal, play.sends))},)"
    scripts = (f"({', '.join(map(_literal, script))},)" for script in play.answers)
    fields["answers"] = f"({', '.join(scripts)},)"
    texts = ("sends", "answers")
    return f"Play({', '.join(f'{name}={value if name in texts else repr(value)}' for name, value in fields.items())})"


def _literal(step: Step) -> str:
    if not isinstance(step, bytes):
        return repr(step)
    parts, end = [], 0
    for match in _REPEATED.finditer(step):
        parts.append(repr(step[end : match.start()]))
        parts.append(f"{match[1]!r} * {len(match[0]) // len(match[1])}")
        end = match.end()
    parts.append(repr(step[end:]))
    return " + ".join(part for part in parts if part != "b''") or "b''"


def cut(rng: random.Random, data: bytes, *, pauses: bool = True) -> tuple[bytes | float, ...]:
    """Returns the bytes in pieces, with short pauses between some of them."""
    if len(data) < 2 or rng.random() < 0.5:
        return (data,)
    most = min(len(data) - 1, rng.choice([1, 2, 4, 16]))
    places = sorted(rng.sample(range(1, len(data)), most))
    pieces: list[bytes | float] = []
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        pieces.append(data[start:end])
        if pauses and rng.random() < 0.5:
            pieces.append(rng.choice([0.0, 0.001, 0.003]))
    return tuple(pieces)


NOISE: Final = (
    *(b"\r\n", b"\n", b"\r", b"\x00", b" ", b"\t", b":", b",", b"0\r\n\r\n", b"\r\n\r\n", b"\xff", b"\xe2\x80"),
    *(b"data: ", b"\n\n", b"data: [DONE]\n\n", b"-1", b"+1", b"0x10", b"ffffffffffffffff", b"9" * 30, b"9" * 5000),
    *(b"Content-Length: 5\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n", b'"', b"{", b"]", b"\\u0000"),
    *(b"HTTP/1.1 200 OK\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\\ud800", b"[" * 3000, b"x" * 40_000),
)  # fmt: skip


def damaged(rng: random.Random, data: bytes) -> bytes:
    """Returns the bytes with one to three small mistakes."""
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        data = rng.choice(_MISTAKES)(rng, data)
    return data


def _flip(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + rng.choice(NOISE) + data[at:]


def _remove(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] + data[at + rng.choice([1, 2, 5, 40]) :]


def _repeat(rng: random.Random, data: bytes) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[: at + rng.choice([1, 10, 80])] + data[at:]


def _end(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def _digit(rng: random.Random, data: bytes) -> bytes:
    digits = [match.start() for match in re.finditer(rb"[0-9]", data)]
    if not digits:
        return data
    at = rng.choice(digits)
    return data[:at] + rng.choice([b"0", b"9", b"-", b"", b"00", b"999"]) + data[at + 1 :]


def _line(rng: random.Random, data: bytes) -> bytes:
    lines = data.split(b"\r\n")
    at = rng.randrange(len(lines))
    lines.insert(rng.randrange(len(lines)), lines[at])
    return b"\r\n".join(lines)


_MISTAKES: Final[tuple[Callable[[random.Random, bytes], bytes], ...]] = (
    _flip,
    _insert,
    _remove,
    _repeat,
    _end,
    _digit,
    _line,
)
