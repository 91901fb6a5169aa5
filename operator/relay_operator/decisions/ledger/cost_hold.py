"""What the cost of a canary's calls does to its climb: it holds it, and nothing more."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from relay_operator.decisions.canary.look import Look
from relay_operator.decisions.canary.state import Decision, Phase, Plan, State
from relay_operator.decisions.canary.stays import stay
from relay_operator.decisions.conditions import Condition, condition, find
from relay_operator.decisions.judgement.means.cost_test import CostFinding
from relay_operator.names import ConditionType, Reason

NOT_ASKED: Final = CostFinding(
    holds=None,
    reason=Reason.AWAITING_LEDGER,
    message="the ledger is asked what calls of both sides cost",
)


def costly(state: State, look: Look, plan: Plan) -> Decision | None:
    """Holds a passed step of a canary that costs more than it may, or of which that cannot be told; None where it may rise."""
    if plan.max_cost_increase_percent is None:
        return None
    found = look.cost or NOT_ASKED
    if found.holds:
        return None
    at = f"at {state.weight_percent} %"
    if found.holds is False:
        message = (
            f"holds {at}: {found.message}. The climb goes on once that can no longer be said; or raise "
            "spec.analysis.cost.maxIncreasePercent, or set spec.canary.percent to 0 to go back"
        )
        return _hold(state, Reason.COST_HIGHER, message, "a canary that costs less")
    if not plan.holds_on_unknown_cost and found is not NOT_ASKED:
        return None
    if found.reason in (Reason.TOO_FEW_REQUESTS, Reason.AWAITING_LEDGER):
        waiting = stay(
            replace(state, phase=Phase.PROGRESSING),
            Reason.AWAITING_EVIDENCE,
            f"{at}, the step is passed but for its cost: {found.message}",
            coming="what calls of both sides cost",
        )
        return replace(waiting, is_passed=True)
    message = (
        f"holds {at}: what calls cost is not known: {found.message}. The climb goes on once it is; or set "
        "spec.analysis.cost.whenUnknown to Continue"
    )
    return _hold(state, Reason.COST_UNKNOWN, message, "what calls of both sides cost")


def _hold(state: State, reason: Reason, message: str, coming: str) -> Decision:
    return stay(replace(state, phase=Phase.HOLDING), reason, message, coming=coming)


def within_cost(found: CostFinding | None) -> Condition:
    """Builds the condition of a route whose canary has a limit of cost."""
    found = found or NOT_ASKED
    return condition(
        ConditionType.WITHIN_COST, found.holds, found.reason, found.reason, found.message
    )


def remembered(status: Mapping[str, Any], *, run_token: str) -> CostFinding | None:
    """Returns the finding of an earlier life that held the run of this token: a restart raises nothing."""
    told = find(status, ConditionType.WITHIN_COST)
    token = f"{status.get('canaryFingerprint', '')}/{status.get('run') or 0}"
    if told.get("status") != "False" or token != run_token:
        return None
    return CostFinding(
        holds=False,
        reason=Reason.COST_HIGHER,
        message=str(told.get("message", "")),
        is_remembered=True,
    )
