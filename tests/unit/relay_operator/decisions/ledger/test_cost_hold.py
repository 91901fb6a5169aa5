"""A limit of cost holds a climb, never rolls back, and says what it takes to go on."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.relay_operator.decisions.test_canary import (
    BREACHED,
    CANARY,
    CLIMB,
    HEALTHY,
    climbing,
    next_state,
)

from relay_operator.decisions.canary.state import Decision, Phase, Plan
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.decisions.ledger import cost_hold
from relay_operator.names import Reason

LIMITED = replace(CLIMB, max_cost_increase_percent=10.0)
WITHIN = CostFinding(holds=True, reason=Reason.WITHIN_COST, message="as dear as stable")
HIGHER = CostFinding(holds=False, reason=Reason.COST_HIGHER, message="twice as dear")
FEW = CostFinding(holds=None, reason=Reason.TOO_FEW_REQUESTS, message="12 calls")
UNPRICED = CostFinding(holds=None, reason=Reason.UNPRICED, message="3 attempts have no price")


def passed(plan: Plan = LIMITED, *, weight: int = 25, **look: Any) -> Decision:
    """Decides on a step that is passed but for its cost."""
    look = {"step_requests": 50, "now": 2000.0} | look
    return next_state(climbing(weight), HEALTHY, plan=plan, **look)


def test_a_canary_within_its_limit_is_raised() -> None:
    assert passed(cost=WITHIN).state.weight_percent == 50
    assert passed(CLIMB).state.weight_percent == 50


def test_one_that_costs_more_holds_and_keeps_its_weight() -> None:
    found = passed(cost=HIGHER)
    assert (found.state.phase, found.state.weight_percent) == (Phase.HOLDING, 25)
    assert found.reason is Reason.COST_HIGHER
    assert "twice as dear" in found.message
    assert "maxIncreasePercent" in found.message
    # looked at again nothing moves, and it goes on once it costs less
    again = next_state(
        found.state, HEALTHY, plan=LIMITED, step_requests=60, now=9000.0, cost=HIGHER
    )
    assert again.state == found.state
    risen = next_state(
        found.state, HEALTHY, plan=LIMITED, step_requests=60, now=9000.0, cost=WITHIN
    )
    assert risen.state.weight_percent == 50


@pytest.mark.parametrize("action", [True, False])
def test_no_deadline_acts_on_a_step_that_only_its_cost_holds(action: bool) -> None:
    plan = replace(LIMITED, deadline_seconds=100.0, deadline_rolls_back=action)
    found = passed(plan, cost=HIGHER, now=10_000.0)
    assert (found.reason, found.state.weight_percent) == (Reason.COST_HIGHER, 25)


@pytest.mark.parametrize(("finding", "weight"), [(FEW, 25), (UNPRICED, 25), (None, 25)])
def test_what_is_not_known_holds_by_default(finding: CostFinding | None, weight: int) -> None:
    assert passed(cost=finding).state.weight_percent == weight


def test_few_calls_are_evidence_to_wait_for_and_a_missing_price_takes_a_person() -> None:
    waits, lacks = passed(cost=FEW), passed(cost=UNPRICED)
    assert (waits.reason, waits.state.phase) == (Reason.AWAITING_EVIDENCE, Phase.PROGRESSING)
    assert "12 calls" in waits.message
    assert (lacks.reason, lacks.state.phase) == (Reason.COST_UNKNOWN, Phase.HOLDING)
    assert "whenUnknown" in lacks.message


@pytest.mark.parametrize(
    ("finding", "weight"), [(FEW, 50), (UNPRICED, 50), (HIGHER, 25), (None, 25)]
)
def test_continue_goes_on_while_it_is_not_known_but_not_before_the_ledger_was_asked(
    finding: CostFinding | None, weight: int
) -> None:
    plan = replace(LIMITED, holds_on_unknown_cost=False)
    assert passed(plan, cost=finding).state.weight_percent == weight


def test_it_holds_nothing_but_a_rise() -> None:
    # a breach rolls back, a lower percent takes effect, and a last step is confirmed
    back = next_state(climbing(), BREACHED, plan=LIMITED, cost=HIGHER)
    assert (back.reason, back.state.weight_percent) == (Reason.SLO_BREACH, 0)
    lowered = passed(replace(LIMITED, percent=10), cost=HIGHER)
    assert lowered.state.weight_percent == 10
    assert passed(weight=100, cost=HIGHER).state.phase is Phase.PROMOTED


def test_it_comes_before_the_line_of_the_platforms_budget_and_after_approval() -> None:
    assert passed(replace(LIMITED, turn="others"), cost=HIGHER).reason is Reason.COST_HIGHER
    by_hand = replace(LIMITED, needs_approval=True)
    assert passed(by_hand, cost=HIGHER).reason is Reason.AWAITING_APPROVAL


def test_a_restarted_operator_holds_on_by_what_was_told_until_it_knows_better() -> None:
    status = {
        "canaryFingerprint": CANARY,
        "run": 2,
        "conditions": [
            {"type": "WithinCost", "status": "False", "reason": "CostHigher", "message": "dear"}
        ],
    }
    found = cost_hold.remembered(status, run_token=f"{CANARY}/2")
    assert found is not None
    assert (found.holds, found.message, found.is_remembered) == (False, "dear", True)
    assert cost_hold.remembered(status, run_token=f"{CANARY}/3") is None
    holding = replace(climbing(), phase=Phase.HOLDING)
    kept = next_state(holding, HEALTHY, plan=LIMITED, now=2000.0, is_fresh=False, cost=found)
    assert (kept.reason, kept.state) == (Reason.COST_HIGHER, holding)
    status["conditions"][0]["status"] = "Unknown"  # type: ignore[index]
    assert cost_hold.remembered(status, run_token=f"{CANARY}/2") is None
