"""How shadow copies of a canary without weight compare: counted over the phase, and judged by the limit of failed calls.

What differs between two answers of stable to the same call (the pair `stable`) is taken for noise, and is no difference of
the canary's.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from relay_contract.shadow import COMPARED, FAILED, PAIRS, ShadowPair
from relay_operator.decisions import timestamps
from relay_operator.decisions.analysis.scrapes import copied
from relay_operator.decisions.judgement.metric_test import MetricTest
from relay_operator.decisions.judgement.rows import percent

_MATCH: Final = "match"
_QUOTA: Final = "throttled"
"""A quota that is used up is no failure of the side, as in the verdict of calls."""
_KINDS: Final = (*(kind for kind in COMPARED if kind != _MATCH), *FAILED)
_FAILURES: Final = tuple(kind for kind in FAILED if kind != _QUOTA)
_LARGEST_COUNT: Final = 1e15


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadowed:
    """What the copies of a run have shown. counts are by pair and outcome, limit_percent is that of failed calls.

    breach tells that they broke it, suspected that they may; problem says why nothing could be read lately. is_fresh tells that
    counts were read in this life of the operator, without which nothing is decided.
    """

    started_at: float
    counts: Mapping[str, float]
    limit_percent: float | None = None
    breach: str = ""
    suspected: bool = False
    problem: str = ""
    is_fresh: bool = False

    def of(self, pair: ShadowPair, outcomes: Iterable[str]) -> float:
        """Returns how many copies of a pair had one of these outcomes."""
        return sum(self.counts.get(copied(pair, one), 0.0) for one in outcomes)

    def compared(self, pair: ShadowPair = "canary") -> float:
        """Returns how many copies were answered, and so compared."""
        return self.of(pair, COMPARED)

    def failed(self, pair: ShadowPair = "canary") -> float:
        """Returns how many copies failed, for other reasons than a quota."""
        return self.of(pair, _FAILURES)

    @property
    def over_the_limit(self) -> bool:
        """Tells whether more copies failed than the limit allows, which may be chance."""
        failed, ended = self.failed(), self.failed() + self.compared()
        return self.limit_percent is not None and 100 * failed > self.limit_percent * ended

    @property
    def difference_percent(self) -> float:
        """Returns the share of copies that differ, above that of stable's own answers asked for twice."""
        return max(self._differing("canary") - self._differing("stable"), 0.0)

    def _differing(self, pair: ShadowPair) -> float:
        compared = self.compared(pair)
        return 100 * (compared - self.of(pair, (_MATCH,))) / compared if compared else 0.0

    @property
    def failures(self) -> str:
        """Says how many copies failed."""
        failed, ended = self.failed(), self.failed() + self.compared()
        limit = "" if self.limit_percent is None else f", limit {self.limit_percent:.3g} %"
        return f"{failed:.0f} of {ended:.0f} copies failed ({percent(failed, ended)} %{limit})"


@dataclass(slots=True)
class Trial:
    """The copies of one run, with the test of those that failed; a limit of None leaves it out."""

    started_at: float
    limit_percent: float | None
    counts: dict[str, float] = field(default_factory=dict)
    problem: str = ""
    is_fresh: bool = False
    _test: MetricTest | None = None

    def __post_init__(self) -> None:
        self.hold_to(self.limit_percent)

    def hold_to(self, limit_percent: float | None) -> None:
        """Takes another limit; evidence against one is none against another."""
        if self._test is None or limit_percent != self.limit_percent:
            self.limit_percent = limit_percent
            self._test = None if limit_percent is None else MetricTest(limit_percent / 100)

    def take(self, counted: Mapping[str, float], seconds: float) -> None:
        """Takes in what became visible in so many seconds."""
        self.problem, self.is_fresh = "", True
        for name, more in counted.items():
            self.counts[name] = self.counts.get(name, 0.0) + more
        tick = Shadowed(started_at=self.started_at, counts=counted)
        if self._test is not None:
            failed, stable_failed = tick.failed(), tick.failed("stable")
            self._test.tick(
                seconds,
                bad=failed,
                total=failed + tick.compared(),
                passed=tick.compared(),
                stable_bad=stable_failed,
                stable_total=stable_failed + tick.compared("stable"),
            )

    @property
    def shown(self) -> Shadowed:
        """Returns what the copies have shown so far."""
        shown = Shadowed(
            started_at=self.started_at,
            counts=dict(self.counts),
            limit_percent=self.limit_percent,
            suspected=self._test is not None and self._test.suspected is not None,
            problem=self.problem,
            is_fresh=self.is_fresh,
        )
        bound = self._test.convicted if self._test is not None else None
        if bound is None:
            return shown
        evidence = f"evidence {bound.wealth.log_wealth:.1f} of {bound.nats:.1f} needed"
        return replace(shown, breach=f"{shown.failures}, {evidence}")


# -- status, both ways --------------------------------------------------------------------------------------------------


def to_fields(shown: Shadowed | None) -> dict[str, Any] | None:
    """Lays the counts out as the custom resource has them, so that `from_fields` finds every one of them again."""
    if shown is None:
        return None
    differences = [
        {
            "kind": kind,
            "canary": int(shown.of("canary", (kind,))),
            "stable": int(shown.of("stable", (kind,))),
        }
        for kind in _KINDS
    ]
    return {
        "startedAt": timestamps.to_text(shown.started_at),
        **_pair_fields(shown, "canary"),
        "stable": _pair_fields(shown, "stable"),
        "differences": [one for one in differences if one["canary"] or one["stable"]],
    }


def from_fields(found: Any) -> Shadowed | None:
    """Reads counts back; what cannot be one is none."""
    if not isinstance(found, Mapping) or not found.get("startedAt"):
        return None
    counts = {}
    for pair, fields in (("canary", found), ("stable", found.get("stable") or {})):
        counts[copied(pair, _MATCH)] = _count(fields.get("matched"))
    for one in found.get("differences") or ():
        if one.get("kind") in _KINDS:
            for pair in PAIRS:
                counts[copied(pair, str(one["kind"]))] = _count(one.get(pair))
    started_at = timestamps.from_text(str(found["startedAt"]))
    return Shadowed(started_at=started_at, counts=counts)


def _pair_fields(shown: Shadowed, pair: ShadowPair) -> dict[str, int]:
    return {
        "compared": int(shown.compared(pair)),
        "matched": int(shown.of(pair, (_MATCH,))),
        "failed": int(shown.failed(pair)),
    }


def _count(value: Any) -> float:
    is_count = isinstance(value, int | float) and 0 <= value <= _LARGEST_COUNT
    return float(value) if is_count else 0.0
