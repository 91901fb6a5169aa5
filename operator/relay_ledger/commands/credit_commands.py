"""`relay-ledger credit` and `relay-ledger payments-token`: money paid in advance, by hand, and the token by which payment systems tell of it."""

import argparse
import json
import sys
import time
from pathlib import Path

from relay_contract.billing.ledger_token import UnusableKeys, read_keys
from relay_ledger.money.amounts import price_text, usd_text
from relay_ledger.money.rounding import USD, minor_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reading.credit_form import read_credit
from relay_ledger.settings import Settings
from relay_ledger.statements.statement import NoRate, Rate
from relay_ledger.store.credits import (
    Balance,
    BookedPayment,
    CreditStore,
    ReferenceTaken,
    TooMuch,
    UnknownTenant,
)
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened


class CreditRefused(ValueError):
    """A payment that is not booked; the message says why."""


def add_credit(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `credit`."""
    parser.add_argument("tenant", metavar="UID_OR_NAME")
    parser.add_argument("--amount", help="as 25.00; without it the balance alone is told")
    parser.add_argument(
        "--currency", default="USD", help="of the amount; turned into USD by the rate in force"
    )
    parser.add_argument("--reference", default="", help="the payment's own, booked once")
    parser.add_argument("--note", default="")
    parser.add_argument("--payments", action="store_true", help="list what was paid")


def run_credit(options: argparse.Namespace, address: str) -> int:
    """Books a payment and tells the balance; raises BadQuestion, CreditRefused, NoSuchTenant."""
    with opened(address) as engine:
        options.tenant = uid_of(engine, options.tenant)
        store = CreditStore(engine)
        if options.amount is not None:
            _book(store, options)
        if options.payments:
            for one in store.payments(options.tenant):
                sys.stdout.write(_line(one))
        balance = store.standing(options.tenant, now=time.time_ns() // 1000)
    sys.stdout.write("no credit\n" if balance is None else f"{_told(balance)}\n")
    return 0


def _told(balance: Balance) -> str:
    usd = f"{usd_text(balance.pico)} USD"
    if balance.rate is None:
        return usd
    return (
        f"{usd}, {minor_text(balance.minor, balance.rate.currency)} at {_rate_text(balance.rate)}"
    )


def _line(booked: BookedPayment) -> str:
    payment = booked.payment
    paid = f"{usd_text(payment.amount_pico)} {payment.currency.code}"
    at = f" at {_rate_text(booked.rate)}: {usd_text(booked.usd_pico)} USD"
    turned = "" if payment.currency == USD else at
    return (
        f"{utc_text(booked.booked_at)} {payment.reference} {paid}{turned} {payment.note}".rstrip()
        + "\n"
    )


def _rate_text(rate: Rate) -> str:
    return f"{price_text(rate.micro)} since {utc_text(rate.since)}"


def _book(store: CreditStore, options: argparse.Namespace) -> None:
    form = read_credit(
        json.dumps(
            {
                "tenant_uid": options.tenant,
                "reference": options.reference,
                "amount": options.amount,
                "currency": options.currency,
                "note": options.note,
            }
        ).encode()
    )
    try:
        new = store.add(form.tenant_uid, form.payment, now=time.time_ns() // 1000)
    except UnknownTenant:
        raise CreditRefused(f"the ledger knows no tenant of UID {form.tenant_uid}") from None
    except (ReferenceTaken, NoRate, TooMuch) as error:
        raise CreditRefused(str(error)) from None
    sys.stdout.write("booked\n" if new else "booked before\n")


def run_token(settings: Settings) -> int:
    """Writes the token of payment systems; raises CreditRefused, OSError."""
    path: Path = settings.keys_file
    try:
        keys = read_keys(path.read_text(encoding="ascii"))
    except (UnusableKeys, UnicodeDecodeError):
        raise CreditRefused(f"{path} is no file of keys") from None
    sys.stdout.write(keys.payments_token() + "\n")
    return 0
