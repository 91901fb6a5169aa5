"""`relay-ledger reconcile`: what a provider's own usage and cost reports say beside what is booked, with the causes of each difference."""

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Engine

from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.commands.provider_api import ReportApi
from relay_ledger.commands.report_options import month
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import Period, month_period
from relay_ledger.periods.zones import SECOND, utc_text, zone
from relay_ledger.prices.pricing import Use, price_of_token
from relay_ledger.reconciliation.comparison import Difference, causes_told
from relay_ledger.reconciliation.own_use import OwnUse
from relay_ledger.reconciliation.provider_report import (
    DAY,
    TIERS_WITHOUT_COSTS,
    Page,
    ProviderReport,
    Tokens,
    read_pages,
)
from relay_ledger.reconciliation.reconciling import (
    PriceOf,
    Reconciliation,
    Terms,
    reconciled,
)
from relay_ledger.reconciliation.summary import summary_of
from relay_ledger.settings import REPORT_BASE
from relay_ledger.store.bills.cost_adjustments import CostAdjustments
from relay_ledger.store.bills.own_use_reading import attempts_of, cost_of
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.price_book_store import PriceBookStore

FLAGGED: Final = 3


class NothingReported(ValueError):
    """A reconciliation without a report; the message says how to give one."""


class NotSettled(ValueError):
    """A difference that cannot be booked; the message says why."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the provider, the month, and where its reports are."""
    parser.add_argument("provider", help="the name of the Provider, as attempts have it")
    parser.add_argument("--period", type=month, required=True, help="a month of UTC, as 2026-10")
    parser.add_argument("--dialect", choices=["openai", "anthropic"], required=True)
    parser.add_argument(
        "--file", type=Path, action="append", default=[], help="a page of a report; may be repeated"
    )
    parser.add_argument(
        "--api-key-file", type=Path, help="ask the provider with this key of an administrator"
    )
    parser.add_argument(
        "--api-base",
        type=_base,
        help="another address than the provider's own, https:// and a name",
    )
    parser.add_argument(
        "--own-key",
        action="append",
        default=[],
        help="id of a key that only relays have; may be repeated",
    )
    parser.add_argument(
        "--project",
        action="append",
        default=[],
        help="compare what these projects of OpenAI or workspaces of Anthropic used alone, by their ids ('default' for one without); may be repeated",
    )
    parser.add_argument(
        "--settle-hours", type=int, default=48, help="younger buckets are provisional"
    )
    parser.add_argument(
        "--adjust",
        action="store_true",
        help="book what the invoice differs by as a cost of the provider; attempts and charges stay",
    )
    parser.add_argument("--format", choices=["text", "json"], default="text")


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the reconciliation and keeps it; returns 3 if something is flagged.

    With --adjust it books the difference of the money in all, once: the next run books what has changed since. Raises
    NothingReported, NotSettled, UnreadableReport, ProviderRefused, OSError.
    """
    if not options.file and options.api_key_file is None:
        raise NothingReported("there is no report to compare with: give --file or --api-key-file")
    period = month_period(options.period, zone("UTC"))
    given = read_pages(_pages(options, period.start, period.end), options.dialect)
    if options.project:
        given = given.of_projects(options.project)
    report = given.within(period.start, period.end)
    with opened(address) as engine:
        found = _reconciled(options, engine, report, period.start, period.end)
        ReconciliationStore(engine).keep(
            options.provider,
            summary_of(found),
            _json(found),
            start=period.start,
            end=period.end,
            now=time.time_ns() // 1000,
        )
        write = _json if options.format == "json" else _text
        sys.stdout.write(write(found))
        if options.adjust:
            _check_days(given, report, period)
            has_costs = bool(report.costs)
            sys.stderr.write(
                _adjusted(options.provider, engine, found, period, has_costs=has_costs)
            )
    return FLAGGED if found.flagged else 0


def _check_days(given: ProviderReport, report: ProviderReport, period: Period) -> None:
    """Raises NotSettled unless the costs are those of the whole month and of nothing else: an adjustment is of a month."""
    others = given.spans.get("costs", frozenset()) - report.spans.get("costs", frozenset())
    if others:
        first, _ = min(others)
        raise NotSettled(f"the costs of {utc_text(first)} are not of {period.name}: leave them out")
    missing = report.missing.get("costs")
    if missing:
        first, _ = min(missing)
        raise NotSettled(f"costs of {utc_text(first)} are missing: give those of the whole month")


def _base(text: str) -> str:
    if not re.fullmatch(REPORT_BASE, text):
        raise argparse.ArgumentTypeError(
            "it has to be https:// and a name, without user, password and path: the key goes there"
        )
    return text


def _adjusted(
    provider: str, engine: Engine, found: Reconciliation, period: Period, *, has_costs: bool
) -> str:
    money = found.money_in_all
    if money is None or not has_costs:
        raise NotSettled("there is no money in these reports: give those of costs")
    if any(one.provisional for _, one in found.money):
        raise NotSettled("days of it are too young to count: adjust once they are settled")
    store = CostAdjustments(engine)
    change = store.adjust(
        provider,
        start=period.start,
        end=period.end,
        difference_pico=-money.amount,
        now=time.time_ns() // 1000,
    )
    total = usd_text(store.of_period(provider, period.start))
    return (
        f"booked {usd_text(change)} USD; {period.name} of {provider} is adjusted by {total} USD\n"
    )


def _pages(options: argparse.Namespace, start: int, end: int) -> Iterator[Page]:
    for path in options.file:
        yield Page(path.read_text(encoding="utf-8"))
    if options.api_key_file is not None:
        api = ReportApi(
            options.dialect,
            key_file=options.api_key_file,
            base=options.api_base,
            by_project=bool(options.project),
        )
        yield from api.pages(start=start, end=end)


def _reconciled(
    options: argparse.Namespace, engine: Engine, report: ProviderReport, start: int, end: int
) -> Reconciliation:
    days = frozenset((at, at + DAY) for at in range(start, end, DAY))
    buckets = report.spans["usage"] | report.missing["usage"] if "usage" in report.spans else days
    own = OwnUse(buckets, report.tiers)
    # what was sent before may have been counted within
    for attempt in attempts_of(engine, options.provider, start=start - DAY, end=end):
        own.add(attempt)
    charged = report.spans.get("costs", frozenset()) | report.missing.get("costs", frozenset())
    costs = {
        first: cost_of(engine, options.provider, start=first, end=last) for first, last in charged
    }
    unsettled = time.time_ns() // 1000 - options.settle_hours * 3600 * SECOND
    terms = Terms(frozenset(options.own_key), unsettled, TIERS_WITHOUT_COSTS[options.dialect])
    book = PriceBookStore(engine).book()
    return reconciled(own, report, costs, terms, _prices(book, options.provider))


def _prices(book: PriceBook, provider: str) -> PriceOf:
    def price(at: int, model: str, tier: str, kind: Tokens, tokens: int) -> int:
        prices = book.price_list("cost", provider, at)
        if prices is None:
            return 0
        one = Use(provider, model, at, TokenBuckets(**{kind: 1}), BilledUnits(), service_tier=tier)
        return (price_of_token(one, prices) or 0) * tokens

    return price


def _text(found: Reconciliation) -> str:
    lines = [
        *(f"{utc_text(one.start)} {_line(one.difference, str)}" for one in found.tokens),
        *(f"{utc_text(start)} {_line(one, usd_text)}" for start, one in found.money),
        *(f"in all {_line(one, str)}" for one in found.tokens_in_all),
    ]
    if found.money_in_all is not None:
        lines.append(f"in all {_line(found.money_in_all, usd_text)}")
    lines.append(f"{len(found.flagged)} are more than 1 % apart")
    return "\n".join(lines) + "\n"


def _line(one: Difference, text: Any) -> str:
    state = "FLAGGED" if one.is_flagged else "provisional" if one.provisional else "ok"
    causes = ", ".join(f"{cause} {text(part)}" for cause, part in causes_told(one.parts))
    because = f" = {causes}" if causes else ""
    return f"{one.name}: booked {text(one.ours)}, reported {text(one.theirs)}, {state}: {text(one.amount)}{because}"


def _json(found: Reconciliation) -> str:
    content = {
        "tokens": [
            {"start": utc_text(one.start), "model": one.model, "tier": one.tier, "kind": one.kind}
            | _fields(one.difference, lambda number: number)
            for one in found.tokens
        ],
        "money": [
            {"start": utc_text(start)} | _fields(one, usd_text) for start, one in found.money
        ],
        "tokens_in_all": [
            {"name": one.name} | _fields(one, lambda number: number) for one in found.tokens_in_all
        ],
        "money_in_all": None
        if found.money_in_all is None
        else _fields(found.money_in_all, usd_text),
        "flagged": len(found.flagged),
    }
    return json.dumps(content, indent=2) + "\n"


def _fields(one: Difference, form: Any) -> dict[str, Any]:
    return {
        "booked": form(one.ours),
        "reported": form(one.theirs),
        "difference": form(one.amount),
        "causes": {cause: form(part) for cause, part in one.parts.items()},
        "provisional": one.provisional,
        "flagged": one.is_flagged,
    }
