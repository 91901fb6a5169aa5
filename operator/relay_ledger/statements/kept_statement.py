"""A final statement as it is kept: JSON that reads back as the same statement."""

import json
from dataclasses import asdict
from typing import Any

from relay_ledger.money.rounding import Currency
from relay_ledger.periods.months import Period
from relay_ledger.statements.statement import Line, Rate, Statement


def written(statement: Statement) -> str:
    """Writes a statement."""
    return json.dumps(asdict(statement), ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def read(content: str) -> Statement:
    """Reads what was written."""
    fields: dict[str, Any] = json.loads(content)
    rate = fields["rate"]
    return Statement(
        **{
            **fields,
            "period": Period(**fields["period"]),
            "rate": Rate(**{**rate, "currency": Currency(**rate["currency"])}),
            "lines": tuple(Line(**line) for line in fields["lines"]),
        }
    )
