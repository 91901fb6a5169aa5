"""Divides a time into the hours, days or months of a zone."""

import itertools
from datetime import date, timedelta
from typing import Final, Literal, get_args
from zoneinfo import ZoneInfo

from relay_ledger.periods.months import bounds
from relay_ledger.periods.zones import SECOND, day_start, local

Granularity = Literal["hour", "day", "month"]
GRANULARITIES: Final[tuple[Granularity, ...]] = get_args(Granularity)
HOUR: Final = 3600 * SECOND
MAX_PARTS: Final = 1500
"""Two months by the hour, four years by the day."""


class TooManyParts(ValueError):
    """A time that has more parts than an answer holds."""


def divided(
    start: int, end: int, granularity: Granularity, where: ZoneInfo
) -> list[tuple[int, int]]:
    """Returns the parts of a time, half open and in order; the first and the last are cut to it. Raises TooManyParts.

    Hours are hours of time, from the beginning of the local day: a day has 23, 24 or 25 of them.
    """
    edges = [edge for edge in _edges(start, end, granularity, where) if start < edge < end]
    edges = [start, *edges, end]
    parts = [(first, last) for first, last in itertools.pairwise(edges) if first < last]
    if len(parts) > MAX_PARTS:
        raise TooManyParts(
            f"{len(parts)} parts are more than the {MAX_PARTS} of an answer: ask for a shorter period or a coarser granularity"
        )
    return parts


def _edges(start: int, end: int, granularity: Granularity, where: ZoneInfo) -> list[int]:
    if granularity == "month":
        return [period.start for period in bounds(start, end, where)]
    day, last = local(start, where).date(), local(end, where).date()
    if (last - day).days > MAX_PARTS:
        raise TooManyParts(
            f"{(last - day).days} days are more than the {MAX_PARTS} of an answer: ask for a shorter period"
        )
    edges: list[int] = []
    while day <= last:
        first, following = day_start(day, where), day_start(_next(day), where)
        edges += [first] if granularity == "day" else range(first, following, HOUR)
        day = _next(day)
    return edges


def _next(day: date) -> date:
    return day + timedelta(days=1)
