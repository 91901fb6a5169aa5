"""Histograms and token counts, as plain attributes that are added to."""

from typing import Any

from relay.accounting.metric_catalogue import Labels
from relay.dialect.reported_usage import Tokens


class Distribution:
    """Counts of values per bucket, one beyond the last bound, and their sum."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts: list[int] = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        # compiled, a few comparisons cost less than the call of bisect_left
        place = 0
        for bound in self._bounds:
            if value <= bound:
                break
            place += 1
        counts = self.counts
        counts[place] = counts[place] + 1
        self.total += value

    def row(self) -> list[float]:
        """Returns the counts, then the sum."""
        return [*self.counts, self.total]


class Histogram:
    """A distribution per label set."""

    __slots__ = ("_bounds", "_series")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._series: dict[Labels, Distribution] = {}

    def of(self, *labels: str) -> Distribution:
        """Returns the distribution of these labels, a new one if there is none; whoever observes often keeps it."""
        series = self._series.get(labels)
        if series is None:
            series = self._series[labels] = Distribution(self._bounds)
        return series

    def rows(self) -> list[tuple[Labels, Any]]:
        """Returns label values with their row."""
        return [(labels, series.row()) for labels, series in self._series.items()]


class TokenCounts:
    """Tokens by kind, as `relay.dialect.reported_usage.Tokens` defines them."""

    __slots__ = ("cached", "input", "output", "reasoning")

    def __init__(self) -> None:
        self.input = self.output = self.cached = self.reasoning = 0

    def add(self, tokens: Tokens) -> None:
        """Adds an attempt's tokens."""
        self.input += tokens.input
        self.output += tokens.output
        self.cached += tokens.cached
        self.reasoning += tokens.reasoning

    def by_kind(self) -> list[tuple[str, int]]:
        """Returns each kind's label and count."""
        return [
            ("input", self.input),
            ("output", self.output),
            ("cached", self.cached),
            ("reasoning", self.reasoning),
        ]
