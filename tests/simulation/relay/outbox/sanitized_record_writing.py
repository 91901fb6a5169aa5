"""Writes records of any numbers and texts with an extension built with sanitizers, and compares with the functions in Python.

usage: python -m tests.simulation.relay.outbox.sanitized_record_writing EXTENSION SECONDS SEED
The seconds are of processor time. The sanitizer's library must be preloaded. Ends with status 1 at the first difference; its last line is the number of
attempts, and of those whose records had room.
"""

import random
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.unit.relay.outbox.record_writings import (
    LARGEST_RECORD,
    NUMBER_BYTES,
    TEXTS,
    RecordWriting,
    loaded,
)

from relay.outbox import record_writing_pure
from relay.outbox.record_format import record_at, record_bytes

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


class Differs(Exception):
    """Both did not do the same; the message says with what."""


def attempt(compiled: RecordWriting, chance: random.Random) -> bool:
    """Writes both records of an attempt into segments of exactly their size; returns whether they had room."""
    size = chance.randrange(2 * LARGEST_RECORD)
    end = chance.choice((size, chance.randint(0, size)))
    place = (chance.randrange(LARGEST_RECORD), end, number(chance, 4))
    opened: tuple[Any, ...] = (
        number(chance, 8),
        number(chance, 2),
        chance.random() < 0.5,
        text(chance),
        text(chance),
    )
    closed = [*(number(chance, one) for one in NUMBER_BYTES), *(word(chance) for _ in range(TEXTS))]
    ours, theirs = bytearray(size), bytearray(size)
    opening = compiled.write_opened(ours, *place, *opened)
    if opening != record_writing_pure.write_opened(theirs, *place, *opened) or ours != theirs:
        raise Differs(f"opened at {place} of {size}: {opened}")
    body = compiled.write_closed(ours, *place, opening, *closed)
    if body != record_writing_pure.write_closed(theirs, *place, opening, *closed) or ours != theirs:
        raise Differs(f"closed at {place} of {size}: {opened}, {closed}")
    has_room = place[0] + record_bytes(len(body)) <= end
    found = record_at(bytes(ours), place[0])
    if has_room and (found is None or found.body != body):
        raise Differs(f"not read as written at {place} of {size}: {opened}, {closed}")
    return has_room


def refusals(compiled: RecordWriting, chance: random.Random) -> None:
    """Hands over arguments of which one is of another type, or out of its range: each is an exception and nothing else."""
    segment = bytearray(chance.randrange(LARGEST_RECORD))
    opened: list[Any] = [segment, 0, len(segment), 1, 1, 1, False, "0" * 32, "r"]
    numbers = [0] * len(NUMBER_BYTES)
    closed: list[Any] = [segment, 0, len(segment), 1, b"", *numbers, *[None] * TEXTS]
    strange = chance.choice((-1, 2**64, 2**200, 1.5, "\ud800", b"x", None, object(), segment, []))
    for function, arguments in ((compiled.write_opened, opened), (compiled.write_closed, closed)):
        arguments[chance.randrange(len(arguments))] = strange
        try:
            function(*arguments[: chance.randint(0, len(arguments))])
            function(*arguments)
        except (TypeError, ValueError, BufferError):
            continue


def main(extension: str, seconds: str, seed: str) -> int:
    """Returns the status of the process."""
    compiled, chance = loaded(Path(extension)), random.Random(int(seed))
    end = time.process_time() + float(seconds)
    attempts = written = 0
    while time.process_time() < end:
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
