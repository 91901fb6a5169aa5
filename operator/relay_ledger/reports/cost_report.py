"""What attempts and tool calls cost and earned, by whatever they can be told apart by: as CSV, and as JSON. The margin is charge less cost, of
each row. A tool call is of side `tool`: its provider is a ToolServer, its model a tool.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_contract.billing.token_buckets import BUCKETS, UNITS
from relay_ledger.booking.posting import Figures
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.figures import Group, added
from relay_ledger.reports.text_cells import csv_of

BY: Final = {
    "tenant": "tenant_uid",
    "model": "model",
    "provider": "provider",
    "key": "key_name",
    "side": "side",
    "route": "route",
    "source": "usage_source",
}
"""What a report can be by, and the column of sums that it is."""
Names = Mapping[str, str]
"""Of tenants by UID; one whose terms have none is not in it."""
_COUNTS: Final = ("attempts", "delivered", "abandoned", "tool_calls", *BUCKETS, *UNITS)
_MONEY: Final = ("cost_usd", "charge_usd", "margin_usd", "held_usd")
_MISSING: Final = ("cost_unpriced", "charge_unpriced")


def cost_csv(groups: Sequence[Group], by: Sequence[str], names: Names) -> str:
    """Returns a row for each group; names are those of tenants by UID."""
    head = [*_titles(by), *_COUNTS, *_MONEY, *_MISSING]
    rows = ({**_told(group, by, names), **_row(group.figures)} for group in groups)
    return csv_of(head, (list(row.values()) for row in rows))


def cost_json(
    groups: Sequence[Group],
    by: Sequence[str],
    names: Names,
    *,
    start: int,
    end: int,
    cost_adjustments: Sequence[Mapping[str, str]] = (),
) -> str:
    """Returns the rows, and their sum. What providers' invoices have more or less than attempts stands beside, and is in no row."""
    return json.dumps(
        {
            "start": utc_text(start),
            "end": utc_text(end),
            "currency": "USD",
            "rows": [_told(group, by, names) | _row(group.figures) for group in groups],
            "total": _row(added(group.figures for group in groups)),
            "cost_adjustments": list(cost_adjustments),
        },
        ensure_ascii=False,
        indent=2,
    )


def _titles(by: Sequence[str]) -> list[str]:
    """Returns the columns that name a group: beside a tenant's UID stands its name."""
    return [
        title for name in by for title in ((name, "tenant_name") if name == "tenant" else (name,))
    ]


def _told(group: Group, by: Sequence[str], names: Names) -> dict[str, Any]:
    told = {name: group.names[BY[name]] for name in by}
    if "tenant" in told:
        told["tenant_name"] = names.get(told["tenant"], "")
    return {title: told[title] for title in _titles(by)}


def _row(figures: Figures) -> dict[str, Any]:
    cost, charge = figures["cost_pico"], figures["charge_pico"]
    amounts = (cost, charge, charge - cost, figures["held_pico"])
    return {
        **{name: figures[name] for name in _COUNTS},
        **dict(zip(_MONEY, map(usd_text, amounts), strict=True)),
        **{name: figures[name] for name in _MISSING},
    }
