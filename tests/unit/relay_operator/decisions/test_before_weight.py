"""What a canary has to show before its first weight, and what is said meanwhile."""

from dataclasses import replace
from typing import Any

import pytest

from relay_contract.preflight import PREFLIGHT_REASONS, Preflight
from relay_operator.decisions.analysis.verdict import NOT_MEASURED
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.probes import Probes, combined
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Decision, Phase, Plan, ShadowPlan, State
from relay_operator.names import Reason

CANARY = "aaaaaaaaaaaa"
PLAN = Plan(fingerprint=CANARY, percent=100, step_percent=25, deadline_seconds=3600.0, guarded=True)
PROBED = State(phase=Phase.PREFLIGHT, fingerprint=CANARY, step_started_at=1000.0, run=1)
UNAUTHORIZED = Probes(failure="Unauthorized", message="401 to a probe")
UNREACHABLE = Probes(failure="Unreachable", message="no connection in 5 s")


def decided(probes: Probes | None, *, now: float = 1001.0, plan: Plan = PLAN) -> Decision:
    look = Look(verdict=NOT_MEASURED, now=now, probes=probes)
    return machine.next_state(PROBED, look, plan=plan)


def test_a_canary_begins_without_weight_and_is_probed() -> None:
    look = Look(verdict=NOT_MEASURED, now=1000.0, probes=Probes(passed=True))
    begun = machine.next_state(State(), look, plan=PLAN)
    assert begun.state == PROBED
    assert (begun.reason, begun.coming) == (
        Reason.PREFLIGHT,
        "25 % once a relay pod has passed the preflight",
    )


def test_what_comes_after_the_preflight_is_told() -> None:
    shadowed = replace(PLAN, shadow=ShadowPlan(min_requests=5))
    for plan, following in (
        (PLAN, "25 %"),
        (shadowed, "copies of calls"),
        (replace(shadowed, percent=0), "copies of calls"),
    ):
        for probes in (Probes(), UNAUTHORIZED, UNREACHABLE):
            for now in (1001.0, 4600.0):
                assert following in decided(probes, now=now, plan=plan).coming


