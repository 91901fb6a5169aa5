"""Writes the tests into status and reads them back, so that a restarted operator goes on where it stopped.

A text of numbers, for the operator alone. What is read back may delay a decision but never cause one: it is held below every
threshold, and a number that cannot be drops what it belongs to.
"""

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from relay_operator.decisions.analysis.increments import SideIncrements
from relay_operator.decisions.judgement.betting import LEAST_RENEWED, PRIOR
from relay_operator.decisions.judgement.bound import Bound
from relay_operator.decisions.judgement.clusters import ClusterSize
from relay_operator.decisions.judgement.judged import Judged
from relay_operator.decisions.judgement.means.mean_per_answer import FEWEST_TICKS, MeanPerAnswer
from relay_operator.decisions.judgement.means.token_drift import TokenDrift
from relay_operator.decisions.judgement.metric_test import MetricTest
from relay_operator.decisions.judgement.route_judge import RouteJudge
from relay_operator.decisions.judgement.rows import Counts
from relay_operator.decisions.judgement.stall import MOST_SECONDS

LONGEST_TEXT: Final = 8192
_VERSION: Final = 1
_LARGEST_COUNT: Final = 1e15
_LOWEST_NATS: Final = -1e4
_SHORT_OF_NATS: Final = 1.0
"""The distance below its threshold at which evidence is read back."""
_NEW_TICKS: Final = 5
_TROUBLE_FIELDS: Final = (
    "bad",
    "counted",
    "total",
    "stable_bad",
    "stable_total",
    "first",
    "last",
)
_STEP_FIELDS: Final = ("finished", "failed", "throttled", "refused", "truncated")


def to_text(judge: RouteJudge) -> str:
    """Returns the state of the tests."""
    text = json.dumps(
        {
            "version": _VERSION,
            "step": [
                [_rounded(getattr(side, name)) for name in _STEP_FIELDS] for side in _steps(judge)
            ],
            "tests": {_key(one): _numbers(one) for one in _all(judge)},
            "tokens": {kind: _token_numbers(drift) for kind, drift in judge.tokens.items()},
            "quota": [
                _rounded(judge.quota.throttled),
                _rounded(judge.quota.ended),
                float(judge.quota.holds),
            ],
            "pace": [_rounded(judge.stall.known_seconds)],
            "measured": [_rounded(judge.measured_seconds)],
        },
        separators=(",", ":"),
    )
    return text if len(text) <= LONGEST_TEXT else ""


def restore(judge: RouteJudge, text: str) -> None:
    """Brings a new judge to the state of a text, as far as it can be true and is about the same limits."""
    found = _parsed(text)
    if found is None:
        return
    steps = [_counts(row, len(_STEP_FIELDS)) for row in _list(found.get("step"))]
    if len(steps) == 2 and steps[0] is not None and steps[1] is not None:
        judge.step, judge.stable_step = _side(steps[0]), _side(steps[1])
        measured = _counts(found.get("measured"), 1)
        # an older version did not tell
        judge.measured_seconds = _LARGEST_COUNT if measured is None else measured[0]
    tests = found.get("tests")
    for one in _all(judge):
        if isinstance(tests, dict):
            _restore_one(one, tests.get(_key(one)))
    _restore_waits(judge, _counts(found.get("quota"), 3), _counts(found.get("pace"), 1))
    tokens = found.get("tokens")
    for kind, drift in judge.tokens.items():
        if isinstance(tokens, dict):
            _restore_tokens(drift, tokens.get(kind))


def _restore_waits(
    judge: RouteJudge, quota: Sequence[float] | None, pace: Sequence[float] | None
) -> None:
    """Restores what decisions wait for: the end of a hold by a quota, and calls that take long."""
    if quota is not None:
        # a hold outlives a restart, or the restart would raise the weight
        judge.quota.throttled, judge.quota.ended = quota[0], max(quota[0], quota[1])
        judge.quota.holds = quota[2] > 0
    if pace is not None:
        judge.stall.known_seconds = min(pace[0], MOST_SECONDS)


def _side(row: Sequence[float]) -> SideIncrements:
    finished, failed, throttled, refused, truncated = row
    return SideIncrements(
        finished=finished, failed=failed, throttled=throttled, refused=refused, truncated=truncated
    )


def _all(judge: RouteJudge) -> list[Judged]:
    return judge.tests()


def _steps(judge: RouteJudge) -> tuple[SideIncrements, SideIncrements]:
    return judge.step, judge.stable_step


def _key(one: Judged) -> str:
    """Names a test with its limits: evidence against one limit is none against another."""
    metric = one.metric
    return f"{metric.name} {metric.did} {metric.limit} {metric.increase}"


