"""Finds in a call's body what it offers a model, and takes out or refuses what is not granted."""

from typing import Any, Final

from relay.tools.chat.chat_policy import ChatPolicy, needs_a_tool
from relay.tools.chat.tool_entries import (
    UncheckableTools,
    label,
    printable,
    read_value,
)
from relay.tools.reading.edits import dropped
from relay.tools.reading.messages import folded

Spans = tuple[tuple[int, int], ...]

_LISTS: Final = {
    "tools": ("tool_choice", "parallel_tool_calls"),
    "functions": ("function_call",),
}
"""Fields that list tools, with those that providers take only beside a list."""
_CHOICES: Final = ("tool_choice", "function_call")
_RUNNING: Final = (
    "compound_custom",
    "connectors",
    "data_sources",
    "enable_code_interpreter",
    "enable_search",
    "mcp_servers",
    "plugins",
    "search_parameters",
    "web_search_options",
)
"""Fields by which a provider runs a tool that no list names; an empty object asks for a search as well."""
_STORED: Final = "prompt"
"""As an object it names a prompt that is stored at the provider, and may bring tools."""
_ABSENT: Final = (b"null", b"false", b"[]")
_KNOWN: Final = frozenset({*_LISTS, *_CHOICES, *_RUNNING, "parallel_tool_calls", _STORED})
_FOLDED: Final = frozenset(map(folded, _KNOWN))
_PLAIN: Final = frozenset(
    {
        *(
            "frequency_penalty",
            "include",
            "input",
            "instructions",
            "logprobs",
            "max_completion_tokens",
        ),
        *(
            "max_output_tokens",
            "max_tokens",
            "messages",
            "metadata",
            "model",
            "n",
            "presence_penalty",
        ),
        *(
            "previous_response_id",
            "prompt_cache_key",
            "reasoning",
            "reasoning_effort",
            "response_format",
        ),
        *(
            "seed",
            "service_tier",
            "stop",
            "store",
            "stream",
            "stream_options",
            "temperature",
            "text",
        ),
        *("top_logprobs", "top_p", "truncation", "user", "verbosity"),
    }
)
"""Fields of most calls, which no reader takes for one of the others."""
_MAX_KEY_BYTES: Final = 256
NESTED_TOOLS: Final = (
    *(b"input.tools", b"messages.tools", b"extra_body.tools", b"extra_body.google.tools"),
    *(b"extra_body.mcp_servers", b"extra_body.plugins", b"extra_body.web_search_options"),
)
"""Where tools may be offered inside other fields."""


class DeniedTools(Exception):
    """The call is refused: it asks for tools that are not granted, and its field is where."""

    def __init__(self, field: str, labels: tuple[str, ...]) -> None:
        super().__init__(field)
        self.field = field
        self.labels = labels


class Offer:
    """What may be offered: the body, and what of it was left out."""

    __slots__ = ("hidden", "raw")

    def __init__(self, raw: bytes, hidden: tuple[str, ...]) -> None:
        self.raw = raw
        self.hidden = hidden


class _Field:
    """A member of the body that decides. start and end are those of its value."""

    __slots__ = ("end", "key_start", "place", "start")

    def __init__(self, place: int, key: tuple[int, int], value: tuple[int, int]) -> None:
        self.place = place
        self.key_start = key[0]
        self.start, self.end = value

    def value(self, raw: bytes) -> bytes:
        """Returns its value as it is written."""
        return raw[self.start : self.end]


def offered(raw: bytes, members: Spans, policy: ChatPolicy) -> Offer:
    """Returns what of a body's tools may be offered; raises DeniedTools and UncheckableTools.

    members are the places of the body's keys and values, in turn.
    """
    fields = _fields(raw, members)
    if not fields:
        return Offer(raw, ())
    return _Reading(raw, members, fields, policy).offer()


