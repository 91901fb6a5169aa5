"""Shadow copies before a canary's first weight: what they have to show, and what ends or holds the wait."""

from dataclasses import replace
from typing import Any

import pytest

from relay_contract.shadow import OUTCOMES, PAIRS
from relay_operator.decisions.analysis.scrapes import copied
from relay_operator.decisions.analysis.verdict import NOT_MEASURED
from relay_operator.decisions.canary import copies, machine
from relay_operator.decisions.canary.copies import Shadowed, Trial
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.state import (
    Decision,
    Phase,
    Plan,
    RolledBack,
    ShadowPlan,
    State,
)
from relay_operator.names import Reason

CANARY = "aaaaaaaaaaaa"
DAY = 86_400.0
PLAN = Plan(
    fingerprint=CANARY,
    percent=100,
    step_percent=25,
    deadline_seconds=3600.0,
    guarded=True,
    shadow=ShadowPlan(min_seconds=DAY, min_requests=500),
)
SHADOWED = State(phase=Phase.SHADOWING, fingerprint=CANARY, step_started_at=1000.0, run=1)
ENOUGH = 1000.0 + DAY


def shown(
    *, limit: float | None = 1.0, stable: dict[str, float] | None = None, **canary: float
) -> Shadowed:
    counts = {copied("canary", name): value for name, value in canary.items()}
    counts |= {copied("stable", name): value for name, value in (stable or {}).items()}
    return Shadowed(started_at=1000.0, counts=counts, limit_percent=limit, is_fresh=True)


def decided(seen: Shadowed | None, *, now: float = ENOUGH, **plan: Any) -> Decision:
    look = Look(verdict=NOT_MEASURED, now=now, shadow=seen, probes=Probes(passed=True))
    return machine.next_state(SHADOWED, look, plan=replace(PLAN, **plan))


def test_shadowing_comes_after_the_preflight_and_has_no_weight() -> None:
    probed = replace(SHADOWED, phase=Phase.PREFLIGHT)
    look = Look(verdict=NOT_MEASURED, now=2000.0, probes=Probes(passed=True))
    begun = machine.next_state(probed, look, plan=PLAN)
    assert begun.state == replace(SHADOWED, step_started_at=2000.0)
    assert begun.reason is Reason.SHADOWING
    without = machine.next_state(probed, look, plan=replace(PLAN, shadow=None))
    assert without.state.weight_percent == 25


@pytest.mark.parametrize(
    ("shadow", "now"),
    [
        (None, ENOUGH),
        (shown(match=500), ENOUGH - 1),
        (shown(match=499), ENOUGH),
        (shown(match=499, skipped_budget=100, not_comparable=100, throttled=9), ENOUGH),
        (replace(shown(match=500), is_fresh=False), ENOUGH),
        (shown(match=500, timeout=6), ENOUGH),
        (replace(shown(match=500, failed=3), suspected=True), ENOUGH),
    ],
    ids=["nothing", "early", "few", "uncompared", "remembered", "over the limit", "suspected"],
)
def test_without_time_copies_and_few_failures_the_canary_waits(
    shadow: Shadowed | None, now: float
) -> None:
    decision = decided(shadow, now=now)
    assert (decision.state, decision.reason) == (SHADOWED, Reason.SHADOWING)


