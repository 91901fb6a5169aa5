"""Reads one JSON-RPC message as the protocol has it: a request, a notification or a response, and nothing else."""

from collections.abc import Iterable
from enum import Enum
from typing import Any, Final

from relay.tools.reading.json_text import (
    AmbiguousJson,
    Bounds,
    Member,
    OversizedJson,
    UnreadableJson,
    check_end,
    found,
    members_at,
    root_of,
    text_of,
)
from relay.tools.reading.lookalikes import folded, looks_like_one_of
from relay.tools.reading.protocol_errors import ProtocolError

MIB: Final = 1024 * 1024
CLIENT_BOUNDS: Final = Bounds(size=MIB, depth=64, brackets=16 * 1024)
"""Of a message from a client: arguments with files in them, not bulk data."""
SERVER_BOUNDS: Final = Bounds(size=4 * MIB, depth=128, brackets=128 * 1024)
"""Of a message from a server that is read: a page of a list, with schemas."""
MAX_ID_CHARACTERS: Final = 256
MAX_ID: Final = 2**53 - 1
"""The largest whole number that every JSON reader keeps exactly (RFC 8259, section 6)."""

_OTHER_VALUES: Final = '"-0123456789tfn'
"""How JSON begins that is neither an object nor an array."""
_REQUEST_KEYS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_RESPONSE_KEYS: Final = frozenset({"jsonrpc", "id", "result", "error"})
_READ_KEYS: Final = frozenset(
    {
        "_meta",
        "arguments",
        "capabilities",
        "cursor",
        "inputResponses",
        "level",
        "name",
        "notifications",
        "promptsListChanged",
        "protocolVersion",
        "ref",
        "requestId",
        "requestState",
        "resourceSubscriptions",
        "resourcesListChanged",
        "task",
        "taskId",
        "toolsListChanged",
        "type",
        "uri",
        "uriTemplate",
        "io.modelcontextprotocol/clientCapabilities",
        "io.modelcontextprotocol/protocolVersion",
    }
)
"""Keys that a decision rests on, in whatever object of a message's parameters."""


_FOLDED_READ_KEYS: Final = frozenset(map(folded, _READ_KEYS))
_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
_EXTENSIONS: Final = "extensions"
"""Of a client's capabilities, what the relay takes back."""


def has_lookalikes(keys: Iterable[str]) -> bool:
    """Returns whether one of these keys could be taken for one that a decision rests on."""
    return looks_like_one_of(_FOLDED_READ_KEYS, (key for key in keys if key not in _READ_KEYS))


def has_lookalike_of(name: str, keys: Iterable[str]) -> bool:
    """Returns whether one of these keys could be taken for that one."""
    return looks_like_one_of((folded(name),), (key for key in keys if key != name))


class Kind(Enum):
    """What a message is."""

    REQUEST = "request"
    NOTIFICATION = "notification"
    RESPONSE = "response"


class Message:
    """A message with its text, and what decisions need of it decoded.

    id is None of a notification, and of an error that could not say which request it answers. params has the parameters of a
    request or notification, params_start is where they stand in the text, -1 where there are none.
    """

    __slots__ = ("id", "id_text", "kind", "members", "method", "params", "params_start", "text")

    def __init__(self, text: str, kind: Kind, members: list[Member]) -> None:
        self.text = text
        self.kind = kind
        self.members = members
        self.id: Any = None
        self.id_text = ""
        self.method = ""
        self.params: dict[str, Any] = {}
        self.params_start = -1
        for member in members:
            if member.key == "id":
                self.id = member.value
                self.id_text = text[member.start : member.end]
            elif member.key == "method":
                self.method = member.value
            elif member.key == "params":
                self.params = member.value
                self.params_start = member.start

    def member(self, key: str) -> Member | None:
        """Returns the member of the message with this key."""
        return found(self.members, key)

    def params_members(self) -> list[Member]:
        """Returns the members of the parameters, with their places."""
        return [] if self.params_start < 0 else members_at(self.text, self.params_start)[0]


class Unusable:
    """A message that is refused unread, and the id to name in the answer where it could be read."""

    __slots__ = ("error", "id_text")

    def __init__(self, error: ProtocolError, id_text: str = "") -> None:
        self.error = error
        self.id_text = id_text


def read_message(raw: bytes, bounds: Bounds) -> Message | Unusable:
    """Returns the message, or why it cannot be used."""
    try:
        text = text_of(raw, bounds)
        start = root_of(text)
        if text.startswith("[", start):
            return Unusable(ProtocolError.batch)
        if start < len(text) and text[start] in _OTHER_VALUES:
            return Unusable(ProtocolError.invalid_request)
        members, end = members_at(text, start)
        check_end(text, end)
    except OversizedJson:
        large = len(raw) > bounds.size
        return Unusable(ProtocolError.too_large if large else ProtocolError.too_deep)
    except AmbiguousJson:
        return Unusable(ProtocolError.ambiguous)
    except UnreadableJson:
        return Unusable(ProtocolError.not_json)
    return _classified(text, members)


def _classified(text: str, members: list[Member]) -> Message | Unusable:
    values = {member.key: member.value for member in members}
    keys = values.keys()
    has_id = "id" in keys
    if has_id and not _is_id(values["id"]):
        return Unusable(ProtocolError.invalid_request)
    if "method" in keys:
        message = Message(text, Kind.REQUEST if has_id else Kind.NOTIFICATION, members)
        allowed = _REQUEST_KEYS
        sound = isinstance(values["method"], str) and isinstance(values.get("params", {}), dict)
    else:
        message = Message(text, Kind.RESPONSE, members)
        allowed = _RESPONSE_KEYS
        sound = _is_response(values)
    if len(message.id_text) > MAX_ID_CHARACTERS:
        return Unusable(ProtocolError.invalid_request)
    if not sound or values.get("jsonrpc") != "2.0" or not keys <= allowed:
        return Unusable(ProtocolError.invalid_request, message.id_text)
    if _has_hidden_keys(message.params):
        return Unusable(ProtocolError.ambiguous, message.id_text)
    return message


def _is_id(value: Any) -> bool:
    """A string or an integer, never null (MCP 2026-07-28, basic, Requests)."""
    if isinstance(value, bool):
        return False
    return isinstance(value, str) or (isinstance(value, int) and -MAX_ID <= value <= MAX_ID)


def _is_response(values: dict[str, Any]) -> bool:
    """Exactly one of result and error, each an object; only an error may lack the id."""
    if ("result" in values) == ("error" in values):
        return False
    if "result" in values:
        return "id" in values and isinstance(values["result"], dict)
    error = values["error"]
    if not isinstance(error, dict) or not isinstance(error.get("message"), str):
        return False
    code = error.get("code")
    return isinstance(code, int) and not isinstance(code, bool)


def _has_hidden_keys(params: dict[str, Any]) -> bool:
    """Looks at the objects that decisions rest on; what a tool's own arguments are named is its own affair."""
    if has_lookalikes(params):
        return True
    for key in ("_meta", "ref", "notifications"):
        inner = params.get(key)
        if isinstance(inner, dict) and has_lookalikes(inner):
            return True
    meta = params.get("_meta")
    capabilities = meta.get(_CAPABILITIES) if isinstance(meta, dict) else None
    return isinstance(capabilities, dict) and has_lookalike_of(_EXTENSIONS, capabilities)