def _numbers(one: Judged) -> list[list[float]]:
    test, counts = one.test, one.counts
    rows = [
        [
            test.elapsed,
            test.clock,
            test.long.bad,
            test.long.total,
            test.short.bad,
            test.short.total,
        ],
        [test.canary_size.spread, test.canary_size.failures],
        [test.stable_size.spread, test.stable_size.failures],
        [counts.bad, counts.total, counts.stable_bad, counts.stable_total],
        test.certificate.gains,
    ]
    for bound in _bounds(test):
        trouble = [getattr(bound.trouble, name) for name in _TROUBLE_FIELDS]
        rows.append([bound.wealth.log_wealth, *bound.wealth.weights])
        rows.append([bound.cusum, *trouble])
    return [[_rounded(value) for value in row] for row in rows]


def _bounds(test: MetricTest) -> list[Bound]:
    return [one for one in (test.absolute, test.excess, test.stable_absolute) if one is not None]


def _restore_one(one: Judged, rows: object) -> None:
    test = one.test
    bounds = _bounds(test)
    found = _list(rows)
    if len(found) != 5 + 2 * len(bounds):
        return
    lengths = (6, 2, 2, 4)
    counts = [_counts(row, length) for row, length in zip(found, lengths, strict=False)]
    gains = _finite(found[4], len(test.certificate.gains))
    wealths = [_finite(row, 1 + len(PRIOR)) for row in found[5::2]]
    troubles = [_counts(row, 1 + len(_TROUBLE_FIELDS)) for row in found[6::2]]
    past, canary, stable, step = counts
    if past is None or canary is None or stable is None or step is None or gains is None:
        return
    if None in troubles or any(row is None or not _is_spread(row[1:]) for row in wealths):
        return
    test.elapsed, test.clock, test.long.bad, test.long.total, test.short.bad, test.short.total = (
        past
    )
    test.canary_size = ClusterSize(spread=canary[0], failures=canary[1])
    test.stable_size = ClusterSize(spread=stable[0], failures=stable[1])
    one.counts = Counts(*step)
    test.certificate.gains = [min(max(gain, _LOWEST_NATS), -_LOWEST_NATS) for gain in gains]
    for bound, row, trouble in zip(bounds, wealths, troubles, strict=True):
        _restore_bound(bound, row or (), trouble or ())


def _restore_bound(bound: Bound, row: Sequence[float], trouble: Sequence[float]) -> None:
    most = bound.nats - _SHORT_OF_NATS
    bound.wealth.log_wealth = min(max(row[0], _LOWEST_NATS), most)
    total = sum(row[1:])
    spread = zip(row[1:], PRIOR, strict=True)
    bound.wealth.weights = [max(weight / total, LEAST_RENEWED * prior) for weight, prior in spread]
    bound.trouble.clear(min(bound.wealth.log_wealth, 0.0))
    bound.cusum = trouble[0]
    for name, value in zip(_TROUBLE_FIELDS, trouble[1:], strict=True):
        setattr(bound.trouble, name, value)


def _is_spread(weights: Sequence[float]) -> bool:
    return all(weight >= 0 for weight in weights) and 0.5 < sum(weights) < 2


def _token_numbers(drift: TokenDrift) -> list[list[float]]:
    sides = (drift.canary, drift.stable)
    rows = [[side.answers, side.total, side.told_squares, float(side.ticks)] for side in sides]
    return [[_rounded(value) for value in row] for row in rows]


def _restore_tokens(drift: TokenDrift, rows: object) -> None:
    found = [_counts(row, 4) for row in _list(rows)]
    if len(found) != 2 or found[0] is None or found[1] is None:
        return
    drift.canary, drift.stable = _token_mean(found[0]), _token_mean(found[1])


def _token_mean(row: Sequence[float]) -> MeanPerAnswer:
    mean = MeanPerAnswer()
    mean.answers, mean.total = row[0], row[1]
    # the square of a mean is the least that the mean of squares can be
    mean.squares = max(row[2], row[1] * row[1] / row[0] if row[0] else 0.0)
    # so that what follows decides, not what is read
    mean.ticks = min(int(row[3]), FEWEST_TICKS - _NEW_TICKS)
    return mean


def _parsed(text: str) -> dict[str, Any] | None:
    if not text or len(text) > LONGEST_TEXT:
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict) or found.get("version") != _VERSION:
        return None
    return found


def _list(found: object) -> list[Any]:
    return found if isinstance(found, list) else []


def _counts(row: object, length: int) -> list[float] | None:
    return _row(row, length, lambda value: 0 <= value <= _LARGEST_COUNT)


def _finite(row: object, length: int) -> list[float] | None:
    return _row(row, length, math.isfinite)


def _row(row: object, length: int, holds: Callable[[float], bool]) -> list[float] | None:
    if not isinstance(row, list) or len(row) != length:
        return None
    if any(isinstance(value, bool) or not isinstance(value, int | float) for value in row):
        return None
    if any(abs(value) > 1e300 for value in row):
        return None
    values = [float(value) for value in row]
    return values if all(math.isfinite(value) and holds(value) for value in values) else None


def _rounded(value: float) -> float:
    """Keeps five figures; the least weights round to nothing and come back with the next share of the prior."""
    return 0.0 if abs(value) < 1e-30 else float(f"{value:.5g}")
