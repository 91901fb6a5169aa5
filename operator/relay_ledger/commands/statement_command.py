"""`relay-ledger statement`: what tenants owe for a month, as a draft or final, as CSV, JSON or a page that prints."""

import argparse
import sys
import time
from pathlib import Path
from typing import Final

from relay_ledger.commands.report_options import month
from relay_ledger.settings import Settings
from relay_ledger.statements.statement import Statement
from relay_ledger.statements.statement_page import statement_page
from relay_ledger.statements.statement_table import csv_table, json_document
from relay_ledger.store.bills.statement_store import StatementStore
from relay_ledger.store.databases import open_database
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.schema import upgrade

HOUR: Final = 3600 * 1_000_000
_FORMS: Final = {"csv": csv_table, "html": statement_page, "json": json_document}


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
    """Writes the statements; raises NoSuchTenant, NotDue, NoRate, PostingsGone, OSError."""
    engine = open_database(settings.database.get_secret_value())
    try:
        upgrade(engine)
        store = StatementStore(engine, grace=settings.grace_hours * HOUR)
        now = time.time_ns() // 1000
        made = store.finalize if options.finalize else store.statements
        asked = [uid_of(engine, named) for named in options.tenant or ()]
        for tenant_uid in asked or store.tenants():
            for statement in made(tenant_uid, options.month, now=now):
                _write(statement, options)
    finally:
        engine.dispose()
    return 0


def _write(statement: Statement, options: argparse.Namespace) -> None:
    text = _FORMS[options.format](statement)
    if options.directory is None:
        sys.stdout.write(text if text.endswith("\n") else text + "\n")
        return
    name = f"{statement.tenant_uid}-{statement.period.name}-{statement.state}.{options.format}"
    path: Path = options.directory / name
    path.write_text(text, encoding="utf-8", newline="")
    sys.stdout.write(f"{path}\n")