def test_it_gets_its_first_step_once_the_copies_have_shown_enough() -> None:
    decision = decided(shown(match=400, tokens=90, status=10, failed=5, throttled=400))
    assert (decision.state.phase, decision.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert (decision.reason, decision.state.step_index) == (Reason.STARTED, 1)


@pytest.mark.parametrize("change", [{}, {"paused": True}, {"held": "a spec is not in force"}])
def test_a_breach_ends_the_run_with_its_figures(change: dict[str, Any]) -> None:
    breach = replace(shown(match=488, failed=12), breach="12 of 500 copies failed")
    decision = decided(breach, now=2000.0, freezes_on_breach=True, **change)
    assert (decision.state.phase, decision.reason) == (Phase.ROLLED_BACK, Reason.SLO_BREACH)
    assert "12 of 500 copies failed" in decision.state.cause
    assert "before the canary had any weight" in decision.state.cause


def test_differences_beyond_the_noise_hold_where_the_spec_says_so() -> None:
    noisy = {"match": 40.0, "tokens": 10.0}
    differs = shown(match=300, tokens=200, stable=noisy)
    assert differs.difference_percent == pytest.approx(20.0)
    assert decided(differs).state.weight_percent == 25
    limited = replace(PLAN.shadow or ShadowPlan(), max_difference_percent=15.0)
    held = decided(differs, shadow=limited)
    assert (held.state, held.reason) == (SHADOWED, Reason.SHADOW_DIFFERS)
    assert "20 % more of the copies differ" in held.message
    alike = shown(match=300, tokens=200, stable={"match": 30.0, "tokens": 20.0})
    assert decided(alike, shadow=limited).state.weight_percent == 25


@pytest.mark.parametrize("rolls_back", [True, False])
def test_a_deadline_counts_from_the_end_of_the_least_time(rolls_back: bool) -> None:
    few = shown(match=3)
    plan: dict[str, Any] = {"deadline_rolls_back": rolls_back}
    assert decided(few, now=ENOUGH + 3599, **plan).reason is Reason.SHADOWING
    late = decided(few, now=ENOUGH + 3600, **plan)
    assert late.reason is Reason.STEP_DEADLINE
    assert "3 of 500 compared" in late.message
    assert late.state.phase is (Phase.ROLLED_BACK if rolls_back else Phase.SHADOWING)
    remembered = decided(replace(few, is_fresh=False), now=ENOUGH + 3600, **plan)
    assert remembered.state == SHADOWED


def test_a_paused_canary_is_shadowed_on_and_gets_no_weight() -> None:
    decision = decided(shown(match=500), paused=True)
    assert (decision.state, decision.reason) == (SHADOWED, Reason.PAUSED)


def test_a_canary_of_no_percent_is_shadowed_and_waits_for_more() -> None:
    look = Look(verdict=NOT_MEASURED, now=1000.0)
    begun = machine.next_state(State(), look, plan=replace(PLAN, percent=0))
    assert begun.state.phase is Phase.PREFLIGHT
    done = decided(shown(match=500), percent=0)
    assert done.state == SHADOWED
    assert "raise spec.canary.percent" in done.message
    assert decided(shown(match=500), percent=10).state.weight_percent == 10


def test_percent_zero_takes_all_weight_and_starts_nothing_that_was_rolled_back() -> None:
    look = Look(verdict=NOT_MEASURED, now=9e9, probes=Probes(passed=True))
    plan = replace(PLAN, percent=0)
    climbed = replace(SHADOWED, phase=Phase.PROGRESSING, weight_percent=50)
    back = machine.next_state(climbed, look, plan=plan)
    assert (back.state.phase, back.state.weight_percent) == (Phase.STABLE, 0)
    ended = (RolledBack(fingerprint=CANARY, at=1.0, cause="it failed"),)
    for phase in (Phase.STABLE, Phase.ROLLED_BACK, Phase.SHADOWING):
        state = replace(SHADOWED, phase=phase, rolled_back=ended)
        if phase is Phase.STABLE:
            state = State(run=1, rolled_back=ended)
        decision = machine.next_state(state, look, plan=plan)
        assert decision.state.phase in (Phase.STABLE, phase)
        assert decision.state.weight_percent == 0
        assert machine.next_state(decision.state, look, plan=plan).state == decision.state


def test_a_restart_takes_the_weight_that_the_relays_have_already() -> None:
    raised = machine.resumed(SHADOWED, fingerprint_in_force=CANARY, weight_in_force=25, now=5000.0)
    assert raised is not None
    assert (raised.state.phase, raised.state.weight_percent) == (Phase.PROGRESSING, 25)
    assert raised.reason is Reason.STARTED


def a_trial(limit: float | None = 1.0) -> Trial:
    return Trial(started_at=0.0, limit_percent=limit)


def counted(**canary: float) -> dict[str, float]:
    return {copied("canary", name): value for name, value in canary.items()}


def test_copies_that_fail_break_the_limit_by_proof_and_not_by_chance() -> None:
    trial = a_trial()
    trial.take(counted(match=20, failed=1), 2.0)
    assert not trial.shown.breach
    for _ in range(60):
        trial.take(counted(match=9, timeout=1), 2.0)
    assert "of 621 copies failed" in trial.shown.breach
    assert "limit 1 %" in trial.shown.breach
    assert "evidence" in trial.shown.breach


@pytest.mark.parametrize("outcome", ["throttled", "skipped_budget", "not_comparable", "tokens"])
def test_what_is_no_failure_breaks_no_limit(outcome: str) -> None:
    trial = a_trial()
    for _ in range(100):
        trial.take(counted(match=1, **{outcome: 9.0}), 2.0)
    assert not trial.shown.breach
    assert not trial.shown.over_the_limit


def test_copies_that_fail_as_stable_does_are_no_breach() -> None:
    trial = a_trial()
    for _ in range(100):
        both = counted(match=80, failed=20)
        both |= {copied("stable", "match"): 8.0, copied("stable", "failed"): 2.0}
        trial.take(both, 2.0)
    assert not trial.shown.breach


def test_without_a_limit_nothing_is_judged() -> None:
    trial = a_trial(None)
    for _ in range(100):
        trial.take(counted(failed=10), 2.0)
    assert not trial.shown.breach
    assert not trial.shown.over_the_limit


def test_status_keeps_every_count_that_decides() -> None:
    counts = {
        copied(pair, outcome): float(10 * number + index)
        for index, pair in enumerate(PAIRS)
        for number, outcome in enumerate(OUTCOMES)
    }
    before = Shadowed(started_at=1000.0, counts=counts)
    fields = copies.to_fields(before)
    after = copies.from_fields(fields)
    assert after is not None
    assert copies.to_fields(after) == fields
    for pair in PAIRS:
        assert after.compared(pair) == before.compared(pair)
        assert after.failed(pair) == before.failed(pair)
    assert after.difference_percent == before.difference_percent
    assert not after.is_fresh


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        "text",
        {"startedAt": ""},
        {"startedAt": "2026-01-01T00:00:00Z", "matched": -5, "differences": [{"kind": "other"}]},
        {"startedAt": "2026-01-01T00:00:00Z", "matched": "9", "differences": [{"kind": "tokens"}]},
    ],
)
def test_a_status_that_no_operator_wrote_counts_nothing(found: Any) -> None:
    read = copies.from_fields(found)
    assert read is None or read.compared() == 0
