"""The canary's state machine: examples for what people see, properties for what must never happen."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary import MOVES, Phase, Plan, State, next_state, resumed
from relay_operator.names import Reason

CANARY = "aaaaaaaaaaaa"
CLIMB = Plan(
    fingerprint=CANARY,
    percent=100,
    step_percent=25,
    every_seconds=60,
    min_requests=50,
    guarded=True,
)


def a_verdict(outcome: Outcome, message: str = "") -> Verdict:
    return Verdict(outcome=outcome, reason=Reason.HEALTHY, message=message)


HEALTHY = a_verdict(Outcome.HEALTHY)
BREACHED = a_verdict(Outcome.BREACHED, "25 % of the requests failed")
UNDECIDED = [a_verdict(Outcome.INCONCLUSIVE), a_verdict(Outcome.UNMEASURABLE)]


def climbing(weight: int = 25, *, phase: Phase = Phase.PROGRESSING) -> State:
    return State(
        phase=phase, weight_percent=weight, fingerprint=CANARY, step_index=1, step_started_at=1000.0
    )


def test_a_new_canary_starts_with_its_first_step() -> None:
    decision = next_state(State(), UNDECIDED[1], plan=CLIMB, step_requests=0, now=1000.0)
    assert (decision.state.phase, decision.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert decision.reason is Reason.STARTED


def test_without_progression_the_target_is_reached_in_one_step() -> None:
    plan = Plan(fingerprint=CANARY, percent=10, guarded=True)
    decision = next_state(State(), HEALTHY, plan=plan, step_requests=0, now=0.0)
    assert decision.state.weight_percent == 10


def test_a_step_is_passed_when_time_and_requests_are_enough_and_the_verdict_is_healthy() -> None:
    decision = next_state(climbing(), HEALTHY, plan=CLIMB, step_requests=50, now=1060.0)
    assert decision.state.weight_percent == 50
    assert (decision.state.step_index, decision.state.step_started_at) == (2, 1060.0)


@pytest.mark.parametrize(
    ("verdict", "requests", "now"),
    [
        (HEALTHY, 50, 1059.9),
        (HEALTHY, 49, 1060.0),
        *((verdict, 500, 9000.0) for verdict in UNDECIDED),
    ],
    ids=["too early", "too few requests", "inconclusive", "unmeasurable"],
)
def test_without_enough_evidence_the_weight_stays(
    verdict: Verdict, requests: float, now: float
) -> None:
    decision = next_state(climbing(), verdict, plan=CLIMB, step_requests=requests, now=now)
    assert decision.state.weight_percent == 25
    assert decision.reason is Reason.AWAITING_EVIDENCE


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.HOLDING, Phase.PAUSED])
def test_a_breach_takes_the_weight_to_zero_at_once(phase: Phase) -> None:
    plan = replace(CLIMB, paused=phase is Phase.PAUSED)
    decision = next_state(climbing(phase=phase), BREACHED, plan=plan, step_requests=0, now=1001.0)
    assert (decision.state.phase, decision.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert "25 % of the requests failed" in decision.message


def test_a_rolled_back_canary_stays_back_and_keeps_its_cause() -> None:
    rolled_back = next_state(climbing(), BREACHED, plan=CLIMB, step_requests=0, now=1001.0).state
    decision = next_state(rolled_back, HEALTHY, plan=CLIMB, step_requests=10_000, now=99_999.0)
    assert decision.state == rolled_back
    assert "25 % of the requests failed" in decision.message


def test_another_canary_starts_anew_after_a_rollback() -> None:
    rolled_back = climbing(0, phase=Phase.ROLLED_BACK)
    plan = replace(CLIMB, fingerprint="bbbbbbbbbbbb")
    assert (
        next_state(
            rolled_back, HEALTHY, plan=plan, step_requests=0, now=2000.0
        ).state.weight_percent
        == 25
    )


def test_percent_zero_is_back_on_stable_at_once_from_every_phase() -> None:
    for phase in Phase:
        decision = next_state(
            climbing(phase=phase), HEALTHY, plan=replace(CLIMB, percent=0), step_requests=0, now=1.0
        )
        assert decision.state == State()


def test_lowering_the_target_acts_at_once() -> None:
    decision = next_state(
        climbing(75), HEALTHY, plan=replace(CLIMB, percent=40), step_requests=0, now=1000.0
    )
    assert decision.state.weight_percent == 40
    assert decision.reason is Reason.LOWERED


def test_all_traffic_for_one_more_step_is_promoted() -> None:
    decision = next_state(climbing(100), HEALTHY, plan=CLIMB, step_requests=50, now=1060.0)
    assert (decision.state.phase, decision.state.weight_percent) == (Phase.PROMOTED, 100)


def test_a_promoted_canary_is_not_rolled_back() -> None:
    promoted = climbing(100, phase=Phase.PROMOTED)
    assert next_state(promoted, BREACHED, plan=CLIMB, step_requests=0, now=2000.0).state == promoted


def test_without_analysis_nothing_climbs_by_itself() -> None:
    plan = replace(CLIMB, guarded=False)
    decision = next_state(climbing(), HEALTHY, plan=plan, step_requests=10_000, now=99_999.0)
    assert decision.state.weight_percent == 25
    assert decision.reason is Reason.NO_ANALYSIS


def test_a_run_that_began_paused_takes_its_first_step_once_released() -> None:
    paused = next_state(
        State(), UNDECIDED[0], plan=replace(CLIMB, paused=True), step_requests=0, now=1.0
    ).state
    assert paused.weight_percent == 0
    assert (
        next_state(paused, UNDECIDED[0], plan=CLIMB, step_requests=0, now=2.0).state.weight_percent
        == 25
    )


def test_a_restart_goes_on_from_the_document_the_relays_obey() -> None:
    state = climbing(50)
    same: Any = {"fingerprint_in_force": CANARY, "now": 5000.0}
    assert resumed(state, weight_in_force=50, **same) is None
    raised = resumed(state, weight_in_force=75, **same)
    assert raised is not None
    assert (raised.state.weight_percent, raised.state.step_started_at) == (75, 5000.0)
    assert raised.reason is Reason.STEP_PASSED
    lowered = resumed(state, weight_in_force=25, **same)
    assert lowered is not None
    assert (lowered.state.weight_percent, lowered.reason) == (25, Reason.LOWERED)


def test_a_weight_that_fell_to_zero_before_a_restart_was_a_rollback() -> None:
    fallen = resumed(climbing(50), fingerprint_in_force=CANARY, weight_in_force=0, now=5000.0)
    assert fallen is not None
    assert (fallen.state.phase, fallen.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert fallen.reason is Reason.SLO_BREACH
    assert fallen.message == fallen.state.cause
    assert "rolled back from 50 %" in fallen.message


def test_a_document_about_another_canary_says_nothing_of_this_one() -> None:
    assert resumed(climbing(50), fingerprint_in_force="other", weight_in_force=0, now=1.0) is None


def test_messages_name_the_target_and_what_the_next_step_needs() -> None:
    started = next_state(State(), HEALTHY, plan=CLIMB, step_requests=0, now=1000.0)
    assert started.message == "canary started at 25 %, target 100 %"
    waiting = next_state(started.state, HEALTHY, plan=CLIMB, step_requests=0, now=1001.0)
    assert waiting.message == (
        "at 25 %: the next step needs 50 canary requests on this one, "
        "and comes not before 1970-01-01T00:17:40Z"
    )
    plan = replace(CLIMB, percent=40)
    reached = next_state(climbing(40), HEALTHY, plan=plan, step_requests=0, now=1001.0)
    assert reached.message == "target of 40 % reached"


@pytest.mark.parametrize("requests", [0, 30])
@pytest.mark.parametrize("now", [1001.0, 1059.0, 9000.0])
def test_the_message_of_a_wait_does_not_change_while_it_lasts(requests: float, now: float) -> None:
    first = next_state(climbing(), HEALTHY, plan=CLIMB, step_requests=0, now=1000.0)
    assert next_state(climbing(), HEALTHY, plan=CLIMB, step_requests=requests, now=now) == first


def legal(state: State) -> State:
    """Stable is one state, and what was rolled back has no weight: the machine makes no others."""
    if state.phase is Phase.STABLE or not state.fingerprint:
        return State()
    return replace(state, weight_percent=0) if state.phase is Phase.ROLLED_BACK else state


states = st.builds(
    State,
    phase=st.sampled_from(Phase),
    weight_percent=st.integers(0, 100),
    fingerprint=st.sampled_from(["", CANARY, "bbbbbbbbbbbb"]),
    step_index=st.integers(0, 9),
    step_started_at=st.floats(0, 1e6),
).map(legal)
plans = st.builds(
    Plan,
    fingerprint=st.sampled_from(["", CANARY]),
    percent=st.integers(0, 100),
    step_percent=st.integers(1, 100),
    every_seconds=st.floats(0, 1e5),
    min_requests=st.integers(1, 1000),
    guarded=st.booleans(),
    paused=st.booleans(),
)
verdicts = st.sampled_from([HEALTHY, BREACHED, *UNDECIDED])


@given(
    state=states, plan=plans, verdict=verdicts, requests=st.floats(0, 1e6), now=st.floats(0, 2e6)
)
def test_properties_of_every_move(
    state: State, plan: Plan, verdict: Verdict, requests: float, now: float
) -> None:
    after = next_state(state, verdict, plan=plan, step_requests=requests, now=now).state
    assert 0 <= after.weight_percent <= max(plan.percent, 0)
    assert after.phase in MOVES[state.phase]
    same_run = state.fingerprint == plan.fingerprint != ""
    if same_run and after.weight_percent > state.weight_percent:
        assert plan.guarded
        assert not plan.paused
        assert after.weight_percent - state.weight_percent <= plan.step_percent
        assert verdict.outcome is Outcome.HEALTHY or state.weight_percent == 0
    if same_run and verdict.outcome is Outcome.BREACHED and state.phase is not Phase.PROMOTED:
        assert after.weight_percent == 0
    if (
        same_run
        and verdict in UNDECIDED
        and plan.percent >= state.weight_percent > 0
        and state.phase is not Phase.ROLLED_BACK
    ):
        assert after.weight_percent == state.weight_percent


@given(state=states, plan=plans, verdict=verdicts, now=st.floats(0, 2e6))
def test_deciding_twice_changes_nothing_more(
    state: State, plan: Plan, verdict: Verdict, now: float
) -> None:
    # a new step begins without evidence of its own, so the second look sees no requests
    once = next_state(state, verdict, plan=plan, step_requests=0, now=now).state
    twice = next_state(once, verdict, plan=plan, step_requests=0, now=now).state
    if verdict.outcome is not Outcome.BREACHED and once.weight_percent > 0:
        assert twice.weight_percent == once.weight_percent


def test_every_phase_has_its_row_of_moves() -> None:
    assert set(MOVES) == set(Phase)
