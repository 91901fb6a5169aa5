"""The conditions of a Provider, computed from its outcome."""

from dataclasses import dataclass
from typing import assert_never

from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.names import ConditionType, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """Relays can use the provider: its address and its key are known."""


ProviderOutcome = Refused | Waiting | Configured


def conditions(outcome: ProviderOutcome) -> list[Condition]:
    """Builds every condition of a Provider."""
    match outcome:
        case Refused() | Waiting():
            return not_accepted(outcome)
        case Configured():
            reason = Reason.CONFIGURED
            message = "address and key are known"
            return [condition(ConditionType.READY, True, reason, reason, message)]
        case _:
            assert_never(outcome)
