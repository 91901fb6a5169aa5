"""`relay-ledger prices`: makes lists of public prices, checks them, puts them into force, and corrects what is booked."""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from sqlalchemy import Engine

from relay_ledger.booking.price_book import Assignment
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.prices.back_dating import BackDated, back_dated
from relay_ledger.prices.price_file import read_price_list, write_price_list
from relay_ledger.prices.price_list import InvalidPrices, PriceList
from relay_ledger.prices.price_objects import price_list_object, provider_object
from relay_ledger.reports.price_table import PRICE_FORMS
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.price_book_store import PriceBookStore, no_such_list
from relay_ledger.store.repricing import Repricing

SECOND: Final = 1_000_000
_MOST_TOLD: Final = 10


def moment(value: str) -> int:
    """Reads a day or a time of UTC as microseconds since 1970."""
    try:
        read = datetime.fromisoformat(value)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"{value!r} is no time: 2026-01-31 or 2026-01-31T10:00:00Z"
        ) from None
    utc = read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
    return int(utc.timestamp()) * SECOND + utc.microsecond


def _day(value: str) -> str:
    moment(value)
    if len(value) != len("2026-01-31"):
        raise argparse.ArgumentTypeError(f"{value!r} is no day: 2026-01-31")
    return value


def add_parsers(parser: argparse.ArgumentParser) -> None:
    """Adds the commands below `prices`."""
    commands = parser.add_subparsers(dest="prices_command", required=True, metavar="COMMAND")
    imported = commands.add_parser(
        "import", help="write prices of genai-prices as YAML: a file, a PriceList or a Provider's"
    )
    imported.add_argument("provider", help="as genai-prices names it: openai, anthropic, ...")
    imported.add_argument("--name", help="of the list; the provider's by default")
    imported.add_argument(
        "--model", action="append", default=[], help="this one alone; may be repeated"
    )
    imported.add_argument(
        "--as",
        dest="form",
        choices=["file", "PriceList", "Provider"],
        default="file",
        help="a price file, or an object for kubectl apply; a file by default",
    )
    imported.add_argument(
        "--url",
        help="the endpoint of a Provider that is new; without it, prices of one that there is",
    )
    imported.add_argument(
        "--checked-at",
        type=_day,
        help="the day on which you compared the prices with their source, as 2026-01-31",
    )
    checked = commands.add_parser("check", help="read price lists and say what is wrong with them")
    checked.add_argument("files", nargs="+", type=Path)
    loaded = commands.add_parser("load", help="put price lists into force")
    loaded.add_argument("files", nargs="+", type=Path)
    listed = commands.add_parser(
        "list",
        help="show the prices in force, with their times, their source and when it was checked",
    )
    listed.add_argument("names", nargs="*", metavar="LIST", help="these alone; all else")
    listed.add_argument("--format", choices=sorted(PRICE_FORMS), default="table")
    assigned = commands.add_parser("assign", help="say whose a list is")
    assigned.add_argument("account", choices=["cost", "tool_cost", "charge"])
    assigned.add_argument(
        "subject",
        help="cost: the name of a Provider; tool_cost: that of a ToolServer; charge: the UID of a Tenant",
    )
    assigned.add_argument("list_name", metavar="LIST")
    assigned.add_argument("--from", dest="start", type=moment, default=0)
    repriced = commands.add_parser(
        "reprice",
        help="show what the prices in force change of what is booked; book it with --commit",
    )
    repriced.add_argument("--from", dest="start", type=moment, required=True)
    repriced.add_argument("--until", dest="end", type=moment, required=True)
    repriced.add_argument("--commit", action="store_true")


def run_offline(options: argparse.Namespace) -> bool:
    """Runs a command that needs no database; returns whether it was one. Raises InvalidPrices."""
    match options.prices_command:
        case "import":
            _import(options)
            return True
        case "check":
            for path in options.files:
                prices = _read(path)
                sys.stdout.write(
                    f"{path}: {prices.version}, {len(prices.entries)} entries of {len(prices.by_model)} models,"
                    f" {len(prices.tools)} prices of tools\n"
                )
            return True
    return False


