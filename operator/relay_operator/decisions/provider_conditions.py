"""The conditions of a Provider, computed from its outcome."""

from dataclasses import dataclass
from typing import assert_never

from relay_operator.decisions import timestamps
from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.outcome import Refused, Waiting
from relay_operator.decisions.providers.health import Health
from relay_operator.decisions.providers.oversubscription import Oversubscription
from relay_operator.names import ConditionType, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Configured:
    """Relays can use the provider: its address is known, and what relays show it.

    certificate_until is the end of its client certificate's time, in seconds since the epoch; None without one.
    """

    certificate_until: int | None = None


ProviderOutcome = Refused | Waiting | Configured


def conditions(
    outcome: ProviderOutcome,
    *,
    load: Oversubscription | None = None,
    health: Health | None = None,
) -> list[Condition]:
    """Builds every condition of a Provider; load is None where it has no quota, or its spec cannot be used.

    What relays found of a Provider that is configured decides whether it is ready. One that nobody uses is: nothing of it takes
    a person, and who waits for it would wait for ever.
    """
    further = [] if load is None else [_oversubscribed(load)]
    if health is not None and isinstance(outcome, Configured):
        further.append(health.condition)
        if health.obstacle is not None:
            return [*not_accepted(health.obstacle), *further]
    return [*_of_outcome(outcome), *further]


def _oversubscribed(load: Oversubscription) -> Condition:
    return condition(
        ConditionType.OVERSUBSCRIBED,
        load.holds,
        Reason.PROMISED_MORE,
        Reason.WITHIN_QUOTA,
        load.message,
    )


def _of_outcome(outcome: ProviderOutcome) -> list[Condition]:
    match outcome:
        case Refused() | Waiting():
            return not_accepted(outcome)
        case Configured(certificate_until=until):
            reason = Reason.CONFIGURED
            message = "address and key are known"
            if until is not None:
                message += f"; the client certificate is valid until {timestamps.to_text(until)}"
            return [condition(ConditionType.READY, True, reason, reason, message)]
        case _:
            assert_never(outcome)
