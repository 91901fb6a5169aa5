"""`relay-ledger terms` and `relay-ledger rates`: the zone and currency of a tenant's statements, and what a currency is worth, each since a time."""

import argparse
import sys
import time
from typing import Final

from relay_ledger.commands.price_commands import moment
from relay_ledger.money.amounts import micro_usd, price_text
from relay_ledger.money.rounding import CURRENCIES
from relay_ledger.periods.contracts import Contract, TermsChange
from relay_ledger.periods.moments import Moments
from relay_ledger.periods.zones import utc_text
from relay_ledger.statements.statement import NoRate, Rate, currency
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.contracts import ContractStore, TermsRefused
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened

MAX_RATE_MICRO: Final = 10**15
"""A thousand million of a currency for one USD."""


def add_terms(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `terms`."""
    parser.add_argument("tenant", metavar="UID_OR_NAME")
    parser.add_argument("--name", help="of the tenant, for its statements")
    parser.add_argument("--zone", help="as Asia/Shanghai")
    parser.add_argument("--currency", choices=sorted(CURRENCIES))
    parser.add_argument(
        "--anchor-day",
        type=int,
        choices=range(1, 32),
        metavar="1..31",
        help="day on which a month begins; its last one where it is shorter",
    )
    parser.add_argument(
        "--from",
        dest="start",
        help="a day or a time of the zone, at a quarter of an hour; if not given, all that no final statement has",
    )


def add_rates(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `rates`."""
    parser.add_argument("currency", choices=sorted(CURRENCIES.keys() - {"USD"}))
    parser.add_argument("rate", help="how much of it is one USD, as 7.1025")
    parser.add_argument("--from", dest="start", type=moment, required=True)
    parser.add_argument("--source", default="", help="who says so, for the statement")


def run_terms(options: argparse.Namespace, address: str) -> int:
    """Changes terms, or writes them if nothing is to change; raises TermsRefused, UnknownZone, NotATime, NoSuchTenant."""
    wanted = TermsChange(options.zone, options.anchor_day, options.currency, options.name)
    now = time.time_ns() // 1000
    if wanted == TermsChange() and options.start is not None:
        raise TermsRefused("say what is to change from then on")
    with opened(address) as engine:
        store = ContractStore(engine)
        uid = uid_of(engine, options.tenant, may_be_new=True)
        if wanted == TermsChange():
            sys.stdout.write(_written(store.contract(uid)))
            return 0
        held = store.contract(uid).terms_at(now)
        since = (
            None if options.start is None else Moments(wanted.of(held).where).read(options.start)
        )
        changed = store.change(uid, wanted, since=since, now=now)
    sys.stdout.write("in force\n" if changed else "in force already\n")
    return 0


def _written(contract: Contract) -> str:
    lines = ["from                  zone                  month begins  currency  name\n"]
    for one in contract.terms:
        since = utc_text(one.starts_at) if one.starts_at else "the beginning"
        lines.append(
            f"{since:20}  {one.zone:20}  day {one.anchor_day:<8}  {one.currency:8}  {one.tenant or '-'}\n"
        )
    return "".join(lines)


def run_rates(options: argparse.Namespace, address: str) -> int:
    """Puts a rate into force; raises NotAnAmount, NoRate."""
    micro = micro_usd(options.rate)
    if not 0 < micro <= MAX_RATE_MICRO:
        raise NoRate("a rate is above 0, and at most 1000000000")
    rate = Rate(currency(options.currency), micro, options.start, options.source)
    with opened(address) as engine:
        changed = put_rate(engine, rate, now=time.time_ns() // 1000)
    said = "in force" if changed else "in force already"
    sys.stdout.write(f"1 USD = {price_text(micro)} {options.currency}, {said}\n")
    return 0
