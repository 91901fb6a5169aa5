"""`relay-ledger alerts`: alerts of budgets that no receiver has taken, and how to have them sent again or be done with."""

import argparse
import csv
import sys
import time
from collections.abc import Collection, Sequence
from typing import Final

from sqlalchemy import Engine

from relay_ledger.budgets.alert_delivery import threshold_text
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.store.books.book_store import BookStore
from relay_ledger.store.limits.dead_letters import DeadLetter, DeadLetters
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.price_book_store import PriceBookStore

_COLUMNS: Final = (
    *("tenant", "limit", "threshold", "period_start", "amount_usd", "spent_usd"),
    *("crossed_at", "given_up_at"),
)


class NobodyKnown(ValueError):
    """Nobody can tell which Tenants are gone; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds whose alerts, and what to do with them."""
    parser.add_argument("--tenant", metavar="UID", help="of this tenant alone")
    parser.add_argument(
        "--gone",
        action="store_true",
        help="of Tenants that are gone alone: those that the operator's book does not have",
    )
    parser.add_argument("--note", default="", help="why they are dismissed, kept with the act")
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--send-again",
        action="store_true",
        help="have the operator send them again, under the ids that they had",
    )
    what.add_argument(
        "--dismiss",
        action="store_true",
        help="take them for told, such as those of a Tenant that is gone: nobody is sent them any more",
    )


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the alerts that were given up as CSV; has them sent again or dismisses them, and says how many.

    Who is sent them again or dismissed is an act that `relay-ledger acts` lists. Raises NobodyKnown.
    """
    with opened(address) as engine:
        store = DeadLetters(engine)
        letters = store.all(options.tenant)
        if options.gone:
            present = _present(engine)
            letters = [one for one in letters if one.alert.tenant_uid not in present]
        if options.send_again:
            count = store.send_again(letters, now=time.time_ns() // 1000)
            sys.stdout.write(f"{count} alerts are sent again\n")
        elif options.dismiss:
            count = store.dismiss(letters, now=time.time_ns() // 1000, note=options.note)
            sys.stdout.write(f"{count} alerts are dismissed\n")
        else:
            _write(letters)
    return 0


def _present(engine: Engine) -> Collection[str]:
    tenants = BookStore(engine, PriceBookStore(engine)).tenants()
    if not tenants:
        raise NobodyKnown(
            "the operator has given this ledger no book with tenants: nobody can tell which are gone; name one by --tenant"
        )
    return tenants.keys()


def _write(letters: Sequence[DeadLetter]) -> None:
    table = csv.writer(sys.stdout, lineterminator="\n")
    table.writerow(_COLUMNS)
    for letter in letters:
        alert = letter.alert.alert
        is_budget = alert.kind == "budget"
        table.writerow(
            [
                letter.alert.tenant_uid,
                alert.kind,
                threshold_text(alert),
                utc_text(alert.starts_at) if is_budget else "",
                usd_text(alert.amount),
                usd_text(alert.spent),
                utc_text(alert.crossed_at),
                utc_text(letter.given_up_at),
            ]
        )
