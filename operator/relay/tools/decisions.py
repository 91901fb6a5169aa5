"""What becomes of a message: it goes on, is answered by the relay, or refused; and what an answer to it is held to."""

from typing import Any, Final

from relay.tools.cursors import Place
from relay.tools.methods import Rule
from relay.tools.permissions import ListKind, Permissions, Permitted
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import CLIENT_BOUNDS, Message, read_message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.sealed.event_ids import CallPosition

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

    call_id is the one that the call began with, perhaps rounds ago. place is that of the page of a list; None of any other request.
    """

    __slots__ = ("binding", "call_id", "era", "id", "list_kind", "method", "place", "server")

    def __init__(
        self,
        message: Message,
        era: Era,
        server: str,
        *,
        binding: str = "",
        call_id: str = "",
        place: Place | None = None,
    ) -> None:
        self.id: Any = message.id
        self.era = era
        self.method = message.method
        self.server = server
        self.list_kind = LISTS.get(message.method)
        self.binding = binding
        self.call_id = call_id
        self.place = place


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


def permitted_at(position: CallPosition, permissions: Permissions) -> Permitted | None:
    """Returns the grant of what a call calls whose stream is to go on; None where it is no longer what the call was granted."""
    match position.method:
        case "tools/call":
            permitted = permissions.tools.get(position.name)
        case "prompts/get":
            permitted = permissions.prompts.get(position.name)
        case _:
            permitted = permissions.resource(position.name)
    if permitted is None or permitted.server != position.server:
        return None
    return permitted if permitted.name == position.own_name else None


def passed_at(position: CallPosition, revision: str) -> Passed:
    """Returns what an answer is held to that comes after this position, asked for under this revision of the manifest. There is nothing left to send."""
    text = f'{{"jsonrpc":"2.0","id":{position.id_text},"method":"{position.method}"}}'
    message = read_message(text.encode(), CLIENT_BOUNDS)
    assert isinstance(message, Message)
    question = Question(message, Era.LEGACY, position.server, call_id=position.call)
    return Passed(position.server, "", question, revision, name=position.own_name)


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
