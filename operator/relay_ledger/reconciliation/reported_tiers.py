"""Which service tiers a provider's report tells apart, so that tokens are compared tier by tier where it does. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay_contract.billing.service_tiers import STANDARD, normal_tier

NOT_TOLD_APART: Final = ""
"""The group of all tokens whose tier the report does not tell."""
_WORDS: Final = frozenset(
    {
        *(STANDARD, "batch", "flex", "flex_discount", "priority", "priority_on_demand", "scale"),
    }
)
"""Tiers of OpenAI's and Anthropic's reports. What else answers say, such as a speed of Anthropic's, their reports count as standard."""


@dataclass(frozen=True, slots=True)
class ReportedTiers:
    """named: the tiers that rows of a report have. has_others: some rows have none, and are of all tiers that no row names."""

    named: frozenset[str]
    has_others: bool

    def group(self, tier: str | None) -> str:
        """Returns the group in which tokens that were served in a tier are compared."""
        name = normal_tier(tier)
        if name in self.named:
            return name
        if self.has_others:
            return NOT_TOLD_APART
        return name if name in _WORDS else STANDARD


def reported_tiers(tiers: Iterable[str | None]) -> ReportedTiers:
    """Returns what the tiers of all rows of a report tell apart; None is a row that tells none."""
    every = set(tiers)
    named = frozenset(tier for tier in every if tier is not None)
    return ReportedTiers(named, None in every or not named)


def named(model: str, tier: str, kind: str) -> str:
    """Returns what a figure is called; the usual tier goes without saying."""
    return " ".join(part for part in (model, "" if tier == STANDARD else tier, kind) if part)
