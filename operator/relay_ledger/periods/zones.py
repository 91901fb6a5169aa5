"""Time zones of the IANA, and the moments at which their days begin."""

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

SECOND: Final = 1_000_000
QUARTER: Final = 15 * 60 * SECOND
"""Sums are of quarters of an hour, so a period begins and ends at one. Every zone of this century does."""
FIRST_YEAR: Final = 2000
LAST_YEAR: Final = 2999


class UnknownZone(ValueError):
    """A name that is none of a time zone; the message says what is one."""


def zone(name: str) -> ZoneInfo:
    """Returns a time zone by its IANA name, as Asia/Shanghai; raises UnknownZone."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UnknownZone(
            f"{name[:64]!r} is no time zone: give a name of the IANA database, as Asia/Shanghai or UTC"
        ) from None


def day_start(day: date, where: ZoneInfo) -> int:
    """Returns the first moment of a day, microseconds since 1970.

    A day whose midnight the clocks skip begins when they jump; one with two midnights begins at the first. A day that a zone
    leaves out (Samoa, 30 December 2011) has the length 0.
    """
    midnight = datetime(day.year, day.month, day.day, tzinfo=where)
    return int(midnight.timestamp()) * SECOND


def local(at: int, where: ZoneInfo) -> datetime:
    """Returns the local time of a moment, to the second."""
    return datetime.fromtimestamp(at // SECOND, where)


def days(start: date, end: date) -> list[date]:
    """Returns the days from start up to but without end."""
    return [start + timedelta(days=number) for number in range((end - start).days)]


def utc_text(at: int) -> str:
    """Writes a moment as 2026-03-01T00:00:00Z."""
    seconds, micros = divmod(at, SECOND)
    moment = datetime.fromtimestamp(seconds, UTC).replace(microsecond=micros, tzinfo=None)
    return moment.isoformat() + "Z"


def aligned(start: int, end: int) -> tuple[int, int]:
    """Widens a time to quarters of an hour."""
    return start // QUARTER * QUARTER, -(-end // QUARTER) * QUARTER
