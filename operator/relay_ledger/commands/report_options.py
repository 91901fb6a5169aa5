"""Options that several commands share: times (a month or two moments, of a time zone), and what a report goes by."""

import argparse
from collections.abc import Callable, Collection
from zoneinfo import ZoneInfo

from relay_ledger.periods.moments import Moments, NotATime
from relay_ledger.periods.months import Month, NotAMonth, month_period, read_month
from relay_ledger.periods.zones import UnknownZone, zone


def month(value: str) -> Month:
    """Reads a month as an option."""
    try:
        return read_month(value)
    except NotAMonth as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def time_zone(value: str) -> ZoneInfo:
    """Reads a time zone as an option."""
    try:
        return zone(value)
    except UnknownZone as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_time(parser: argparse.ArgumentParser) -> None:
    """Adds --month, or --from and --until, and --zone."""
    parser.add_argument("--month", type=month, help="as 2026-10")
    parser.add_argument("--from", dest="start", metavar="TIME", help="2026-10-01, or with a time")
    parser.add_argument("--until", dest="end", metavar="TIME", help="the first moment after")
    parser.add_argument(
        "--zone", type=time_zone, default=zone("UTC"), help="of days and months; UTC by default"
    )


def time_of(options: argparse.Namespace) -> tuple[int, int]:
    """Returns the time that is asked for, at quarters of an hour; raises NotATime."""
    if options.month is not None and options.start is None and options.end is None:
        period = month_period(options.month, options.zone)
        return period.start, period.end
    if options.month is not None or options.start is None or options.end is None:
        raise NotATime("give --month, or --from and --until")
    return Moments(options.zone).span(options.start, options.end)


def some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """Returns a reader of an option that names some of these, with commas between and none twice."""

    def read(value: str) -> tuple[str, ...]:
        names = tuple(value.split(","))
        if len(set(names)) < len(names) or not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"name some of {', '.join(known)}, each once")
        return names

    return read
