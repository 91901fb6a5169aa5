"""The reconciliation of a provider: tokens by bucket, model and kind, then money by day, then both for the whole time.

Tokens that agree while money does not are a matter of prices; tokens that do not are one of metering. Usage is never changed by it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relay_ledger.prices.price_list import normal_model
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
from relay_ledger.reconciliation.provider_report import TOKENS, ProviderReport, Span, Tokens, Use
from relay_ledger.reconciliation.reported_tiers import NOT_TOLD_APART, named

_ALL: Final = 2**62
_NO_PAGE: Final[Mapping[Cause, Evidence]] = {"no_page": Evidence(more=_ALL)}
PriceOf = Callable[[int, str, str, Tokens, int], int]
"""Returns the cost of so many tokens of a kind, of a model served in a tier, at a time, in pico-USD; 0 where there is no price."""


@dataclass(frozen=True, slots=True)
class TokenDifference:
    """A difference of tokens of a bucket, a model, a group of tiers and a kind."""

    start: int
    model: str
    tier: str
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
    """What a reconciliation goes by: keys that are ours (none: all are), since when buckets are too young, and tiers of which the
    provider's reports tell tokens and no costs."""

    own_keys: frozenset[str]
    unsettled_since: int
    tiers_without_costs: frozenset[str] = frozenset()


def reconciled(
    own: OwnUse,
    report: ProviderReport,
    booked_cost: Mapping[int, int],
    terms: Terms,
    price_of: PriceOf,
) -> Reconciliation:
    """Compares what the report has of its period, usage or costs or both; booked_cost is the booked cost of each day, by its beginning."""
    tokens: tuple[TokenDifference, ...] = ()
    money: tuple[tuple[int, Difference], ...] = ()
    if "usage" in report.spans:
        tokens = tuple(_token_differences(own, report, terms))
    if "costs" in report.spans:
        money = tuple(_money_differences(own, report, booked_cost, terms, price_of, tokens))
    groups: dict[tuple[str, str, Tokens], list[Difference]] = {}
    for one in tokens:
        groups.setdefault((one.model, one.tier, one.kind), []).append(one.difference)
    return Reconciliation(
        tokens,
        money,
        tuple(summed(named(*group), parts) for group, parts in groups.items()),
        summed("USD", [one for _, one in money]) if "costs" in report.spans else None,
    )


def _token_differences(
    own: OwnUse, report: ProviderReport, terms: Terms
) -> Iterable[TokenDifference]:
    missing = {start for start, _ in report.missing["usage"]}
    ends = dict(report.spans["usage"] | report.missing["usage"])
    theirs: dict[tuple[int, str, str], list[Use]] = {}
    tiers: dict[tuple[int, str], set[str]] = {}
    for use in report.uses:
        model, tier = normal_model(use.model), report.tiers.group(use.tier)
        theirs.setdefault((use.start, model, tier), []).append(use)
    for start, model, tier in own.booked.keys() | theirs.keys():
        tiers.setdefault((start, model), set()).add(tier)
    for start, model in sorted(tiers):
        young = ends.get(start, start) > terms.unsettled_since
        for kind in TOKENS:
            amounts = {
                tier: _Amounts.of(own, theirs, (start, model, tier), kind, terms)
                for tier in sorted(tiers[start, model])
            }
            for tier, amount in amounts.items():
                if amount.ours == amount.theirs == 0:
                    continue
                evidence = _NO_PAGE
                if start not in missing:
                    evidence = _token_evidence(
                        own, (start, model, tier), kind, amounts, young=young
                    )
                found = explained(
                    named(model, tier, kind),
                    ours=amount.ours,
                    theirs=amount.theirs,
                    evidence=evidence,
                    provisional=young,
                )
                yield TokenDifference(start, model, tier, kind, found)


def _token_evidence(
    own: OwnUse,
    place: tuple[int, str, str],
    kind: Tokens,
    amounts: Mapping[str, "_Amounts"],
    *,
    young: bool,
) -> Mapping[Cause, Evidence]:
    """Returns what speaks for causes in a place; amounts are those of all tiers there."""
    tier = place[2]
    evidence = own.evidence(*place, kind)
    _add_shapes(evidence, own, place, kind, amounts[tier].difference)
    evidence["tier"] = _in_other_tiers(tier, amounts)
    evidence["unknown_key"] = Evidence(less=amounts[tier].foreign)
    evidence["provider_lag"] = Evidence(more=_ALL if young else 0)
    return evidence


