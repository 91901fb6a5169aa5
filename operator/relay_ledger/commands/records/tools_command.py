"""`relay-ledger tools`: who called what of tool servers, under which rule and with which outcome."""

import argparse
import sys
from typing import Final

from relay_ledger.commands.report_options import add_time, some_of, time_of
from relay_ledger.reports.tool_calls import (
    BY,
    each_csv,
    each_json,
    each_table,
    sums_csv,
    sums_json,
    sums_table,
)
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.tool_calls.tool_call_reading import Asked, ToolCallReading

_DEFAULT: Final = ("tenant", "key", "server", "tool", "rule", "outcome")
_FILTERS: Final = ("tenant", "key", "server", "tool", "method", "outcome")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the time, what is asked for, and the form."""
    add_time(parser)
    parser.add_argument(
        "--by",
        type=some_of(BY),
        default=_DEFAULT,
        help=f"of {', '.join(BY)}; {','.join(_DEFAULT)} if left",
    )
    for name in _FILTERS:
        shown = "UID_OR_NAME" if name == "tenant" else name.upper()
        parser.add_argument(f"--{name}", metavar=shown, help=f"of this {name} alone")
    parser.add_argument("--each", action="store_true", help="each call instead of sums")
    parser.add_argument("--format", choices=["table", "csv", "json"], default="table")


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the report; raises NotATime, NoSuchTenant."""
    start, end = time_of(options)
    with opened(address) as engine:
        if options.tenant is not None:
            options.tenant = uid_of(engine, options.tenant)
        named = {BY[name]: getattr(options, name) for name in _FILTERS}
        asked = Asked(
            start, end, {name: value for name, value in named.items() if value is not None}
        )
        sys.stdout.write(_report(options, ToolCallReading(engine), asked))
    return 0


def _report(options: argparse.Namespace, calls: ToolCallReading, asked: Asked) -> str:
    if options.each:
        found = calls.each(asked)
        match options.format:
            case "csv":
                return each_csv(found)
            case "json":
                return each_json(found, start=asked.start, end=asked.end)
        return each_table(found)
    by = options.by
    sums = calls.sums(asked, [BY[name] for name in by])
    match options.format:
        case "csv":
            return sums_csv(sums, by)
        case "json":
            return sums_json(sums, by, start=asked.start, end=asked.end)
    return sums_table(sums, by)
