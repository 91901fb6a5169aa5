"""Writes records of any numbers and texts with an extension built with sanitizers, and compares with the class in Python.

usage: python -m tests.simulation.relay.outbox.sanitized_record_writing EXTENSION SECONDS LEAST SEED
Goes on until the seconds of processor time are over and LEAST were tried. The sanitizer's library must be preloaded.
Ends with status 1 at the first difference; its last line is the number of
attempts, and of those whose records had room.
"""

import random
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any, Final

from tests.unit.relay.outbox.attempts import report_of
from tests.unit.relay.outbox.record_writings import (
    LARGEST_RECORD,
    MOST_SECONDS,
    NUMBER_BYTES,
    TEXTS,
    AnyPlace,
    RecordWriting,
    loaded,
)

from relay.dialect.usage.billed_usage import PACKED
from relay.outbox import record_writing_pure
from relay.outbox.record_format import EXPECTED, record_at, record_bytes

LETTERS: Final = ("x", "é", "日", "😀", "\x00", '"')


def text(chance: random.Random, *, halves: bool = False) -> str:
    """Returns a text that is short, or longer than a record keeps; with halves of surrogate pairs if asked for."""
    letters = (*LETTERS, "\udfff") if halves else LETTERS
    return "".join(
        chance.choices(letters, k=chance.choice((0, 1, 7, 40, 63, 64, 254, 255, 256, 400)))
    )


def word(chance: random.Random) -> Any:
    """Returns a text, its bytes, some other bytes, or None."""
    match chance.randrange(4):
        case 0:
            return text(chance, halves=True)
        case 1:
            return text(chance).encode()
        case 2:
            return chance.randbytes(chance.choice((0, 1, 254, 255, 256, 400)))
        case _:
            return None


def number(chance: random.Random, size: int) -> int:
    """Returns a number of so many bytes, often one at an end."""
    largest = 256**size - 1
    return chance.choice((0, largest, chance.randint(0, largest), chance.randint(0, largest)))


def counted(chance: random.Random) -> bytes:
    """Returns counts, or a report that begins with them."""
    counts = chance.randbytes(PACKED.size)
    return counts if chance.random() < 0.5 else report(chance, counts)


def report(chance: random.Random, counts: bytes) -> bytes:
    """Returns a report that begins with these counts."""
    model, tier = (chance.randbytes(chance.choice((0, 1, 40, 255))) for _ in range(2))
    return report_of(counts, model, tier)


def reported(chance: random.Random) -> list[Any]:
    """Returns how an attempt ended that is like most."""
    seconds = chance.choice((0.0, 1e-6, MOST_SECONDS * 0.999, chance.uniform(0, 100)))
    counts = chance.randbytes(PACKED.size)
    ended = [seconds, number(chance, 2), chance.random() < 0.5]
    return [*ended, report(chance, counts), word(chance)]


class Differs(Exception):
    """Both did not do the same; the message says with what."""


def attempt(compiled: RecordWriting, chance: random.Random) -> bool:
    """Writes both records of an attempt into segments of exactly their size; returns whether the closing had room."""
    size = chance.randrange(2 * LARGEST_RECORD)
    end = chance.choice((size, chance.randint(0, size)))
    offset, openings_end = chance.randrange(LARGEST_RECORD), chance.choice((end, size, 2**64 - 1))
    names = number(chance, 4)
    opened: tuple[Any, ...] = (
        number(chance, 8),
        number(chance, 2),
        chance.random() < 0.5,
        text(chance),
        text(chance),
        number(chance, 4),
        number(chance, 4),
    )
    numbers = (number(chance, one) for one in NUMBER_BYTES)
    words = (word(chance) for _ in range(TEXTS))
    closed = [*numbers, counted(chance), *words]
    like_most = reported(chance) if chance.random() < 0.5 else None
    written: list[tuple[bytearray, bytes | None, bool, int]] = []
    writings: tuple[Any, ...] = (compiled, record_writing_pure)
    for writing in writings:
        segment = bytearray(size)
        place: AnyPlace = writing.Place(segment, offset, end)
        place.openings_end = openings_end
        opening = place.write_opened(names, *opened)
        if like_most is None:
            fits = place.write_closed(names, opening or b"", *closed)
        else:
            fits = place.write_reported(names, opening or b"", *like_most)
        written.append((segment, opening, fits, place.offset))
    if written[0] != written[1]:
        raise Differs(
            f"{names} at {offset} to {openings_end} and {end} of {size}: {opened}, {closed}, {like_most}"
        )
    segment, opening, fits, following = written[0]
    start = offset if opening is None else offset + record_bytes(len(opening) + EXPECTED.size)
    found = record_at(bytes(segment), start)
    if fits and (found is None or following != start + record_bytes(len(found.body))):
        raise Differs(f"not read as written at {start} of {size}: {opened}, {closed}, {like_most}")
    return fits


def refusals(compiled: RecordWriting, chance: random.Random) -> None:
    """Hands over arguments of which one is of another type, or out of its range: each is an exception and nothing else."""
    segment = bytearray(chance.randrange(LARGEST_RECORD))
    made: list[Any] = [segment, 0, len(segment)]
    opened: list[Any] = [1, 1, 1, False, "0" * 32, "r", 0, 0]
    counts = chance.choice((bytes(chance.randrange(PACKED.size + 4)), counted(chance)[:-1]))
    closed: list[Any] = [1, b"", *[0] * len(NUMBER_BYTES), counts, *[None] * TEXTS]
    like_most: list[Any] = [1, b"", *reported(chance)]
    place = compiled.Place(segment, 0, len(segment))
    strange = chance.choice((-1, 2**64, 2**200, 1.5, "\ud800", b"x", None, object(), segment, []))
    for function, arguments in (
        (compiled.Place, made),
        (place.write_opened, opened),
        (place.write_closed, closed),
        (place.write_reported, like_most),
        (partial(setattr, place), ["offset", 0]),
        (partial(setattr, place), ["openings_end", 0]),
    ):
        arguments[-1 if function.__class__ is partial else chance.randrange(len(arguments))] = (
            strange
        )
        try:
            function(*arguments)
        except (TypeError, ValueError, BufferError, OverflowError):
            continue
    for function, arguments in (
        (place.write_opened, opened),
        (place.write_closed, closed),
        (place.write_reported, like_most),
    ):
        try:
            function(*arguments[: chance.randint(0, len(arguments))])
        except (TypeError, ValueError):
            continue


def main(extension: str, seconds: str, least: str, seed: str) -> int:
    """Returns the status of the process."""
    compiled, chance = loaded(Path(extension)), random.Random(int(seed))
    end = time.process_time() + float(seconds)
    attempts = written = 0
    while attempts < int(least) or time.process_time() < end:
        try:
            written += attempt(compiled, chance)
        except Differs as error:
            sys.stderr.write(f"{error}\n")
            return 1
        refusals(compiled, chance)
        attempts += 1
    sys.stdout.write(f"{attempts} attempts, {written} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
