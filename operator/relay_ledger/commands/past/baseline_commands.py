"""`relay-ledger baseline`: keeps what an old relay served of a tenant, and sets it beside what is booked."""

import argparse
import csv
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from relay_ledger.commands.report_options import add_time, time_of
from relay_ledger.periods.divisions import divided
from relay_ledger.periods.zones import local, utc_text
from relay_ledger.reports.baseline import (
    BOOKED,
    IMPORTED,
    BaselineRow,
    baseline_csv,
    baseline_json,
    with_totals,
)
from relay_ledger.reports.figures import SERVED_SIDES, input_tokens, output_tokens
from relay_ledger.reports.old_history import read_history
from relay_ledger.store.bills.baseline_store import BaselineStore
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.usage_reading import UsageReading

_COLUMNS: Final = ("tenant", "source", "start", "end", "points", "imported_at")


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Adds what can be done with histories."""
    commands = parser.add_subparsers(dest="baseline_command", required=True, metavar="COMMAND")
    taken = commands.add_parser("import", help="keep a history; the same one again changes nothing")
    taken.add_argument("file", type=Path, help="what an old relay answered to POST /usage/history")
    _add_whose(taken)
    taken.add_argument(
        "--model", default="", help="that of points which name none, as booked models are named"
    )
    taken.add_argument(
        "--replace",
        action="store_true",
        help="take away what was imported of a time that it is of too; otherwise it is refused",
    )
    _add_whose(commands.add_parser("remove", help="take away all that was imported from a source"))
    commands.add_parser("list", help="list what was imported, as CSV")
    report = commands.add_parser("report", help="set what was imported beside what is booked")
    add_time(report)
    report.add_argument("--tenant", metavar="UID", help="of this tenant alone")
    report.add_argument("--format", choices=["csv", "json"], default="csv")


def _add_whose(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", metavar="UID", required=True)
    parser.add_argument("--source", required=True, help="a name for the old relay")


def run(options: argparse.Namespace, address: str) -> int:
    """Does it, and says what was done; raises BaselineRefused, UnreadableHistory, NotATime, TooManyParts, OSError."""
    with opened(address) as engine:
        match options.baseline_command:
            case "import":
                _import(options, BaselineStore(engine))
            case "remove":
                count = BaselineStore(engine).remove(options.tenant, options.source, now=_now())
                sys.stdout.write(f"{count} imports are taken away\n")
            case "list":
                _list(BaselineStore(engine))
            case _:
                _report(options, engine)
    return 0


def _import(options: argparse.Namespace, store: BaselineStore) -> None:
    history = read_history(options.file.read_text(encoding="utf-8"), model=options.model)
    is_new = store.put(options.tenant, options.source, history, replace=options.replace, now=_now())
    span = f"{len(history.points)} points from {utc_text(history.start)} to {utc_text(history.end)}"
    sys.stdout.write(f"{span} are {'imported' if is_new else 'known already: nothing changed'}\n")


def _list(store: BaselineStore) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(_COLUMNS)
    for one in store.all():
        times = utc_text(one.start), utc_text(one.end)
        table.writerow([one.tenant_uid, one.source, *times, one.points, utc_text(one.imported_at)])


def _report(options: argparse.Namespace, engine: Engine) -> None:
    start, end = time_of(options)
    rows = with_totals(
        [*_booked(options, engine, start, end), *_imported(options, engine, start, end)]
    )
    if options.format == "json":
        sys.stdout.write(baseline_json(rows, start=start, end=end))
    else:
        sys.stdout.write(baseline_csv(rows))


def _booked(
    options: argparse.Namespace, engine: Engine, start: int, end: int
) -> Iterator[BaselineRow]:
    usage = UsageReading(engine)
    for first, last in divided(start, end, "day", options.zone):
        day = f"{local(first, options.zone):%Y-%m-%d}"
        sums = usage.sums(
            start=first, end=last, by=["model"], tenant_uid=options.tenant, sides=SERVED_SIDES
        )
        for (model,), figures in sums:
            yield _row(BOOKED, "", day, model, _tokens(figures), figures["charge_pico"])


def _imported(
    options: argparse.Namespace, engine: Engine, start: int, end: int
) -> Iterator[BaselineRow]:
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for one in BaselineStore(engine).points(start=start, end=end, tenant_uid=options.tenant):
        point = one.point
        key = one.source, f"{local(point.at, options.zone):%Y-%m-%d}", point.model
        read, written = found.get(key, (0, 0))
        found[key] = read + point.input_tokens, written + point.output_tokens
    for (source, day, model), tokens in found.items():
        yield _row(IMPORTED, source, day, model, tokens, None)


def _row(
    origin: str, source: str, day: str, model: str, tokens: tuple[int, int], money: int | None
) -> BaselineRow:
    return BaselineRow(origin, source, day, model, *tokens, money)


def _tokens(figures: Mapping[str, int]) -> tuple[int, int]:
    return input_tokens(figures), output_tokens(figures)


def _now() -> int:
    return time.time_ns() // 1000
