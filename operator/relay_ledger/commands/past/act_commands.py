"""`relay-ledger acts`: what people had the ledger change, when, of which tenant, and why."""

import argparse
import csv
import sys
from typing import Final

from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.text_cells import cell
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.rows.act_rows import acts

_COLUMNS: Final = ("done_at", "act", "tenant", "subject", "note")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds whose."""
    parser.add_argument("--tenant", metavar="UID", help="of this tenant alone")


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the acts as CSV, the earliest first."""
    with opened(address) as engine:
        found = acts(engine, options.tenant)
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(_COLUMNS)
    for one in found:
        told = (one.act, one.tenant_uid, one.subject, one.note)
        table.writerow([utc_text(one.done_at), *map(cell, told)])
    return 0
