"""Runs of canaries: moves are recorded, and a restarted operator goes on from status as if it had never stopped."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_contract import document
from relay_contract.preflight import Preflight
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute
from relay_operator.decisions import route_status
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.verdict import (
    NOT_MEASURED,
    LatencyObjective,
    Outcome,
    Verdict,
)
from relay_operator.decisions.canary.budget import HEARD_OF_SECONDS, Budget
from relay_operator.decisions.canary.plans import objective_of, plan_of
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Decision, Phase, Plan
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.decisions.route_status import RouteStatus
from relay_operator.names import Reason

KEY = ("relay-finance", "chat")
START = 1_780_000_000.0
PODS = frozenset({"relay-1"})
PROVIDERS = {
    name: Provider.parse(
        {
            "metadata": {"name": name, "uid": f"uid-{name}"},
            "spec": {"endpoint": {"url": f"https://{name}.example.com/v1"}},
        }
    )
    for name in ("legacy", "new", "newer")
}
PROGRESSION = {"stepPercent": 25, "every": "10s", "minRequests": 20}
CANARY = {"provider": "new", "percent": 100, "progression": PROGRESSION}
ANALYSIS = {"window": "60s", "minRequests": 10, "errorRate": {"maxPercent": 1}}


def a_route(status: dict[str, Any] | None = None, **spec: Any) -> RelayRoute:
    body = {"stable": {"provider": "legacy"}, "canary": CANARY, "analysis": ANALYSIS} | spec
    metadata = {"name": "chat", "namespace": "relay-finance", "uid": "uid-chat"}
    return RelayRoute.parse({"metadata": metadata, "spec": body, "status": status or {}})


class Life:
    """One life of the operator, as far as one route's canary goes."""

    def __init__(
        self, route: RelayRoute, *, weight_in_force: int | None = None, now: float = START
    ) -> None:
        self.runs = CanaryRuns(evidence=Evidence(scrape_seconds=20))
        self.route = route
        self.counters = RelayCounters()
        self.now = now
        in_force = None if weight_in_force is None else in_force_at(route, weight_in_force)
        self.run = self.runs.accept(route, PROVIDERS, in_force=in_force, now=self.now)

    def look(self, *, seconds: float = 0.0) -> bool:
        """Decides once, that much later; a preflight that begins is passed at once."""
        self.now += seconds
        moved = self.runs.decide(KEY, now=self.now)
        token = self.run.preflight_token
        if token is not None:
            passed = Preflight(route=KEY[1], token=token, state="Passed")
            self.runs.hear_probes(KEY, [passed], pods=1, now=self.now)
            moved |= self.runs.decide(KEY, now=self.now)
        return moved

    def serve(self, calls: float, *, failed: float = 0.0, seconds: float = 1.0) -> None:
        """Reports that many calls of the canary, and judges it."""
        self._scrape(0.0)
        self.now += seconds
        self._scrape(calls, failed=failed)

    def fail(self) -> None:
        """Lets half of the calls fail for as long as a verdict takes."""
        for _ in range(4):
            self.serve(100, failed=50)

    def _scrape(self, calls: float, *, failed: float = 0.0) -> None:
        plan, stable = self.run.plan, self.run.stable_fingerprint
        self.counters.count(("chat", "stable", stable))
        self.counters.count(("chat", "canary", plan.fingerprint), finished=calls, failed=failed)
        self.runs.follow([KEY])
        self.runs.evidence.take(self.counters.scraped(self.now), at=self.now)
        self.runs.measure(KEY, expected_pods=PODS, at=self.now, now=self.now)

    @property
    def status(self) -> dict[str, Any]:
        """Returns the status that the API server would hold now."""
        self.run.tell(self.now)
        fields = route_status.to_status(RouteStatus(progress=self.run.progress))
        return {name: value for name, value in fields.items() if value is not None}

    def restarted(self, *, weight_in_force: int | None = None) -> "Life":
        """Starts the next life from the spec, this life's status, and the document in force."""
        weight = self.run.state.weight_percent if weight_in_force is None else weight_in_force
        route = self.route.model_copy(update={"status": self.status})
        return Life(route, weight_in_force=weight, now=self.now)


def in_force_at(route: RelayRoute, weight: int) -> document.Route:
    fingerprint = plan_of(route, PROVIDERS).fingerprint
    canary = document.Side(provider="new", fingerprint=fingerprint) if fingerprint else None
    stable = document.Side(provider="legacy", fingerprint="0" * 12)
    return document.Route(name="chat", stable=stable, canary=canary, canary_percent=weight)


def started() -> Life:
    life = Life(a_route())
    assert life.look()
    return life


def rolled_back() -> Life:
    life = started()
    life.fail()
    assert life.look()
    assert life.run.state.phase is Phase.ROLLED_BACK
    return life


def promoted() -> Life:
    life = started()
    while life.run.state.phase is not Phase.PROMOTED:
        life.serve(50, seconds=11)
        assert life.look()
    return life


def holding() -> Life:
    life = Life(a_route(canary={"provider": "new", "percent": 10}))
    life.look()
    assert life.run.state.phase is Phase.HOLDING
    return life


