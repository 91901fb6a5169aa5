"""Finds that a call of the canary costs more than one of stable, from what the ledger has booked since the last look.

It is the test of token drift with money in place of tokens: costs of calls have tails as heavy, so a ratio of two means says little before some
hundred calls, and whoever compares it with a limit at each look holds healthy canaries.
"""

from dataclasses import dataclass
from typing import Final

from relay_operator.decisions.judgement.means.mean_per_answer import (
    FEWEST_ANSWERS,
    FEWEST_TICKS,
    MeanPerAnswer,
    Pairs,
    certain_increase,
)
from relay_operator.names import Reason

_PICOS: Final = 10.0**12
_THOUSAND: Final = 1000
MOST_UNKNOWN_PERCENT: Final = 5
"""Of a side's attempts; beyond it the mean of the others is not that of all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CostFinding:
    """What is known of the canary's cost beside its limit. holds is None while it cannot be told.

    increase_percent is the best estimate, None without calls of both. is_remembered tells that an earlier life of the operator found it.
    """

    holds: bool | None
    reason: Reason
    message: str
    increase_percent: float | None = None
    is_remembered: bool = False


class CostTest:
    """Both sides' costs in a run. Calls are compared with those of the same time."""

    __slots__ = ("_pairs", "calls")

    def __init__(self) -> None:
        self._pairs = Pairs()
        self.calls = {"canary": 0, "stable": 0}

    def add(
        self, *, canary_calls: int, canary_pico: int, stable_calls: int, stable_pico: int
    ) -> None:
        """Adds what became known since the last look; what was paid for attempts that nobody got counts as well."""
        calls, beside = self._pairs.add(
            canary_calls,
            canary_pico / _PICOS,
            stable_calls=stable_calls,
            stable_total=stable_pico / _PICOS,
        )
        self.calls["canary"] += int(calls)
        self.calls["stable"] += int(beside)

    def finding(self, most_percent: float) -> CostFinding:
        """Says whether the canary costs more than so many percent above stable."""
        canary, stable = self._pairs.canary, self._pairs.stable
        increase = 100 * (canary.mean / stable.mean - 1) if stable.mean > 0 else None
        if canary.ticks < FEWEST_TICKS or min(self.calls.values()) < FEWEST_ANSWERS:
            return _found(None, Reason.TOO_FEW_REQUESTS, self._too_few(most_percent), increase)
        figures = (
            f"canary {_told(canary, self.calls['canary'])}, stable {_told(stable, self.calls['stable'])} at the same "
            f"times; the limit is {most_percent:g} % more"
        )
        if stable.mean <= 0 < canary.mean:
            return _found(False, Reason.COST_HIGHER, f"{figures}, and stable costs nothing", None)
        certain = certain_increase(canary, stable)
        if certain > most_percent:
            message = (
                f"{figures}; it is certain that the canary costs {certain:.1f} % more at least"
            )
            return _found(False, Reason.COST_HIGHER, message, increase)
        return _found(
            True, Reason.WITHIN_COST, f"{figures}, which is not exceeded for certain", increase
        )

    def _too_few(self, most_percent: float) -> str:
        """Says what is awaited, without figures, which would be old before they are told again."""
        without = [side for side, calls in self.calls.items() if not calls]
        lack = f"no calls of {' and '.join(without)}" if without else "too few calls of both sides"
        return (
            f"{lack} have been compared yet: it takes {FEWEST_ANSWERS:g} of each, in {FEWEST_TICKS} looks at the ledger with "
            f"calls of both, to tell a difference from chance; the limit is {most_percent:g} % more"
        )


def _told(mean: MeanPerAnswer, calls: int) -> str:
    return f"{mean.mean * _THOUSAND:.4g} USD a thousand of {calls} calls"


def _found(holds: bool | None, reason: Reason, message: str, increase: float | None) -> CostFinding:
    return CostFinding(holds=holds, reason=reason, message=message, increase_percent=increase)
