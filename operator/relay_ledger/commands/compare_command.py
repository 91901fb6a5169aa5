"""`relay-ledger compare`: what a month would have cost by another price list, and beside it what an old relay's history says."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from relay_ledger.commands.report_options import month, time_zone
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.months import month_period
from relay_ledger.periods.zones import utc_text, zone
from relay_ledger.prices.price_list import InvalidPrices, PriceList
from relay_ledger.reports.baseline import compared_imports
from relay_ledger.reports.old_history import cost_of_tokens, read_baseline
from relay_ledger.reports.what_if import WhatIf
from relay_ledger.store.bills.baseline_store import BaselineStore
from relay_ledger.store.bills.booked_costs import booked_costs
from relay_ledger.store.named_tenants import uid_of
from relay_ledger.store.opening.opened import opened
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.tool_calls.billed_calls import booked_call_costs


def _renamed(value: str) -> tuple[str, str]:
    name, equals, other = value.partition("=")
    if not (name and equals and other):
        raise argparse.ArgumentTypeError(f"{value!r}: write MODEL=MODEL_OF_THE_LIST")
    return name, other


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the list, the month, and what stands for what."""
    parser.add_argument("--price-list", required=True, help="the name of a list that is loaded")
    parser.add_argument("--month", type=month, required=True, help="as 2026-10")
    parser.add_argument("--zone", type=time_zone, default=zone("UTC"), help="of the month")
    parser.add_argument("--tenant", metavar="UID_OR_NAME", help="of this tenant alone")
    parser.add_argument(
        "--provider", help="whose entries of the list hold, where it names providers"
    )
    parser.add_argument(
        "--model", type=_renamed, action="append", default=[], metavar="MODEL=MODEL_OF_THE_LIST",
        help="which model takes the place of another; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--baseline", type=Path, help="what an old relay answered to POST /usage/history"
    )
    parser.add_argument(
        "--baseline-model",
        help="the model of the list whose price the tokens of a baseline have that names no model",
    )


def run(options: argparse.Namespace, address: str) -> int:
    """Writes the comparison as JSON; raises InvalidPrices, NoSuchTenant, UnreadableHistory, OSError."""
    with opened(address) as engine:
        if options.tenant is not None:
            options.tenant = uid_of(engine, options.tenant)
        content = _compared(options, engine)
    sys.stdout.write(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
    return 0


def _compared(options: argparse.Namespace, engine: Engine) -> dict[str, Any]:
    prices = PriceBookStore(engine).book().lists.get(options.price_list)
    if prices is None:
        raise InvalidPrices(f"there is no price list {options.price_list}: load it first")
    period = month_period(options.month, options.zone)
    what_if = WhatIf(prices, dict(options.model), options.provider)
    for closed, cost in booked_costs(
        engine, start=period.start, end=period.end, tenant_uid=options.tenant
    ):
        what_if.add(closed, cost)
    for call, call_cost in booked_call_costs(
        engine, start=period.start, end=period.end, tenant_uid=options.tenant
    ):
        what_if.add_call(call, call_cost)
    content = {
        "month": period.name,
        "start": utc_text(period.start),
        "end": utc_text(period.end),
        "price_list": prices.version,
        "total": what_if.total().fields(),
        "by_model": [
            {"model": model, **what_if.by_model[model].fields()}
            for model in sorted(what_if.by_model)
        ],
        "total_of_tools": what_if.total_of_tools().fields("calls"),
        "by_tool": [
            {"server": server, "tool": tool, **sums.fields("calls")}
            for (server, tool), sums in sorted(what_if.by_tool.items(), key=lambda one: one[0])
        ],
    }
    imported = BaselineStore(engine).points(
        start=period.start, end=period.end, tenant_uid=options.tenant
    )
    if imported:
        models = {"": options.baseline_model or "", **dict(options.model)}
        content["imported"] = compared_imports(imported, prices, models)
    if options.baseline is not None:
        content["baseline"] = _baseline(options, prices, period.start, period.end)
    return content


def _baseline(
    options: argparse.Namespace, prices: PriceList, start: int, end: int
) -> dict[str, Any]:
    found = read_baseline(options.baseline.read_text(encoding="utf-8"), start=start, end=end)
    cost = None
    is_named = bool(found.points) and all(point.model for point in found.points)
    if is_named or options.baseline_model is not None:
        models = {"": options.baseline_model or "", **dict(options.model)}
        cost = cost_of_tokens(found.points, prices, models)
    return {
        "points": len(found.points),
        "input_tokens": sum(point.input_tokens for point in found.points),
        "output_tokens": sum(point.output_tokens for point in found.points),
        "worst_latency_p99": found.latency_p99,
        "worst_error_rate": found.error_rate,
        "usd_by_price_list": None if cost is None else usd_text(cost),
    }
