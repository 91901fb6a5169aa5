"""Leaves of a call's tools what the tenant may offer a model, or says why the call is refused."""

from typing import Final

from relay.calls.tool_policy.denials import (
    BY_DEFAULT,
    HIDDEN,
    REFUSED,
    UNREADABLE_OFFER,
    Denial,
    denied_offer,
)
from relay.dialect.body_scan import members
from relay.dialect.header_fields import HIDDEN_TOOLS
from relay.dialect.refusals import Refusal
from relay.dialect.request_body import CallBody, read_body
from relay.tools.chat.chat_policy import ChatPolicy
from relay.tools.chat.offered_tools import DeniedTools, offered
from relay.tools.chat.tool_entries import UncheckableTools

MAX_TOLD: Final = 16
"""So many tools are named to a caller; of more their number."""


class PermittedBody:
    """Holds what is left of a body, the header field that names what was taken out, empty where nothing was, and the denial of that."""

    __slots__ = ("body", "denial", "field")

    def __init__(self, body: CallBody, field: bytes = b"", denial: Denial | None = None) -> None:
        self.body = body
        self.field = field
        self.denial = denial


class ToolsRefused:
    """Why a call is refused for its tools. message is None where the refusal's own says it."""

    __slots__ = ("denial", "message", "refusal")

    def __init__(self, refusal: Refusal, denial: Denial, message: str | None = None) -> None:
        self.refusal = refusal
        self.denial = denial
        self.message = message


def permitted_body(body: CallBody, policy: ChatPolicy) -> PermittedBody | ToolsRefused:
    """Returns the body without the tools that are not granted, itself where it has none of them, or why it is refused."""
    raw = body.raw
    places = members(raw)
    if places is None:
        return _unreadable()
    try:
        offer = offered(raw, places, policy)
    except UncheckableTools:
        return _unreadable()
    except DeniedTools as denied:
        # what no body may have is refused whatever the manifest says
        rule = REFUSED if policy.refuses and denied.labels else BY_DEFAULT
        denial = denied_offer(denied.labels or (denied.field,), rule)
        return ToolsRefused(Refusal.tools_denied, denial, _message(denied))
    if not offer.hidden:
        return PermittedBody(body)
    left = read_body(offer.raw)
    assert isinstance(left, CallBody)
    field = b"%b: %b\r\n" % (HIDDEN_TOOLS, _told(offer.hidden).encode())
    return PermittedBody(left, field, denied_offer(offer.hidden, HIDDEN))


def _unreadable() -> ToolsRefused:
    return ToolsRefused(Refusal.tools_unreadable, UNREADABLE_OFFER)


def _message(denied: DeniedTools) -> str:
    if not denied.labels:
        return f"`{denied.field}` may bring tools that this tenant may not use."
    return f"`{denied.field}` asks for tools that this tenant may not use: {_told(denied.labels)}."


def _told(labels: tuple[str, ...]) -> str:
    more = len(labels) - MAX_TOLD
    return ", ".join(labels[:MAX_TOLD]) + (f", and {more} more" if more > 0 else "")