def test_it_gets_its_first_step_once_a_pod_has_passed() -> None:
    for probes in (None, Probes(), UNAUTHORIZED, UNREACHABLE, Probes(pods_ready=False)):
        assert decided(probes).state == PROBED
    started = decided(Probes(passed=True))
    assert (started.state.phase, started.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert (started.state.run, started.state.step_index) == (1, 1)
    assert (started.reason, started.message) == (
        Reason.STARTED,
        "canary started at 25 %, target 100 %",
    )


def test_a_failure_that_no_try_mends_is_told_at_once_and_another_one_after_a_minute() -> None:
    failed = decided(UNAUTHORIZED)
    assert failed.reason is Reason.PREFLIGHT_FAILED
    assert "Unauthorized: 401 to a probe" in failed.message
    early = decided(UNREACHABLE)
    assert (early.reason, early.due) == (Reason.PREFLIGHT, 1060.0)
    assert "no connection in 5 s" in early.message
    assert decided(UNREACHABLE, now=1060.0).reason is Reason.PREFLIGHT_FAILED


def test_without_a_ready_pod_it_says_so() -> None:
    assert "no relay pod is ready" in decided(Probes(pods_ready=False, is_fresh=False)).message


@pytest.mark.parametrize("rolls_back", [True, False])
def test_a_preflight_that_is_not_passed_in_time_is_held_or_given_up(rolls_back: bool) -> None:
    plan = replace(PLAN, deadline_rolls_back=rolls_back, cool_down_seconds=600.0)
    late = decided(UNAUTHORIZED, now=4600.0, plan=plan)
    assert late.reason is Reason.STEP_DEADLINE
    assert "not passed by 1970-01-01T01:16:40Z: Unauthorized" in late.message
    assert late.state.phase is (Phase.ROLLED_BACK if rolls_back else Phase.PREFLIGHT)
    assert late.state.weight_percent == 0
    if not rolls_back:
        assert decided(Probes(passed=True), now=9000.0, plan=plan).state.weight_percent == 25


@pytest.mark.parametrize(
    "probes", [None, Probes(), Probes(is_fresh=False), replace(UNAUTHORIZED, is_fresh=False)]
)
def test_without_a_failure_that_was_heard_nothing_is_given_up(probes: Probes | None) -> None:
    plan = replace(PLAN, deadline_rolls_back=True)
    late = decided(probes, now=99_999.0, plan=plan)
    assert (late.state, late.reason) == (PROBED, Reason.STEP_DEADLINE)


@pytest.mark.parametrize(
    ("change", "phase"),
    [
        ({"paused": True}, Phase.PAUSED),
        ({"held": "not stored"}, Phase.PREFLIGHT),
        ({"percent": 0}, Phase.STABLE),
        ({"fingerprint": "bbbbbbbbbbbb"}, Phase.PREFLIGHT),
    ],
)
def test_a_passed_preflight_starts_nothing_that_is_not_to_rise(
    change: dict[str, Any], phase: Phase
) -> None:
    decision = decided(Probes(passed=True), plan=replace(PLAN, **change))
    assert (decision.state.phase, decision.state.weight_percent) == (phase, 0)


def test_a_released_canary_is_probed_before_its_first_step() -> None:
    paused = replace(PROBED, phase=Phase.PAUSED)
    look = Look(verdict=NOT_MEASURED, now=2000.0, probes=None)
    released = machine.next_state(paused, look, plan=PLAN).state
    assert released == replace(PROBED, step_started_at=2000.0)


def told(state: Any, reason: Any = "", message: str = "") -> Preflight:
    return Preflight(route="chat", token="t/1", state=state, reason=reason, message=message)


def test_all_pods_have_to_pass_at_first_and_one_is_enough_later() -> None:
    passed, running, failed = told("Passed"), told("Running"), told("Failed", "Unreachable")
    assert combined([passed, passed], pods=2, waited_seconds=0.5).passed
    for others in ([], [running], [failed]):
        assert not combined([passed, *others], pods=2, waited_seconds=9.0).passed
        assert combined([passed, *others], pods=2, waited_seconds=10.0).passed
    assert not combined([running, failed], pods=2, waited_seconds=9000.0).passed


def test_what_asks_for_a_person_is_told_first() -> None:
    running = told("Running")
    failed = [told("Failed", "Throttled", "429"), told("Failed", "Unauthorized", "401")]
    for answers in ([*failed, running], [running, *reversed(failed)]):
        found = combined(answers, pods=3, waited_seconds=60.0)
        assert (found.passed, found.failure, found.message) == (False, "Unauthorized", "401")
    assert combined([running], pods=1, waited_seconds=60.0) == Probes()
    assert not combined([], pods=1, waited_seconds=60.0).is_fresh


def test_every_reason_of_the_contract_fits_into_what_is_told() -> None:
    for reason in filter(None, PREFLIGHT_REASONS):
        found = combined([told("Failed", reason, "x" * 400)], pods=1, waited_seconds=60.0)
        for now in (1001.0, 1100.0, 9000.0):
            decision = decided(found, now=now)
            assert reason in decision.message
            assert len(decision.coming) <= 128


def a_run() -> Run:
    return Run(plan=PLAN, objective=None, stable_fingerprint="cccccccccccc", state=PROBED)


def test_a_failure_is_told_until_a_probe_passes() -> None:
    run = a_run()
    assert run.hear(UNAUTHORIZED, 1.0)
    for later in (UNAUTHORIZED, Probes(), Probes(is_fresh=False, pods_ready=False)):
        assert not run.hear(later, 2.0)
        assert run.probes == UNAUTHORIZED
    assert run.hear(Probes(passed=True), 3.0)
    assert run.has_passed


def test_another_failure_is_told_once_by_an_event_and_not_in_turn_with_the_first() -> None:
    run = a_run()
    run.hear(UNAUTHORIZED, 1.0)
    now = 1.0
    for _ in range(200):
        now += 0.5
        run.hear(UNREACHABLE, now)
        run.hear(UNAUTHORIZED, now)
    assert 1 <= len(run.unannounced) <= 4
    assert {move.reason for move in run.unannounced} == {"PreflightFailed"}
    assert run.history == ()


def test_a_failure_that_is_remembered_gives_way_to_what_is_heard() -> None:
    run = a_run()
    run.probes = replace(UNAUTHORIZED, is_fresh=False)
    assert not run.hear(Probes(is_fresh=False), 1.0)
    assert run.hear(UNREACHABLE, 1.0)
    assert run.probes == UNREACHABLE
