"""The moves that lie ahead of a canary, each with its earliest moment. The standard library alone.

It walks through the plan as the state machine would if the canary showed at each first moment what it has to show; a test
compares the two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from relay_operator.decisions.canary.state import BEFORE_WEIGHT, Phase, Plan, State


class Kind(StrEnum):
    SHADOWING = "Shadowing"
    WEIGHT = "Weight"
    BAKING = "Baking"
    PROMOTED = "Promoted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ahead:
    """A move, the canary's weight from then on, and its earliest moment in seconds since the epoch."""

    kind: Kind
    canary_percent: int
    earliest: float


def ahead(state: State, plan: Plan, now: float) -> tuple[Ahead, ...]:
    """Returns all moves to the end of the plan.

    What a person or the platform holds goes on now: a pause ends, a retry is asked for, an incident is over.
    """
    if state.phase is Phase.PROMOTED or (not plan.percent and plan.shadow is None):
        return ()
    position = _let_go(state, plan, now)
    return tuple(_moves(position, plan, now))


def _let_go(state: State, plan: Plan, now: float) -> State:
    """Returns the position from which the canary goes on."""
    if state.phase is Phase.ROLLED_BACK:
        cooled = max(now, state.step_started_at + plan.cool_down_seconds)
        return State(phase=Phase.PREFLIGHT, step_started_at=cooled)
    if not state.fingerprint or (not state.weight_percent and state.phase not in BEFORE_WEIGHT):
        return State(phase=Phase.PREFLIGHT, step_started_at=now)
    if state.phase is Phase.FROZEN:
        return replace(state, phase=Phase.PROGRESSING, step_started_at=now)
    return state


def _moves(state: State, plan: Plan, now: float) -> Iterator[Ahead]:
    weight, began = min(state.weight_percent, plan.percent), state.step_started_at
    if not weight:
        began = _proven_at(state, plan, now)
        if plan.shadow is not None and state.phase is not Phase.SHADOWING:
            copying = max(now, state.step_started_at)
            yield Ahead(kind=Kind.SHADOWING, canary_percent=0, earliest=copying)
        if not plan.percent:
            return
        weight = min(plan.step_percent, plan.percent)
        yield Ahead(kind=Kind.WEIGHT, canary_percent=weight, earliest=began)
    if plan.guarded:
        yield from _with_weight(state, plan, now, weight=weight, began=began)


def _proven_at(state: State, plan: Plan, now: float) -> float:
    """Returns when a canary without weight can have shown at the earliest what its first weight takes."""
    if plan.shadow is None:
        return max(now, state.step_started_at)
    copying = (
        state.step_started_at if state.phase is Phase.SHADOWING else max(now, state.step_started_at)
    )
    return max(now, copying + plan.shadow.min_seconds)


def _with_weight(
    state: State, plan: Plan, now: float, *, weight: int, began: float
) -> Iterator[Ahead]:
    """Yields the steps from weight on, the present one begun at began."""
    if state.phase is Phase.BAKING and weight == 100:
        done = max(now, began + plan.bake_seconds)
        yield Ahead(kind=Kind.PROMOTED, canary_percent=100, earliest=done)
        return
    passed = max(now, began + plan.every_seconds)
    while weight < plan.percent:
        weight = min(weight + plan.step_percent, plan.percent)
        yield Ahead(kind=Kind.WEIGHT, canary_percent=weight, earliest=passed)
        passed += plan.every_seconds
    if weight < 100:
        return
    if plan.bake_seconds:
        yield Ahead(kind=Kind.BAKING, canary_percent=100, earliest=passed)
    yield Ahead(kind=Kind.PROMOTED, canary_percent=100, earliest=passed + plan.bake_seconds)
