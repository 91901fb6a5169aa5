"""The conditions of a ToolServer, computed from what came of the last look at it."""

from dataclasses import dataclass
from typing import Final

from relay_operator import names
from relay_operator.decisions.conditions import Condition, condition, not_accepted
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.decisions.tools.definitions import Pins, State
from relay_operator.decisions.tools.steadiness import ALL_REST, STEADY_SECONDS, Restless
from relay_operator.names import ConditionType, Reason

_NAMED: Final = 5
_NEEDS_A_PERSON: Final = frozenset(
    {
        Reason.ADDRESS_CLOSED,
        Reason.ADDRESS_FORBIDDEN,
        Reason.UNAUTHORIZED,
        Reason.REVISION_UNSUPPORTED,
        Reason.INVALID_ANSWER,
        Reason.TOO_MANY_DEFINITIONS,
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What came of asking the server for its lists. reason is Answers where it gave them."""

    reason: Reason
    message: str

    @property
    def is_failing(self) -> bool:
        return self.reason is not Reason.ANSWERS

    @property
    def obstacle(self) -> Obstacle | None:
        """Returns what keeps the server from being ready: an outage passes, a refused credential takes a person."""
        if not self.is_failing:
            return None
        if self.reason in _NEEDS_A_PERSON:
            return Refused(reason=self.reason, message=self.message)
        return Waiting(reason=self.reason, message=self.message)


def conditions(
    obstacle: Obstacle | None,
    look: Look | None,
    pins: Pins | None,
    *,
    server: str,
    restless: Restless = ALL_REST,
) -> list[Condition]:
    """Builds every condition of the ToolServer of this name. obstacle is what keeps it from being asked, look what came of the last question."""
    further = [] if look is None else [_probed(look)]
    if pins is not None:
        further.append(_approved(pins, server, restless))
    found = obstacle or (look.obstacle if look is not None else None)
    if found is None and pins is None:
        found = Waiting(reason=Reason.NOT_PROBED, message="its lists are being read")
    if found is not None:
        return [*not_accepted(found), *further]
    reason = Reason.CONFIGURED
    message = f"{pins.summary if pins else ''} listed definitions are approved"
    return [condition(ConditionType.READY, True, reason, reason, message), *further]


def _probed(look: Look) -> Condition:
    return condition(
        ConditionType.PROBED, not look.is_failing, Reason.ANSWERS, look.reason, look.message
    )


def _approved(pins: Pins, server: str, restless: Restless) -> Condition:
    """Builds the condition that a person looks at who approves; what waits keeps nobody from the rest."""
    if not pins.waiting:
        reason = Reason.ALL_APPROVED
        message = f"{pins.summary} listed definitions are approved"
        return condition(ConditionType.DEFINITIONS_APPROVED, True, reason, reason, message)
    changed = [
        f"{kind} {pin.name}"
        for kind, pin in pins.waiting
        if pin.state is State.CHANGED and (kind, pin.name) not in restless
    ]
    by_turns = [f"{kind} {pin.name}" for kind, pin in pins.waiting if (kind, pin.name) in restless]
    added = [f"{kind} {pin.name}" for kind, pin in pins.waiting if pin.state is State.ADDED]
    reason = Reason.DEFINITION_CHANGED if changed or by_turns else Reason.DEFINITION_ADDED
    told = [
        f"{listed(those)} {verb}"
        for those, verb in (
            (changed, "changed since approved, suspended for all Tenants"),
            (
                by_turns,
                "listed now so and now otherwise, suspended for all Tenants until it has been the same for "
                f"{STEADY_SECONDS / 60:.0f} min (do Pods of two versions answer?)",
            ),
            (added, "added, not there for any Tenant"),
        )
        if those
    ]
    message = f"{'; '.join(told)}; {advice(pins, server)}"
    return condition(ConditionType.DEFINITIONS_APPROVED, False, reason, reason, message)


def advice(pins: Pins, server: str) -> str:
    """Says how to approve what waits."""
    return (
        "read the server's own list, then approve: kubectl annotate --overwrite "
        f"toolserver {server} {names.ANNOTATION_APPROVE_DEFINITIONS}={pins.token}"
    )


def listed(those: list[str]) -> str:
    """Names a few of them."""
    more = f" and {len(those) - _NAMED} more" if len(those) > _NAMED else ""
    return ", ".join(those[:_NAMED]) + more