def _import(options: argparse.Namespace) -> None:
    # its data takes half a second and 50 MB, which no other command needs
    from relay_ledger.catalogues.genai_catalogue import genai_price_list

    if options.url is not None and options.form != "Provider":
        raise InvalidPrices("--url is that of a Provider: give --as Provider, or leave it out")
    name = options.name or options.provider.replace("_", "-")
    imported = genai_price_list(
        options.provider, name=name, models=options.model, checked_at=options.checked_at or ""
    )
    comments = ("from genai-prices", *imported.warnings)
    if options.form == "file":
        sys.stdout.write(write_price_list(imported.prices, comments=comments))
        return
    if options.form == "PriceList":
        made = price_list_object(imported.prices)
    else:
        made = provider_object(imported.prices, url=options.url)
        if options.url is None:
            comments = (_PART, *comments)
    sys.stdout.write(made.yaml(comments))
    for one in made.left_out:
        sys.stderr.write(f"relay-ledger: left out: {one}\n")
    remarks = [one for one in imported.warnings if ": left out, " in one]
    for one in remarks:
        sys.stderr.write(f"relay-ledger: {one}\n")
    others = len(imported.warnings) - len(remarks)
    if others:
        sys.stderr.write(f"relay-ledger: {others} remarks stand in comments of the output\n")


_PART: Final = "prices of a Provider that there is: kubectl apply --server-side --field-manager=prices leaves the rest of it as it is"


def run(options: argparse.Namespace, address: str) -> None:
    """Runs a command on the database; raises InvalidPrices, DatabaseUnusable, NewerSchema."""
    with opened(address) as engine:
        _run(options, engine)


def _run(options: argparse.Namespace, engine: Engine) -> None:
    store, now = PriceBookStore(engine), time.time_ns() // 1000
    match options.prices_command:
        case "load":
            _load(store, options.files, now=now)
        case "list":
            sys.stdout.write(PRICE_FORMS[options.format](_named(store, options.names)))
        case "assign":
            assignment = Assignment(
                options.account, options.subject, options.start, options.list_name
            )
            store.assign(assignment, now=now)
        case "reprice":
            repricing = Repricing(engine, store.book(), start=options.start, end=options.end)
            changes = repricing.run(now=now) if options.commit else repricing.dry_run()
            for tenant_uid, change in sorted(changes.items()):
                sys.stdout.write(
                    f"{tenant_uid}: {change.attempts} attempts, {change.tool_calls} tool calls,"
                    f" cost {usd_text(change.cost_pico)} USD, charge {usd_text(change.charge_pico)} USD\n"
                )
            what = "booked" if options.commit else "dry run, nothing is booked"
            sys.stdout.write(f"{len(changes)} tenants; {what}\n")


def _load(store: PriceBookStore, files: Sequence[Path], *, now: int) -> None:
    for path in files:
        _read(path)
    former = store.book().lists
    for path in files:
        prices = store.load(_text(path), now=now)
        sys.stdout.write(f"{path}: {prices.version}\n")
        if prices.name in former:
            _tell_of_past(back_dated(former[prices.name], prices, now=now))


def _named(store: PriceBookStore, names: Sequence[str]) -> list[PriceList]:
    """Returns lists in force, with what is known of their sources now; raises InvalidPrices for a name of none."""
    lists = store.lists_with_sources()
    for name in names:
        if name not in lists:
            raise InvalidPrices(no_such_list(name))
    return [lists[name] for name in names or sorted(lists)]


def _tell_of_past(changed: BackDated | None) -> None:
    """Says what a list changes of a time that has passed, and keeps as it is booked."""
    if changed is None:
        return
    shown = ", ".join(changed.models[:_MOST_TOLD])
    others = len(changed.models) - _MOST_TOLD
    named = f"{shown} and {others} more" if others > 0 else shown
    since = "from the beginning" if changed.since is None else f"since {utc_text(changed.since)}"
    sys.stderr.write(
        f"relay-ledger: it has other prices than before of {named}, {since}: what is booked keeps its own until `relay-ledger prices reprice`\n"
    )


def _read(path: Path) -> PriceList:
    try:
        return read_price_list(_text(path))
    except InvalidPrices as error:
        raise InvalidPrices(f"{path}: {error}") from None


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidPrices(f"{path}: {error}") from None
