"""What the machine does beside a verdict: a quota that holds the climb, and a stable side that fails alone."""

from dataclasses import replace
from typing import Any, Literal

import pytest

from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary import machine
from relay_operator.decisions.canary.incidents import QUIET_SECONDS
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.state import Decision, Phase, Plan, State
from relay_operator.names import Reason

CANARY = "aaaaaaaaaaaa"
PLAN = Plan(
    fingerprint=CANARY,
    percent=100,
    step_percent=25,
    every_seconds=60,
    min_requests=50,
    guarded=True,
)
HEALTHY = Verdict(
    outcome=Outcome.HEALTHY,
    reason=Reason.HEALTHY,
    message="0 of 900 canary requests failed on this step",
    certified=True,
)
STABLE_FAILS = replace(
    HEALTHY,
    stable_finding="90 of 300 requests of stable failed (30 %, limit 1 %)",
    stable_fails_alone=True,
)
THROTTLED = replace(HEALTHY, throttled="38 of 210 canary calls on this step were answered 429")
TOO_FEW = Verdict(
    outcome=Outcome.INCONCLUSIVE,
    reason=Reason.TOO_FEW_REQUESTS,
    message="20 canary requests on this step, 50 needed",
)
BREACHED = Verdict(
    outcome=Outcome.BREACHED, reason=Reason.ERROR_RATE, message="9 of 10 requests failed"
)


def climbing(weight: int = 25) -> State:
    return State(
        phase=Phase.PROGRESSING,
        weight_percent=weight,
        fingerprint=CANARY,
        step_index=1,
        step_started_at=1000.0,
        run=1,
    )


def decide(state: State, verdict: Verdict, *, plan: Plan = PLAN, **look: Any) -> Decision:
    facts: dict[str, Any] = {"now": 2000.0, "step_requests": 900} | look
    return machine.next_state(state, Look(verdict=verdict, **facts), plan=plan)


# -- quota --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verdict", [THROTTLED, replace(TOO_FEW, throttled=THROTTLED.throttled)], ids=["passed", "few"]
)
def test_a_quota_that_is_used_up_holds_the_weight_and_says_by_which_figures(
    verdict: Verdict,
) -> None:
    held = decide(climbing(), verdict)
    assert (held.state.phase, held.state.weight_percent) == (Phase.HOLDING, 25)
    assert held.reason is Reason.THROTTLED
    assert held.message.startswith(
        "38 of 210 canary calls on this step were answered 429; the provider's quota holds the weight at 25 %"
    )
    assert decide(held.state, HEALTHY).state.weight_percent == 50


def test_a_quota_moves_nothing_else() -> None:
    breached = decide(climbing(), replace(BREACHED, throttled=THROTTLED.throttled))
    assert breached.state.phase is Phase.ROLLED_BACK
    there = decide(climbing(50), THROTTLED, plan=replace(PLAN, percent=50))
    assert there.reason is Reason.DESTINATION_REACHED
    baking = replace(climbing(100), phase=Phase.BAKING)
    still = decide(baking, THROTTLED, plan=replace(PLAN, bake_seconds=1))
    assert (still.state, still.reason) == (baking, Reason.THROTTLED)
    overdue = decide(climbing(), THROTTLED, plan=replace(PLAN, deadline_seconds=100))
    assert overdue.reason is Reason.STEP_DEADLINE


def test_an_all_traffic_step_does_not_pass_while_the_quota_is_used_up() -> None:
    assert decide(climbing(100), THROTTLED).state.phase is Phase.HOLDING
    assert decide(climbing(100), HEALTHY).state.phase is Phase.PROMOTED


# -- stable alone -------------------------------------------------------------------------------------------------------

EVACUATE = replace(PLAN, on_stable_breach="Evacuate")


def test_a_climb_is_frozen_while_stable_fails_and_begins_its_step_anew_after_it() -> None:
    frozen = decide(climbing(), STABLE_FAILS)
    assert (frozen.state.phase, frozen.state.weight_percent) == (Phase.FROZEN, 25)
    assert frozen.reason is Reason.STABLE_UNHEALTHY
    assert "90 of 300 requests of stable failed" in frozen.message
    still = decide(frozen.state, HEALTHY, quiet_seconds=QUIET_SECONDS - 1)
    assert (still.state, still.reason) == (frozen.state, Reason.STABLE_UNHEALTHY)
    over = decide(frozen.state, HEALTHY, quiet_seconds=QUIET_SECONDS, now=3000.0)
    assert (over.reason, over.state.phase) == (Reason.RESUMED, Phase.PROGRESSING)
    assert over.state.step_started_at == 3000.0


def test_a_step_deadline_does_not_send_traffic_to_a_stable_side_that_fails() -> None:
    plan = replace(PLAN, deadline_seconds=100, deadline_rolls_back=True)
    verdict = replace(TOO_FEW, stable_finding=STABLE_FAILS.stable_finding)
    assert decide(climbing(), verdict, plan=plan).state.phase is Phase.FROZEN
    assert decide(climbing(), TOO_FEW, plan=plan).state.phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("phase", [Phase.PROGRESSING, Phase.HOLDING, Phase.FROZEN])
