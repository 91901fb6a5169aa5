"""What attempts and tool calls would have cost by another price list, beside what they did cost. What either side has no price for is counted, and
compared with nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.booking.tool_posting import BilledCall
from relay_ledger.money.amounts import usd_text
from relay_ledger.prices.price_list import PriceList
from relay_ledger.prices.pricing import Priced, Use, price_of
from relay_ledger.prices.tool_pricing import ToolUse, price_of_call
from relay_ledger.reports.figures import share


@dataclass(slots=True)
class Comparison:
    """Sums of a model or tool: attempts or calls that both sides have a price for, and how many one of them has none for."""

    attempts: int = 0
    booked_pico: int = 0
    other_pico: int = 0
    unpriced: int = 0
    other_unpriced: int = 0

    def add(self, booked_pico: int | None, other_pico: int | None) -> None:
        """Adds one of them; None is without a price."""
        self.unpriced += booked_pico is None
        self.other_unpriced += other_pico is None
        if booked_pico is not None and other_pico is not None:
            self.attempts += 1
            self.booked_pico += booked_pico
            self.other_pico += other_pico

    def fields(self, noun: str = "attempts") -> dict[str, Any]:
        """Returns the sums as they are shown; a negative difference is what the other list saves."""
        difference = self.other_pico - self.booked_pico
        return {
            noun: self.attempts,
            "booked_usd": usd_text(self.booked_pico),
            "other_usd": usd_text(self.other_pico),
            "difference_usd": usd_text(difference),
            "other_of_booked": share(self.other_pico, self.booked_pico),
            f"unpriced_{noun}": self.unpriced,
            f"unpriced_{noun}_of_other": self.other_unpriced,
        }


@dataclass(slots=True)
class WhatIf:
    """Adds attempts up by the model that answered. models says which model of the list stands for another name."""

    prices: PriceList
    models: Mapping[str, str]
    provider: str | None = None
    by_model: dict[str, Comparison] = field(default_factory=dict)
    by_tool: dict[tuple[str, str], Comparison] = field(default_factory=dict)

    def add(self, closed: AttemptClosed, booked_pico: int | None) -> None:
        """Adds an attempt; booked_pico is None where it is booked without a price."""
        if closed.tokens is None:
            return
        model = closed.answered_model or closed.routed_model
        sums = self.by_model.setdefault(model, Comparison())
        sums.add(booked_pico, self._price(closed, model))

    def add_call(self, call: BilledCall, booked_pico: int | None) -> None:
        """Adds a tool call that was carried out. Of a server that the list says nothing of it has no price: nobody knows what it would cost."""
        use = ToolUse(call.server, call.tool, call.called_at, call.outcome == "tool_error")
        found = price_of_call(use, self.prices)
        other = found.pico if isinstance(found, Priced) else None
        self.by_tool.setdefault((call.server, call.tool), Comparison()).add(booked_pico, other)

    def total(self) -> Comparison:
        """Returns the sums of all models."""
        return _added(self.by_model.values())

    def total_of_tools(self) -> Comparison:
        """Returns the sums of all tools."""
        return _added(self.by_tool.values())

    def _price(self, closed: AttemptClosed, model: str) -> int | None:
        use = Use(
            provider=self.provider or closed.provider,
            model=self.models.get(model, model),
            dispatched_at=closed.dispatched_at,
            tokens=closed.tokens or TokenBuckets(),
            units=closed.units,
            service_tier=closed.service_tier,
            region=closed.region,
        )
        found = price_of(use, self.prices)
        return found.pico if isinstance(found, Priced) else None


def _added(comparisons: Iterable[Comparison]) -> Comparison:
    total = Comparison()
    for sums in comparisons:
        total.attempts += sums.attempts
        total.booked_pico += sums.booked_pico
        total.other_pico += sums.other_pico
        total.unpriced += sums.unpriced
        total.other_unpriced += sums.other_unpriced
    return total
