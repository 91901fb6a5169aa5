"""What attempts and tool calls cost and earned, by whatever they can be told apart by: as CSV, and as JSON. The margin is charge less cost, of
each row. A tool call is of side `tool`: its provider is a ToolServer, its model a tool.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from relay_contract.billing.token_buckets import BUCKETS, UNITS
from relay_ledger.booking.posting import Figures
from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.reports.figures import Group, added
from relay_ledger.reports.text_cells import cell

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
_COUNTS: Final = ("attempts", "delivered", "tool_calls", *BUCKETS, *UNITS)
_MONEY: Final = ("cost_usd", "charge_usd", "margin_usd", "held_usd")
_MISSING: Final = ("cost_unpriced", "charge_unpriced")


def cost_csv(groups: Sequence[Group], by: Sequence[str]) -> str:
    """Returns a row for each group."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow([*by, *_COUNTS, *_MONEY, *_MISSING])
    for group in groups:
        row = _row(group.figures)
        names = [cell(group.names[BY[name]]) for name in by]
        table.writerow([*names, *row.values()])
    return out.getvalue()


def cost_json(
    groups: Sequence[Group],
    by: Sequence[str],
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
            "rows": [
                {name: group.names[BY[name]] for name in by} | _row(group.figures)
                for group in groups
            ],
            "total": _row(added(group.figures for group in groups)),
            "cost_adjustments": list(cost_adjustments),
        },
        ensure_ascii=False,
        indent=2,
    )


def _row(figures: Figures) -> dict[str, Any]:
    cost, charge = figures["cost_pico"], figures["charge_pico"]
    amounts = (cost, charge, charge - cost, figures["held_pico"])
    return {
        **{name: figures[name] for name in _COUNTS},
        **dict(zip(_MONEY, map(usd_text, amounts), strict=True)),
        **{name: figures[name] for name in _MISSING},
    }
