"""Records a request to a tool server, from its decision to its end."""

import time
from typing import Any, Final

from relay.accounting.tool_call_event import ToolCallEvent
from relay.calls.money.tool_money import ToolMoney
from relay.calls.tenants.caller import Caller
from relay.tools.decisions import Decision, Passed
from relay.tools.methods import Rule, Sender, rule_of
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Kind, Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay_contract.billing.tool_call import ToolOutcome
from relay_contract.tools.patterns import is_name

_BOOKED: Final = frozenset(
    {Rule.TOOL, Rule.PROMPT, Rule.RESOURCE, Rule.COMPLETION, Rule.SUBSCRIPTION}
)
"""Rules of the requests that name something: whoever asks for a list uses nothing yet."""
_DENIED: Final = frozenset(
    {
        ProtocolError.unknown_tool,
        ProtocolError.unknown_prompt,
        ProtocolError.unknown_resource,
    }
)

_LIMITED: Final = frozenset(
    {
        ProtocolError.limited,
        ProtocolError.busy,
        ProtocolError.budget_spent,
        ProtocolError.credit_spent,
        ProtocolError.tool_unpriced,
        ProtocolError.budget_pending,
        ProtocolError.ledger_away,
    }
)


class ToolRecord:
    """The record of one request, and what is reserved for it; it is written once, by whichever end comes first."""

    __slots__ = ("_caller", "_event", "_is_written", "_money", "_received_at", "_was_opened")

    def __init__(self, caller: Caller, event: ToolCallEvent, received_at: float) -> None:
        self._caller = caller
        self._event = event
        self._received_at = received_at
        self._is_written = False
        self._was_opened = False
        self._money: ToolMoney | None = None

    def decided(self, decision: Decision) -> None:
        """Notes whom the request goes to, under which rule, and which call it belongs to."""
        if isinstance(decision, Passed) and decision.permitted is not None:
            permitted = decision.permitted
            self._event.server = permitted.server
            self._event.rule = permitted.rule
            if self._event.name and permitted.name != self._event.name:
                self._event.own_name = permitted.name
            self._event.call_id = decision.question.call_id

    def opened(self) -> None:
        """Records that the request may be sent from now on."""
        self._was_opened = True
        self._caller.tenant.tool_calls.opened(self._event)

    def replayed(self, call_id: str, answer_bytes: int, now: float) -> None:
        """Writes the end of a request that gets the answer to an earlier one, of the call with this id."""
        self._event.call_id = call_id
        self.ended("replayed", answer_bytes, now)

    @property
    def call_id(self) -> str:
        """The id of the call that the request belongs to."""
        return self._event.call_id

    def reserved(self, money: ToolMoney) -> None:
        """Takes what is reserved for the request, and settles it with the end that is written."""
        self._money = money

    def limited(self, pattern: str) -> None:
        """Notes whose limit refuses the request: that of the tools that the pattern covers, with none the server's own, or one of money."""
        self._event.limit = pattern

    def refused(self, error: ProtocolError, now: float) -> None:
        """Writes the end of a request that the relay answers with an error."""
        self.ended(_outcome_of(error), 0, now)

    def ended(self, outcome: ToolOutcome, answer_bytes: int, now: float) -> None:
        """Writes the end of a request; later ends are none."""
        if self._is_written:
            return
        self._is_written = True
        if self._money is not None:
            self._money.settle(outcome)
        event = self._event
        event.outcome = outcome
        event.answer_bytes = answer_bytes
        event.seconds = now - self._received_at
        self._caller.tenant.tool_calls.record(event, was_opened=self._was_opened)


def record_of(
    message: Message,
    era: Era,
    caller: Caller,
    permissions: Permissions,
    *,
    call_id: str,
    request_id: str,
    request_bytes: int,
    received_at: float,
) -> ToolRecord | None:
    """Begins the record of a request; None of a message that names nothing of a server's."""
    if (
        message.kind is not Kind.REQUEST
        or rule_of(era, Sender.CLIENT, message.kind, message.method) not in _BOOKED
    ):
        return None
    event = ToolCallEvent(
        method=message.method,
        name=_name(message.params),
        key=caller.key.name,
        revision=permissions.revision,
        round_id=call_id,
        called_at=time.time_ns() // 1000,
        request_id=request_id,
        request_bytes=request_bytes,
    )
    return ToolRecord(caller, event, received_at)


def _name(params: dict[str, Any]) -> str:
    """Returns the name of a tool or prompt as the caller has it; empty if none could have it, or it is a URI."""
    ref = params.get("ref")
    name = ref.get("name") if isinstance(ref, dict) else params.get("name")
    return name if isinstance(name, str) and is_name(name) else ""


def _outcome_of(error: ProtocolError) -> ToolOutcome:
    if error in _DENIED:
        return "denied"
    if error in _LIMITED:
        return "limited"
    if error is ProtocolError.withdrawn:
        return "cancelled"
    if error is ProtocolError.server_unavailable:
        return "unavailable"
    if error is ProtocolError.invalid_answer:
        return "invalid"
    return "refused"
