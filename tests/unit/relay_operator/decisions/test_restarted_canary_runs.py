"""A restarted operator goes on from status as if it had never stopped."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.decisions.canary_lives import (
    CANARY,
    KEY,
    PROGRESSION,
    PROVIDERS,
    START,
    Life,
    a_route,
    holding,
    paused,
    promoted,
    rolled_back,
    stable,
    started,
)

from relay_contract import document
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.verdict import (
    NOT_MEASURED,
    Outcome,
    Verdict,
)
from relay_operator.decisions.canary.state import Phase
from relay_operator.decisions.canary.stays import FORCE
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.names import ANNOTATION_RETRY, Reason

LIVES = pytest.mark.parametrize(
    "life",
    [stable, started, holding, paused, promoted, rolled_back],
    ids=lambda life: life.__name__,
)


@LIVES
def test_a_restarted_operator_says_the_same_in_every_phase(life: Any) -> None:
    before = life()
    before.look()
    after = before.restarted()
    assert not after.look()
    assert after.status == before.status
    assert after.run.standing == before.run.standing


@LIVES
def test_a_second_restart_says_the_same_again(life: Any) -> None:
    before = life()
    before.look()
    after = before.restarted()
    after.look()
    again = after.restarted()
    assert not again.look()
    assert again.status == before.status
    assert again.run.standing == before.run.standing


def test_the_cause_of_a_rollback_outlives_two_restarts() -> None:
    life = rolled_back()
    cause = life.run.state.cause
    assert "200 of 400 requests failed (50 %, limit 1 %), evidence " in cause
    after = life.restarted().restarted()
    after.look()
    assert after.run.standing is not None
    assert after.run.standing.reason is Reason.ROLLED_BACK
    assert after.run.standing.message.startswith(f"{cause}; to try this canary again")
    assert after.run.history == life.run.history


def test_what_was_announced_shortly_before_a_restart_is_announced_again() -> None:
    life = rolled_back()
    assert [move.reason for move in life.run.unannounced] == ["Started", "SloBreach"]
    assert life.restarted().run.unannounced == life.run.history


def test_what_was_announced_long_before_a_restart_is_not_announced_again() -> None:
    life = rolled_back()
    old = [{**entry, "at": "2020-01-01T00:00:00Z"} for entry in life.status["history"]]
    route = life.route.model_copy(update={"status": {**life.status, "history": old}})
    resumed = Life(route, weight_in_force=0)
    assert resumed.run.unannounced == ()
    assert len(resumed.run.history) == 2


def test_a_rollback_that_status_never_told_is_recorded_after_the_restart() -> None:
    after = started().restarted(weight_in_force=0)
    assert after.run.state.phase is Phase.ROLLED_BACK
    assert [move.reason for move in after.run.history] == ["Started", "Unrecorded"]
    assert after.run.unannounced == after.run.history
    assert not after.look()
    again = after.restarted()
    assert again.run.state == after.run.state


def test_a_breach_that_is_only_remembered_moves_nothing() -> None:
    life = started()
    breach = Verdict(outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message="m")
    life.run.verdict, life.run.measured_at = breach, START
    after = life.restarted()
    assert (after.run.verdict, after.run.measured_at) == (NOT_MEASURED, 0.0)
    assert not after.look()
    assert after.run.state.weight_percent == 25


@given(
    seconds=st.floats(0, 1e6),
    outcome=st.sampled_from(Outcome),
    percent=st.integers(25, 100),
)
def test_a_restart_never_moves_a_weight(seconds: float, outcome: Outcome, percent: int) -> None:
    life = Life(a_route(canary={**CANARY, "percent": percent}))
    life.look()
    life.run.verdict = Verdict(outcome=outcome, reason=Reason.HEALTHY, message="m")
    life.run.measured_at = START
    after = life.restarted()
    after.look(seconds=seconds)
    assert after.run.state.weight_percent == 25


def test_a_step_resumes_with_its_clock() -> None:
    life = started()
    after = life.restarted()
    after.serve(50, seconds=10)
    assert after.look()
    assert after.run.state.weight_percent == 50


def test_a_retry_that_was_not_recorded_is_measured_in_the_next_life() -> None:
    life = rolled_back()
    asked = {ANNOTATION_RETRY: f"{life.run.state.run_token}{FORCE}"}
    metadata = life.route.metadata.model_copy(update={"annotations": asked})
    life.route = life.route.model_copy(update={"metadata": metadata})
    after = life.restarted(weight_in_force=25)
    assert (after.run.state.phase, after.run.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert after.run.is_measured
    assert (after.run.state.run, after.run.state.cause) == (2, "")


def test_a_rollback_that_was_told_and_not_stored_stays_one() -> None:
    life = rolled_back()
    after = life.restarted(weight_in_force=25)
    assert after.run.state == life.run.state
    assert not after.look()
    assert (after.run.state.phase, after.run.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert after.run.state.cause == life.run.state.cause


def test_a_weight_that_left_the_document_does_not_come_back_by_a_restart() -> None:
    life = started()
    route = life.route.model_copy(update={"status": life.status})
    without = document.Route(
        name="chat", stable=document.Side(provider="legacy", fingerprint="0" * 12)
    )
    other = document.Side(provider="newer", fingerprint="1" * 12)
    beside = without.model_copy(update={"canary": other, "canary_percent": 10})
    for in_force in (without, beside):
        runs = CanaryRuns(evidence=Evidence(scrape_seconds=20))
        run = runs.accept(route, PROVIDERS, in_force=in_force, now=START)
        assert run.state.weight_percent == 0
        runs.decide(KEY, now=START)
        assert (run.state.phase, run.state.run) == (Phase.PREFLIGHT, 2)


def test_a_step_that_was_not_recorded_is_neither_passed_on_nor_approved_by_the_last_one() -> None:
    life = started()
    life.serve(50, seconds=11)
    after = life.restarted(weight_in_force=50)
    assert (after.run.state.step_index, after.run.step_requests) == (2, 0)
    after.look(seconds=3600)
    assert after.run.state.weight_percent == 50


def test_a_remembered_verdict_raises_and_promotes_nothing() -> None:
    for life in (started(), baking()):
        life.serve(50, seconds=11)
        assert life.run.verdict.outcome is Outcome.HEALTHY
        after = life.restarted()
        before = after.run.state
        after.look(seconds=99_999)
        assert after.run.state.weight_percent == before.weight_percent
        assert after.run.state.phase is not Phase.PROMOTED


def baking() -> Life:
    life = Life(a_route(canary=CANARY | {"bake": "1h"}))
    life.look()
    while life.run.state.phase is not Phase.BAKING:
        life.serve(50, seconds=11)
        assert life.look()
    return life


def test_a_restart_past_a_deadline_rolls_back_nothing_before_it_has_measured() -> None:
    deadline = {"after": "2m", "action": "Rollback"}
    life = Life(a_route(canary=CANARY | {"progression": PROGRESSION | {"stepDeadline": deadline}}))
    life.look()
    life.serve(50, seconds=5)
    after = life.restarted()
    after.look(seconds=121)
    assert after.run.state.weight_percent == 25


def test_a_restart_keeps_a_step_passed_while_nothing_can_be_measured() -> None:
    life = Life(a_route(canary=CANARY | {"progression": PROGRESSION | {"approval": "Manual"}}))
    life.look()
    life.serve(50, seconds=11)
    life.look(seconds=1)
    before = life.run.state
    assert before.phase is Phase.HOLDING
    told = {"type": "Ready", "status": "False", "reason": "AwaitingApproval"}
    status = life.status | {"conditions": [told]}
    route = life.route.model_copy(update={"status": status})
    after = Life(route, weight_in_force=before.weight_percent, now=life.now)
    after.run.is_fresh = True
    after.run.verdict = replace(after.run.verdict, outcome=Outcome.UNMEASURABLE)
    after.look(seconds=1)
    assert after.run.state == before
    assert after.run.standing is not None
    assert after.run.standing.reason is Reason.AWAITING_APPROVAL


def test_a_canary_that_a_former_life_began_is_on_trial_from_the_first_look() -> None:
    life = started().restarted()
    assert life.run.is_measured
    assert life.runs.on_trial() == [(KEY, life.run)]
