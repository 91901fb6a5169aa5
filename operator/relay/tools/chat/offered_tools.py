"""Finds in a call's body what it offers a model, and takes out or refuses what is not granted."""

from typing import Any, Final

from relay.tools.chat.chat_policy import ChatPolicy, needs_a_tool
from relay.tools.chat.tool_entries import (
    UncheckableTools,
    label,
    printable,
    read_value,
)
from relay.tools.chat.vendor_fields import Use, VendorFields, offers_in_messages
from relay.tools.reading.edits import dropped
from relay.tools.reading.lookalikes import folded, looks_like_one_of

Spans = tuple[tuple[int, int], ...]

_LISTS: Final = {
    "tools": ("tool_choice", "parallel_tool_calls"),
    "functions": ("function_call",),
}
"""Fields that list tools, with those that providers take only beside a list."""
_CHOICES: Final = ("tool_choice", "function_call")
_STORED: Final = "prompt"
"""As an object it names a prompt that is stored at the provider, and may bring tools."""
_ABSENT: Final = (b"null", b"false", b"[]", b'""')
_MESSAGES: Final = frozenset({"messages", "input"})
_KNOWN: Final = frozenset({*_LISTS, *_CHOICES, "parallel_tool_calls", _STORED})
_FOLDED: Final = frozenset(map(folded, _KNOWN))
_PLAIN: Final = frozenset(
    {
        *(
            "audio",
            "background",
            "best_of",
            "conversation",
            "context_management",
        ),
        *(
            "documents",
            "echo",
            "frequency_penalty",
            "guided_choice",
            "guided_grammar",
        ),
        *(
            "guided_json",
            "guided_regex",
            "include",
            "instructions",
            "logit_bias",
        ),
        *(
            "logprobs",
            "max_completion_tokens",
            "max_output_tokens",
            "max_tokens",
            "max_tool_calls",
        ),
        *(
            "metadata",
            "min_p",
            "modalities",
            "model",
            "n",
        ),
        *(
            "prediction",
            "presence_penalty",
            "previous_response_id",
            "prompt_cache_key",
            "prompt_cache_retention",
        ),
        *(
            "reasoning",
            "reasoning_effort",
            "repetition_penalty",
            "response_format",
            "safety_identifier",
        ),
        *(
            "seed",
            "service_tier",
            "stop",
            "store",
            "stream",
        ),
        *(
            "stream_options",
            "structured_outputs",
            "suffix",
            "temperature",
            "text",
        ),
        *(
            "thinking",
            "top_k",
            "top_logprobs",
            "top_p",
            "truncation",
        ),
        *(
            "user",
            "verbosity",
        ),
    }
)
"""Fields of most calls, by whose names nobody gives a model a tool. What is inside of one is read as that of any other."""
_NESTED: Final = (b"{", b"[")
_MAX_KEY_BYTES: Final = 256


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


class _Fields:
    """The members of a body that decide: those that the protocols know, and those by which a provider runs a tool."""

    __slots__ = ("known", "running")

    def __init__(self) -> None:
        self.known: dict[str, _Field] = {}
        self.running: list[tuple[str, _Field]] = []


def offered(raw: bytes, members: Spans, policy: ChatPolicy) -> Offer:
    """Returns what of a body's tools may be offered; raises DeniedTools and UncheckableTools.

    members are the places of the body's keys and values, in turn.
    """
    fields = _fields(raw, members, policy)
    if not fields.known and not fields.running:
        return Offer(raw, ())
    return _Reading(raw, members, fields, policy).offer()


def _fields(raw: bytes, members: Spans, policy: ChatPolicy) -> _Fields:
    """Finds the fields that decide; raises UncheckableTools if one stands twice, or stands there in another spelling.

    Raises DeniedTools for tools that stand inside another field.
    """
    fields = _Fields()
    vendors = VendorFields()
    for place in range(0, len(members), 2):
        key = _key(raw, members[place])
        if key in _MESSAGES:
            if offers_in_messages(raw, *members[place + 1]):
                raise DeniedTools(key, ())
        elif key in _PLAIN:
            if raw.startswith(_NESTED, members[place + 1][0]):
                _read_inside(key, raw[slice(*members[place + 1])], vendors, policy)
        elif key in _KNOWN:
            if key in fields.known:
                raise UncheckableTools
            fields.known[key] = _Field(place // 2, members[place], members[place + 1])
        else:
            other = _Field(place // 2, members[place], members[place + 1])
            _read_other(key, other.value(raw), other, fields, vendors)
    return fields


def _read_other(
    key: str, value: bytes, field: _Field, fields: _Fields, vendors: VendorFields
) -> None:
    """Reads a field of a vendor's: what its name says, and what it holds."""
    if looks_like_one_of(_FOLDED, (key,)):
        raise UncheckableTools
    if value in _ABSENT:
        return
    match vendors.use_of(key):
        case Use.STORED:
            raise DeniedTools(key, ())
        case Use.RUNS:
            fields.running.append((printable(key), field))
        case Use.PLAIN:
            _refuse_inside(key, value, vendors)


def _read_inside(key: str, value: bytes, vendors: VendorFields, policy: ChatPolicy) -> None:
    if not policy.is_without_tools(key, value):
        _refuse_inside(key, value, vendors)
        policy.note_without_tools(key, value)


def _refuse_inside(key: str, value: bytes, vendors: VendorFields) -> None:
    path = vendors.tool_inside(key, value)
    if path:
        raise DeniedTools(printable(path), ())


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

    __slots__ = (
        "_dropped",
        "_fields",
        "_hidden",
        "_members",
        "_policy",
        "_raw",
        "_replaced",
        "_running",
    )

    def __init__(self, raw: bytes, members: Spans, fields: _Fields, policy: ChatPolicy) -> None:
        self._raw = raw
        self._members = members
        self._fields = fields.known
        self._running = fields.running
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
        for name, field in self._running:
            self._read_running(name, field)
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

    def _read_running(self, name: str, field: _Field) -> None:
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
