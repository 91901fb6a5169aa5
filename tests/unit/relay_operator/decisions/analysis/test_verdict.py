"""The judgement of a canary: four outcomes, and only one of them rolls back."""

import pytest

from relay_operator.decisions.analysis.verdict import (
    LatencyObjective,
    Objective,
    Outcome,
    SideCounts,
    Window,
    judge,
)
from relay_operator.names import Reason

OBJECTIVE = Objective(
    window_seconds=60,
    min_requests=50,
    max_error_percent=1,
    latency=(LatencyObjective(signal="FirstToken", quantile=0.9, max_milliseconds=500),),
)
GOOD = SideCounts(finished=1000, failed=1)


def a_window(
    canary: SideCounts,
    *,
    stable: SideCounts = GOOD,
    pods: int = 2,
    expected: int = 2,
    tripped: int = 0,
) -> Window:
    return Window(
        stable=stable, canary=canary, pods=pods, expected_pods=expected, tripped_pods=tripped
    )


@pytest.mark.parametrize(
    ("canary", "outcome", "reason"),
    [
        (SideCounts(finished=200, failed=2), Outcome.HEALTHY, Reason.HEALTHY),
        (SideCounts(finished=200, failed=3), Outcome.BREACHED, Reason.ERROR_RATE),
        (SideCounts(finished=49), Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (SideCounts(), Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (
            SideCounts(finished=200, slow={"FirstToken": (21, 200)}),
            Outcome.BREACHED,
            Reason.LATENCY,
        ),
        (SideCounts(finished=200, slow={"FirstToken": (20, 200)}), Outcome.HEALTHY, Reason.HEALTHY),
        (SideCounts(finished=200, slow={"Total": (200, 200)}), Outcome.HEALTHY, Reason.HEALTHY),
    ],
    ids=[
        "at the limit",
        "over it",
        "too few",
        "none",
        "slow",
        "slow enough",
        "a signal nobody asked about",
    ],
)
def test_verdict_on_the_canary_alone(canary: SideCounts, outcome: Outcome, reason: Reason) -> None:
    verdict = judge(OBJECTIVE, a_window(canary))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_breach_no_further_request_can_undo_needs_no_full_sample() -> None:
    assert judge(OBJECTIVE, a_window(SideCounts(finished=3, failed=1))).outcome is Outcome.BREACHED
    lenient = Objective(window_seconds=60, min_requests=50, max_error_percent=10)
    assert (
        judge(lenient, a_window(SideCounts(finished=6, failed=5))).outcome is Outcome.INCONCLUSIVE
    )
    assert judge(lenient, a_window(SideCounts(finished=6, failed=6))).outcome is Outcome.BREACHED


FIRST_TOKEN = LatencyObjective(signal="FirstToken", quantile=0.9, max_milliseconds=500)


@pytest.mark.parametrize(
    ("percent", "latency", "timed", "outcome", "reason"),
    [
        (None, (), 1000, Outcome.INCONCLUSIVE, Reason.NO_LIMIT),
        (100.0, (), 1000, Outcome.INCONCLUSIVE, Reason.NO_LIMIT),
        (99.0, (), 0, Outcome.HEALTHY, Reason.HEALTHY),
        (None, (FIRST_TOKEN,), 0, Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (None, (FIRST_TOKEN,), 49, Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (100.0, (FIRST_TOKEN,), 0, Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (None, (FIRST_TOKEN,), 50, Outcome.HEALTHY, Reason.HEALTHY),
    ],
)
def test_nothing_is_healthy_that_was_not_held_to_a_limit(
    percent: float | None,
    latency: tuple[LatencyObjective, ...],
    timed: int,
    outcome: Outcome,
    reason: Reason,
) -> None:
    objective = Objective(
        window_seconds=60, min_requests=50, max_error_percent=percent, latency=latency
    )
    canary = SideCounts(finished=1000, failed=400, slow={"FirstToken": (0, timed)})
    verdict = judge(objective, a_window(canary))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


def test_a_breach_that_stable_shares_moves_nothing() -> None:
    bad = SideCounts(finished=200, failed=50)
    verdict = judge(OBJECTIVE, a_window(bad, stable=bad))
    assert (verdict.outcome, verdict.reason) == (Outcome.INCONCLUSIVE, Reason.SHARED_INCIDENT)
    assert "stable breaches the same limit, so the traffic stays where it is" in verdict.message


@pytest.mark.parametrize(
    ("pods", "expected"), [(1, 2), (0, 0)], ids=["one pod silent", "no pod serves"]
)
def test_silence_is_unmeasurable_even_beside_bad_figures(pods: int, expected: int) -> None:
    verdict = judge(
        OBJECTIVE, a_window(SideCounts(finished=200, failed=100), pods=pods, expected=expected)
    )
    assert (verdict.outcome, verdict.reason) == (Outcome.UNMEASURABLE, Reason.NO_DATA)


def test_a_majority_of_tripped_breakers_is_a_breach_and_a_minority_is_not() -> None:
    quiet = SideCounts(finished=3)
    assert (
        judge(OBJECTIVE, a_window(quiet, pods=3, expected=3, tripped=2)).reason
        is Reason.BREAKER_TRIPPED
    )
    assert (
        judge(OBJECTIVE, a_window(quiet, pods=3, expected=3, tripped=1)).outcome
        is Outcome.INCONCLUSIVE
    )
    assert (
        judge(OBJECTIVE, a_window(quiet, pods=1, expected=1, tripped=1)).outcome is Outcome.BREACHED
    )


def test_messages_carry_the_figures_a_person_needs() -> None:
    message = judge(OBJECTIVE, a_window(SideCounts(finished=200, failed=50))).message
    assert message == "25.0 % of 200 requests failed, at most 1 % may"


ERRORS = Objective(window_seconds=60, min_requests=50, max_error_percent=1)
MISTAKES = SideCounts(finished=1000, refused=30)


@pytest.mark.parametrize(
    ("canary", "stable", "outcome", "reason"),
    [
        (SideCounts(finished=60, refused=60), GOOD, Outcome.BREACHED, Reason.REFUSES_MORE),
        (SideCounts(finished=60, refused=60), MISTAKES, Outcome.BREACHED, Reason.REFUSES_MORE),
        (SideCounts(finished=200, refused=60), GOOD, Outcome.INCONCLUSIVE, Reason.REFUSES_MORE),
        (SideCounts(finished=2, refused=2), GOOD, Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
        (SideCounts(finished=200, refused=6), MISTAKES, Outcome.HEALTHY, Reason.HEALTHY),
        (SideCounts(finished=200, refused=12), MISTAKES, Outcome.HEALTHY, Reason.HEALTHY),
        (SideCounts(finished=200, refused=0), MISTAKES, Outcome.HEALTHY, Reason.HEALTHY),
        (
            SideCounts(finished=1000, refused=900),
            SideCounts(finished=1000, refused=900),
            Outcome.HEALTHY,
            Reason.HEALTHY,
        ),
        (
            SideCounts(finished=1000, refused=990),
            SideCounts(),
            Outcome.INCONCLUSIVE,
            Reason.TOO_FEW_REQUESTS,
        ),
        (
            SideCounts(finished=60, refused=60),
            SideCounts(finished=1000, failed=500),
            Outcome.INCONCLUSIVE,
            Reason.SHARED_INCIDENT,
        ),
    ],
    ids=[
        "all, and stable none",
        "all, and stable some",
        "a third, and stable none",
        "too few to tell",
        "as many as stable",
        "twice as many by chance",
        "fewer than stable",
        "as many as stable, which are most",
        "nearly all, and nobody to compare with",
        "all, and stable fails",
    ],
)
def test_mistakes_of_callers_are_compared_with_stable(
    canary: SideCounts, stable: SideCounts, outcome: Outcome, reason: Reason
) -> None:
    verdict = judge(ERRORS, a_window(canary, stable=stable))
    assert (verdict.outcome, verdict.reason) == (outcome, reason)


@pytest.mark.parametrize(
    ("throttled", "outcome"),
    [(0, Outcome.HEALTHY), (90, Outcome.HEALTHY), (110, Outcome.INCONCLUSIVE), (200, Outcome.INCONCLUSIVE)],
)  # fmt: skip
def test_a_canary_that_mostly_meets_its_quota_is_not_healthy(
    throttled: int, outcome: Outcome
) -> None:
    verdict = judge(ERRORS, a_window(SideCounts(finished=200, throttled=throttled)))
    assert verdict.outcome is outcome


def test_the_message_about_refusals_names_both_sides() -> None:
    canary, stable = SideCounts(finished=60, refused=60), SideCounts(finished=1000, refused=21)
    assert judge(ERRORS, a_window(canary, stable=stable)).message == (
        "the canary refused 100.0 % of 60 requests as their callers' mistakes (4xx), "
        "stable 2.1 % of 1000"
    )
    held = judge(ERRORS, a_window(SideCounts(finished=80, throttled=40, refused=1))).message
    assert held == (
        "39 canary requests in 60 s, 50 needed; 40 more met the provider's quota (429) "
        "and 1 were refused as their callers' mistakes"
    )
