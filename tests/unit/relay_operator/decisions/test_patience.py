"""The deadline of a step while the run is held by something else: it does not run, and begins anew after that."""

from dataclasses import replace
from typing import Any

import pytest

from relay_contract.shadow import ShadowPair
from relay_operator.decisions import route_status
from relay_operator.decisions.analysis.scrapes import copied
from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.copies import Trial
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.resumption import resume
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Phase, Plan, ShadowPlan, State
from relay_operator.decisions.route_status import RouteStatus
from relay_operator.names import Reason

START = 1_780_000_000.0
LONG, DEADLINE = 200_000.0, 1800.0
HEALTHY = Verdict(outcome=Outcome.HEALTHY, reason=Reason.HEALTHY, message="0 of 700 failed")
SUSPECTED = Verdict(
    outcome=Outcome.INCONCLUSIVE, reason=Reason.SUSPECTED, message="about 3 of the last 90 failed"
)
CLIMBING = State(
    phase=Phase.PROGRESSING,
    weight_percent=5,
    fingerprint="aaaaaaaaaaaa",
    step_index=1,
    step_started_at=START,
    run=1,
)
SHADOWED = replace(CLIMBING, phase=Phase.SHADOWING, weight_percent=0, step_index=0)
PLAN = Plan(
    fingerprint="aaaaaaaaaaaa",
    percent=100,
    step_percent=5,
    every_seconds=600,
    min_requests=0,
    guarded=True,
    deadline_seconds=DEADLINE,
    deadline_rolls_back=True,
)
HELD: dict[str, dict[str, Any]] = {
    "in line": {"turn": "20 others are before it"},
    "paused": {"paused": True},
    "refused": {"held": "there is no Provider nobody"},
}


def a_run(state: State, plan: Plan = PLAN) -> Run:
    return Run(plan=plan, objective=None, stable_fingerprint="b" * 12, state=state, is_fresh=True)


def decide(run: Run, now: float, verdict: Verdict = HEALTHY, **change: Any) -> Reason:
    """Decides as the operator does at each look, under a plan with these changes."""
    plan = replace(PLAN, shadow=run.plan.shadow, **change)
    run.verdict, run.plan = verdict, replace(plan, turn="")
    run.standing = machine.next_state(run.state, run.look(now), plan=plan)
    run.state = run.standing.state
    return run.standing.reason


def restarted(run: Run, now: float) -> Run:
    fields = route_status.to_status(RouteStatus(progress=run.progress))
    progress = route_status.from_status(fields).progress
    assert progress is not None
    after = a_run(State(), run.plan)
    resume(after, progress, None, now)
    after.is_fresh, after.trial = True, run.trial
    return after


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("held", HELD)
def test_a_step_that_was_held_has_its_whole_deadline_again(held: str, restarts: bool) -> None:
    run = a_run(CLIMBING)
    for now in (START + 700, START + LONG):
        decide(run, now, **HELD[held])
        assert run.progress.is_held
        run = restarted(run, now) if restarts else run
    assert decide(run, START + LONG + 1, SUSPECTED) is Reason.AWAITING_EVIDENCE
    released = run.progress.held_until
    assert START + LONG <= released <= START + LONG + 1
    run = restarted(run, START + LONG + 2) if restarts else run
    assert run.progress.held_until == released
    assert decide(run, released + DEADLINE - 1, SUSPECTED) is Reason.AWAITING_EVIDENCE
    assert decide(run, released + DEADLINE, SUSPECTED) is Reason.STEP_DEADLINE
    assert run.state.phase is Phase.ROLLED_BACK
    assert not run.progress.held_until


@pytest.mark.parametrize("held", HELD)
def test_a_hold_takes_nothing_from_the_least_time_of_a_step(held: str) -> None:
    run = a_run(CLIMBING)
    decide(run, START + 100, **HELD[held])
    assert decide(run, START + 599) is Reason.AWAITING_EVIDENCE
    assert decide(run, START + 600) is Reason.STEP_PASSED
    # the deadline of the next step counts from its own beginning
    assert decide(run, START + 600 + DEADLINE, SUSPECTED) is Reason.STEP_DEADLINE


def test_one_bad_look_of_a_canary_in_line_ends_nothing() -> None:
    run = a_run(CLIMBING)
    assert decide(run, START + 7000, **HELD["in line"]) is Reason.AWAITING_BUDGET
    assert decide(run, START + 7001, SUSPECTED, **HELD["in line"]) is Reason.AWAITING_EVIDENCE
    assert decide(run, START + 7002, **HELD["in line"]) is Reason.AWAITING_BUDGET
    assert run.state.weight_percent == 5


def test_a_pause_while_it_bakes_does_not_end_the_patience() -> None:
    run = a_run(replace(CLIMBING, phase=Phase.BAKING, weight_percent=100))
    decide(run, START + LONG, paused=True, bake_seconds=60.0)
    assert run.state.phase is Phase.BAKING
    assert decide(run, START + LONG + 1, SUSPECTED, bake_seconds=60.0) is Reason.BAKING
    assert decide(run, START + LONG + 2, bake_seconds=60.0) is Reason.PROMOTED


def take(run: Run, **counts: float) -> None:
    canary: ShadowPair = "canary"
    assert run.trial is not None
    run.trial.take({copied(canary, name): count for name, count in counts.items()}, 2.0)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("held", HELD)
def test_copies_that_have_shown_enough_are_not_given_up_in_line(held: str, restarts: bool) -> None:
    shadow = ShadowPlan(min_seconds=60, min_requests=100)
    run = a_run(SHADOWED, replace(PLAN, shadow=shadow))
    run.trial = Trial(started_at=START, limit_percent=None)
    take(run, match=5000)
    for now in (START + 100, START + LONG):
        decide(run, now, **HELD[held])
    assert (run.state.phase, run.is_held) == (Phase.SHADOWING, True)
    run = restarted(run, START + LONG + 0.5) if restarts else run
    assert run.trial is not None
    run.trial.limit_percent = 1.0
    take(run, failed=60)
    for late, reason in ((1.0, Reason.SHADOWING), (1.0 + DEADLINE, Reason.STEP_DEADLINE)):
        assert decide(run, START + LONG + late) is reason
    assert run.state.phase is Phase.ROLLED_BACK


def test_a_preflight_that_had_passed_is_not_given_up_after_its_turn() -> None:
    run = a_run(replace(SHADOWED, phase=Phase.PREFLIGHT))
    run.probes = Probes(passed=True)
    assert decide(run, START + LONG, **HELD["in line"]) is Reason.AWAITING_BUDGET
    run = restarted(run, START + LONG + 1)
    run.probes = Probes(failure="Unauthorized", message="401 to a probe")
    assert decide(run, START + LONG + 2) is Reason.PREFLIGHT_FAILED
    assert run.standing is not None
    assert run.standing.due == START + LONG + 1 + DEADLINE
    assert decide(run, START + LONG + 1 + DEADLINE) is Reason.STEP_DEADLINE
