"""The record of a request for something of a tool server, as the ledger has it: one for each, also of what was denied."""

from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from relay_contract.billing.attempt_event import (
    MAX_PICO_USD,
    Identifier,
    Label,
    Microseconds,
    event_id,
)
from relay_contract.billing.event_line import (
    UnreadableEvent,
    first_problem,
    plain_line,
    versioned_object,
)
from relay_contract.document import Part

ToolOutcome = Literal[
    "ok",
    "tool_error",
    "protocol_error",
    "input_required",
    "replayed",
    "invalid",
    "unavailable",
    "cancelled",
    "denied",
    "limited",
    "refused",
    "crashed",
    "unknown",
]
"""Names the ends of a request. tool_error: the tool says that it failed; protocol_error: the server refused in the protocol's words;
input_required: the call goes on with another request; replayed: the same call was made before, and what that got is its answer too;
invalid: what the server said was no answer; unavailable: it was not reached, or fell silent; cancelled: the caller left, or its grant or key went; denied: not
granted, whether or not it exists; limited: beyond a limit; refused: not as the protocol has it; crashed: an error of the relay; unknown: the relay was killed while the server had it."""
CARRIED_OUT: Final[frozenset[ToolOutcome]] = frozenset({"ok", "tool_error"})
"""Outcomes of calls that a server carried out; what becomes a charge is one of these."""
IN_DOUBT: Final[frozenset[ToolOutcome]] = frozenset(
    {"invalid", "unavailable", "cancelled", "crashed", "unknown"}
)
"""Outcomes of requests that a server may have carried out, or not: nobody has heard."""
CALL_METHOD: Final = "tools/call"
"""The method by which a tool is called; the others read something, and have no price."""
CHAT_OFFERED: Final = "chat.tools"
"""Stands in place of a method for tools that a chat call offers a model, or asks for, and that are not granted."""
CHAT_CALLED: Final = "chat.tool_calls"
"""Stands there for a tool that is called in the answer to a chat call, and is not granted."""
CHAT_METHODS: Final = (CHAT_OFFERED, CHAT_CALLED)
"""Records of these name several tools, with a comma and a blank between them."""

Own = Annotated[Label, Field(min_length=1)]
"""A name that the platform gave."""
Bytes = Annotated[int, Field(ge=0, le=MAX_PICO_USD)]


class ToolCall(Part):
    """Holds who asked for what, under which rule, and how it ended. Times are microseconds since 1970, of the relay's clock.

    round_id is this request's own, call_id that of the call, which has several requests if the server asks for input, where all but the
    last end as input_required, or if it is made again, where all but the first end as replayed. server and rule are empty of what is denied; name is what was asked for, empty of a resource and of
    what no tool could be called. own_name is the server's name of it, where a prefix of the grant makes another of it. revision is that
    of the tenant's manifest, limit what refused a limited call. Of what a chat call offers or its answer calls (CHAT_METHODS) call_id is the chat call's,
    and rule says by what it was denied. request_id is the caller's X-Request-ID, a label that proves nothing.
    """

    version: Annotated[Literal[1], Field(alias="v")]
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    kind: Literal["tool"]
    tenant_uid: Identifier
    tenant: Own
    relay: Own
    call_id: Identifier
    round_id: Identifier
    called_at: Microseconds
    ended_at: Microseconds
    key_name: Label
    method: Own
    server: Label = ""
    name: Label = ""
    own_name: Label = ""
    rule: Label = ""
    limit: Label = ""
    revision: Label
    outcome: ToolOutcome
    request_bytes: Bytes
    answer_bytes: Bytes = 0
    request_id: Label = ""

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        expected = tool_call_id(
            tenant_uid=self.tenant_uid, round_id=self.round_id, called_at=self.called_at
        )
        if self.id != expected:
            raise ValueError(f"the id of this call is {expected}")
        if self.ended_at < self.called_at:
            raise ValueError("endedAt is before calledAt")
        named = self.outcome in CARRIED_OUT or self.outcome == "replayed"
        if named and not (self.server and self.rule):
            raise ValueError(f"a call that ended as {self.outcome} has a server and a rule")
        return self


def tool_call_id(*, tenant_uid: str, round_id: str, called_at: int) -> str:
    """Computes the id of a request's record: 32 hexadecimal digits, of no other tenant and of no attempt."""
    return event_id(
        tenant_uid=tenant_uid, attempt_id=round_id, dispatched_at=called_at, kind="tool"
    )


def tool_call_line(call: ToolCall) -> bytes:
    """Writes the record as JSON, without the newline. What holds its default stays out, so equal records are equal bytes."""
    return plain_line(call.model_dump(mode="json", by_alias=True, exclude_defaults=True))


def read_tool_call(line: bytes) -> ToolCall:
    """Reads one record, as strictly as those of attempts; raises UnreadableEvent."""
    content = versioned_object(line)
    try:
        return ToolCall.model_validate(content, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        raise UnreadableEvent(first_problem(error)) from None