def _fields(raw: bytes, members: Spans) -> dict[str, _Field]:
    """Finds the fields that decide; raises UncheckableTools if one stands twice, or stands there in another spelling."""
    fields: dict[str, _Field] = {}
    for place in range(0, len(members), 2):
        key = _key(raw, members[place])
        if key in _PLAIN:
            continue
        if key in _KNOWN:
            if key in fields:
                raise UncheckableTools
            fields[key] = _Field(place // 2, members[place], members[place + 1])
        elif folded(key) in _FOLDED:
            raise UncheckableTools
    return fields


def _key(raw: bytes, span: tuple[int, int]) -> str:
    start, end = span
    if end - start > _MAX_KEY_BYTES:
        raise UncheckableTools
    quoted = raw[start:end]
    if quoted.isascii() and b"\\" not in quoted:
        return quoted[1:-1].decode("ascii")
    key: str = read_value(quoted)
    return key


class _Reading:
    """One body that has such fields, as it is read."""

    __slots__ = ("_dropped", "_fields", "_hidden", "_members", "_policy", "_raw", "_replaced")

    def __init__(
        self, raw: bytes, members: Spans, fields: dict[str, _Field], policy: ChatPolicy
    ) -> None:
        self._raw = raw
        self._members = members
        self._fields = fields
        self._policy = policy
        self._hidden: list[str] = []
        self._dropped: set[int] = set()
        self._replaced: list[tuple[int, int, bytes]] = []

    def offer(self) -> Offer:
        """Reads the fields, and makes the body that is left."""
        self._check_stored()
        for name in _CHOICES:
            self._check_choice(name)
        for name in _LISTS:
            self._read_list(name)
        for name in _RUNNING:
            self._read_running(name)
        if not self._hidden:
            return Offer(self._raw, ())
        return Offer(self._left(), tuple(self._hidden))

    def _check_stored(self) -> None:
        field = self._fields.get(_STORED)
        if field is not None and self._raw.startswith(b"{", field.start):
            raise DeniedTools(_STORED, ())

    def _check_choice(self, name: str) -> None:
        choice = self._choice(name)
        if not self._policy.permits_choice(choice):
            labels = (printable(choice) if isinstance(choice, str) else label(choice),)
            raise DeniedTools(name, labels)

    def _choice(self, name: str) -> Any:
        field = self._fields.get(name)
        return None if field is None else read_value(field.value(self._raw))

    def _read_list(self, name: str) -> None:
        field = self._fields.get(name)
        value = b"null" if field is None else field.value(self._raw)
        if field is None or value == b"null":
            return
        tools = self._policy.tool_list(value)
        if not tools.denied:
            return
        if self._policy.refuses:
            raise DeniedTools(name, tools.denied)
        self._hidden += tools.denied
        if tools.left:
            self._replaced.append((field.start, field.end, tools.text))
            return
        choice = _LISTS[name][0]
        if needs_a_tool(self._choice(choice)):
            # the model was to call a tool, and there is none that it may
            raise DeniedTools(choice, tools.denied)
        for one in (name, *_LISTS[name]):
            if one in self._fields:
                self._dropped.add(self._fields[one].place)

    def _read_running(self, name: str) -> None:
        field = self._fields.get(name)
        if field is None or field.value(self._raw) in _ABSENT:
            return
        if self._policy.refuses:
            raise DeniedTools(name, (name,))
        self._hidden.append(name)
        self._dropped.add(field.place)

    def _left(self) -> bytes:
        members = self._members
        ranges = [(members[at][0], members[at + 1][1]) for at in range(0, len(members), 2)]
        edits = dropped(ranges, [place in self._dropped for place in range(len(ranges))])
        changes = [(edit.start, edit.end, b"") for edit in edits] + self._replaced
        pieces: list[bytes] = []
        place = 0
        for start, end, text in sorted(changes):
            pieces += (self._raw[place:start], text)
            place = end
        pieces.append(self._raw[place:])
        return b"".join(pieces)
