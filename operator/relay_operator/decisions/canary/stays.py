"""Decisions that leave the weight where it is, or take all of it, in the words that a person reads."""

from dataclasses import replace
from typing import Final

from relay_operator.decisions.canary.state import (
    MOST_ROLLED_BACK,
    Decision,
    Phase,
    Plan,
    RolledBack,
    State,
)
from relay_operator.decisions.timestamps import to_text
from relay_operator.names import ANNOTATION_RETRY, Reason

FORCE: Final = "/force"
"""After the token of a retry: do not wait until the cool-down is over."""
MOST_CHARACTERS: Final = 800
"""Of a cause, so that what to do about it still fits into the message of a condition."""


def roll_back(
    state: State, cause: str, now: float, *, reason: Reason = Reason.SLO_BREACH
) -> Decision:
    """Takes all weight. reason and cause tell why; both are kept for as long as the canary is remembered."""
    others = [one for one in state.rolled_back if one.fingerprint != state.fingerprint]
    cause = cause[:MOST_CHARACTERS]
    ended = RolledBack(fingerprint=state.fingerprint, at=now, cause=cause, cause_reason=reason)
    back = replace(
        state,
        phase=Phase.ROLLED_BACK,
        weight_percent=0,
        step_started_at=now,
        cause=cause,
        cause_reason=reason,
        rolled_back=(*others, ended)[-MOST_ROLLED_BACK:],
    )
    return Decision(state=back, reason=reason, message=cause)


def is_to_be_retried(state: State, plan: Plan, now: float) -> bool:
    """Tells whether a person asks for another run of a canary that was rolled back, and its cool-down is over or not waited for."""
    cooled = now >= state.step_started_at + plan.cool_down_seconds
    return plan.retry == state.run_token + FORCE or (plan.retry == state.run_token and cooled)


def stay_back(state: State, plan: Plan) -> Decision:
    cooled = state.step_started_at + plan.cool_down_seconds
    message = (
        f"{state.cause}; to try this canary again from {to_text(cooled)} on, annotate the route with "
        f"{ANNOTATION_RETRY}={state.run_token} (to try it at once: {state.run_token}{FORCE})"
    )
    if plan.held and plan.retry in (state.run_token, state.run_token + FORCE):
        message = f"{state.cause}; the retry that the annotation asks for waits: {plan.held}"
    waits = plan.retry == state.run_token
    coming = f"retry from {to_text(cooled)}" if waits else f"retry by hand from {to_text(cooled)}"
    return stay(state, Reason.ROLLED_BACK, message, coming=coming, due=cooled if waits else 0.0)


def stay_in_line(state: State, plan: Plan) -> Decision:
    """Waits for a place among the canaries that are raised at once."""
    phase = Phase.HOLDING if state.phase in (Phase.PROGRESSING, Phase.STABLE) else state.phase
    message = f"waits at {state.weight_percent} % for its turn: {plan.turn}"
    return stay(
        replace(state, phase=phase),
        Reason.AWAITING_BUDGET,
        message,
        coming="its turn in the platform's budget",
    )


def stay_frozen(state: State) -> Decision:
    message = (
        f"{state.cause}; to go on, annotate the route with {ANNOTATION_RETRY}={state.run_token}, "
        "to go back, set spec.canary.percent to 0"
    )
    return stay(state, Reason.FROZEN, message, coming="a decision by hand")


def stay(
    state: State,
    reason: Reason,
    message: str,
    *,
    coming: str = "",
    due: float = 0.0,
    earliest: float = 0.0,
) -> Decision:
    """Leaves the weight where it is. What is due comes no earlier either."""
    return Decision(
        state=state,
        reason=reason,
        message=message,
        coming=coming,
        due=due,
        earliest=earliest or due,
    )
