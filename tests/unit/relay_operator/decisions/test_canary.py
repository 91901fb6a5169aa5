"""The canary's state machine: examples for what people see, properties for what must never happen."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.scrapes import copied
from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.copies import Shadowed
from relay_operator.decisions.canary.incidents import QUIET_SECONDS
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.machine import resumed
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import (
    MOST_ROLLED_BACK,
    MOVES,
    Decision,
    Phase,
    Plan,
    RolledBack,
    ShadowPlan,
    State,
)
from relay_operator.names import Reason

CANARY = "aaaaaaaaaaaa"
RETRY = "relay-operator.dev/retry"
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


def next_state(
    state: State,
    verdict: Verdict,
    *,
    plan: Plan,
    step_requests: float = 0.0,
    now: float = 1000.0,
    **look: Any,
) -> Decision:
    """Decides by one look; a preflight that it begins is passed at once."""
    seen = Look(verdict=verdict, now=now, step_requests=step_requests, probes=PASSED, **look)
    decision = machine.next_state(state, seen, plan=plan)
    if decision.state.phase is Phase.PREFLIGHT:
        decision = machine.next_state(decision.state, seen, plan=plan)
    return decision


PASSED = Probes(passed=True)
COPIED = [
    Shadowed(started_at=0.0, counts={copied("canary", "match"): 50.0}, is_fresh=True),
    Shadowed(started_at=0.0, counts={copied("canary", "match"): 49.0}, is_fresh=True),
    Shadowed(started_at=0.0, counts={copied("canary", "match"): 50.0}),
    Shadowed(started_at=0.0, counts={copied("canary", "match"): 50.0}, is_fresh=True, breach="bad"),
]
HEALTHY = a_verdict(Outcome.HEALTHY)
BREACHED = a_verdict(Outcome.BREACHED, "25 % of the requests failed")
UNDECIDED = [a_verdict(Outcome.INCONCLUSIVE), a_verdict(Outcome.UNMEASURABLE)]
INCIDENT = Verdict(
    outcome=Outcome.INCONCLUSIVE, reason=Reason.SHARED_INCIDENT, message="both sides fail"
)


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
    assert fallen.reason is fallen.state.cause_reason is Reason.UNRECORDED
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
        "and does not come before 1970-01-01T00:17:40Z"
    )
    plan = replace(CLIMB, percent=40)
    reached = next_state(climbing(40), HEALTHY, plan=plan, step_requests=0, now=1001.0)
    assert reached.message == "at its target of 40 %; raise spec.canary.percent to go on"


@pytest.mark.parametrize("requests", [0, 30])
@pytest.mark.parametrize("now", [1001.0, 1059.0, 9000.0])
def test_the_message_of_a_wait_does_not_change_while_it_lasts(requests: float, now: float) -> None:
    first = next_state(climbing(), HEALTHY, plan=CLIMB, step_requests=0, now=1000.0)
    assert next_state(climbing(), HEALTHY, plan=CLIMB, step_requests=requests, now=now) == first


def test_a_passed_step_waits_for_the_approval_that_names_it() -> None:
    plan = replace(CLIMB, needs_approval=True)
    state = replace(climbing(), run=3)
    waiting = next_state(state, HEALTHY, plan=plan, step_requests=50, now=1060.0)
    assert (waiting.state.phase, waiting.state.weight_percent) == (Phase.HOLDING, 25)
    assert waiting.reason is Reason.AWAITING_APPROVAL
    assert f"relay-operator.dev/approve={CANARY}/3/1" in waiting.message
    for token in ("", CANARY, f"{CANARY}/2/1", f"{CANARY}/3/2", f"{CANARY}/3/10"):
        plan = replace(plan, approval=token)
        assert next_state(state, HEALTHY, plan=plan, step_requests=50, now=1060.0) == waiting
    plan = replace(plan, approval=f"{CANARY}/3/1")
    passed = next_state(waiting.state, HEALTHY, plan=plan, step_requests=50, now=1061.0)
    assert (passed.state.weight_percent, passed.reason) == (50, Reason.STEP_PASSED)
    # the same annotation does not approve the next step
    later = next_state(passed.state, HEALTHY, plan=plan, step_requests=50, now=9000.0)
    assert later.reason is Reason.AWAITING_APPROVAL


@pytest.mark.parametrize("approval", ["", f"{CANARY}/3/1"])
def test_a_restart_does_not_take_back_that_a_step_waits_for_approval(approval: str) -> None:
    plan = replace(CLIMB, needs_approval=True, approval=approval)
    state = replace(climbing(), run=3, phase=Phase.HOLDING)
    remembered = Look(verdict=HEALTHY, now=9000.0, is_fresh=False)
    again = machine.next_state(state, remembered, plan=plan)
    assert again.reason is Reason.AWAITING_APPROVAL
    assert again.state == state


@pytest.mark.parametrize("approval", ["", f"{CANARY}/3/1"])
def test_a_passed_step_goes_on_waiting_while_nothing_can_be_measured(approval: str) -> None:
    plan = replace(CLIMB, needs_approval=True, approval=approval)
    state = replace(climbing(), run=3, phase=Phase.HOLDING)
    same: Any = {"plan": plan, "now": 9000.0}
    waiting = next_state(state, UNDECIDED[1], told_passed=True, **same)
    assert (waiting.state, waiting.reason) == (state, Reason.AWAITING_APPROVAL)
    # what was never told to be passed, or shows something else, waits for evidence
    for verdict, told in ((UNDECIDED[1], False), (UNDECIDED[0], True)):
        other = next_state(state, verdict, told_passed=told, **same)
        assert (other.state.phase, other.reason) == (Phase.PROGRESSING, Reason.AWAITING_EVIDENCE)


def test_an_approval_passes_nothing_that_the_evidence_does_not() -> None:
    plan = replace(CLIMB, needs_approval=True, approval=f"{CANARY}/0/1")
    decision = next_state(climbing(), UNDECIDED[0], plan=plan, step_requests=500, now=9000.0)
    assert decision.state.weight_percent == 25


@pytest.mark.parametrize("approved", [True, False])
def test_a_step_that_is_not_passed_in_time_is_held_and_goes_on_once_it_is(approved: bool) -> None:
    plan = replace(CLIMB, deadline_seconds=3600, needs_approval=not approved)
    before = next_state(climbing(), UNDECIDED[0], plan=plan, step_requests=0, now=4599.0)
    assert before.reason is Reason.AWAITING_EVIDENCE
    late = next_state(climbing(), UNDECIDED[0], plan=plan, step_requests=0, now=4600.0)
    assert (late.state.phase, late.state.weight_percent) == (Phase.HOLDING, 25)
    assert late.reason is Reason.STEP_DEADLINE
    passed = next_state(late.state, HEALTHY, plan=plan, step_requests=50, now=4700.0)
    assert passed.state.weight_percent == (50 if approved else 25)
    assert passed.reason is (Reason.STEP_PASSED if approved else Reason.STEP_DEADLINE)


def test_a_step_that_is_not_passed_in_time_is_rolled_back_where_the_spec_says_so() -> None:
    plan = replace(CLIMB, deadline_seconds=3600, deadline_rolls_back=True)
    late = next_state(climbing(), UNDECIDED[0], plan=plan, step_requests=0, now=4600.0)
    assert (late.state.phase, late.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert late.reason is Reason.STEP_DEADLINE
    assert "step 1 was not passed by 1970-01-01T01:16:40Z" in late.state.cause


def test_a_canary_that_cannot_be_measured_for_long_is_held_or_rolled_back() -> None:
    plan = replace(CLIMB, unmeasurable_seconds=600)
    same: Any = {"plan": plan, "step_requests": 0, "now": 2000.0}
    short = next_state(climbing(), UNDECIDED[1], unmeasurable_seconds=599, **same)
    assert short.reason is Reason.AWAITING_EVIDENCE
    long = next_state(climbing(), UNDECIDED[1], unmeasurable_seconds=600, **same)
    assert (long.state.phase, long.state.weight_percent) == (Phase.HOLDING, 25)
    assert long.reason is Reason.UNMEASURABLE
    again = next_state(long.state, UNDECIDED[0], **same)
    assert again.state.phase is Phase.PROGRESSING
    same["plan"] = replace(plan, unmeasurable_rolls_back=True)
    back = next_state(climbing(), UNDECIDED[1], unmeasurable_seconds=600, **same)
    assert (back.state.phase, back.reason) == (Phase.ROLLED_BACK, Reason.UNMEASURABLE)


def test_a_canary_with_all_traffic_bakes_before_it_is_promoted() -> None:
    plan = replace(CLIMB, bake_seconds=3600)
    baking = next_state(climbing(100), HEALTHY, plan=plan, step_requests=50, now=1060.0)
    assert (baking.state.phase, baking.state.weight_percent) == (Phase.BAKING, 100)
    assert baking.coming == "promotion from 1970-01-01T01:17:40Z"
    same = next_state(baking.state, HEALTHY, plan=plan, step_requests=9999, now=4659.0)
    assert same == baking
    undecided = next_state(baking.state, UNDECIDED[1], plan=plan, step_requests=0, now=9000.0)
    assert undecided.state.phase is Phase.BAKING
    promoted = next_state(baking.state, HEALTHY, plan=plan, step_requests=0, now=4660.0)
    assert promoted.state.phase is Phase.PROMOTED
    breached = next_state(baking.state, BREACHED, plan=plan, step_requests=0, now=2000.0)
    assert (breached.state.phase, breached.state.weight_percent) == (Phase.ROLLED_BACK, 0)


def test_a_breach_freezes_where_the_spec_says_so_until_a_person_decides() -> None:
    plan = replace(CLIMB, freezes_on_breach=True)
    frozen = next_state(replace(climbing(), run=2), BREACHED, plan=plan, now=1001.0)
    assert (frozen.state.phase, frozen.state.weight_percent) == (Phase.FROZEN, 25)
    for verdict in (HEALTHY, BREACHED, *UNDECIDED, INCIDENT):
        later = next_state(frozen.state, verdict, plan=plan, step_requests=500, now=99_999.0)
        assert (later.state, later.reason) == (frozen.state, Reason.FROZEN)
    lowered = next_state(frozen.state, HEALTHY, plan=replace(plan, percent=10), now=2000.0)
    assert (lowered.state.phase, lowered.state.weight_percent) == (Phase.FROZEN, 10)
    back = next_state(frozen.state, HEALTHY, plan=replace(plan, percent=0))
    assert back.state.phase is Phase.STABLE
    retried = replace(plan, retry=f"{CANARY}/2")
    going_on = next_state(frozen.state, HEALTHY, plan=retried, now=2000.0)
    assert (going_on.state.phase, going_on.state.weight_percent) == (Phase.PROGRESSING, 25)
    # the annotation is left over: the next breach freezes all the same
    again = next_state(going_on.state, BREACHED, plan=retried, now=3000.0).state
    assert next_state(again, HEALTHY, plan=retried, now=4000.0).state.phase is Phase.FROZEN


def test_an_incident_of_both_sides_freezes_and_the_step_begins_anew_after_it() -> None:
    frozen = next_state(climbing(), INCIDENT, plan=CLIMB, step_requests=500, now=2000.0)
    assert (frozen.state.phase, frozen.state.weight_percent) == (Phase.FROZEN, 25)
    assert frozen.reason is Reason.SHARED_INCIDENT
    soon: Any = {"plan": CLIMB, "step_requests": 500, "now": 2030.0}
    still = next_state(frozen.state, HEALTHY, quiet_seconds=QUIET_SECONDS - 1, **soon)
    assert still.state == frozen.state
    over = next_state(frozen.state, HEALTHY, quiet_seconds=QUIET_SECONDS, **soon)
    assert (over.state.phase, over.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert (over.reason, over.state.step_started_at) == (Reason.RESUMED, 2030.0)
    breached = next_state(frozen.state, BREACHED, quiet_seconds=1, **soon)
    assert breached.state.phase is Phase.ROLLED_BACK


def rolled_back(plan: Plan = CLIMB, *, at: float = 2000.0) -> State:
    begun = next_state(State(), HEALTHY, plan=plan, now=1000.0).state
    return next_state(begun, BREACHED, plan=plan, now=at).state


def test_a_rolled_back_canary_is_tried_again_by_hand_once_it_has_cooled_down() -> None:
    plan = replace(CLIMB, cool_down_seconds=600)
    back = rolled_back(plan)
    told = next_state(back, HEALTHY, plan=plan, now=2001.0)
    assert f"from 1970-01-01T00:43:20Z on, annotate the route with {RETRY}={CANARY}/1" in (
        told.message
    )
    asked = replace(plan, retry=f"{CANARY}/1")
    early = next_state(back, HEALTHY, plan=asked, now=2599.0)
    assert (early.state, early.due) == (back, 2600.0)
    again = next_state(back, HEALTHY, plan=asked, now=2600.0)
    assert (again.state.phase, again.state.weight_percent) == (Phase.PROGRESSING, 25)
    forced = replace(plan, retry=f"{CANARY}/1/force")
    assert next_state(back, HEALTHY, plan=forced, now=2001.0).state.phase is Phase.PROGRESSING
    # what is left over of either does not act on the next run
    for left_over in (asked, forced):
        failed = next_state(again.state, BREACHED, plan=left_over, now=3000.0).state
        later = next_state(failed, HEALTHY, plan=left_over, now=99_999.0).state
        assert later.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("meanwhile", ["bbbbbbbbbbbb", ""])
def test_the_same_canary_in_another_spec_is_refused_until_it_has_cooled_down(
    meanwhile: str,
) -> None:
    plan = replace(CLIMB, cool_down_seconds=600)
    between = replace(plan, fingerprint=meanwhile)
    other = next_state(rolled_back(plan), HEALTHY, plan=between, now=2100.0).state
    refused = next_state(other, HEALTHY, plan=plan, now=2200.0)
    assert (refused.state.phase, refused.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert refused.reason is Reason.COOLING_DOWN
    assert "25 % of the requests failed" in refused.message
    stays = next_state(refused.state, HEALTHY, plan=plan, now=99_999.0)
    assert stays.state == refused.state
    assert next_state(other, HEALTHY, plan=plan, now=2600.0).state.phase is Phase.PROGRESSING


def test_only_the_last_canaries_that_were_rolled_back_are_remembered() -> None:
    state = State()
    for number in range(2 * MOST_ROLLED_BACK):
        plan = replace(CLIMB, fingerprint=f"{number:012d}", cool_down_seconds=1e9)
        state = next_state(state, HEALTHY, plan=plan, now=float(number)).state
        state = next_state(state, BREACHED, plan=plan, now=float(number)).state
    remembered = [one.fingerprint for one in state.rolled_back]
    assert remembered == [f"{n:012d}" for n in range(MOST_ROLLED_BACK, 2 * MOST_ROLLED_BACK)]


def test_what_comes_next_is_told() -> None:
    assert next_state(climbing(), UNDECIDED[0], plan=CLIMB).coming == (
        "50 % from 1970-01-01T00:17:40Z"
    )
    assert next_state(rolled_back(), HEALTHY, plan=CLIMB).coming == (
        "retry by hand from 1970-01-01T00:33:20Z"
    )


def legal(state: State) -> State:
    """Stable is one state, and what was rolled back has no weight: the machine makes no others."""
    if state.phase is Phase.STABLE or not state.fingerprint:
        return State()
    if state.phase is Phase.BAKING:
        return replace(state, weight_percent=100)
    without_weight = (Phase.PREFLIGHT, Phase.SHADOWING, Phase.ROLLED_BACK)
    return replace(state, weight_percent=0) if state.phase in without_weight else state


states = st.builds(
    State,
    phase=st.sampled_from(Phase),
    weight_percent=st.integers(0, 100),
    fingerprint=st.sampled_from(["", CANARY, "bbbbbbbbbbbb"]),
    step_index=st.integers(0, 9),
    step_started_at=st.floats(0, 1e6),
    cause=st.sampled_from(["", "it failed"]),
    run=st.integers(0, 3),
    rolled_back=st.lists(
        st.builds(
            RolledBack,
            fingerprint=st.sampled_from([CANARY, "bbbbbbbbbbbb"]),
            at=st.floats(0, 1e6),
            cause=st.just("it failed"),
        ),
        max_size=2,
    ).map(tuple),
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
    bake_seconds=st.sampled_from([0.0, 100.0]),
    needs_approval=st.booleans(),
    deadline_seconds=st.sampled_from([100.0, 1e9]),
    deadline_rolls_back=st.booleans(),
    unmeasurable_seconds=st.sampled_from([100.0, 1e9]),
    unmeasurable_rolls_back=st.booleans(),
    freezes_on_breach=st.booleans(),
    cool_down_seconds=st.sampled_from([0.0, 1000.0, 1e9]),
    shadow=st.sampled_from([None, ShadowPlan(min_seconds=100.0, min_requests=50)]),
    retry=st.sampled_from(["", f"{CANARY}/1", f"{CANARY}/1/force"]),
    approval=st.sampled_from(["", f"{CANARY}/1/1"]),
)
verdicts = st.sampled_from([HEALTHY, BREACHED, INCIDENT, *UNDECIDED])


def is_frozen_by_breach(state: State) -> bool:
    return state.phase is Phase.FROZEN and state.cause != ""


@given(
    state=states,
    plan=plans,
    verdict=verdicts,
    requests=st.floats(0, 1e6),
    now=st.floats(0, 2e6),
    unmeasurable=st.floats(0, 1e4),
    quiet=st.floats(0, 1e4),
    probes=st.sampled_from([None, PASSED, Probes(), Probes(failure="Unauthorized")]),
    shadow=st.sampled_from([None, *COPIED]),
)
def test_properties_of_every_move(
    state: State,
    plan: Plan,
    verdict: Verdict,
    requests: float,
    now: float,
    unmeasurable: float,
    quiet: float,
    probes: Probes | None,
    shadow: Shadowed | None,
) -> None:
    look = Look(
        verdict=verdict,
        now=now,
        step_requests=requests,
        unmeasurable_seconds=unmeasurable,
        quiet_seconds=quiet,
        probes=probes,
        shadow=shadow,
    )
    after = machine.next_state(state, look, plan=plan).state
    assert 0 <= after.weight_percent <= max(plan.percent, 0)
    assert after.phase in MOVES[state.phase]
    assert len(after.rolled_back) <= MOST_ROLLED_BACK
    if state.weight_percent == 0 < after.weight_percent:
        if state.phase is Phase.PREFLIGHT:
            assert (probes, plan.shadow) == (PASSED, None)
        else:
            assert state.phase is Phase.SHADOWING
            assert plan.shadow is None or (
                shadow is COPIED[0] and now >= state.step_started_at + 100
            )
    same_run = state.fingerprint == plan.fingerprint != "" and state.run == after.run
    if same_run and after.weight_percent > state.weight_percent:
        approved = plan.approval == state.step_token or state.weight_percent == 0
        assert plan.guarded or state.weight_percent == 0
        assert not plan.paused
        assert approved or not plan.needs_approval
        assert after.weight_percent - state.weight_percent <= plan.step_percent
        assert verdict.outcome is Outcome.HEALTHY or state.weight_percent == 0
    # without traffic a canary has broken nothing; copies of calls have a verdict of their own
    has_traffic = state.weight_percent > 0
    if same_run and verdict is BREACHED and has_traffic and state.phase is not Phase.PROMOTED:
        frozen = plan.freezes_on_breach or is_frozen_by_breach(state)
        assert after.weight_percent == 0 or (frozen and after.phase is Phase.FROZEN)
    if same_run and verdict in (INCIDENT, *UNDECIDED) and plan.percent >= state.weight_percent > 0:
        rolls_back = plan.deadline_rolls_back or plan.unmeasurable_rolls_back
        stays = after.weight_percent == state.weight_percent
        assert stays or (rolls_back and after.phase is Phase.ROLLED_BACK)


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


def test_a_retry_waits_until_the_weight_may_rise() -> None:
    plan = replace(CLIMB, retry=f"{CANARY}/1/force", held="not stored")
    assert next_state(rolled_back(), HEALTHY, plan=plan, now=9000.0).state == rolled_back()


def test_a_restart_keeps_a_freeze_whose_weight_was_lowered() -> None:
    frozen = replace(climbing(50, phase=Phase.FROZEN), cause="it failed")
    lowered = resumed(frozen, fingerprint_in_force=CANARY, weight_in_force=20, now=5000.0)
    assert lowered is not None
    assert (lowered.state.phase, lowered.state.cause) == (Phase.FROZEN, "it failed")


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.BAKING])
def test_a_pause_takes_nothing_back_from_a_canary_with_all_traffic(phase: Phase) -> None:
    paused = replace(CLIMB, paused=True, bake_seconds=100)
    decision = next_state(climbing(100, phase=phase), HEALTHY, plan=paused, now=9000.0)
    assert decision.state.phase is phase


def test_a_run_without_analysis_that_began_paused_gets_its_first_step() -> None:
    paused = climbing(0, phase=Phase.PAUSED)
    plan = replace(CLIMB, guarded=False)
    assert next_state(paused, UNDECIDED[1], plan=plan).state.weight_percent == 25


def test_a_paused_canary_that_cannot_be_measured_for_long_is_rolled_back_all_the_same() -> None:
    plan = replace(CLIMB, paused=True, unmeasurable_seconds=600, unmeasurable_rolls_back=True)
    decision = next_state(
        climbing(phase=Phase.PAUSED), UNDECIDED[1], plan=plan, unmeasurable_seconds=600
    )
    assert decision.state.phase is Phase.ROLLED_BACK
