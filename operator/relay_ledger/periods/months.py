"""Months of a contract: half-open intervals that follow each other without a gap, whatever the clocks do.

A month begins at the first moment of the anchor day in the contract's zone. An anchor that a month has not (29 to 31) is its last
day, and the month after has it again. An event belongs to the month in which it was dispatched.
"""

import re
from calendar import monthrange
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Final
from zoneinfo import ZoneInfo

from relay_ledger.periods.zones import FIRST_YEAR, LAST_YEAR, day_start, local

_MONTH: Final = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


@dataclass(frozen=True, slots=True)
class Period:
    """A time from start up to but without end, microseconds since 1970. name is that of its month, as 2026-03."""

    name: str
    start: int
    end: int

    def __contains__(self, at: int) -> bool:
        return self.start <= at < self.end


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """A month of the calendar. Its years are those for which zones are known."""

    year: int
    number: int

    @property
    def name(self) -> str:
        """Returns it as 2026-03."""
        return f"{self.year:04d}-{self.number:02d}"

    def moved(self, months: int) -> "Month":
        """Returns the month so many later."""
        year, number = divmod(self.year * 12 + self.number - 1 + months, 12)
        return Month(year, number + 1)


class NotAMonth(ValueError):
    """A text that names no month; the message says what does."""


def read_month(text: str) -> Month:
    """Reads 2026-03; raises NotAMonth."""
    found = _MONTH.fullmatch(text)
    if found is not None and FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
        return Month(int(found[1]), int(found[2]))
    raise NotAMonth(f"{text[:32]!r} is no month: write it as 2026-03")


def month_start(month: Month, where: ZoneInfo, anchor_day: int = 1) -> int:
    """Returns when a month begins, microseconds since 1970."""
    last = monthrange(month.year, month.number)[1]
    return day_start(date(month.year, month.number, min(anchor_day, last)), where)


def month_period(month: Month, where: ZoneInfo, anchor_day: int = 1) -> Period:
    """Returns the time of a month."""
    return Period(
        month.name,
        month_start(month, where, anchor_day),
        month_start(month.moved(1), where, anchor_day),
    )


def month_at(at: int, where: ZoneInfo, anchor_day: int = 1) -> Month:
    """Returns the month in which a moment is."""
    moment = local(at, where)
    month = Month(moment.year, moment.month)
    return month if at >= month_start(month, where, anchor_day) else month.moved(-1)


def bounds(start: int, end: int, where: ZoneInfo, anchor_day: int = 1) -> list[Period]:
    """Returns the months that meet a time, from start up to but without end; the first and the last may be longer than it."""
    month = month_at(start, where, anchor_day)
    periods = []
    while month_start(month, where, anchor_day) < end:
        periods.append(month_period(month, where, anchor_day))
        month = month.moved(1)
    return periods


def follow_each_other(periods: list[Period]) -> bool:
    """Returns whether each period begins where the one before ends."""
    return all(earlier.end == later.start for earlier, later in pairwise(periods))
