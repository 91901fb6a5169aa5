"""What old relays served beside what is booked, by day and model. What is imported is marked, and is nobody's debt."""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_ledger.money.amounts import usd_text
from relay_ledger.periods.zones import utc_text
from relay_ledger.prices.price_list import PriceList
from relay_ledger.reports.old_history import Point, cost_of_tokens
from relay_ledger.reports.text_cells import cell

BOOKED: Final = "booked"
IMPORTED: Final = "imported"


@dataclass(frozen=True, slots=True)
class ImportedPoint:
    """A point of a history that was imported for a tenant; source names the old relay."""

    tenant_uid: str
    source: str
    point: Point


@dataclass(frozen=True, slots=True)
class BaselineRow:
    """Tokens of a day and model. day is empty for the total of all days, model is for that of all models.

    money is what tenants are charged, in pico-USD: None of what is imported, which is charged to nobody.
    """

    origin: str
    source: str
    day: str
    model: str
    input_tokens: int
    output_tokens: int
    money: int | None


def with_totals(rows: Iterable[BaselineRow]) -> list[BaselineRow]:
    """Returns the rows by day, those of each model, and one of all; what is booked and each source by itself."""
    found: dict[tuple[str, str], list[BaselineRow]] = {}
    for row in rows:
        found.setdefault((row.origin, row.source), []).append(row)
    told: list[BaselineRow] = []
    for own in (found[key] for key in sorted(found)):
        models = sorted({row.model for row in own})
        told += sorted(own, key=lambda row: (row.day, row.model))
        told += [_added([row for row in own if row.model == model], model) for model in models]
        told.append(_added(own, ""))
    return told


def _added(rows: Sequence[BaselineRow], model: str) -> BaselineRow:
    amounts = [row.money for row in rows if row.money is not None]
    return BaselineRow(
        rows[0].origin,
        rows[0].source,
        "",
        model,
        sum(row.input_tokens for row in rows),
        sum(row.output_tokens for row in rows),
        sum(amounts) if amounts else None,
    )


def baseline_csv(rows: Iterable[BaselineRow]) -> str:
    """Returns a row for each; a total has no day, and that of all models no model."""
    out = io.StringIO()
    table = csv.DictWriter(out, list(_COLUMNS), lineterminator="\r\n")
    table.writeheader()
    for row in rows:
        fields = _fields(row)
        table.writerow(
            {name: cell(str("" if fields[name] is None else fields[name])) for name in _COLUMNS}
        )
    return out.getvalue()


def baseline_json(rows: Iterable[BaselineRow], *, start: int, end: int) -> str:
    """Returns the same as a document."""
    content = {
        "start": utc_text(start),
        "end": utc_text(end),
        "rows": [_fields(row) for row in rows],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


_COLUMNS: Final = (
    *("origin", "source", "day", "model", "input_tokens", "output_tokens", "charge_usd"),
)


def _fields(row: BaselineRow) -> dict[str, Any]:
    return {
        "origin": row.origin,
        "source": row.source,
        "day": row.day,
        "model": row.model,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "charge_usd": None if row.money is None else usd_text(row.money),
    }


def compared_imports(
    imported: Sequence[ImportedPoint], prices: PriceList, models: Mapping[str, str]
) -> list[dict[str, Any]]:
    """Returns by source and model what imports would cost by a list; null where the list has no price."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for one in imported:
        groups.setdefault((one.source, one.point.model), []).append(one.point)
    return [
        {
            "source": source,
            "model": model,
            "points": len(points),
            "input_tokens": sum(point.input_tokens for point in points),
            "output_tokens": sum(point.output_tokens for point in points),
            "usd_by_price_list": _usd(cost_of_tokens(points, prices, models)),
        }
        for (source, model), points in sorted(groups.items())
    ]


def _usd(pico: int | None) -> str | None:
    return None if pico is None else usd_text(pico)
