"""`relay-ledger statement`: what tenants owe for a month, as a draft or final, as CSV, JSON or a page that prints."""

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from relay_ledger.commands.report_options import month
from relay_ledger.settings import Settings
from relay_ledger.statements.statement import Statement
from relay_ledger.statements.statement_page import statement_page
from relay_ledger.statements.statement_table import csv_table, json_document
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened


class SeveralPages(ValueError):
    """Statements that do not fit into one page; the message says how to get them."""


HOUR: Final = 3600 * 1_000_000
_FORMS: Final[Mapping[str, Callable[[Statement], str]]] = {
    "csv": csv_table,
    "html": statement_page,
    "json": json_document,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the month, the tenants and the form."""
    parser.add_argument("--month", type=month, required=True, help="as 2026-10")
    parser.add_argument(
        "--tenant", metavar="UID_OR_NAME", action="append", help="may be repeated; all else"
    )
    parser.add_argument("--format", choices=sorted(_FORMS), default="csv")
    parser.add_argument(
        "--directory", type=Path, help="write a file for each statement, instead of standard output"
    )
    parser.add_argument(
        "--finalize",
        action="store_true",
        help="make them final, once the grace is over: they are kept, and never change",
    )


def run(options: argparse.Namespace, settings: Settings) -> int:
    """Writes the statements; raises NoSuchTenant, SeveralPages, NotDue, NoRate, PostingsGone, OSError."""
    with opened(settings.database.get_secret_value()) as engine:
        store = StatementStore(engine, grace=settings.grace_hours * HOUR)
        now = time.time_ns() // 1000
        asked = [uid_of(engine, named) for named in options.tenant or ()]
        tenants = asked or store.tenants()
        if options.directory is not None:
            _write_files(_made(store, tenants, options, now=now), options)
        else:
            if options.format == "html":
                _refuse_several(store, tenants, options, now=now)
            _write(_made(store, tenants, options, now=now), options)
    return 0


def _made(
    store: StatementStore, tenants: Sequence[str], options: argparse.Namespace, *, now: int
) -> Iterator[Statement]:
    made = store.finalize if options.finalize else store.statements
    for tenant_uid in tenants:
        yield from made(tenant_uid, options.month, now=now)


def _refuse_several(
    store: StatementStore, tenants: Sequence[str], options: argparse.Namespace, *, now: int
) -> None:
    """Raises SeveralPages before anything is final: a stream of several pages is none."""
    if len(tenants) > 1 or any(
        len(store.statements(one, options.month, now=now)) > 1 for one in tenants
    ):
        raise SeveralPages("each statement is a page of its own: give --directory")


def _write(statements: Iterable[Statement], options: argparse.Namespace) -> None:
    if options.format == "csv":
        sys.stdout.write(csv_table(*statements))
        return
    for statement in statements:
        text = _FORMS[options.format](statement)
        sys.stdout.write(text if text.endswith("\n") else text + "\n")


def _write_files(statements: Iterable[Statement], options: argparse.Namespace) -> None:
    for statement in statements:
        name = f"{statement.tenant_uid}-{statement.period.name}-{statement.state}.{options.format}"
        path: Path = options.directory / name
        path.write_text(_FORMS[options.format](statement), encoding="utf-8", newline="")
        sys.stdout.write(f"{path}\n")
