"""Times as people and programs write them: a day of a zone, a time with its offset, or seconds since 1970."""

import re
from datetime import date, datetime
from typing import Final
from zoneinfo import ZoneInfo

from relay_ledger.periods.zones import FIRST_YEAR, LAST_YEAR, SECOND, aligned, day_start

_SECONDS: Final = re.compile(r"[0-9]{1,11}")
_DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MAX_DAYS: Final = 400


class NotATime(ValueError):
    """A text that is no time, or a span that is none; the message says what is."""


class Moments:
    """Reads times; a day or a time without an offset is one of the zone."""

    def __init__(self, where: ZoneInfo) -> None:
        self._where = where

    def read(self, text: str) -> int:
        """Returns microseconds since 1970; raises NotATime."""
        try:
            at = self._read(text)
        except (ValueError, OverflowError):
            raise NotATime(
                f"{text[:40]!r} is no time: 2026-01-31, 2026-01-31T10:00:00+08:00, or seconds since 1970"
            ) from None
        if not _EARLIEST <= at <= _LATEST:
            raise NotATime(f"{text[:40]!r} is not between the years {FIRST_YEAR} and {LAST_YEAR}")
        return at

    def span(self, start: str, end: str) -> tuple[int, int]:
        """Returns the time from start up to but without end, widened to quarters of an hour; raises NotATime."""
        first, last = self.read(start), self.read(end)
        if first >= last:
            raise NotATime("end has to be after start")
        if last - first > MAX_DAYS * 86_400 * SECOND:
            raise NotATime(f"it is more than {MAX_DAYS} days: ask for less")
        return aligned(first, last)

    def _read(self, text: str) -> int:
        if _SECONDS.fullmatch(text):
            return int(text) * SECOND
        if _DAY.fullmatch(text):
            return day_start(date.fromisoformat(text), self._where)
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self._where)
        return int(moment.timestamp()) * SECOND + moment.microsecond


_EARLIEST: Final = day_start(date(FIRST_YEAR, 1, 1), ZoneInfo("UTC"))
_LATEST: Final = day_start(date(LAST_YEAR, 1, 1), ZoneInfo("UTC"))
