"""The schedule of a canary is what its state machine does when the canary shows everything at the first moment."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.scrapes import copied
from relay_operator.decisions.analysis.verdict import Outcome, Verdict
from relay_operator.decisions.canary.copies import Shadowed
from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.machine import next_state
from relay_operator.decisions.canary.probes import Probes
from relay_operator.decisions.canary.schedule import Ahead, Kind, ahead
from relay_operator.decisions.canary.state import Phase, Plan, ShadowPlan, State
from relay_operator.names import Reason

NOW = 1_000_000.0
FINGERPRINT = "3f2a9c01d4e7"
HEALTHY = Verdict(outcome=Outcome.HEALTHY, reason=Reason.HEALTHY, message="", certified=True)
"""What every limit asks for and more."""

KINDS = {Phase.SHADOWING: Kind.SHADOWING, Phase.BAKING: Kind.BAKING, Phase.PROMOTED: Kind.PROMOTED}

whole_seconds = st.integers(0, 90_000).map(float)
plans = st.builds(
    Plan,
    fingerprint=st.just(FINGERPRINT),
    percent=st.integers(0, 100),
    step_percent=st.integers(5, 100),
    every_seconds=whole_seconds,
    bake_seconds=whole_seconds,
    guarded=st.booleans(),
    paused=st.booleans(),
    cool_down_seconds=whole_seconds,
    shadow=st.none() | st.builds(ShadowPlan, min_seconds=whole_seconds, min_requests=st.just(50)),
)


def ideal(now: float) -> Look:
    """Builds a look at a canary that shows everything that can be asked for."""
    return Look(
        verdict=HEALTHY,
        now=now,
        step_requests=math.inf,
        probes=Probes(passed=True),
        shadow=Shadowed(started_at=0.0, counts={copied("canary", "match"): 1e9}, is_fresh=True),
    )


def walked(state: State, plan: Plan, now: float) -> list[Ahead]:
    """Lets the state machine run through the plan, from one moment at which time may change something to the next."""
    retry = f"{state.run_token}" if state.phase in (Phase.ROLLED_BACK, Phase.FROZEN) else ""
    plan = replace(plan, paused=False, retry=retry)
    moves: list[Ahead] = []
    while True:
        decided = next_state(state, ideal(now), plan=plan).state
        if decided != state:
            moves += _moves(state, decided, now)
            state = decided
            continue
        spans = [plan.every_seconds, plan.bake_seconds, plan.cool_down_seconds]
        spans += [plan.shadow.min_seconds] if plan.shadow else []
        later = [at for span in spans if (at := state.step_started_at + span) > now]
        if not later:
            return moves
        now = min(later)


def _moves(before: State, after: State, now: float) -> list[Ahead]:
    if after.weight_percent > before.weight_percent:
        return [Ahead(kind=Kind.WEIGHT, canary_percent=after.weight_percent, earliest=now)]
    if after.phase is not before.phase and after.phase in KINDS:
        kind, percent = KINDS[after.phase], after.weight_percent
        return [Ahead(kind=kind, canary_percent=percent, earliest=now)]
    return []


def begun(phase: Phase, weight: int, *, ago: float, cause: str = "") -> State:
    return State(
        phase=phase,
        weight_percent=weight,
        fingerprint=FINGERPRINT,
        step_index=1 if weight else 0,
        step_started_at=NOW - ago,
        run=1,
        cause=cause,
    )


@st.composite
def positions(draw: st.DrawFn, plan: Plan) -> State:
    """Draws a position that this plan can lead to."""
    ago = draw(whole_seconds)
    reached = draw(st.integers(1, max(1, plan.percent)))
    phases = {
        Phase.STABLE: State(),
        Phase.PREFLIGHT: begun(Phase.PREFLIGHT, 0, ago=ago),
        Phase.PAUSED: begun(Phase.PAUSED, 0, ago=ago),
        Phase.ROLLED_BACK: begun(Phase.ROLLED_BACK, 0, ago=ago, cause="it failed"),
    }
    if plan.shadow is not None:
        phases[Phase.SHADOWING] = begun(Phase.SHADOWING, 0, ago=ago)
    if plan.percent:
        for phase in (Phase.PROGRESSING, Phase.HOLDING):
            phases[phase] = begun(phase, reached, ago=ago)
        phases[Phase.FROZEN] = begun(Phase.FROZEN, reached, ago=ago, cause="it failed")
    if plan.percent == 100:
        phases[Phase.BAKING] = begun(Phase.BAKING, 100, ago=ago)
        phases[Phase.PROMOTED] = begun(Phase.PROMOTED, 100, ago=ago)
    return draw(st.sampled_from(list(phases.values())))


@given(data=st.data(), plan=plans)
def test_the_schedule_is_what_the_state_machine_does(data: st.DataObject, plan: Plan) -> None:
    position = data.draw(positions(plan))
    assert list(ahead(position, plan, NOW)) == walked(position, plan, NOW)


def test_the_usual_migration_has_its_steps_its_bake_and_its_promotion() -> None:
    plan = Plan(
        fingerprint=FINGERPRINT,
        percent=100,
        step_percent=40,
        every_seconds=3600,
        bake_seconds=7200,
        guarded=True,
    )
    at_first = begun(Phase.PROGRESSING, 40, ago=600)
    assert [(one.kind, one.canary_percent, one.earliest - NOW) for one in ahead(at_first, plan, NOW)] == [
        (Kind.WEIGHT, 80, 3000),
        (Kind.WEIGHT, 100, 6600),
        (Kind.BAKING, 100, 10200),
        (Kind.PROMOTED, 100, 17400),
    ]  # fmt: skip


@pytest.mark.parametrize("phase", [Phase.PROMOTED, Phase.STABLE])
def test_nothing_lies_ahead_of_a_route_that_is_done_or_has_no_canary(phase: Phase) -> None:
    assert ahead(State(phase=phase), Plan(), NOW) == ()
