"""Places of canaries where the platform bounds how many are raised at once: kept over refused specs and restarts, and given up with the weight."""

import pytest
from tests.unit.relay_operator.decisions.canary_lives import (
    KEY,
    START,
    Life,
    a_route,
    in_force_at,
    started,
)

from relay_operator.decisions.canary.budget import HEARD_OF_SECONDS, Budget
from relay_operator.decisions.canary.state import Phase, Plan
from relay_operator.names import Reason

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
