"""`relay-ledger audit`: shows that the sums are those of their postings, and that nothing is missing."""

import argparse
import sys

from relay_ledger.commands.price_commands import moment
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.tables import QUARTER_MICROSECONDS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the time to look at."""
    parser.add_argument("--from", dest="start", type=moment, required=True)
    parser.add_argument("--until", dest="end", type=moment, required=True)


def run(options: argparse.Namespace, address: str) -> int:
    """Writes what differs; returns 1 if anything does."""
    with opened(address) as engine:
        ledger = Ledger(engine)
        start, end = (
            at // QUARTER_MICROSECONDS * QUARTER_MICROSECONDS for at in (options.start, options.end)
        )
        differences = ledger.differences(start=start, end=end)
        standing = ledger.standing()
    for difference in differences:
        sys.stdout.write(f"sums differ from postings: {difference}\n")
    tally = standing.tally
    balanced = tally.in_flight == standing.in_flight
    sys.stdout.write(
        f"{tally.opened} opened + {tally.unopened} unopened"
        f" {'=' if balanced else '!='} {tally.closed} closed + {tally.swept} swept + {standing.in_flight} in flight;"
        f" {standing.quarantined} lines in quarantine; {len(differences)} sums differ\n"
    )
    return 0 if balanced and not differences else 1
