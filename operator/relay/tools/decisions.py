"""What becomes of a message: it goes on, is answered by the relay, or refused; and what an answer to it is held to."""

from typing import Any, Final

from relay.tools.methods import Rule
from relay.tools.permissions import ListKind, Permitted
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError

LISTS: Final = {
    "tools/list": ListKind.TOOLS,
    "prompts/list": ListKind.PROMPTS,
    "resources/list": ListKind.RESOURCES,
    "resources/templates/list": ListKind.TEMPLATES,
}
MULTI_ROUND: Final = frozenset({"tools/call", "prompts/get", "resources/read"})
"""Methods whose answer may ask for input (MCP 2026-07-28, basic/patterns/mrtr, Supported Requests)."""


class Question:
    """What a passed request asks, for its answer to be held to. binding is that of its state; empty where it has none.

    call_id is the one that the call began with, perhaps rounds ago.
    """

    __slots__ = ("binding", "call_id", "era", "id", "list_kind", "method", "server")

    def __init__(self, message: Message, era: Era, server: str, binding: str, call_id: str) -> None:
        self.id: Any = message.id
        self.era = era
        self.method = message.method
        self.server = server
        self.list_kind = LISTS.get(message.method)
        self.binding = binding
        self.call_id = call_id


class Passed:
    """A message that goes on to a server, as text. permitted is what it may use there; None where it names nothing.

    name is what Mcp-Name says of it there, empty without one. A message of a session goes to every server that the session
    has: server is empty. revision is that of the manifest which lets it pass.
    """

    __slots__ = ("name", "permitted", "question", "revision", "server", "text")

    def __init__(
        self,
        server: str,
        text: str,
        question: Question,
        revision: str,
        permitted: Permitted | None = None,
        name: str = "",
    ) -> None:
        self.revision = revision
        self.server = server
        self.text = text
        self.question = question
        self.permitted = permitted
        self.name = name


def tool_of(passed: Passed) -> str:
    """Returns the tool that the message calls, by its server's name for it; empty of every other message."""
    return passed.name if passed.question.method == "tools/call" else ""


class Spread:
    """A subscription that goes on to servers, to each with what concerns it. filters are by server."""

    __slots__ = ("filters", "parts")

    def __init__(self, parts: list[Passed], filters: dict[str, dict[str, Any]]) -> None:
        self.parts = parts
        self.filters = filters


class Own:
    """A message that the relay deals with itself."""

    __slots__ = ("rule",)

    def __init__(self, rule: Rule) -> None:
        self.rule = rule


Decision = Passed | Spread | Own | ProtocolError