@pytest.mark.parametrize("percent", [100, 60])
def test_an_evacuation_takes_all_that_the_spec_gives_in_one_move(
    phase: Phase, percent: int
) -> None:
    moved = decide(
        replace(climbing(), phase=phase), STABLE_FAILS, plan=replace(EVACUATE, percent=percent)
    )
    assert (moved.state.phase, moved.state.weight_percent) == (Phase.PROGRESSING, percent)
    assert (moved.reason, moved.certified) == (Reason.EVACUATED, True)
    assert moved.message.startswith(f"evacuated from 25 to {percent} %")
    assert "90 of 300 requests of stable failed" in moved.message
    assert "0 of 900 canary requests failed" in moved.message


LACKING: dict[str, dict[str, Any]] = {
    "no opt-in": {"plan": PLAN},
    "no certificate": {"verdict": replace(STABLE_FAILS, certified=False)},
    "it may be the canary's trouble too": {
        "verdict": replace(STABLE_FAILS, stable_fails_alone=False)
    },
    "too few calls": {"step_requests": 49},
    "a verdict of an earlier life": {"is_fresh": False},
    "undecided": {"verdict": replace(TOO_FEW, stable_finding="stable fails", certified=True)},
    "paused": {"plan": replace(EVACUATE, paused=True)},
    "held": {"plan": replace(EVACUATE, held="the spec is not in force")},
    "quota": {"verdict": replace(STABLE_FAILS, throttled=THROTTLED.throttled)},
    "both are bad": {
        "verdict": replace(
            TOO_FEW, reason=Reason.SHARED_INCIDENT, stable_finding="it fails", certified=True
        )
    },
}


@pytest.mark.parametrize("lacking", LACKING)
def test_nothing_is_evacuated_without_all_that_it_takes(lacking: str) -> None:
    facts: dict[str, Any] = {"verdict": STABLE_FAILS, "plan": EVACUATE} | LACKING[lacking]
    stays = decide(climbing(), facts.pop("verdict"), **facts)
    assert stays.state.weight_percent == 25
    assert stays.state.phase is Phase.FROZEN


def test_it_is_told_that_an_evacuation_waits_for_the_quota() -> None:
    waits = decide(climbing(), replace(STABLE_FAILS, throttled=THROTTLED.throttled), plan=EVACUATE)
    assert "waits for the provider's quota: 38 of 210 canary calls" in waits.message
    assert (
        "quota"
        not in decide(climbing(), replace(STABLE_FAILS, certified=False), plan=EVACUATE).message
    )


def test_a_canary_that_breaks_its_limit_is_never_evacuated_to() -> None:
    verdict = replace(BREACHED, stable_finding=STABLE_FAILS.stable_finding, certified=True)
    assert decide(climbing(), verdict, plan=EVACUATE).state.weight_percent == 0


def test_a_stable_side_known_to_be_bad_can_be_left_step_by_step() -> None:
    plan = replace(PLAN, on_stable_breach="Continue")
    moved = decide(climbing(), STABLE_FAILS, plan=plan)
    assert (moved.state.weight_percent, moved.reason) == (50, Reason.STEP_PASSED)


@pytest.mark.parametrize("choice", ["Hold", "Evacuate"])
@pytest.mark.parametrize(("weight", "percent"), [(100, 100), (50, 50)])
def test_where_the_weight_is_what_the_spec_asks_for_stable_changes_nothing(
    weight: int, percent: int, choice: Literal["Hold", "Evacuate"]
) -> None:
    plan = replace(PLAN, percent=percent, on_stable_breach=choice)
    assert decide(climbing(weight), STABLE_FAILS, plan=plan) == decide(
        climbing(weight), HEALTHY, plan=plan
    )


def test_an_incident_of_both_sides_that_becomes_stables_alone_keeps_its_reason() -> None:
    both = replace(TOO_FEW, reason=Reason.SHARED_INCIDENT, stable_finding="it fails")
    frozen = decide(climbing(), both)
    assert frozen.reason is Reason.SHARED_INCIDENT
    assert decide(frozen.state, STABLE_FAILS).state == frozen.state


@pytest.mark.parametrize(
    ("before", "reason"),
    [
        (
            replace(climbing(), phase=Phase.FROZEN, cause_reason=Reason.STABLE_UNHEALTHY),
            Reason.EVACUATED,
        ),
        (climbing(), Reason.STEP_PASSED),
        (replace(climbing(0), phase=Phase.PREFLIGHT), Reason.STARTED),
    ],
    ids=["evacuated", "raised", "started"],
)
def test_a_raise_that_was_not_recorded_is_told_for_what_it_was(
    before: State, reason: Reason
) -> None:
    found = machine.resumed(before, fingerprint_in_force=CANARY, weight_in_force=100, now=3000.0)
    assert found is not None
    assert (found.reason, found.state.phase) == (reason, Phase.PROGRESSING)
    assert found.state.weight_percent == 100
