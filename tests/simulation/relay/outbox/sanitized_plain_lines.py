"""Writes lines of damaged and whole records with an extension built with sanitizers, and compares with those in Python.

usage: python -m tests.simulation.relay.outbox.sanitized_plain_lines EXTENSION SECONDS LEAST SEED
Goes on until the seconds of processor time are over and LEAST were tried. The sanitizer's library must be preloaded.
Ends with status 1 at the first difference; its last line is the number of
records, and of those whose lines were written in C.
"""

import random
import sys
import time
from pathlib import Path
from typing import Final

import orjson
from tests.unit.relay.outbox.attempts import FIELDS, TENANT_UID, call_id, closed_body, opening_of
from tests.unit.relay.outbox.attempts import closing as new_closing
from tests.unit.relay.outbox.plain_lines import WithC, loaded

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.attempt_closing import Closing
from relay.outbox.event_lines import EventLines, UnreadableRecord
from relay.outbox.record_format import CLOSED, DOUBTS, OUTCOMES, SOURCES, Found

LETTERS: Final = "abcxyz-0123456789 ~" * 4 + '"\\é\x1f\x7f'


def text(chance: random.Random) -> str:
    """Returns a text that mostly needs no escape."""
    return "".join(chance.choices(LETTERS, k=chance.choice((0, 1, 7, 20, 300))))


def word(chance: random.Random) -> str | None:
    """Returns a text or None."""
    return text(chance)[:20] if chance.random() < 0.6 else None


def number(chance: random.Random, largest: int) -> int:
    """Returns a number, often one at an end."""
    return chance.choice((0, 0, 1, largest, chance.randint(0, largest)))


def closing(chance: random.Random) -> Closing:
    """Returns any end of an attempt."""
    usage = BilledUsage(
        input=number(chance, 2**32 - 1),
        cache_write_hour=number(chance, 2**32 - 1),
        audio_output=number(chance, 2**32 - 1),
        web_search=number(chance, 2**16 - 1),
        web_fetch=number(chance, 2**16 - 1),
        cache_reported=chance.random() < 0.5,
        region=word(chance),
    )
    return new_closing(
        elapsed=number(chance, 2**64 - 1),
        outcome=chance.choice(OUTCOMES),
        status=number(chance, 2**16 - 1),
        delivered=chance.random() < 0.5,
        source=chance.choice(SOURCES),
        usage=usage,
        doubt=chance.choice(DOUBTS),
        answered_model=word(chance),
        service_tier=word(chance),
        upstream_request_id=word(chance),
    )


def body(chance: random.Random) -> bytes:
    """Returns the body of a record closed, whole or damaged."""
    opening = opening_of(
        dispatched_at=number(chance, 2**64 - 1),
        attempt=number(chance, 2**16 - 1),
        stream=chance.random() < 0.5,
        call_id=call_id(chance.randrange(2**128)),
        request_id=text(chance),
    )
    made = bytearray(closed_body(opening, closing(chance)))
    if chance.random() < 0.3:
        made[chance.randrange(len(made))] = chance.randrange(256)
    if chance.random() < 0.1:
        del made[chance.randrange(len(made)) :]
    return bytes(made)


def line(lines: EventLines | WithC, found: Found, names: bytes) -> bytes | None:
    """Returns the line of a record, None for one that means nothing."""
    try:
        return lines.line(found, names)
    except UnreadableRecord:
        return None


def main(extension: str, seconds: str, least: str, seed: str) -> int:
    """Returns the status of the process."""
    chance = random.Random(int(seed))
    lines = EventLines(TENANT_UID)
    with_c = WithC(lines, loaded(Path(extension)))
    names = orjson.dumps({**FIELDS, "relay": "relay-0"})
    end = time.process_time() + float(seconds)
    records = 0
    while records < int(least) or time.process_time() < end:
        found = Found(CLOSED, 1, body(chance))
        if line(with_c, found, names) != line(lines, found, names):
            sys.stderr.write(f"{found.body!r}\n")
            return 1
        records += 1
    sys.stdout.write(f"{records} records, {with_c.written} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
