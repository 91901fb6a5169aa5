"""The schedule: rounds of the light flow alone and beside its neighbour, planned before the first call.

Both arms of a pair use the same arrival times and the same provider times for the light flow, so that what differs is
the neighbour. The light flow never pauses; between rounds the neighbour is silent and nothing is recorded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

SETTLE_SECONDS: Final = 1.5
"""Silence of the neighbour before each round, long enough for its backlog to end."""
SIGMA: Final = 0.8
"""Spread (sigma) of the lognormal provider times, similar to answers of language models."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load: calls_per_second as a Poisson process, each mean_seconds long at the provider, lognormally spread."""

    calls_per_second: float
    mean_seconds: float


@dataclass(frozen=True, slots=True)
class Call:
    """A call. at is in seconds from the start of the run; round is -1 outside of rounds."""

    at: float
    provider_seconds: float
    round: int


@dataclass(frozen=True, slots=True)
class Round:
    """A round, from begin to end in seconds from the start of the run; beside is true if the neighbour floods."""

    number: int
    pair: int
    beside: bool
    begin: float
    end: float


def rounds(pairs: int, *, seconds: float, seed: int) -> list[Round]:
    """Returns alternating rounds; the order inside each pair is drawn."""
    random = Random(seed)
    planned: list[Round] = []
    at = 0.0
    for pair in range(pairs):
        arms = [False, True]
        random.shuffle(arms)
        for beside in arms:
            begin = at + SETTLE_SECONDS
            at = begin + seconds
            planned.append(Round(len(planned), pair, beside, begin, at))
    return planned


def light_calls(planned: list[Round], load: Load, *, seed: int) -> Iterator[Call]:
    """Returns the light flow's calls, in order; equal in both rounds of a pair except for their start."""
    previous = 0.0
    for each in planned:
        yield from _poisson(load, previous, each.begin, -1, Random(f"{seed}-settle-{each.number}"))
        yield from _poisson(load, each.begin, each.end, each.number, Random(f"{seed}-{each.pair}"))
        previous = each.end


def neighbour_calls(planned: list[Round], load: Load, *, seed: int) -> Iterator[Call]:
    """Returns the neighbour's calls, in order: a flood during the rounds beside it."""
    for each in planned:
        if each.beside:
            random = Random(f"{seed}-neighbour-{each.number}")
            yield from _poisson(load, each.begin, each.end, each.number, random)


def _poisson(load: Load, begin: float, end: float, number: int, random: Random) -> Iterator[Call]:
    # a lognormal's mean is exp(mu + sigma^2 / 2)
    scale = load.mean_seconds / _LOGNORMAL_MEAN
    at = begin + random.expovariate(load.calls_per_second)
    while at < end:
        yield Call(at, scale * random.lognormvariate(0.0, SIGMA), number)
        at += random.expovariate(load.calls_per_second)


_LOGNORMAL_MEAN: Final = 2.718281828459045 ** (SIGMA**2 / 2)
