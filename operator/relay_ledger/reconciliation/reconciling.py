"""The reconciliation of a provider: tokens by bucket, model and kind, then money by day, then both for the whole time.

Tokens that agree while money does not are a matter of prices; tokens that do not are one of metering. Usage is never changed by it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay_ledger.prices.price_list import STANDARD, normal_model, normal_tier
from relay_ledger.reconciliation.comparison import (
    CAUSES,
    Cause,
    Difference,
    Evidence,
    explained,
    is_apart,
    multiple_of,
    summed,
)
from relay_ledger.reconciliation.own_use import OwnUse
from relay_ledger.reconciliation.provider_report import TOKENS, ProviderReport, Tokens, Use

_ALL: Final = 2**62
PriceOf = Callable[[int, str, Tokens, int], int]
"""Returns the cost of so many tokens of a kind, of a model, at a time, in pico-USD; 0 where there is no price."""


@dataclass(frozen=True, slots=True)
class TokenDifference:
    """A difference of tokens of a bucket, a model and a kind."""

    start: int
    model: str
    kind: Tokens
    difference: Difference


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """All differences: each bucket, each day's money, and the whole time."""

    tokens: tuple[TokenDifference, ...]
    money: tuple[tuple[int, Difference], ...]
    tokens_in_all: tuple[Difference, ...]
    money_in_all: Difference | None

    @property
    def flagged(self) -> list[Difference]:
        """Returns what somebody should look at."""
        every = [
            *(one.difference for one in self.tokens),
            *self.tokens_in_all,
            *(one for _, one in self.money),
            *([] if self.money_in_all is None else [self.money_in_all]),
        ]
        return [one for one in every if one.is_flagged]


@dataclass(frozen=True, slots=True)
class Terms:
    """What a reconciliation goes by: keys that are ours (none: all are), and since when buckets are too young."""

    own_keys: frozenset[str]
    unsettled_since: int


def reconciled(
    own: OwnUse,
    report: ProviderReport,
    booked_cost: Mapping[int, int],
    terms: Terms,
    price_of: PriceOf,
) -> Reconciliation:
    """Compares; booked_cost is the booked cost of each day of the report, by its beginning."""
    tokens = tuple(_token_differences(own, report.uses, terms))
    days = _days(report)
    money = tuple(
        (
            start,
            explained(
                "USD",
                ours=booked_cost.get(start, 0),
                theirs=theirs,
                evidence=_money_evidence(
                    [one for one in tokens if start <= one.start < end],
                    has_other_tiers=_has_other_tiers(start, end, own, report),
                    young=end > terms.unsettled_since,
                    price_of=price_of,
                ),
                provisional=end > terms.unsettled_since,
            ),
        )
        for (start, end), theirs in days.items()
    )
    groups: dict[tuple[str, Tokens], list[Difference]] = {}
    for one in tokens:
        groups.setdefault((one.model, one.kind), []).append(one.difference)
    return Reconciliation(
        tokens,
        money,
        tuple(summed(f"{model} {kind}", group) for (model, kind), group in groups.items()),
        summed("USD", [one for _, one in money]) if money else None,
    )


def _token_differences(own: OwnUse, uses: Sequence[Use], terms: Terms) -> Iterable[TokenDifference]:
    ends = {use.start: use.end for use in uses}
    theirs: dict[tuple[int, str], list[Use]] = {}
    for use in uses:
        theirs.setdefault((use.start, normal_model(use.model)), []).append(use)
    for start, model in sorted(own.booked.keys() | theirs.keys()):
        for kind in TOKENS:
            told = theirs.get((start, model), [])
            booked = own.booked.get((start, model))
            ours = booked.tokens[kind] if booked is not None else 0
            count = sum(use.tokens[kind] for use in told)
            if ours == count == 0:
                continue
            evidence = own.evidence(start, model, kind)
            _add_shapes(evidence, own, start, model, kind, ours - count)
            foreign = sum(
                use.tokens[kind] for use in told if terms.own_keys and use.key not in terms.own_keys
            )
            evidence["unknown_key"] = Evidence(less=foreign)
            young = ends.get(start, start) > terms.unsettled_since
            evidence["provider_lag"] = Evidence(more=_ALL if young else 0)
            yield TokenDifference(
                start,
                model,
                kind,
                explained(
                    f"{model} {kind}",
                    ours=ours,
                    theirs=count,
                    evidence=evidence,
                    provisional=young,
                ),
            )


def _add_shapes(
    evidence: dict[Cause, Evidence], own: OwnUse, start: int, model: str, kind: Tokens, amount: int
) -> None:
    """Adds causes that show in the amount itself: a multiple of cached tokens, all tokens of reasoning."""
    booked = own.booked.get((start, model))
    if booked is None:
        return
    if kind == "input":
        cached = booked.tokens["cache_read"] + booked.tokens["cache_write"]
        evidence["cache_convention"] = multiple_of(amount, cached)
    if kind == "output":
        evidence["reasoning"] = multiple_of(amount, booked.reasoning, most=1)


def _days(report: ProviderReport) -> dict[tuple[int, int], int]:
    days: dict[tuple[int, int], int] = {}
    for cost in report.costs:
        days[cost.start, cost.end] = days.get((cost.start, cost.end), 0) + cost.pico
    return dict(sorted(days.items()))


def _money_evidence(
    tokens: Sequence[TokenDifference], *, has_other_tiers: bool, young: bool, price_of: PriceOf
) -> dict[Cause, Evidence]:
    """Returns what speaks for causes in a day's money: what differences of its tokens are worth, else prices or tiers."""
    worth = dict.fromkeys(CAUSES, 0)
    for one in tokens:
        for cause, part in one.difference.parts.items():
            value = price_of(one.start, one.model, one.kind, abs(part))
            worth[cause] += value if part > 0 else -value
    evidence: dict[Cause, Evidence] = {
        cause: Evidence(max(value, 0), max(-value, 0))
        for cause, value in worth.items()
        if cause != "unexplained"
    }
    agree = not any(is_apart(one.difference.ours, one.difference.theirs) for one in tokens)
    if agree and tokens:
        evidence["tier" if has_other_tiers else "price"] = Evidence(_ALL, _ALL)
    if young:
        evidence["provider_lag"] = Evidence(more=_ALL)
    return evidence


def _has_other_tiers(start: int, end: int, own: OwnUse, report: ProviderReport) -> bool:
    booked = any(one.other_tiers for (at, _), one in own.booked.items() if start <= at < end)
    told = any(normal_tier(use.tier) != STANDARD for use in report.uses if start <= use.start < end)
    return booked or told
