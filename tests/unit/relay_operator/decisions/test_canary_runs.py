"""Runs of canaries: what is measured, decided, recorded and told of each."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.relay_operator.decisions.canary_lives import (
    ANALYSIS,
    CANARY,
    KEY,
    PODS,
    PROGRESSION,
    PROVIDERS,
    START,
    Life,
    a_route,
    paused,
    promoted,
    rolled_back,
    stable,
    started,
)

from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.verdict import (
    NOT_MEASURED,
    LatencyObjective,
    Outcome,
    Verdict,
)
from relay_operator.decisions.canary.plans import objective_of, plan_of
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Decision, Phase
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.names import Reason


def test_history_keeps_the_last_ten_moves() -> None:
    life = Life(a_route(canary={**CANARY, "progression": {**PROGRESSION, "stepPercent": 5}}))
    life.look()
    for _ in range(14):
        life.serve(50, seconds=11)
        assert life.look()
    assert len(life.run.history) == 10
    assert life.run.history[-1].canary_percent == 75


def test_a_move_is_told_as_every_later_look_tells_it() -> None:
    life = rolled_back()
    told = life.run.standing
    assert told is not None
    assert told.reason is Reason.ROLLED_BACK
    life.look()
    assert life.run.standing == told


def test_one_look_settles_a_run_that_has_nothing_to_wait_for() -> None:
    life = Life(a_route(canary={"provider": "new", "percent": 10}, analysis=None))
    assert life.look()
    assert life.run.state.phase is Phase.HOLDING
    assert [move.reason for move in life.run.history] == ["Started"]
    assert not life.look()


def test_another_canary_begins_without_the_verdict_of_the_last() -> None:
    life = rolled_back()
    other = a_route(canary={**CANARY, "provider": "newer"})
    life.runs.accept(other, PROVIDERS, in_force=None, now=life.now)
    assert life.look()
    assert (life.run.verdict, life.run.measured_at) == (NOT_MEASURED, 0.0)
    assert life.run.state.weight_percent == 25


def test_a_canary_that_waits_to_start_is_not_measured() -> None:
    life = started()
    assert life.run.is_measured
    other = a_route(canary={**CANARY, "provider": "newer"})
    life.runs.accept(other, PROVIDERS, in_force=None, now=life.now)
    assert not life.run.is_measured


def test_only_an_undecided_canary_with_traffic_and_an_objective_is_measured() -> None:
    assert not promoted().run.is_measured
    assert not rolled_back().run.is_measured
    assert not paused().run.is_measured
    assert not stable().run.is_measured
    unguarded = Life(a_route(analysis=None))
    unguarded.look()
    assert not unguarded.run.is_measured
    unguarded.runs.measure(KEY, expected_pods=PODS, at=START, now=START)
    assert unguarded.run.verdict is NOT_MEASURED


def test_without_prometheus_the_weight_stays_and_the_verdict_says_why() -> None:
    life = started()
    life.runs.mark_unmeasurable(KEY, message="Prometheus did not answer", now=START + 60)
    assert not life.look(seconds=60)
    assert life.run.verdict.reason is Reason.PROMETHEUS_UNAVAILABLE
    assert life.status["analysis"]["message"] == "Prometheus did not answer"


def a_verdict(outcome: Outcome, message: str) -> Verdict:
    return Verdict(outcome=outcome, reason=Reason.TOO_FEW_REQUESTS, message=message)


def test_new_figures_of_the_same_outcome_wait_half_a_minute() -> None:
    life = started()
    told = []
    for number in range(4):
        life.now = START + 1 + 15 * number
        life.run.verdict = a_verdict(Outcome.INCONCLUSIVE, f"{number} requests")
        life.run.measured_at = life.now
        told.append(life.status["analysis"]["message"])
    assert told == ["0 requests", "0 requests", "2 requests", "2 requests"]


def test_a_new_outcome_is_told_at_once() -> None:
    life = started()
    life.run.verdict, life.run.measured_at = a_verdict(Outcome.INCONCLUSIVE, "few"), START + 1
    assert life.status["analysis"]["verdict"] == "Inconclusive"
    life.run.verdict, life.run.measured_at = a_verdict(Outcome.HEALTHY, "enough"), START + 2
    assert life.status["analysis"]["verdict"] == "Healthy"


def test_decision_and_verdict_are_told_with_the_same_figures() -> None:
    life = started()
    life.run.verdict, life.run.measured_at = a_verdict(Outcome.INCONCLUSIVE, "5 requests"), START
    life.look()
    life.run.tell(START)
    life.run.verdict = a_verdict(Outcome.INCONCLUSIVE, "9 requests")
    life.look(seconds=1)
    life.run.tell(START + 1)
    assert life.run.told_decision.message == "at 25 %: 5 requests"
    assert life.status["analysis"]["message"] == "5 requests"


def test_a_verdict_is_about_the_present_step_alone() -> None:
    life = started()
    life.serve(50, failed=0, seconds=11)
    assert life.look()
    life.serve(5)
    assert life.run.verdict.outcome is Outcome.INCONCLUSIVE


def test_a_route_that_is_gone_is_forgotten() -> None:
    life = rolled_back()
    life.runs.forget(KEY)
    life.runs.forget(KEY)
    run: Run = life.runs.accept(life.route, PROVIDERS, in_force=None, now=life.now)
    assert run.state.phase is Phase.STABLE


def test_plan_and_objective_follow_the_spec() -> None:
    latency = [{"signal": "FirstToken", "quantile": 0.9, "maxMilliseconds": 500}]
    route = a_route(
        canary={"provider": "new", "percent": 10}, analysis={**ANALYSIS, "latency": latency}
    )
    plan, objective = plan_of(route, PROVIDERS), objective_of(route)
    assert (plan.step_percent, plan.every_seconds, plan.min_requests) == (100, 0.0, 10)
    assert objective is not None
    assert objective.latency == (
        LatencyObjective(signal="FirstToken", quantile=0.9, max_milliseconds=500),
    )
    assert objective.max_error_percent == 1
    assert plan_of(a_route(canary=None), PROVIDERS).fingerprint == ""
    unguarded = plan_of(
        a_route(canary={"provider": "new", "percent": 10}, analysis=None), PROVIDERS
    )
    assert (unguarded.guarded, unguarded.min_requests) == (False, 0)
    assert replace(unguarded, guarded=True).fingerprint == plan.fingerprint


@pytest.mark.parametrize(
    "spec",
    [
        {"canary": CANARY | {"progression": PROGRESSION | {"every": "99999999h"}}},
        {"canary": CANARY | {"bake": "9999999999999h"}},
        {"analysis": ANALYSIS | {"coolDown": "9999999999999h"}},
    ],
)
def test_a_time_beyond_every_calendar_keeps_nothing_from_being_decided(
    spec: dict[str, Any],
) -> None:
    life = Life(a_route(**spec))
    assert life.look()
    life.fail()
    assert life.look()
    assert (life.run.state.phase, life.run.state.weight_percent) == (Phase.ROLLED_BACK, 0)
    assert life.status["rolledBack"]


def test_what_was_not_measured_before_a_canary_began_does_not_count_against_it() -> None:
    route = a_route(
        canary=CANARY | {"percent": 0},
        analysis=ANALYSIS | {"unmeasurable": {"after": "30m", "action": "Rollback"}},
    )
    life = Life(route)
    life.look()
    life.look(seconds=7200)
    wanted = {"spec": route.spec.model_copy(update={"canary": a_route().spec.canary})}
    life.runs.accept(route.model_copy(update=wanted), PROVIDERS, in_force=None, now=life.now)
    assert life.look(seconds=1)
    life.look(seconds=60)
    assert (life.run.state.phase, life.run.state.weight_percent) == (Phase.PROGRESSING, 25)


def test_a_verdict_of_before_the_analysis_was_taken_away_raises_nothing() -> None:
    life = started()
    life.serve(50, seconds=11)
    bare = life.route.model_copy(
        update={"spec": life.route.spec.model_copy(update={"analysis": None})}
    )
    for route in (bare, life.route):
        life.runs.accept(route, PROVIDERS, in_force=None, now=life.now)
        life.look(seconds=86_400)
    assert life.run.state.weight_percent == 25


def test_a_verdict_that_comes_and_goes_while_approval_is_awaited_makes_no_history() -> None:
    life = Life(a_route(canary=CANARY | {"progression": PROGRESSION | {"approval": "Manual"}}))
    life.look()
    life.serve(50, seconds=11)
    for outcome in (Outcome.HEALTHY, Outcome.INCONCLUSIVE) * 6:
        life.run.verdict = replace(life.run.verdict, outcome=outcome)
        life.look(seconds=1)
    assert [move.reason for move in life.run.history] == ["Started", "AwaitingApproval"]


def test_no_deadline_runs_while_a_passed_step_waits_for_calls_to_compare_costs_by() -> None:
    deadline = {"after": "2m", "action": "Rollback"}
    life = Life(
        a_route(
            canary=CANARY | {"progression": PROGRESSION | {"stepDeadline": deadline}},
            analysis=ANALYSIS | {"cost": {"maxIncreasePercent": 10}},
        )
    )
    life.look()
    life.run.cost = CostFinding(holds=None, reason=Reason.TOO_FEW_REQUESTS, message="12 calls")
    for _ in range(30):
        life.serve(50, seconds=5)
        life.look()
    assert life.run.is_held
    # from here on it has to show something again
    for _ in range(25):
        life.serve(0, seconds=5)
        life.run.verdict = replace(life.run.verdict, outcome=Outcome.INCONCLUSIVE)
        assert (life.run.state.phase, life.run.state.weight_percent) == (Phase.PROGRESSING, 25)
        life.look()
    assert life.run.state.phase is Phase.ROLLED_BACK


def test_a_message_in_the_history_has_an_end() -> None:
    life = started()
    life.run.record(Decision(state=life.run.state, reason=Reason.HELD, message="x" * 5000), now=1.0)
    assert len(life.run.history[-1].message) == 1024
    assert life.run.has_told(Decision(state=life.run.state, reason=Reason.HELD, message="x" * 5000))


def test_runs_of_a_namespace_are_found_until_their_routes_go() -> None:
    life = started()
    assert life.runs.in_namespace(KEY[0]) == [(KEY, life.run)]
    assert life.runs.in_namespace("relay-marketing") == []
    life.runs.forget(KEY)
    life.runs.forget(KEY)
    assert life.runs.in_namespace(KEY[0]) == []


def test_a_run_is_on_trial_while_something_is_to_be_found_out_of_it() -> None:
    life = Life(a_route())
    assert life.runs.on_trial() == []
    life.look()
    assert life.run.is_measured
    assert life.runs.on_trial() == [(KEY, life.run)]
    life.fail()
    assert life.runs.on_trial() == [(KEY, life.run)]
    life.look()
    assert life.run.state.phase is Phase.ROLLED_BACK
    assert life.runs.on_trial() == []
    # another canary of the same route
    life.route = a_route(canary={**CANARY, "provider": "newer"})
    life.runs.accept(life.route, PROVIDERS, in_force=None, now=life.now)
    life.look(seconds=1)
    assert life.runs.on_trial() == [(KEY, life.run)]
    life.runs.forget(KEY)
    assert life.runs.on_trial() == []


def test_a_canary_that_is_to_be_probed_is_on_trial() -> None:
    life = Life(a_route())
    assert life.runs.decide(KEY, now=life.now)
    assert life.run.preflight_token is not None
    assert life.runs.on_trial() == [(KEY, life.run)]


def test_runs_at_rest_cost_a_tick_nothing() -> None:
    runs = CanaryRuns(evidence=Evidence(scrape_seconds=20))
    for number in range(100):
        route = a_route(canary=None, analysis=None)
        metadata = route.metadata.model_copy(update={"name": f"r{number}"})
        moved = route.model_copy(update={"metadata": metadata})
        runs.accept(moved, PROVIDERS, in_force=None, now=START)
        runs.decide(("relay-finance", f"r{number}"), now=START)
    assert runs.on_trial() == []
    assert len(runs.runs) == 100
    assert not runs._lively
