"""What the ledger tells of a canary's run at each look, as evidence: what is new since the last one makes a tick."""

from collections.abc import Iterable
from typing import Final

from relay_contract.billing.route_costs import RouteCost
from relay_operator.decisions.judgement.means.cost_test import (
    MOST_UNKNOWN_PERCENT,
    CostFinding,
    CostTest,
)
from relay_operator.decisions.judgement.means.mean_per_answer import FEWEST_ANSWERS
from relay_operator.names import Reason

_SIDES: Final = ("stable", "canary")
_Cell = tuple[str, int]
_Sums = tuple[int, int, int]


class CostEvidence:
    """The evidence of one run, while its sides are at these providers. The first look shows where to begin, and is no evidence."""

    def __init__(self, *, token: str, providers: tuple[str, ...]) -> None:
        self.token = token
        self.providers = providers
        self._at = dict(zip(_SIDES, providers, strict=False))
        self._test = CostTest()
        self._seen: dict[_Cell, _Sums] | None = None
        self._gap: tuple[Reason, str] | None = None

    def take(self, costs: Iterable[RouteCost]) -> None:
        """Takes in one look: the last quarters of an hour of the route, each with its sums so far."""
        ours = [one for one in costs if self._at.get(one.side) == one.provider]
        now: dict[_Cell, _Sums] = {
            (one.side, one.quarter): (one.calls, one.cost_pico, one.unpriced) for one in ours
        }
        seen, self._seen = self._seen, now
        self._gap = next(filter(None, (_gap(side, ours) for side in _SIDES)), None)
        if seen is None:
            return
        latest = max((quarter for _, quarter in seen), default=0)
        canary, stable = (_new(side, now, seen, latest) for side in ("canary", "stable"))
        # what was booked without a price, or got one now, would count its calls and its cost at different times
        if not canary[2] and not stable[2]:
            self._test.add(
                canary_calls=canary[0],
                canary_pico=canary[1],
                stable_calls=stable[0],
                stable_pico=stable[1],
            )

    def finding(self, most_percent: float) -> CostFinding:
        """Says whether the canary costs more than so many percent above stable."""
        if self._gap is not None:
            reason, message = self._gap
            return CostFinding(holds=None, reason=reason, message=message)
        return self._test.finding(most_percent)


def _new(side: str, now: dict[_Cell, _Sums], seen: dict[_Cell, _Sums], latest: int) -> _Sums:
    """Returns what is new of a side: calls, their cost, and attempts without a price.

    Of a quarter that was not told of before, and is no new one, nothing counts: its calls are of another time.
    """
    calls = cost = unpriced = 0
    for cell, sums in now.items():
        if cell[0] == side and (cell in seen or cell[1] >= latest):
            before = seen.get(cell, (0, 0, 0))
            calls, cost = calls + sums[0] - before[0], cost + sums[1] - before[1]
            unpriced += sums[2] - before[2]
    return calls, cost, unpriced


def _gap(side: str, costs: list[RouteCost]) -> tuple[Reason, str] | None:
    """Returns why the mean of a side would be none of all its calls of the last quarters."""
    mine = [one for one in costs if one.side == side]
    attempts, unknown = (
        sum(getattr(one, name) for one in mine) for name in ("attempts", "unknown")
    )
    unpriced = sum(one.unpriced for one in mine)
    if unpriced > 0:
        message = f"{unpriced} attempts of {side} at Provider {mine[0].provider} have no price"
        return Reason.UNPRICED, message
    # a part of few attempts says nothing, and there are too few to compare anyway
    if attempts >= FEWEST_ANSWERS and unknown * 100 > attempts * MOST_UNKNOWN_PERCENT:
        message = f"of {unknown} of {attempts} attempts of {side} nobody can tell what they used"
        return Reason.USAGE_UNKNOWN, message
    return None
