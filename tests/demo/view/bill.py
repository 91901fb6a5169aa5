"""A tenant's bill as the ledger has it: tokens and money per model, what the numbers rest on, and what the migration saves."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.table import Table

from relay_contract.billing.token_buckets import INPUT_BUCKETS
from relay_ledger.reports.figures import OUTPUT_BUCKETS

_NUMBERS: Final = ("calls", "tokens in", "tokens out", "platform pays USD", "tenant owes USD")


@dataclass(frozen=True, slots=True, kw_only=True)
class BillLine:
    """What was used of a provider's model. Amounts are USD, exactly as the ledger writes them."""

    model: str
    provider: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost: str
    charge: str

    def cells(self) -> Sequence[str]:
        """Returns the line as it is shown, names first."""
        counts = (self.calls, self.input_tokens, self.output_tokens)
        return (
            *(self.model, self.provider),
            *(f"{count:,}" for count in counts),
            *(self.cost, self.charge),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Saving:
    """What the compared attempts cost, and what they would have cost where all calls were before the migration; USD.

    difference is what they would have cost more, with a minus where they would have cost less.
    """

    incumbent: str
    attempts: int
    paid: str
    before: str
    difference: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """One tenant's bill. attempts_by_source leaves out attempts that used nothing, for certain."""

    tenant: str
    month: str
    lines: Sequence[BillLine]
    total: BillLine
    attempts_by_source: Mapping[str, int]
    unpriced: int
    saving: Saving

    @property
    def evidence(self) -> str:
        """Says which share of the attempts the providers themselves have counted."""
        used = sum(self.attempts_by_source.values())
        if not used:
            return "nothing was used"
        reported = self.attempts_by_source.get("provider", 0)
        told = f"of {used:,} attempts that used tokens, providers counted {_percent(reported, used)} themselves"
        others = [
            f"{count:,} {source}"
            for source, count in self.attempts_by_source.items()
            if count and source != "provider"
        ]
        return f"{told}; {', '.join(others)}" if others else told

    @property
    def savings(self) -> str:
        """Says what the migration saves."""
        saving = self.saving
        told = f"{saving.attempts:,} attempts cost {saving.paid} USD, and would have cost {saving.before} USD at {saving.incumbent}"
        if saving.difference.startswith("-"):
            return f"{told}: {saving.difference[1:]} USD lost by the migration"
        return f"{told}: {saving.difference} USD saved by the migration"

    def notes(self) -> Iterator[str]:
        """Says what stands below the lines."""
        yield self.evidence
        if self.unpriced:
            yield f"{self.unpriced:,} attempts have no price, and are in no amount"
        yield self.savings


def read(
    *,
    tenant: str,
    month: str,
    by_model: Mapping[str, Any],
    by_source: Mapping[str, Any],
    compared: Mapping[str, Any],
    incumbent: str,
) -> Bill:
    """Makes the bill of what `relay-ledger report` and `compare` print as JSON: by model and provider, by source, and by the incumbent's prices."""
    total = by_model["total"]
    compared_total = compared["total"]
    return Bill(
        tenant=tenant,
        month=month,
        lines=[_line(row, row["model"], row["provider"]) for row in by_model["rows"]],
        total=_line(total, "total", ""),
        attempts_by_source={
            row["source"]: row["attempts"] for row in by_source["rows"] if row["source"] != "none"
        },
        unpriced=max(total["cost_unpriced"], total["charge_unpriced"]),
        saving=Saving(
            incumbent=incumbent,
            attempts=compared_total["attempts"],
            paid=compared_total["booked_usd"],
            before=compared_total["other_usd"],
            difference=compared_total["difference_usd"],
        ),
    )


def plain(bill: Bill) -> str:
    """Writes the bill as lines of text, for where there is no terminal to draw on."""
    rows = [
        ("model", "provider", *_NUMBERS),
        *(line.cells() for line in (*bill.lines, bill.total)),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        (
            _title(bill),
            *(f"  {_aligned(row, widths)}".rstrip() for row in rows),
            *(f"  {note}" for note in bill.notes()),
        )
    )


def table(bill: Bill) -> Table:
    """Draws the bill for a terminal."""
    drawn = Table(
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        title=_title(bill),
        title_justify="left",
        title_style="bold",
        caption="\n".join(bill.notes()),
        caption_justify="left",
        caption_style="",
        show_footer=True,
    )
    names, total = ("model", "provider", *_NUMBERS), bill.total.cells()
    for number, (name, footer) in enumerate(zip(names, total, strict=True)):
        drawn.add_column(
            name,
            footer=footer,
            justify="left" if number < 2 else "right",
            # names and counts stay whole; of an exact amount the digits go on below
            no_wrap=number < 5,
            overflow="fold",
            footer_style="bold",
        )
    for line in bill.lines:
        drawn.add_row(*line.cells())
    return drawn


def _title(bill: Bill) -> str:
    return f"The bill of tenant {bill.tenant} for {bill.month}, as the ledger has it"


def _line(row: Mapping[str, Any], model: str, provider: str) -> BillLine:
    return BillLine(
        model=model,
        provider=provider,
        calls=row["delivered"],
        input_tokens=sum(row[bucket] for bucket in INPUT_BUCKETS),
        output_tokens=sum(row[bucket] for bucket in OUTPUT_BUCKETS),
        cost=row["cost_usd"],
        charge=row["charge_usd"],
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        cell.ljust(width) if number < 2 else cell.rjust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells)


def _percent(part: int, whole: int) -> str:
    """Writes a share with one digit after the point, rounded down: what is not all is never shown as all."""
    tenths = part * 1000 // whole
    return f"{tenths // 10}.{tenths % 10} %"
