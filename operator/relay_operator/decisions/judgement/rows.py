"""Describes each metric for a person: both sides' numbers, the limit, and the evidence against what it takes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from relay_operator.decisions.analysis.verdict import MetricRow
from relay_operator.decisions.judgement.bound import Bound
from relay_operator.decisions.judgement.metric_test import MetricTest


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Name and words of a metric. did is what bad attempts did; limit and increase are shares."""

    name: str
    did: str
    limit: float | None
    increase: float | None = None


@dataclass(slots=True)
class Counts:
    """Bad attempts of both sides and all of them, since the step began."""

    bad: float = 0.0
    total: float = 0.0
    stable_bad: float = 0.0
    stable_total: float = 0.0

    def add(self, bad: float, total: float, stable_bad: float, stable_total: float) -> None:
        """Adds a tick."""
        self.bad += bad
        self.total += total
        self.stable_bad += stable_bad
        self.stable_total += stable_total


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One test of a metric as numbers: the share of bad calls that it allows at present, and the evidence against that.

    Evidence is a natural logarithm, as needed is: the canary is convicted from there on, if stable does better.
    """

    metric: str
    test: Literal["absolute", "increase"]
    allowed: float
    evidence: float
    needed: float


_NO_CALLS: Final = "no calls"


def row(metric: Metric, test: MetricTest, counts: Counts) -> MetricRow:
    """Describes a metric since the step began."""
    bound = _foremost(test)
    return MetricRow(
        name=metric.name,
        canary=_share(counts.bad, counts.total),
        stable=_share(counts.stable_bad, counts.stable_total),
        limit=_limit(metric, test),
        evidence=_evidence(bound),
        certified=test.is_certified,
        message=finding(metric, bound, counts),
    )


def figures(metric: Metric, test: MetricTest) -> Iterator[Figure]:
    """Goes through the tests of a metric: against the limit itself, and against what stable does."""
    bounds: tuple[tuple[Literal["absolute", "increase"], Bound | None], ...] = (
        ("absolute", test.absolute),
        ("increase", test.excess),
    )
    for name, bound in bounds:
        if bound is not None:
            yield Figure(
                metric=metric.name,
                test=name,
                allowed=bound.odds.share,
                evidence=max(bound.wealth.log_wealth, 0.0),
                needed=bound.nats,
            )


def finding(metric: Metric, bound: Bound, counts: Counts) -> str:
    """Tells what one test has found: of the present trouble where there is any, else of the step."""
    trouble = bound.trouble
    if trouble.bad > 0:
        counts = Counts(trouble.bad, trouble.total, trouble.stable_bad, trouble.stable_total)
    total = max(counts.total, counts.bad)
    against = _against(metric, bound)
    share = f"{percent(counts.bad, total)} %, {against}" if total else against
    stable = f"stable: {_share(counts.stable_bad, counts.stable_total)}"
    return (
        f"{counts.bad:.0f} of {total:.0f} requests {metric.did} ({share}), "
        f"evidence {_evidence(bound)} needed; {stable}"
    )


def stable_finding(metric: Metric, bound: Bound) -> str:
    """Tells of the limit that stable breaks at present."""
    trouble = bound.trouble
    total = max(trouble.total, trouble.bad)
    return (
        f"{trouble.bad:.0f} of {total:.0f} requests of stable {metric.did} "
        f"({percent(trouble.bad, total)} %, {_against(metric, bound)})"
    )


def percent(part: float, whole: float) -> str:
    """Writes a share with two figures that count."""
    value = 100 * part / whole if whole else 0.0
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _foremost(test: MetricTest) -> Bound:
    """Returns the test that is nearest to its threshold."""
    absolute, excess = test.absolute, test.excess
    if absolute is None or excess is None:
        found = absolute or excess
        assert found is not None
        return found
    nearer = excess.wealth.log_wealth / excess.nats > absolute.wealth.log_wealth / absolute.nats
    return excess if nearer else absolute


def _against(metric: Metric, bound: Bound) -> str:
    if metric.limit is not None and abs(bound.odds.share - metric.limit) <= 1e-9:
        return f"limit {100 * metric.limit:.3g} %"
    return f"at most {100 * bound.odds.share:.2g} % by what stable does"


def _limit(metric: Metric, test: MetricTest) -> str:
    parts = []
    if metric.limit is not None:
        parts.append(f"{100 * metric.limit:.3g} %")
    if metric.increase is not None:
        parts.append(f"stable + {100 * metric.increase:.3g} points")
    return "; ".join(parts)


def _share(bad: float, total: float) -> str:
    if total <= 0 and bad <= 0:
        return _NO_CALLS
    return f"{bad:.0f} of {max(total, bad):.0f} ({percent(bad, max(total, bad))} %)"


def _evidence(bound: Bound) -> str:
    return f"{max(bound.wealth.log_wealth, 0.0):.1f} of {bound.nats:.1f}"
