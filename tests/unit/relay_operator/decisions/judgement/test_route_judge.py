"""The verdict on a canary: four outcomes, and only one of them rolls back."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.verdict import (
    LatencyObjective,
    Objective,
    Outcome,
    Verdict,
)
from relay_operator.decisions.judgement.route_judge import RouteJudge
from relay_operator.names import Reason

ERRORS = Objective(window_seconds=600, min_requests=50, max_error_percent=1)
LATENCY = Objective(
    window_seconds=600,
    min_requests=50,
    latency=(LatencyObjective(signal="FirstToken", quantile=0.9, max_milliseconds=500),),
)
TOKENS = Objective(window_seconds=600, min_requests=50, max_token_drift_percent=5)
STABLE = SideIncrements(started=380, finished=380)


def side(calls: float, **parts: Any) -> SideIncrements:
    """Returns attempts that end in the tick in which they begin."""
    return SideIncrements(started=calls, finished=calls, **parts)


class Looks:
    """Looks at a route, a second apart."""

    def __init__(self, objective: Objective = ERRORS) -> None:
        self.judge = RouteJudge(objective)
        self.now = 1e9

    def see(
        self,
        canary: SideIncrements,
        *,
        stable: SideIncrements = STABLE,
        times: int = 1,
        pods: int = 3,
        expected: int = 3,
        tripped: int = 0,
        percent: int = 0,
    ) -> Verdict:
        """Takes in the same tick so many times; returns the last verdict."""
        for _ in range(times):
            self.now += 1
            verdict = self.judge.judge(
                Increments(
                    now=self.now,
                    seconds=1.0,
                    canary=canary,
                    stable=stable,
                    fresh_pods=pods,
                    expected_pods=expected,
                    tripped_pods=tripped,
                ),
                asked_percent=percent,
            )
        return verdict


def found(verdict: Verdict) -> tuple[Outcome, Reason]:
    return verdict.outcome, verdict.reason


def test_a_canary_that_answers_is_healthy_once_the_step_has_enough_calls() -> None:
    looks = Looks()
    assert found(looks.see(side(20), times=2)) == (
        Outcome.INCONCLUSIVE,
        Reason.TOO_FEW_REQUESTS,
    )
    verdict = looks.see(side(20))
    assert found(verdict) == (Outcome.HEALTHY, Reason.HEALTHY)
    assert not verdict.certified
    assert looks.see(side(20), times=30).certified


def test_requests_count_over_the_step_however_slowly_they_come() -> None:
    looks = Looks()
    assert looks.see(side(0.02), times=2499).outcome is Outcome.INCONCLUSIVE
    assert looks.see(side(0.02), times=3).outcome is Outcome.HEALTHY
    looks.judge.begin_step()
    verdict = looks.see(side(1))
    assert verdict.reason is Reason.TOO_FEW_REQUESTS
    assert verdict.message == "1 canary requests on this step, 50 needed"


def test_a_breach_says_on_what_evidence() -> None:
    verdict = Looks().see(side(20, failed=5), times=5)
    assert found(verdict) == (Outcome.BREACHED, Reason.ERROR_RATE)
    assert verdict.message.startswith("25 of 100 requests failed (25 %, limit 1 %), evidence ")
    assert verdict.message.endswith(" of 6.2 needed; stable: 0 of 1900 (0 %)")


def test_a_dead_canary_needs_no_full_sample() -> None:
    assert Looks().see(side(1, failed=1), times=4).outcome is Outcome.BREACHED


def test_slow_calls_breach_their_limit() -> None:
    slow = replace(side(20), slow={"FirstToken": (10.0, 20.0), "Total": (20.0, 20.0)})
    stable = replace(STABLE, slow={"FirstToken": (10.0, 380.0)})
    verdict = Looks(LATENCY).see(slow, stable=stable, times=10)
    assert found(verdict) == (Outcome.BREACHED, Reason.LATENCY)
    assert "took over 500 ms to the first token (50 %, limit 10 %)" in verdict.message


STREAMS = Objective(
    window_seconds=600,
    min_requests=50,
    latency=(LatencyObjective(signal="FirstToken", quantile=0.99, max_milliseconds=1500),),
)


def test_the_first_slow_calls_among_long_streams_are_no_breach() -> None:
    """A slow one is counted when its limit has passed, the others when they end."""
    looks = Looks(STREAMS)
    stable = side(380, under_way=380 * 40, slow={"FirstToken": (1.9, 380.0)})
    for second in range(300):
        slow, ended = second % 10 == 2, 20.0 if second >= 40 else 0.0
        canary = SideIncrements(
            started=20,
            finished=ended,
            under_way=20.0 * min(second + 1, 40),
            # of 200 calls one is slow
            slow={"FirstToken": (float(slow), max(ended, float(slow)))},
        )
        assert looks.see(canary, stable=stable).outcome is not Outcome.BREACHED
    assert found(looks.see(side(20), stable=stable)) == (Outcome.HEALTHY, Reason.HEALTHY)


@pytest.mark.parametrize(("share", "seconds"), [(1.0, 8), (0.1, 30)])
def test_slow_calls_among_long_streams_are_found(share: float, seconds: int) -> None:
    looks = Looks(STREAMS)
    stable = side(380, under_way=380 * 40, slow={"FirstToken": (1.9, 380.0)})
    for second in range(seconds):
        slow = 20.0 * share if second >= 2 else 0.0
        canary = SideIncrements(
            started=20, under_way=20.0 * (second + 1), slow={"FirstToken": (slow, slow)}
        )
        verdict = looks.see(canary, stable=stable)
    assert found(verdict) == (Outcome.BREACHED, Reason.LATENCY)


def test_calls_that_end_without_having_been_timed_count_for_no_share_of_slow_ones() -> None:
    looks = Looks(STREAMS)
    stable = side(380, slow={"FirstToken": (1.9, 380.0)})
    canary = SideIncrements(
        started=100, finished=20, cancelled=80, slow={"FirstToken": (2.0, 20.0)}
    )
    verdict = looks.see(canary, stable=stable, times=30)
    assert found(verdict) == (Outcome.BREACHED, Reason.LATENCY)
    assert "(10 %, " in verdict.message


def test_a_signal_that_nobody_asked_about_breaches_nothing_and_measures_nothing() -> None:
    other = replace(side(20), slow={"Total": (20.0, 20.0)})
    assert found(Looks(LATENCY).see(other, times=10)) == (
        Outcome.INCONCLUSIVE,
        Reason.TOO_FEW_REQUESTS,
    )


def test_an_incident_that_stable_shares_holds_and_says_so() -> None:
    verdict = Looks().see(side(20, failed=5), stable=side(380, failed=95), times=20)
    assert found(verdict) == (Outcome.INCONCLUSIVE, Reason.SHARED_INCIDENT)
    assert verdict.stable_exceeds
    assert "stable breaks the limit as well" in verdict.message


def test_no_step_passes_while_more_of_the_last_calls_fail_than_may() -> None:
    looks = Looks()
    assert looks.see(side(20), times=60).outcome is Outcome.HEALTHY
    found = looks.see(side(20, failed=3), times=2)
    assert (found.outcome, found.reason) == (Outcome.INCONCLUSIVE, Reason.SUSPECTED)
    assert "of the last" in found.message
    assert looks.see(side(20), times=60).outcome is Outcome.HEALTHY


def test_a_first_burst_is_suspected_and_then_forgotten() -> None:
    looks = Looks()
    looks.see(side(20), times=5)
    assert looks.see(side(20, failed=20), times=2).reason is Reason.SUSPECTED
    assert looks.see(side(20), times=60).outcome is Outcome.HEALTHY


def test_silent_pods_hold_but_do_not_protect_a_canary_that_is_convicted() -> None:
    assert found(Looks().see(side(20), times=9, pods=2)) == (
        Outcome.UNMEASURABLE,
        Reason.NO_DATA,
    )
    looks = Looks()
    assert looks.see(side(20, failed=10), times=9, pods=2).outcome is Outcome.BREACHED
    assert looks.see(side(0), pods=0).outcome is Outcome.UNMEASURABLE
    assert Looks().see(side(0), pods=0, expected=0).outcome is Outcome.UNMEASURABLE


def test_a_majority_of_tripped_breakers_is_a_breach_and_a_minority_is_not() -> None:
    assert Looks().see(side(1), tripped=2).reason is Reason.BREAKER_TRIPPED
    assert Looks().see(side(1), tripped=1).outcome is Outcome.INCONCLUSIVE


@pytest.mark.parametrize(
    ("canary", "stable", "outcome", "reason"),
    [
        (side(20, refused=20), STABLE, Outcome.BREACHED, Reason.REFUSES_MORE),
        (side(20, refused=20), side(380, refused=11), Outcome.BREACHED, Reason.REFUSES_MORE),
        (side(20, refused=6), STABLE, Outcome.INCONCLUSIVE, Reason.REFUSES_MORE),
        (side(20, refused=1), side(380, refused=19), Outcome.HEALTHY, Reason.HEALTHY),
        (side(20, refused=18), side(380, refused=342), Outcome.HEALTHY, Reason.HEALTHY),
        (side(20, refused=20), SideIncrements(), Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS),
    ],
    ids=["all", "all, stable some", "a third", "as many", "as many, most", "nobody to compare"],
)
def test_mistakes_of_callers_are_compared_with_stable(
    canary: SideIncrements, stable: SideIncrements, outcome: Outcome, reason: Reason
) -> None:
    assert found(Looks().see(canary, stable=stable, times=40)) == (outcome, reason)


@pytest.mark.parametrize("repeated", [2, 10, 100])
def test_one_caller_that_repeats_a_mistake_without_end_holds_and_rolls_back_nothing(
    repeated: int,
) -> None:
    looks = Looks()
    looks.see(side(20), times=60)
    for _ in range(300):
        verdict = looks.see(side(20 + 20 * repeated, refused=20 * repeated), percent=5)
        assert verdict.outcome is not Outcome.BREACHED
    assert verdict.reason is Reason.REFUSES_MORE


@pytest.mark.parametrize("percent", [1, 20, 50, 90])
def test_a_canary_that_refuses_most_of_what_stable_accepts_is_a_breach_at_every_weight(
    percent: int,
) -> None:
    looks, calls = Looks(), 4.0 * percent
    stable = side(400 - calls)
    looks.see(side(calls), stable=stable, percent=percent)
    refuses = side(calls, refused=0.8 * calls)
    verdict = looks.see(refuses, stable=stable, percent=percent, times=60)
    assert found(verdict) == (Outcome.BREACHED, Reason.REFUSES_MORE)


def test_a_canary_that_refuses_no_more_calls_than_stable_any_more_goes_on() -> None:
    looks = Looks()
    assert looks.see(side(20, refused=6), times=40).reason is Reason.REFUSES_MORE
    assert found(looks.see(side(20), times=120)) == (Outcome.HEALTHY, Reason.HEALTHY)


def leaving(calls: float, left: float) -> SideIncrements:
    return SideIncrements(started=calls, finished=calls - left, cancelled=left)


@pytest.mark.parametrize(
    ("canary", "stable", "outcome", "reason"),
    [
        (leaving(20, 6), STABLE, Outcome.INCONCLUSIVE, Reason.LEFT_MORE),
        (leaving(20, 6), leaving(380, 19), Outcome.INCONCLUSIVE, Reason.LEFT_MORE),
        (leaving(20, 1), STABLE, Outcome.HEALTHY, Reason.HEALTHY),
        (leaving(20, 6), leaving(380, 114), Outcome.HEALTHY, Reason.HEALTHY),
    ],
    ids=["a third", "a third, stable some", "few", "as many"],
)
def test_what_callers_leave_before_it_ends_is_compared_with_stable(
    canary: SideIncrements, stable: SideIncrements, outcome: Outcome, reason: Reason
) -> None:
    looks = Looks()
    verdict = looks.see(canary, stable=stable, times=120)
    assert found(verdict) == (outcome, reason)
    if reason is Reason.LEFT_MORE:
        assert "requests were left by their callers before they ended (30 %" in verdict.message
        assert looks.see(leaving(20, 0), stable=stable, times=120).outcome is Outcome.HEALTHY


def test_what_met_a_quota_neither_fails_nor_answers() -> None:
    assert Looks().see(side(20, throttled=2), times=40).outcome is Outcome.HEALTHY
    verdict = Looks().see(side(20, throttled=15), times=40)
    assert found(verdict) == (Outcome.INCONCLUSIVE, Reason.TOO_FEW_REQUESTS)
    assert verdict.message == (
        "200 canary requests on this step, 600 needed; 600 more met the provider's quota (429) "
        "and 0 were refused as their callers' mistakes"
    )
    # few are answered, and a third of those fail
    assert Looks().see(side(20, throttled=17, failed=1), times=20).outcome is Outcome.BREACHED


@pytest.mark.parametrize("cancelled_after", [30, 10_000])
def test_a_canary_that_hangs_is_rolled_back_whether_its_clients_wait_or_leave(
    cancelled_after: int,
) -> None:
    looks = Looks()
    stable = SideIncrements(started=19, finished=19)
    looks.see(side(1), stable=stable, times=30)
    for second in range(120):
        left = 1.0 if second >= cancelled_after else 0.0
        under_way = min(second, cancelled_after)
        hung = SideIncrements(started=1, cancelled=left, under_way=under_way)
        verdict = looks.see(hung, stable=stable)
        if verdict.outcome is Outcome.BREACHED:
            break
    assert verdict.reason is Reason.STALLED_CALLS
    assert 30 <= second <= 45
    assert verdict.message.endswith("none has finished since")


def test_a_quiet_canary_a_slow_pair_and_a_shared_hang_are_no_stall() -> None:
    looks = Looks()
    looks.see(side(1), times=30)
    assert looks.see(SideIncrements(under_way=2), times=300).outcome is not Outcome.BREACHED
    slow = Looks()
    for second in range(200):
        ended = 1.0 if second >= 60 else 0.0
        under_way = min(second + 1, 60)
        both = SideIncrements(started=1, finished=ended, under_way=under_way)
        assert slow.see(both, stable=both).outcome is not Outcome.BREACHED
    shared = Looks()
    shared.see(side(1), stable=side(19), times=30)
    hung = SideIncrements(started=1, under_way=50)
    both_hang = shared.see(hung, stable=SideIncrements(started=19), times=200)
    assert both_hang.outcome is not Outcome.BREACHED


def with_tokens(calls: float, tokens: float) -> SideIncrements:
    return replace(
        side(calls), reported=calls, input_tokens=calls * 100, output_tokens=calls * tokens
    )


def test_a_drift_of_tokens_breaches_and_the_same_tokens_do_not() -> None:
    def looks(factor: float) -> Verdict:
        found = Looks(TOKENS)
        for index in range(2000):
            base = 40 + 20 * (index % 3)
            found.see(with_tokens(5, base * factor), stable=with_tokens(95, 40 + 20 * (index % 2)))
        return found.see(with_tokens(5, 60 * factor), stable=with_tokens(95, 50))

    verdict = looks(50 / 60 * 1.4)
    assert found(verdict) == (Outcome.BREACHED, Reason.TOKEN_DRIFT)
    assert "output tokens an answer" in verdict.message
    assert looks(50 / 60).outcome is Outcome.HEALTHY


def test_nothing_is_healthy_that_was_not_held_to_a_limit() -> None:
    for percent, points in ((None, None), (100.0, None), (100.0, 100.0)):
        none = Objective(
            window_seconds=600,
            min_requests=50,
            max_error_percent=percent,
            max_error_increase_points=points,
        )
        assert found(Looks(none).see(side(20, failed=8), times=9)) == (
            Outcome.INCONCLUSIVE,
            Reason.NO_LIMIT,
        )


def test_stable_is_compared_with_where_only_that_is_asked() -> None:
    relative = Objective(
        window_seconds=600,
        min_requests=50,
        max_error_percent=100,
        max_error_increase_points=0.5,
    )
    assert Looks(relative).see(side(20), times=9).outcome is Outcome.HEALTHY
    assert Looks(relative).see(side(20, failed=2), times=60).outcome is Outcome.BREACHED
    alike = side(380, failed=38)
    assert Looks(relative).see(side(20, failed=2), stable=alike, times=60).reason in (
        Reason.HEALTHY,
        Reason.SHARED_INCIDENT,
    )


def test_rows_tell_both_sides_the_limit_and_the_evidence() -> None:
    looks = Looks(replace(ERRORS, max_error_increase_points=0.1))
    looks.see(side(21, failed=1), stable=side(399, failed=1), times=3)
    (row,) = looks.judge.rows()
    assert (row.name, row.canary, row.stable) == ("Errors", "3 of 63 (4.8 %)", "3 of 1197 (0.25 %)")
    assert row.limit == "1 %; stable + 0.1 points"
    assert row.evidence.endswith((" of 6.2", " of 6.9"))
    assert row.message.startswith("3 of 63 requests failed (4.8 %, limit 1 %), evidence ")


COUNTS = st.floats(0, 1e6) | st.integers(0, 30)
SIDES = st.builds(
    SideIncrements,
    started=COUNTS,
    finished=COUNTS,
    failed=COUNTS,
    cancelled=COUNTS,
    throttled=COUNTS,
    refused=COUNTS,
    truncated=COUNTS,
    reported=COUNTS,
    input_tokens=COUNTS,
    output_tokens=COUNTS,
    under_way=COUNTS,
    slow=st.dictionaries(st.sampled_from(["FirstToken", "Total"]), st.tuples(COUNTS, COUNTS)),
)


@given(
    st.sampled_from([ERRORS, LATENCY, TOKENS]),
    st.lists(st.tuples(st.floats(0, 100), SIDES, SIDES, st.integers(0, 3)), max_size=15),
)
def test_there_is_a_verdict_on_whatever_comes(
    objective: Objective, ticks: list[tuple[float, SideIncrements, SideIncrements, int]]
) -> None:
    judge, now = RouteJudge(objective), 1e9
    for seconds, canary, stable, pods in ticks:
        now += seconds
        verdict = judge.judge(
            Increments(
                now=now,
                seconds=seconds,
                canary=canary,
                stable=stable,
                fresh_pods=pods,
                expected_pods=3,
            )
        )
        assert verdict.message
        assert all(row.message for row in judge.rows())


def test_attempts_that_an_earlier_run_left_under_way_do_not_count_as_stalled() -> None:
    looks = Looks()
    looks.see(SideIncrements(under_way=40), times=200)
    assert looks.see(SideIncrements(started=1, under_way=41)).outcome is not Outcome.BREACHED
    verdict = looks.see(SideIncrements(under_way=41), times=200)
    assert verdict.outcome is not Outcome.BREACHED
    for under_way in (43, 45, 46):
        looks.see(SideIncrements(under_way=under_way - 1), times=2)
        looks.see(SideIncrements(started=2 - (under_way == 46), under_way=under_way))
    hung = looks.see(SideIncrements(under_way=46), times=60)
    assert found(hung) == (Outcome.BREACHED, Reason.STALLED_CALLS)
    assert hung.message.startswith("6 requests began")


def test_a_quota_is_told_beside_the_verdict_with_its_figures() -> None:
    looks = Looks()
    assert looks.see(side(20), times=10).throttled == ""
    verdict = looks.see(side(20, throttled=4), times=20)
    assert verdict.outcome is Outcome.HEALTHY
    assert verdict.throttled == "80 of 600 canary calls on this step were answered 429"
    looks.judge.begin_step()
    assert looks.see(side(20)).throttled.endswith("canary calls of late were answered 429")
    assert looks.see(side(20), times=300).throttled == ""


def test_a_stable_side_that_fails_alone_is_told_with_its_figures() -> None:
    verdict = Looks().see(side(20), stable=side(380, failed=95), times=20)
    assert verdict.outcome is Outcome.HEALTHY
    assert "requests of stable failed (25 %, limit 1 %)" in verdict.stable_finding


@pytest.mark.parametrize("minutes", [1, 60])
def test_a_shared_incident_ends_with_some_good_calls_however_long_it_was(minutes: int) -> None:
    looks = Looks()
    looks.see(side(4), stable=side(12), times=60)
    bad = looks.see(side(4, failed=1), stable=side(12, failed=3), times=60 * minutes)
    assert bad.reason is Reason.SHARED_INCIDENT
    still = looks.see(side(4), stable=side(12), times=5)
    assert still.reason is Reason.SHARED_INCIDENT
    over = looks.see(side(4), stable=side(12), times=30)
    assert over.reason is not Reason.SHARED_INCIDENT
    over = looks.see(side(4), stable=side(12), times=60)
    assert over.outcome is Outcome.HEALTHY
    assert over.stable_finding == ""


@pytest.mark.parametrize(("takes", "least", "most"), [(1, 12, 20), (6, 45, 60), (100, 290, 330)])
def test_calls_are_stalled_after_some_times_as_long_as_they_usually_take(
    takes: int, least: int, most: int
) -> None:
    looks = Looks()
    canary, stable = side(2, under_way=2 * takes), side(10, under_way=10 * takes)
    looks.see(canary, stable=stable, times=120)
    for second in range(1, 400):
        hung = SideIncrements(started=2, under_way=2 * takes + 2 * second)
        if looks.see(hung, stable=stable).outcome is Outcome.BREACHED:
            break
    assert least <= second <= most


def test_a_pause_of_several_calls_that_was_seen_before_is_no_stall() -> None:
    looks = Looks()
    stable = side(10, under_way=10)
    looks.see(side(2, under_way=2), stable=stable, times=120)
    for _ in range(3):
        # six at once that take 20 s
        looks.see(SideIncrements(started=6, under_way=6), stable=stable)
        waiting = looks.see(SideIncrements(under_way=6), stable=stable, times=11)
        assert waiting.outcome is not Outcome.BREACHED
        looks.see(SideIncrements(finished=6), stable=stable)
        looks.see(side(2, under_way=2), stable=stable, times=30)
    for under_way in (2, 4, 6):
        looks.see(SideIncrements(started=2, under_way=under_way), stable=stable)
        looks.see(SideIncrements(under_way=under_way), stable=stable, times=2)
    longer = looks.see(SideIncrements(under_way=6), stable=stable, times=14)
    assert longer.outcome is not Outcome.BREACHED
    hung = looks.see(SideIncrements(under_way=6), stable=stable, times=14)
    assert found(hung) == (Outcome.BREACHED, Reason.STALLED_CALLS)


@pytest.mark.parametrize("stable", [SideIncrements(), side(10)])
def test_what_finished_while_prometheus_was_away_is_no_stall(stable: SideIncrements) -> None:
    """Counts of a gap are dropped, finished attempts as well."""
    looks = Looks()
    looks.see(side(20), stable=stable)
    looks.see(side(20, under_way=20), stable=stable, times=60)
    looks.now += 60
    after = Increments(
        now=looks.now,
        seconds=0.0,
        canary=SideIncrements(under_way=20),
        fresh_pods=3,
        expected_pods=3,
        moved=False,
    )
    silent = replace(after, now=looks.now - 60, fresh_pods=0)
    assert looks.judge.judge(silent).outcome is Outcome.UNMEASURABLE
    assert looks.judge.judge(after).outcome is Outcome.HEALTHY
    assert looks.see(side(20, under_way=20), stable=stable, times=30).outcome is Outcome.HEALTHY
    # one that hung meanwhile is found from then on
    hung = SideIncrements(started=20, under_way=40)
    assert looks.see(hung, stable=stable, times=8).outcome is not Outcome.BREACHED
    assert found(looks.see(hung, stable=stable, times=20)) == (
        Outcome.BREACHED,
        Reason.STALLED_CALLS,
    )


def test_what_a_pod_without_samples_may_have_finished_is_no_stall() -> None:
    looks = Looks()
    looks.see(side(20))
    looks.see(side(20, under_way=20), times=60)
    missed = SideIncrements(under_way=20)
    assert looks.see(missed, times=200, pods=2).outcome is Outcome.UNMEASURABLE
