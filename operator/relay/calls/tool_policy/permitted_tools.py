"""Leaves of a call's tools what the tenant may offer a model, or says why the call is refused."""

from typing import Final

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
    """Holds what is left of a body, and the header field that names what was taken out, empty where nothing was."""

    __slots__ = ("body", "field")

    def __init__(self, body: CallBody, field: bytes) -> None:
        self.body = body
        self.field = field


class ToolsRefused:
    """Why a call is refused for its tools. message is None where the refusal's own says it."""

    __slots__ = ("message", "refusal")

    def __init__(self, refusal: Refusal, message: str | None = None) -> None:
        self.refusal = refusal
        self.message = message


def permitted_body(body: CallBody, policy: ChatPolicy) -> PermittedBody | ToolsRefused:
    """Returns the body without the tools that are not granted, itself where it has none of them, or why it is refused."""
    raw = body.raw
    places = members(raw)
    if places is None:
        return ToolsRefused(Refusal.tools_unreadable)
    try:
        offer = offered(raw, places, policy)
    except UncheckableTools:
        return ToolsRefused(Refusal.tools_unreadable)
    except DeniedTools as denied:
        return ToolsRefused(Refusal.tools_denied, _message(denied))
    if not offer.hidden:
        return PermittedBody(body, b"")
    left = read_body(offer.raw)
    assert isinstance(left, CallBody)
    return PermittedBody(left, b"%b: %b\r\n" % (HIDDEN_TOOLS, _told(offer.hidden).encode()))


def _message(denied: DeniedTools) -> str:
    if not denied.labels:
        return f"`{denied.field}` may bring tools that this tenant may not use."
    return f"`{denied.field}` asks for tools that this tenant may not use: {_told(denied.labels)}."


def _told(labels: tuple[str, ...]) -> str:
    more = len(labels) - MAX_TOLD
    return ", ".join(labels[:MAX_TOLD]) + (f", and {more} more" if more > 0 else "")
