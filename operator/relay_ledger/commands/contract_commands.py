"""`relay-ledger terms` and `relay-ledger rates`: the zone and currency of a tenant's statements, and what a currency is worth, each since a time."""

import argparse
import sys
import time

from relay_ledger.commands.price_commands import moment
from relay_ledger.money.amounts import micro_usd, price_text
from relay_ledger.money.rounding import CURRENCIES
from relay_ledger.periods.contracts import Terms
from relay_ledger.statements.statement import NoRate, Rate, currency
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.databases import open_database
from relay_ledger.store.schema import upgrade


def add_terms(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `terms`."""
    parser.add_argument("tenant", metavar="UID")
    parser.add_argument("--name", default="", help="of the tenant, for its statements")
    parser.add_argument("--zone", default="UTC", help="as Asia/Shanghai")
    parser.add_argument("--currency", choices=sorted(CURRENCIES), default="USD")
    parser.add_argument(
        "--anchor-day",
        type=int,
        choices=range(1, 32),
        default=1,
        metavar="1..31",
        help="day on which a month begins; its last one where it is shorter",
    )
    parser.add_argument("--from", dest="start", type=moment, default=0, help="a quarter of an hour")


def add_rates(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rates`."""
    parser.add_argument("currency", choices=sorted(CURRENCIES.keys() - {"USD"}))
    parser.add_argument("rate", help="how much of it is one USD, as 7.1025")
    parser.add_argument("--from", dest="start", type=moment, required=True)
    parser.add_argument("--source", default="", help="who says so, for the statement")


def run_terms(options: argparse.Namespace, address: str) -> int:
    """Puts terms into force; raises TermsRefused, UnknownZone."""
    terms = Terms(options.start, options.zone, options.anchor_day, options.currency, options.name)
    engine = open_database(address)
    try:
        upgrade(engine)
        changed = ContractStore(engine).put(options.tenant, terms, now=time.time_ns() // 1000)
    finally:
        engine.dispose()
    sys.stdout.write("in force\n" if changed else "in force already\n")
    return 0


def run_rates(options: argparse.Namespace, address: str) -> int:
    """Puts a rate into force; raises NotAnAmount, NoRate."""
    micro = micro_usd(options.rate)
    if not micro:
        raise NoRate("a rate is above 0")
    rate = Rate(currency(options.currency), micro, options.start, options.source)
    engine = open_database(address)
    try:
        upgrade(engine)
        changed = put_rate(engine, rate, now=time.time_ns() // 1000)
    finally:
        engine.dispose()
    said = "in force" if changed else "in force already"
    sys.stdout.write(f"1 USD = {price_text(micro)} {options.currency}, {said}\n")
    return 0
