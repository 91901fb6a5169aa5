"""Scans mutated bodies with an extension built with sanitizers, and compares with the scan in Python.

usage: python -m tests.simulation.relay.dialect.sanitized_body_scan EXTENSION SECONDS LEAST SEED
Goes on until the seconds of processor time are over and LEAST were tried. The sanitizer's library must be preloaded.
Ends with status 1 at the first difference; its last line is the number of
texts and of valid bodies among them.
"""

import random
import sys
import time
from pathlib import Path
from typing import Final

from tests.unit.relay.dialect.body_scans import BodyReader, loaded, meaning

from relay.dialect import body_scan_pure, body_texts_pure, parameter_removal_pure

SEEDS: Final = (
    '{"model":"m","messages":[{"role":"system","content":"x\\n\u00e9"},{"role":"user","content":'
    '[{"type":"text","text":"a"}]}],"stream":true,"stream_options":{"include_usage":false,"x":[]}}',
    '{"mod\\u0065l":"a","model":"b", "input" : [ {"content":1.5e-3} , {} ],"prompt":["a"],'
    '"z":[[[[[[{"a":[1,2,[]]}]]]]]], "y":{"a":{"b":{"c":{"d":{"e":{}}}}}}}',
    '{"messages":[{"r\\u006fle":"us\\u0065r","c\\u006fntent":"\\ud800"}],"prompt":{"content":null},'
    '"input":[],"q":"' + "\u00e9" * 9 + "\u65e5\u672c" * 8 + '\U0001f600"}',
)
PATHS: Final = (b"stream", b"z", b"messages.content", b"stream_options.x", b"y.a.b.c", b"input")
PARTS: Final = (
    b'{}[]",:\\u0123456789eE+-.truefalsn \n\t\x00\xc3\xa9\xf0\x9f\x98\x80\xed\xa0\xef\xbb\xbfmodel'
)


def mutated(chance: random.Random) -> bytes:
    """Returns one of the seeds after some changes."""
    raw = bytearray(chance.choice(SEEDS).encode())
    for _ in range(chance.choice((0, 1, 1, 1, 2, 3))):
        place, part = chance.randrange(len(raw) + 1), bytes([chance.choice(PARTS)])
        match chance.randrange(4):
            case 0:
                raw[place : place + 1] = part
            case 1:
                raw[place:place] = part * chance.choice((1, 1, 2, 20))
            case 2:
                del raw[place : place + chance.randrange(1, 4)]
            case _:
                start = chance.randrange(len(raw) + 1)
                raw[place:place] = raw[start : start + chance.randrange(12)]
    return bytes(raw)


def members_differ(compiled: BodyReader, raw: bytes, paths: tuple[bytes, ...]) -> bool:
    """Returns whether the two tell different places of a body's members, or leave different bytes without these."""
    pure = parameter_removal_pure
    left = compiled.without(raw, paths), compiled.members(raw)
    return left != (pure.without(raw, paths), pure.members(raw))


def main(extension: str, seconds: str, least: str, seed: str) -> int:
    """Returns the status of the process."""
    compiled, chance = loaded(Path(extension)), random.Random(int(seed))
    end = time.process_time() + float(seconds)
    texts = valid = 0
    while texts < int(least) or time.process_time() < end:
        raw = mutated(chance)
        spans = compiled.scan(raw)
        if spans != body_scan_pure.scan(raw) or (spans is None) != (meaning(raw) is None):
            sys.stderr.write(f"the scans differ on {raw!r}\n")
            return 1
        most = chance.randrange(40)
        for span in spans or ():
            text = compiled.text_at(raw, span, most)
            if text != body_texts_pure.text_at(raw, span, most):
                sys.stderr.write(f"the texts differ at {span}, {most} characters of {raw!r}\n")
                return 1
        if compiled.base64_at(raw, most, 3) != body_texts_pure.base64_at(raw, most, 3):
            sys.stderr.write(f"the samples of base64 from {most} on differ in {raw!r}\n")
            return 1
        paths = tuple(chance.sample(PATHS, chance.randrange(len(PATHS))))
        if spans is not None and members_differ(compiled, raw, paths):
            sys.stderr.write(f"members, or what is left without {paths}, differ for {raw!r}\n")
            return 1
        texts += 1
        valid += spans is not None
    sys.stdout.write(f"{texts} texts, {valid} valid\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
