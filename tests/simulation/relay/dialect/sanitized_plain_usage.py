"""Reads answers with usage objects of any shape with an extension built with sanitizers, and compares with what all rules make of them.

usage: python -m tests.simulation.relay.dialect.sanitized_plain_usage EXTENSION SECONDS LEAST SEED
Goes on until the seconds of processor time are over and LEAST were tried. The sanitizer's library must be preloaded.
Ends with status 1 at the first difference; its last line is the number of
usage objects, and of those that were read at once.
"""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any, Final

from tests.unit.relay.dialect.body_scans import loaded
from tests.unit.relay.dialect.usage.plain_usages import (
    BESIDE,
    DETAILS,
    ODD,
    PARTS,
    answer,
    read,
    read_at_once,
)

from relay.dialect.reported_usage import MOST_OUTPUT_TOKENS
from relay_contract.billing.token_buckets import MAX_TOKENS

TOTALS: Final = ("prompt_tokens", "completion_tokens", "total_tokens", "input_tokens")


def value(chance: random.Random) -> Any:
    """Returns a count, mostly small, or something odd."""
    return chance.randrange(60) if chance.random() < 0.9 else chance.choice(ODD)


def parts(chance: random.Random, names: tuple[str, ...]) -> dict[str, Any]:
    """Returns some of the names with values."""
    return {name: value(chance) for name in chance.sample(names, chance.randrange(3))}


def usage(chance: random.Random) -> object:
    """Returns a usage object that is mostly possible, or anything else."""
    if chance.random() < 0.02:
        return chance.choice(ODD)
    found = parts(chance, (*PARTS, *BESIDE))
    for name in chance.sample(DETAILS, chance.randrange(3)):
        found[name] = parts(chance, PARTS) if chance.random() < 0.9 else chance.choice(ODD)
    large = chance.choice((500, 500, MOST_OUTPUT_TOKENS, MAX_TOKENS))
    counts = chance.randrange(large), chance.randrange(large)
    thought = chance.choice((0, 0, value(chance)))
    total = sum(counts) + (thought if isinstance(thought, int) else 0)
    found |= zip(TOTALS, (*counts, total), strict=False)
    if chance.random() < 0.1:
        found[chance.choice(TOTALS)] = value(chance)
    if chance.random() < 0.1:
        found.pop(chance.choice(TOTALS), None)
    return found


def main(extension: str, seconds: str, least: str, seed: str) -> int:
    """Returns the status of the process."""
    plain_answer, chance = loaded(Path(extension)).plain_answer, random.Random(int(seed))
    end = time.process_time() + float(seconds)
    tried = at_once = 0
    while tried < int(least) or time.process_time() < end:
        reported = usage(chance)
        plain = plain_answer(answer(json.dumps(reported)))
        if plain is not None and read_at_once(plain) != read(reported):
            sys.stderr.write(f"{reported}\n")
            return 1
        tried += 1
        at_once += plain is not None
    sys.stdout.write(f"{tried} usage objects, {at_once} read at once\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
