"""`relay-ledger report`: what attempts cost and earned, by tenant, model, provider, key, side, or as a page to look at."""

import argparse
import sys
import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import Engine

from relay_ledger.commands.report_options import add_time, some_of, time_of
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.divisions import divided
from relay_ledger.periods.moments import NotATime
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.cost_report import BY, Names, cost_csv, cost_json
from relay_ledger.reports.figures import Group
from relay_ledger.reports.focus import DAY, FOCUS_DIMENSIONS, CorrectionRow, DayRow, focus_csv
from relay_ledger.reports.pages.usage_page import (
    PAGE_DIMENSIONS,
    UsageOverview,
    granularity,
    usage_page,
)
from relay_ledger.store.bills.cost_adjustments import CostAdjustment, CostAdjustments
from relay_ledger.store.bills.overview_reading import read_overview
from relay_ledger.store.named_tenants import names_of, uid_of
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.usage_reading import UsageReading

_DEFAULT: Final = "tenant,model"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the time, the dimensions and the form."""
    add_time(parser)
    parser.add_argument(
        "--by",
        type=some_of(BY),
        default=_DEFAULT,
        help=f"of {', '.join(BY)}; {_DEFAULT} by default",
    )
    parser.add_argument("--tenant", metavar="UID_OR_NAME", help="of this tenant alone")
    parser.add_argument(
        "--format",
        choices=["csv", "json", "focus", "html"],
        default="csv",
        help="focus: rows of FOCUS 1.2; html: a page with charts; both have their own dimensions",
    )


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the report; raises NotATime, NoSuchTenant."""
    start, end = time_of(options)
    with opened(address) as engine:
        if options.tenant is not None:
            options.tenant = uid_of(engine, options.tenant)
        # what an invoice has more than attempts is no tenant's
        adjustments = CostAdjustments(engine).between(start, end) if options.tenant is None else []
        if options.format == "html":
            sys.stdout.write(_page(options, engine, start, end, adjustments))
            return 0
        names = names_of(engine)
        sys.stdout.write(_report(options, UsageReading(engine), names, (start, end), adjustments))
    return 0


def _report(
    options: argparse.Namespace,
    usage: UsageReading,
    names: Names,
    span: tuple[int, int],
    adjustments: Sequence[CostAdjustment],
) -> str:
    start, end = span
    if options.format == "focus":
        return _focus(options, usage, names, span, adjustments)
    columns = [BY[name] for name in options.by]
    groups = [
        Group(dict(zip(columns, named, strict=True)), figures)
        for named, figures in usage.sums(
            start=start, end=end, by=columns, tenant_uid=options.tenant
        )
    ]
    if options.format == "json":
        told = [
            {
                "provider": one.provider,
                "start": utc_text(one.starts_at),
                "end": utc_text(one.ends_at),
                "cost_usd": usd_text(one.amount_pico),
            }
            for one in adjustments
        ]
        report = cost_json(groups, options.by, names, start=start, end=end, cost_adjustments=told)
        return report + "\n"
    return cost_csv(groups, options.by, names)


def _page(
    options: argparse.Namespace,
    engine: Engine,
    start: int,
    end: int,
    adjustments: Sequence[CostAdjustment],
) -> str:
    by = granularity(start, end)
    parts = divided(start, end, by, options.zone)
    found = read_overview(engine, parts, by=PAGE_DIMENSIONS, tenant_uid=options.tenant)
    begins = [first for first, _ in parts]
    return usage_page(
        UsageOverview(
            start=start,
            end=end,
            zone=options.zone,
            made_at=time.time_ns() // 1_000_000_000 * 1_000_000,
            tenant=options.tenant,
            parts=list(zip(begins, found.parts, strict=True)),
            groups=found.groups,
            tenants=found.tenants,
            names=found.names,
            adjustment_pico=sum(one.amount_pico for one in adjustments),
        )
    )


def _focus(
    options: argparse.Namespace,
    usage: UsageReading,
    names: Names,
    span: tuple[int, int],
    adjustments: Sequence[CostAdjustment],
) -> str:
    start, end = span
    if start % DAY or end % DAY:
        raise NotATime("rows of FOCUS are days of UTC: let the time begin and end at one")
    rows = [
        DayRow(day, dict(zip(FOCUS_DIMENSIONS, named, strict=True)), figures)
        for day, (named, figures) in usage.days(start=start, end=end, by=FOCUS_DIMENSIONS)
    ]
    tenant = options.tenant
    corrections = [
        CorrectionRow(
            provider=one.provider, start=one.starts_at, end=one.ends_at, amount_pico=one.amount_pico
        )
        for one in adjustments
    ]
    return focus_csv(
        (row for row in rows if tenant is None or row.names["tenant_uid"] == tenant),
        corrections,
        names,
    )
