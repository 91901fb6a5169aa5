"""Ours, and judges that compare the share of a period with a limit, of the kind of Flagger and of Argo Rollouts.

Both kinds look every ten seconds. What no requests mean, and how many failed looks end a run, follows
docs of Flagger 1.44 and Argo Rollouts 1.9.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tests.simulation.relay_operator.judgement.streams import Case, Seen, increments

from relay_operator.decisions.analysis.verdict import Objective, Outcome
from relay_operator.decisions.judgement.metric_test import ABSOLUTE_NATS, MetricTest
from relay_operator.decisions.judgement.route_judge import RouteJudge

LIMIT_PERCENT: Final = 1.0
_LOOK_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Rollback:
    """When a run was rolled back, and after how many canary calls since the fault began; by which bound, for ours."""

    at: float
    calls: int
    bound: float = LIMIT_PERCENT / 100
    absolute: bool = True


def ours(case: Case, ticks: Iterable[Seen], *, increase_points: float | None) -> Rollback | None:
    """Judges by the real test of a metric, all that a verdict on failures rests on."""
    increase = None if increase_points is None else increase_points / 100
    test = MetricTest(LIMIT_PERCENT / 100, increase=increase)
    calls, last = 0, 0.0
    for seen in ticks:
        calls += seen.began if seen.at > case.onset else 0
        test.tick(
            seen.now - last,
            bad=seen.failed,
            total=seen.began,
            passed=seen.began - seen.failed,
            stable_bad=seen.stable_failed,
            stable_total=seen.stable_began,
        )
        last = seen.now
        bound = test.convicted
        if bound is not None:
            return Rollback(seen.at, calls, bound.odds.share, bound is test.absolute)
    return None


def ours_whole(
    case: Case, ticks: Iterable[Seen], *, increase_points: float | None
) -> Rollback | None:
    """Judges by the judge of a route, with all its tests."""
    objective = Objective(
        window_seconds=600,
        min_requests=50,
        max_error_percent=LIMIT_PERCENT,
        max_error_increase_points=increase_points,
    )
    judge = RouteJudge(objective)
    calls, last = 0, 0.0
    for seen in ticks:
        calls += seen.began if seen.at > case.onset else 0
        verdict = judge.judge(increments(seen, seconds=seen.now - last, pods=case.pods))
        last = seen.now
        if verdict.outcome is Outcome.BREACHED:
            test = judge.judged[0].test
            bound = test.convicted
            assert bound is not None
            return Rollback(seen.at, calls, bound.odds.share, bound is test.absolute)
    return None


def evacuated(ticks: Iterable[Seen], *, pods: int) -> float | None:
    """Returns when a canary with a certificate would get all of its percent because stable alone fails; None if never.

    The step began with the stream, and what the state machine asks for beside the verdict is there.
    """
    judge = RouteJudge(
        Objective(window_seconds=600, min_requests=50, max_error_percent=LIMIT_PERCENT)
    )
    last = 0.0
    for seen in ticks:
        verdict = judge.judge(increments(seen, seconds=seen.now - last, pods=pods))
        last = seen.now
        if verdict.outcome is Outcome.BREACHED:
            return None
        if verdict.outcome is Outcome.HEALTHY and verdict.certified and verdict.stable_fails_alone:
            return seen.at
    return None


def informed(case: Case, ticks: Iterable[Seen]) -> Rollback | None:
    """Judges as who knows when the fault begins and how many calls it fails: the soonest that scrapes allow.

    The likelihood ratio against the limit, with as many false alarms as ours.
    """
    fails, limit, nats = min(case.canary.levels[0][2], 0.999), LIMIT_PERCENT / 100, 0.0
    bad, good = math.log(fails / limit), math.log((1 - fails) / (1 - limit))
    calls = 0
    for seen in ticks:
        if seen.at <= case.onset:
            continue
        calls += seen.began
        # what a scrape still has from before the fault must not count against it
        nats = max(nats + seen.failed * bad + (seen.began - seen.failed) * good, 0.0)
        if nats >= ABSOLUTE_NATS:
            return Rollback(seen.at, calls)
    return None


def flagger_kind(case: Case, ticks: Iterable[Seen], *, threshold: int) -> Rollback | None:
    """Counts looks at the last ten seconds over the limit, or without requests; rolls back one look after the last allowed."""
    failed_looks = 0
    for at, calls, share in _looks(case, ticks, period=_LOOK_SECONDS):
        if failed_looks >= threshold:
            return Rollback(at, calls)
        failed_looks += share is None or share > LIMIT_PERCENT / 100
    return None


def argo_kind(case: Case, ticks: Iterable[Seen], *, failure_limit: int) -> Rollback | None:
    """Counts looks at the last minute over the limit; five looks in a row without requests end the run as well."""
    failed, errors = 0, 0
    for at, calls, share in _looks(case, ticks, period=60.0):
        errors = errors + 1 if share is None else 0
        failed += share is not None and share > LIMIT_PERCENT / 100
        if failed > failure_limit or errors > 4:
            return Rollback(at, calls)
    return None


def _looks(
    case: Case, ticks: Iterable[Seen], *, period: float
) -> Iterable[tuple[float, int, float | None]]:
    """Yields every ten seconds the time, the canary's calls since the onset, and the share that failed in the period."""
    recent: list[Seen] = []
    calls, due = 0, _LOOK_SECONDS
    for seen in ticks:
        while seen.at > due:
            recent = [one for one in recent if one.at > due - period]
            began = sum(one.began for one in recent)
            yield due, calls, sum(one.failed for one in recent) / began if began else None
            due += _LOOK_SECONDS
        recent.append(seen)
        calls += seen.began if seen.at > case.onset else 0
