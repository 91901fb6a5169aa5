"""Records what chat calls offer, and their answers call, without a grant: one record each, however many tools are in it."""

import time
from collections.abc import Sequence
from typing import Final

from relay.accounting.tool_call_event import ToolCallEvent
from relay.outbox.attempt_names import MAX_LABEL
from relay.random_ids import random_id
from relay_contract.billing.tool_call import CHAT_CALLED, CHAT_OFFERED, ToolOutcome

HIDDEN: Final = "onDenied: Hide"
REFUSED: Final = "onDenied: Refuse"
BY_DEFAULT: Final = "default deny"
"""The rule where onDenied decides nothing: of answers, and of what cannot be taken out of a call."""


class Denial:
    """What is denied: how the tools name themselves, and by which rule. Without names nobody could read them.

    method stands in the record in place of one: whether a call offers them, or an answer calls one.
    """

    __slots__ = ("method", "names", "outcome", "rule")

    def __init__(
        self, method: str, outcome: ToolOutcome, names: Sequence[str] = (), rule: str = ""
    ) -> None:
        self.method = method
        self.outcome = outcome
        self.names = names
        self.rule = rule


UNREADABLE_OFFER: Final = Denial(CHAT_OFFERED, "refused")


def denied_offer(names: Sequence[str], rule: str) -> Denial:
    """Returns the denial of tools that a call offers a model, or asks for."""
    return Denial(CHAT_OFFERED, "denied", names, rule)


def denied_call(name: str) -> Denial:
    """Returns the denial of the call for which an answer is refused; of an answer that nobody can read the name is empty."""
    if not name:
        return Denial(CHAT_CALLED, "invalid")
    return Denial(CHAT_CALLED, "denied", (name,), BY_DEFAULT)


def denial_event(
    denial: Denial,
    *,
    key: str,
    revision: str,
    call_id: str,
    request_id: str,
    request_bytes: int,
    answer_bytes: int = 0,
) -> ToolCallEvent:
    """Returns what is recorded of a denial; call_id is the chat call's, revision the manifest's."""
    event = ToolCallEvent(
        method=denial.method,
        name=listed(denial.names),
        key=key,
        revision=revision,
        round_id=random_id(32),
        called_at=time.time_ns() // 1000,
        request_id=request_id,
        request_bytes=request_bytes,
    )
    event.call_id = call_id
    event.rule = denial.rule
    event.outcome = denial.outcome
    event.answer_bytes = answer_bytes
    return event


def listed(names: Sequence[str], most: int = MAX_LABEL) -> str:
    """Returns the names in so many characters: whole ones, each once, and how many more there are."""
    distinct = list(dict.fromkeys(names))
    text = ", ".join(distinct)
    if len(text) <= most:
        return text
    room = most - len(f", and {len(distinct)} more")
    kept, size = 0, len(distinct[0])
    while size <= room:
        kept += 1
        size += len(", ") + len(distinct[kept])
    return f"{', '.join(distinct[:kept])}, and {len(distinct) - kept} more"
