"""Makes rounds of plays from seeds, and makes a round that fails as small as it can be had."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf
from typing import Any, Final, TypeVar

from tests.blackbox.fuzzing import answers, requests
from tests.blackbox.fuzzing.plays import SMALL_BYTES, Play, Step

PLAYS: Final = 80
"""In a round; what is left behind is looked for at its end."""
MAX_TRIES: Final = 40
MAX_NAMED: Final = 4
LARGE_MESSAGES: Final = [
    {
        "role": "user",
        "content": [
            {
                "type": "image_url",
                "image_url": {"url": "data:image/png;base64," + "QUJD" * 300_000},
            }
        ],
    }
]
"""More than the sockets on the way take as long as nobody reads."""
T = TypeVar("T")

Maker = Callable[[random.Random, str], Play]
Oracle = Callable[[Sequence[Play]], list[str]]


def hostile_client(rng: random.Random, marker: str) -> Play:
    """Returns an odd client of a good provider."""
    return requests.hostile_client(rng, marker, (answers.good(rng),))


def hostile_provider(rng: random.Random, marker: str) -> Play:
    """Returns a good client of an odd provider."""
    made = [
        answers.torn if rng.random() < 0.25 else answers.answer
        for _ in range(rng.choice([1, 2, 3]))
    ]
    return requests.polite_client(rng, marker, tuple(make(rng) for make in made))


def steady_provider(rng: random.Random, marker: str) -> Play:
    """Returns a client of a provider whose answers are good, whatever their framing tries; each call has to be served.

    One in ten gets an answer without a body instead.
    """
    calls = rng.choice([1, 2, 4])
    if rng.random() < 0.1:
        return requests.steady_client(
            marker, (answers.bodiless(rng),), calls=calls, fields={}, fair=False
        )
    streamed, large = rng.random() < 0.5, rng.random() < 0.1
    fields: dict[str, Any] = {"stream": True} if streamed else {}
    if large:
        fields["messages"] = LARGE_MESSAGES
    script = answers.fair(rng, streamed=streamed, large=large)
    return requests.steady_client(marker, (script,), calls=calls, fields=fields, fair=True)


def a_round(seed: int, maker: Maker) -> list[Play]:
    """Returns the plays of a seed; in most rounds nothing large is sent, so that small sums show."""
    rng = random.Random(seed)
    most = inf if rng.random() < 0.3 or maker is steady_provider else SMALL_BYTES
    plays: list[Play] = []
    while len(plays) < PLAYS:
        play = maker(rng, f"mk{rng.getrandbits(32):08x}")
        if play.sent_bytes <= most:
            plays.append(play)
    return plays


def smallest(plays: Sequence[Play], said: str, wrong: Oracle) -> list[Play]:
    """Returns as few and as simple plays as still fail.

    Tries those that the finding names, each alone; then leaves out halves, quarters, and so on.
    """
    named = [[play] for play in plays if play.marker in said]
    left = next((alone for alone in named[:MAX_NAMED] if wrong(alone)), None)
    if left is None:
        left = _thinned(list(plays), lambda kept: bool(wrong(kept)), MAX_TRIES)
    if len(left) <= 3:
        for index in range(len(left)):
            left = _simpler(left, index, wrong)
    return left


def _simpler(plays: list[Play], index: int, wrong: Oracle) -> list[Play]:
    """Returns the plays with the one at the index made simpler: fewer answers, fewer pieces, fewer bytes."""

    def fails(changed: Play) -> bool:
        return bool(wrong([*plays[:index], changed, *plays[index + 1 :]]))

    play = plays[index]
    joined = replace(
        play, sends=(b"".join(piece for piece in play.sends if isinstance(piece, bytes)),)
    )
    scripts = [replace(play, answers=(script,)) for script in play.answers]
    for changed in (
        joined,
        *scripts,
        replace(play, reads=None),
        replace(joined, answers=play.answers[:1]),
    ):
        if changed != play and fails(changed):
            play = changed
            break
    for number in range(len(play.answers)):
        play = _shorter(play, number, fails)
    return [*plays[:index], play, *plays[index + 1 :]]


def _shorter(play: Play, number: int, fails: Callable[[Play], bool]) -> Play:
    """Returns the play with as few steps in the answer of that number as still fail."""
    steps = list(play.answers[number])
    kept = _thinned(steps, lambda left: fails(_with(play, number, left)), 20)
    return _with(play, number, kept)


def _with(play: Play, number: int, script: list[Step]) -> Play:
    changed = [*play.answers[:number], tuple(script), *play.answers[number + 1 :]]
    # what is left of an answer is none that has to arrive
    return replace(play, answers=tuple(changed), fair=False)


def _thinned(items: list[T], fails: Callable[[list[T]], bool], tries: int) -> list[T]:
    """Returns a part of the items that still fails, if any smaller one was found within so many tries (ddmin, Zeller 2002)."""
    size = len(items) // 2
    while size and tries > 0:
        start = 0
        while start < len(items) and tries > 0:
            kept = items[:start] + items[start + size :]
            tries -= 1
            if kept and fails(kept):
                items = kept
            else:
                start += size
        size //= 2
    return items