@dataclass(frozen=True, slots=True)
class _Amounts:
    """Tokens of one bucket, model, tier and kind on both sides; foreign are those by keys that are not ours."""

    ours: int
    theirs: int
    foreign: int

    @property
    def difference(self) -> int:
        return self.ours - self.theirs

    @classmethod
    def of(
        cls,
        own: OwnUse,
        theirs: Mapping[tuple[int, str, str], Sequence[Use]],
        place: tuple[int, str, str],
        kind: Tokens,
        terms: Terms,
    ) -> "_Amounts":
        told, booked = theirs.get(place, []), own.booked.get(place)
        return cls(
            0 if booked is None else booked.tokens[kind],
            sum(use.tokens[kind] for use in told),
            sum(
                use.tokens[kind] for use in told if terms.own_keys and use.key not in terms.own_keys
            ),
        )


def _in_other_tiers(tier: str, amounts: Mapping[str, _Amounts]) -> Evidence:
    """Returns evidence for tokens that the other side counts in another tier: what is missing there can be too much here."""
    others = [amount.difference for name, amount in amounts.items() if name != tier]
    return Evidence(
        more=sum(-difference for difference in others if difference < 0),
        less=sum(difference for difference in others if difference > 0),
    )


def _add_shapes(
    evidence: dict[Cause, Evidence],
    own: OwnUse,
    place: tuple[int, str, str],
    kind: Tokens,
    amount: int,
) -> None:
    """Adds causes that show in the amount itself: a multiple of cached tokens, all tokens of reasoning."""
    booked = own.booked.get(place)
    if booked is None:
        return
    if kind == "input":
        cached = booked.tokens["cache_read"] + booked.tokens["cache_write"]
        evidence["cache_convention"] = multiple_of(amount, cached)
    if kind == "output":
        evidence["reasoning"] = multiple_of(amount, booked.reasoning, most=1)


def _money_differences(
    own: OwnUse,
    report: ProviderReport,
    booked_cost: Mapping[int, int],
    terms: Terms,
    price_of: PriceOf,
    tokens: Sequence[TokenDifference],
) -> Iterable[tuple[int, Difference]]:
    # what no page of usage covers says nothing of the invoice
    told = [one for one in tokens if "no_page" not in one.difference.parts]
    for (start, end), theirs in _days(report).items():
        ours, young = booked_cost.get(start, 0), end > terms.unsettled_since
        if ours == theirs == 0:
            continue
        evidence = _NO_PAGE
        if (start, end) not in report.missing["costs"]:
            evidence = _money_evidence(
                [one for one in told if start <= one.start < end],
                has_unseen_tiers=_has_unseen_tiers(start, end, own),
                unpaid=_unpaid(start, end, own, terms, price_of),
                young=young,
                price_of=price_of,
            )
        found = explained("USD", ours=ours, theirs=theirs, evidence=evidence, provisional=young)
        yield start, found


def _days(report: ProviderReport) -> dict[Span, int]:
    """Returns what the provider charged for each day, in pico-USD: 0 for one that it reports nothing of, or that no page covers."""
    days = dict.fromkeys(sorted(report.spans["costs"] | report.missing["costs"]), 0)
    for cost in report.costs:
        days[cost.start, cost.end] += cost.pico
    return days


def _money_evidence(
    tokens: Sequence[TokenDifference],
    *,
    has_unseen_tiers: bool,
    unpaid: int,
    young: bool,
    price_of: PriceOf,
) -> dict[Cause, Evidence]:
    """Returns what speaks for causes in a day's money: what differences of its tokens are worth, else prices or tiers."""
    worth = dict.fromkeys(CAUSES, 0)
    for one in tokens:
        for cause, part in one.difference.parts.items():
            value = price_of(one.start, one.model, one.tier, one.kind, abs(part))
            worth[cause] += value if part > 0 else -value
    worth["tier"] += unpaid
    evidence: dict[Cause, Evidence] = {
        cause: Evidence(max(value, 0), max(-value, 0))
        for cause, value in worth.items()
        if cause != "unexplained"
    }
    agree = not any(is_apart(one.difference.ours, one.difference.theirs) for one in tokens)
    if agree and tokens and not unpaid:
        evidence["tier" if has_unseen_tiers else "price"] = Evidence(_ALL, _ALL)
    if young:
        evidence["provider_lag"] = Evidence(more=_ALL)
    return evidence


def _has_unseen_tiers(start: int, end: int, own: OwnUse) -> bool:
    """Returns whether attempts of a day were served in tiers that the report does not tell apart."""
    return any(
        one.other_tiers
        for (at, _, tier), one in own.booked.items()
        if start <= at < end and tier == NOT_TOLD_APART
    )


def _unpaid(start: int, end: int, own: OwnUse, terms: Terms, price_of: PriceOf) -> int:
    """Returns what is booked of a day in tiers that the provider's costs leave out, in pico-USD."""
    return sum(
        price_of(at, model, tier, kind, tokens)
        for (at, model, tier), one in own.booked.items()
        if start <= at < end and tier in terms.tiers_without_costs
        for kind, tokens in one.tokens.items()
    )
