"""Ways to estimate the tokens of streams that broke off, beside what their providers count."""

import statistics
from collections.abc import Callable
from typing import Final

from bench.estimates.streams import Seen, Streams

from relay.accounting.token_estimates import BYTES_PER_TOKEN
from relay.accounting.token_rates import LearntCall, ModelRates
from relay.dialect.reported_usage import Tokens

LEARNT: Final = 120
"""Streams that end with their usage, before the first breaks off."""
BROKEN: Final = 60
PARTS: Final = (0.05, 0.25, 1.0)
"""Of a stream, where it breaks off."""
Way = Callable[[str, Seen], float]


class Row:
    """Holds the error of a way of estimating, in percent: the mean over streams by the part that came, and that of their sum."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._off: dict[float, list[float]] = {part: [] for part in PARTS}
        self._estimated = self._counted = 0.0

    def add(self, part: float, estimated: float, counted: int) -> None:
        """Adds a stream."""
        self._off[part].append(abs(estimated - counted) / counted)
        self._estimated += estimated
        self._counted += counted

    def off(self, part: float) -> float:
        """Returns by how many percent a stream is off in the mean."""
        return 100 * statistics.mean(self._off[part])

    @property
    def off_in_all(self) -> float:
        """By how many percent the sum of all is off, with its sign."""
        return 100 * (self._estimated / self._counted - 1)


def compared(streams: Streams, tokenizers: dict[str, Callable[[str], int]]) -> list[Row]:
    """Has the relay's rates learn from whole streams, and estimates others that break off; tokenizers count the text that was passed on."""
    rates = ModelRates()
    for _ in range(LEARNT):
        kind, (whole,) = streams.next(1.0)
        learnt = Tokens(0, whole.tokens, reasoning=whole.thoughts)
        rates.learn(
            LearntCall(kind, learnt, call_bytes=0, pieces=whole.pieces, text_bytes=whole.bytes)
        )
    ways: dict[str, Way] = {
        "4 bytes a token": lambda _, seen: seen.bytes / BYTES_PER_TOKEN,
        "a token a piece": lambda _, seen: seen.pieces,
        "before anything is learnt": lambda kind, seen: estimated(ModelRates(), kind, seen),
        "learnt by bytes": lambda kind, seen: rates.output_tokens(
            kind, pieces=0, text_bytes=seen.bytes
        ),
        "learnt": lambda kind, seen: estimated(rates, kind, seen),
        "learnt, of another key": lambda _, seen: estimated(rates, "new", seen),
    }
    for name, count in tokenizers.items():
        # mypy infers no type for a lambda with a default
        ways[name] = lambda _, seen, count=count: count(seen.text)  # type: ignore[misc]
    rows = {name: Row(name) for name in ways}
    for _ in range(BROKEN):
        kind, cuts = streams.next(*PARTS)
        for part, seen in zip(PARTS, cuts, strict=True):
            for name, way in ways.items():
                rows[name].add(part, way(kind, seen), seen.tokens)
    return list(rows.values())


def estimated(rates: ModelRates, kind: str, seen: Seen) -> int:
    """Estimates a stream as the relay does; each kind of text is one caller's."""
    return rates.output_tokens(kind, pieces=seen.pieces, text_bytes=seen.bytes)