def paused() -> Life:
    life = Life(a_route(paused=True))
    life.look()
    assert life.run.state.phase is Phase.PAUSED
    return life


def stable() -> Life:
    life = Life(a_route(canary=None))
    life.look()
    return life


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


def test_a_retry_that_was_not_recorded_is_measured_in_the_next_life() -> None:
    after = rolled_back().restarted(weight_in_force=25)
    assert (after.run.state.phase, after.run.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert after.run.is_measured
    assert (after.run.state.run, after.run.state.cause) == (2, "")


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


def test_a_restart_past_a_deadline_rolls_back_nothing_before_it_has_measured() -> None:
    deadline = {"after": "2m", "action": "Rollback"}
    life = Life(a_route(canary=CANARY | {"progression": PROGRESSION | {"stepDeadline": deadline}}))
    life.look()
    life.serve(50, seconds=5)
    after = life.restarted()
    after.look(seconds=121)
    assert after.run.state.weight_percent == 25


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
    life.run.verdict = replace(life.run.verdict, outcome=Outcome.INCONCLUSIVE)
    life.look(seconds=1)
    assert (life.run.state.phase, life.run.state.weight_percent) == (Phase.PROGRESSING, 25)
    # from here on it has to show something again
    life.look(seconds=125)
    assert life.run.state.phase is Phase.ROLLED_BACK


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


def test_a_message_in_the_history_has_an_end() -> None:
    life = started()
    life.run.record(Decision(state=life.run.state, reason=Reason.HELD, message="x" * 5000), now=1.0)
    assert len(life.run.history[-1].message) == 1024
    assert life.run.has_told(Decision(state=life.run.state, reason=Reason.HELD, message="x" * 5000))


OTHER = ("relay-other", "chat")


def with_one_place(life: Life) -> None:
    """Lets the platform raise one canary at a time."""
    life.runs.budget = Budget(1)


def why_another_waits(life: Life, *, seconds: float) -> str:
    return life.runs.budget.why_not(OTHER, since=START, now=life.now + seconds)


def hold(life: Life) -> None:
    """Brings the canary under a spec that is not in force."""
    in_force = in_force_at(life.route, life.run.state.weight_percent)
    life.runs.hold(
        KEY,
        status={},
        objective=None,
        in_force=in_force,
        percent=100,
        policy=Plan(),
        why="refused",
        now=life.now,
    )
    life.runs.decide(KEY, now=life.now)


def test_a_held_canary_keeps_its_place_for_a_while() -> None:
    life = Life(a_route())
    with_one_place(life)
    life.look()
    hold(life)
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS - 1) != ""
    hold(life)
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS) == ""


def test_a_held_canary_keeps_its_turn_for_a_while() -> None:
    life = Life(a_route())
    with_one_place(life)
    life.look()
    life.runs.budget.wait(KEY, START - 1)
    hold(life)
    assert "1 canary is before it" in why_another_waits(life, seconds=HEARD_OF_SECONDS - 1)
    hold(life)
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS) == ""


def test_a_canary_that_loses_its_weight_to_another_one_has_no_place() -> None:
    life = Life(a_route())
    with_one_place(life)
    life.look()
    assert why_another_waits(life, seconds=0) != ""
    life.runs.return_to_stable(KEY, message="the key of another one is missing", now=life.now)
    assert why_another_waits(life, seconds=0) == ""


def test_a_place_that_is_only_remembered_is_kept_for_a_while() -> None:
    before = started()
    life = Life(a_route(canary=None))
    with_one_place(life)
    life.runs.recall(KEY, before.status, now=life.now)
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS - 1) != ""
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS) == ""


def test_a_place_that_is_remembered_stays_with_a_canary_that_goes_on() -> None:
    before = started()
    life = before.restarted()
    with_one_place(life)
    life.runs.recall(KEY, before.status, now=life.now)
    life.look()
    assert why_another_waits(life, seconds=HEARD_OF_SECONDS) != ""


@pytest.mark.parametrize("answered", [21.0, 500.0])
def test_a_passed_step_in_line_stays_passed_over_a_restart(answered: float) -> None:
    before = started()
    assert before.status["phase"] == "Progressing"
    before.serve(answered, seconds=11)
    with_one_place(before)
    before.runs.budget.place(OTHER)
    before.look()
    assert before.run.standing is not None
    assert before.run.standing.reason is Reason.AWAITING_BUDGET
    life = before.restarted()
    life.now = before.now
    with_one_place(life)
    ready = {"type": "Ready", "reason": Reason.AWAITING_BUDGET.value}
    life.runs.recall(KEY, before.status | {"conditions": [ready]}, now=life.now)
    life.runs.budget.place(OTHER)
    for look in (life.look, lambda: life.serve(1), life.look):
        look()
        assert life.run.state.phase is Phase.HOLDING


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


def test_a_canary_that_a_former_life_began_is_on_trial_from_the_first_look() -> None:
    life = started().restarted()
    assert life.run.is_measured
    assert life.runs.on_trial() == [(KEY, life.run)]


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
