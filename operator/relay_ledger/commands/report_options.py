"""Options that several commands share: times (a month or two moments, of a time zone), and what a report goes by."""

import argparse
import re
import sys
from collections.abc import Callable, Collection
from typing import Final
from zoneinfo import ZoneInfo

from relay_ledger.periods.moments import Moments, NotATime
from relay_ledger.periods.months import Month, NotAMonth, month_period, read_month
from relay_ledger.periods.zones import UnknownZone, zone

_LABEL: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,256}")
"""relay_contract.billing.attempt_event.Label; half of a character is in no record."""

_ID: Final = re.compile(r"[0-9a-f]{32}")


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


def label(value: str) -> str:
    """Reads what others wrote into a record, as an option."""
    if _LABEL.fullmatch(value) is None:
        raise argparse.ArgumentTypeError("it is a text of 1 to 256 characters, without controls")
    return value


def record_id(value: str) -> str:
    """Reads the id of a record or a line as an option."""
    if _ID.fullmatch(value) is None:
        raise argparse.ArgumentTypeError(
            "an id has 32 hexadecimal digits, as the column id shows it"
        )
    return value


def not_a_place(value: str) -> argparse.ArgumentTypeError:
    """Returns what is said of a place that no answer can have named."""
    return argparse.ArgumentTypeError(f"{value[:80]!r} is no place that an answer named")


def tell_following(place: str) -> None:
    """Says on standard error that an answer is not all, and how to ask for what follows."""
    sys.stderr.write(f"relay-ledger: there are more: --after {place}\n")


def number_to(most: int) -> Callable[[str], int]:
    """Returns a reader of an option that is a number from 1 to this one."""

    def read(value: str) -> int:
        if not value.isascii() or not value.isdigit() or not 1 <= int(value[:10]) <= most:
            raise argparse.ArgumentTypeError(f"it is a number from 1 to {most}")
        return int(value)

    return read
