"""Sums a reconciliation up: both sides of the whole, how far they are apart, and the largest causes."""

from typing import Final

from relay_contract.billing.reconciliation_summary import Summary
from relay_ledger.money.amounts import usd_text
from relay_ledger.reconciliation.comparison import Difference, causes_told
from relay_ledger.reconciliation.reconciling import Reconciliation

_MOST_CAUSES: Final = 3
_MOST_NAMES: Final = 3


def summary_of(found: Reconciliation) -> Summary:
    """Sums a reconciliation up."""
    every = [*(one.difference for one in found.tokens), *(one for _, one in found.money)]
    names = dict.fromkeys(one.name for one in found.flagged)
    counts = {
        "compared": len(every),
        "flagged": len(found.flagged),
        "provisional": sum(one.provisional for one in every),
    }
    money = found.money_in_all
    totals = found.tokens_in_all if money is None else (money,)
    text = str if money is None else usd_text
    ours, theirs = sum(one.ours for one in totals), sum(one.theirs for one in totals)
    return Summary(
        **counts,
        unit="tokens" if money is None else "USD",
        booked=text(ours),
        reported=text(theirs),
        difference=text(ours - theirs),
        percent=_percent(ours, theirs),
        causes=_causes(totals),
        names=tuple(names)[:_MOST_NAMES],
    )


def _percent(ours: int, theirs: int) -> str:
    """Writes how far apart they are in percent of theirs, to a hundredth, rounded up: what differs is never 0."""
    if not theirs:
        return ""
    hundredths = -(-abs(ours - theirs) * 10_000 // abs(theirs))
    return f"{hundredths // 100}.{hundredths % 100:02d}"


def _causes(differences: tuple[Difference, ...]) -> tuple[str, ...]:
    found = dict.fromkeys(cause for one in differences for cause, _ in causes_told(one.parts))
    return tuple(found)[:_MOST_CAUSES]
