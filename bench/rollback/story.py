"""The calls of a canary that turns bad, and the scrape with which the operator's own judge finds that it breaks its limit."""

from typing import Final

from bench.rollback.responder import Story

from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.verdict import Objective, Outcome
from relay_operator.decisions.judgement.route_judge import RouteJudge

MAX_ERROR_PERCENT: Final = 1
_HEALTHY: Final = ((20, 0, 60),) * 4
_BAD: Final = ((2, 1, 20), (2, 1, 20), *((2, 2, 20),) * 12)
"""Few enough failures at a time that each counts; it goes on for longer than any rollback takes."""
STORY: Final = Story((*_HEALTHY, *_BAD))


def proving_step(period: float) -> tuple[int, str, str]:
    """Returns the step of the story that proves the breach, and the evidence before and with it, as status tells it."""
    judge = RouteJudge(
        Objective(window_seconds=600, min_requests=50, max_error_percent=MAX_ERROR_PERCENT)
    )
    before = ""
    for index, (calls, failed, stable) in enumerate(STORY.steps):
        increments = Increments(
            now=(index + 1) * period,
            seconds=period,
            canary=SideIncrements(started=calls, finished=calls, failed=failed),
            stable=SideIncrements(started=stable, finished=stable),
            fresh_pods=1,
            expected_pods=1,
        )
        found = judge.judge(increments)
        evidence = judge.rows()[0].evidence
        if found.outcome is Outcome.BREACHED:
            return index, before, evidence
        before = evidence
    raise RuntimeError("the judge finds no breach in the story")
