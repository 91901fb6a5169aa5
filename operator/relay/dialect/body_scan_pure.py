"""The scan of a request body in Python, for a relay without the compiled one: the same results, slower.

Regular expressions do the work: JSON is decided by the next byte everywhere, so that nothing ever has to be matched twice
and every quantifier is possessive. Groups that are repeated end with an alternative that never matches: before Python
3.11.5 the next match began where the last, failed repetition had come to, unless another alternative was tried after it
(CPython issue 106052). One expression matches values up to NESTED_PATTERNS brackets deep; what lies deeper is
walked with a stack, at about a microsecond a bracket.
"""

import codecs
import re
from collections.abc import Callable
from typing import Final

from relay.dialect import body_fields
from relay.dialect.body_fields import MAX_NESTING, MAX_OPENING_MESSAGES, Span, Spans

_CHUNK_BYTES: Final = 64 * 1024
NESTED_PATTERNS: Final = 6

# -- patterns ------------------------------------------------------------------------------------------------------

_BLANK: Final = rb"[ \t\n\r]*+"
_STRING: Final = rb'"(?:[^"\\\x00-\x1f]++|\\["\\/bfnrt]|\\u[0-9a-fA-F]{4}|(?!))*+"'
_NUMBER: Final = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++|(?!))?+(?:[eE][-+]?+[0-9]++|(?!))?+"
_SCALAR: Final = b"(?:" + _STRING + b"|" + _NUMBER + b"|true|false|null)"
_COLON: Final = _BLANK + b":" + _BLANK
_KEY: Final = _STRING + _COLON
_CLOSING: Final = {b"[": rb"\]", b"{": rb"\}"}


def _next(closing: bytes) -> bytes:
    """Returns the pattern of what follows a value: a comma and something more, or the closing bracket, unread."""
    return _BLANK + b"(?:," + _BLANK + b"(?!" + closing + b")|(?=" + closing + b"))"


def _items(opening: bytes, value: bytes, key: bytes = _KEY) -> bytes:
    """Returns the pattern of the items in these brackets, as far as keys and values match."""
    item = (key if opening == b"{" else b"") + value + _next(_CLOSING[opening])
    return b"(?:" + item + b"|(?!))*+"


def _values(depth: int) -> bytes:
    """Returns the pattern of a value with at most this many brackets inside one another."""
    if depth == 0:
        return _SCALAR
    inner = _values(depth - 1)
    containers = [
        b"\\" + opening + _BLANK + _items(opening, inner) + closing
        for opening, closing in _CLOSING.items()
    ]
    return b"(?:" + b"|".join((_SCALAR, *containers)) + b")"


def _spelled(*names: str) -> bytes:
    """Returns the pattern of these names in quotes, a group for each, however their letters are spelled."""
    groups = [b"(" + b"".join(map(_letter, name.encode())) + b")" for name in names]
    return b'"(?:' + b"|".join(groups) + b')"'


def _letter(code: int) -> bytes:
    return b"(?:%c|\\\\u00(?i:%02x))" % (code, code)


_FIELDS: Final = {
    "model": body_fields.MODEL,
    "stream": body_fields.STREAM,
    "stream_options": body_fields.STREAM_OPTIONS,
    "max_completion_tokens": body_fields.MAX_COMPLETION_TOKENS,
    "max_tokens": body_fields.MAX_TOKENS,
    "max_output_tokens": body_fields.MAX_OUTPUT_TOKENS,
    "n": body_fields.N,
    "best_of": body_fields.BEST_OF,
    "previous_response_id": body_fields.PREVIOUS_RESPONSE_ID,
    "prompt_cache_key": body_fields.PROMPT_CACHE_KEY,
    "messages": body_fields.MESSAGES,
    "input": body_fields.INPUT,
    "prompt": body_fields.PROMPT,
    "instructions": body_fields.INSTRUCTIONS,
    "conversation": body_fields.CONVERSATION,
}
_FIELD_OF_GROUP: Final = tuple(_FIELDS.values())
_INCLUDE_USAGE: Final = 1
_ROLE: Final = 1
_CONTENT: Final = 2

_Pattern = re.Pattern[bytes]
BLANKS: Final = re.compile(_BLANK)
ANY_STRING: Final = re.compile(_STRING)
ANY_KEY: Final = re.compile(_KEY)
_FIELD_KEY: Final = re.compile(_spelled(*_FIELDS) + _COLON)
_STREAM_OPTION_KEY: Final = re.compile(_spelled("include_usage") + _COLON)
_MESSAGE_KEY: Final = re.compile(_spelled("role", "content") + _COLON)
_OPENING_ROLE: Final = re.compile(_spelled("user", "system", "developer"))
_USER: Final = 1
_FLAT_VALUE: Final = re.compile(_SCALAR)
_VALUE: Final = re.compile(_values(NESTED_PATTERNS))
_FLAT_ITEMS: Final = {kind: re.compile(_items(kind, _SCALAR)) for kind in _CLOSING}
_ITEMS: Final = {kind: re.compile(_items(kind, _values(NESTED_PATTERNS))) for kind in _CLOSING}
_NEXT: Final = {kind: re.compile(_next(closing)) for kind, closing in _CLOSING.items()}
_OTHER_KEY: Final = b"(?!" + _spelled(*_FIELDS) + b")" + _KEY
_OTHER_FIELDS: Final = re.compile(_items(b"{", _values(NESTED_PATTERNS), _OTHER_KEY))


# -- any JSON ------------------------------------------------------------------------------------------------------


def _is_utf8(raw: bytes) -> bool:
    """Tells valid UTF-8, without a decoded copy of a large body."""
    if raw.isascii():
        return True
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(raw)
    try:
        for start in range(0, len(raw), _CHUNK_BYTES):
            decoder.decode(view[start : start + _CHUNK_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _after(pattern: _Pattern, raw: bytes, place: int) -> int | None:
    found = pattern.match(raw, place)
    return None if found is None else found.end()


def _after_any(repeated: _Pattern, raw: bytes, place: int) -> int:
    """Returns the end of what matches here any number of times."""
    found = repeated.match(raw, place)
    assert found is not None
    return found.end()


def after_value(raw: bytes, place: int, depth: int) -> int | None:
    """Returns the end of the value at this place, None if it is none; depth brackets are open around it."""
    shallow = depth + NESTED_PATTERNS <= MAX_NESTING
    end = _after(_VALUE if shallow else _FLAT_VALUE, raw, place)
    return end if end is not None else _after_deep_value(raw, place, [], depth)


def _after_deep_value(
    raw: bytes, place: int | None, open_brackets: list[bytes], depth: int
) -> int | None:
    """As after_value, for an array or object that the patterns do not match, or the rest of one that is open."""
    while place is not None:
        if open_brackets:
            place = _deep_place(raw, place, open_brackets, depth)
            if place is None or not open_brackets:
                return place
        kind = raw[place : place + 1]
        if kind not in _CLOSING or depth + len(open_brackets) >= MAX_NESTING:
            return None
        open_brackets.append(kind)
        place = _after_any(BLANKS, raw, place + 1)
    return None


def _deep_place(raw: bytes, place: int, open_brackets: list[bytes], depth: int) -> int | None:
    """Returns the next value that the patterns cannot match, with the brackets closed that end before it.

    With no bracket left open it is the end of the outermost one; None: the text is not valid.
    """
    while True:
        kind = open_brackets[-1]
        shallow = depth + len(open_brackets) + NESTED_PATTERNS <= MAX_NESTING
        place = _after_any((_ITEMS if shallow else _FLAT_ITEMS)[kind], raw, place)
        if raw[place : place + 1] != _CLOSING[kind][1:]:
            return place if kind == b"[" else _after(ANY_KEY, raw, place)
        open_brackets.pop()
        if not open_brackets:
            return place + 1
        following = _after(_NEXT[open_brackets[-1]], raw, place + 1)
        if following is None:
            return None
        place = following


# -- what the relay reads ------------------------------------------------------------------------------------------


def _after_object(
    raw: bytes,
    place: int,
    depth: int,
    names: _Pattern,
    read: Callable[[int, int, int], int | None],
    *,
    others: _Pattern | None = None,
) -> int | None:
    """Reads the object at this place and returns its end, None if it is not valid.

    `read` reads the values of these names: it gets the group that matched, the place and the depth, and returns the end.
    What matches others is passed over.
    """
    if raw[place : place + 1] != b"{":
        return None
    place = _after_any(BLANKS, raw, place + 1)
    while True:
        if others is not None:
            place = _after_any(others, raw, place)
        if raw[place : place + 1] == b"}":
            return place + 1
        named = names.match(raw, place)
        start = named.end() if named is not None else _after(ANY_KEY, raw, place)
        if start is None:
            return None
        if named is not None and named.lastindex is not None:
            end = read(named.lastindex, start, depth + 1)
        else:
            end = after_value(raw, start, depth + 1)
        following = None if end is None else _after(_NEXT[b"{"], raw, end)
        if following is None:
            return None
        place = following


class _BodyScan:
    """One scan. Its methods return the end of what they read, None if it is not valid."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.spans: list[Span | None] = [None] * body_fields.FIRST_OPENING
        self.openings: list[Span] = []

    def body(self) -> int | None:
        raw = self._raw
        place = _after_any(BLANKS, raw, 0)
        return _after_object(raw, place, 0, _FIELD_KEY, self._field, others=_OTHER_FIELDS)

    def _field(self, group: int, place: int, depth: int) -> int | None:
        field = _FIELD_OF_GROUP[group - 1]
        if field in (body_fields.INPUT, body_fields.PROMPT):
            return self._input(field, place, depth)
        if field == body_fields.MESSAGES:
            end = self._messages(place, depth)
        elif field == body_fields.STREAM_OPTIONS:
            end = self._stream_options(place, depth)
        else:
            end = after_value(self._raw, place, depth)
        if field == body_fields.MODEL:
            self.spans[body_fields.EARLIER_MODEL] = self.spans[field]
        elif field in body_fields.BOUNDS and self.spans[field] is not None:
            self.spans[body_fields.EARLIER_BOUND] = self.spans[field]
        if end is not None:
            self.spans[field] = place, end
        return end

    def _stream_options(self, place: int, depth: int) -> int | None:
        self.spans[body_fields.INCLUDE_USAGE] = None
        if self._raw[place : place + 1] != b"{":
            return after_value(self._raw, place, depth)
        return _after_object(self._raw, place, depth, _STREAM_OPTION_KEY, self._stream_option)

    def _stream_option(self, group: int, place: int, depth: int) -> int | None:
        end = after_value(self._raw, place, depth)
        if end is not None and group == _INCLUDE_USAGE:
            self.spans[body_fields.INCLUDE_USAGE] = place, end
        return end

    def _messages(self, place: int, depth: int) -> int | None:
        """Reads the value of messages; what the platform says to every user opens no conversation without a user."""
        self.openings = []
        raw = self._raw
        if raw[place : place + 1] != b"[":
            return after_value(raw, place, depth)
        place = _after_any(BLANKS, raw, place + 1)
        openings: list[Span] = []
        for _ in range(MAX_OPENING_MESSAGES):
            if raw[place : place + 1] == b"]":
                return place + 1
            message = _Message(raw)
            end = message.read(place, depth + 1)
            following = None if end is None else _after(_NEXT[b"["], raw, end)
            if following is None:
                return None
            place = following
            if message.role_group is not None:
                openings.append(message.content)
            if message.role_group == _USER:
                self.openings = openings
                break
        return _after_deep_value(raw, place, [b"["], depth)

    def _input(self, field: int, place: int, depth: int) -> int | None:
        raw = self._raw
        if raw[place : place + 1] != b"[":
            opening = _Message(raw)
            end = opening.read(place, depth)
            self.spans[field] = opening.content
            return end
        self.spans[field] = place, place
        place = _after_any(BLANKS, raw, place + 1)
        for _ in range(MAX_OPENING_MESSAGES):
            if raw[place : place + 1] == b"]":
                return place + 1
            item = _Message(raw)
            end = item.read(place, depth + 1)
            following = None if end is None else _after(_NEXT[b"["], raw, end)
            if following is None:
                return None
            place = following
            if item.role_group is None or item.role_group == _USER:
                self.spans[field] = item.content
                break
        return _after_deep_value(raw, place, [b"["], depth)


class _Message:
    """An item of messages or input. Its content is the value itself where that is no object."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self.content: Span = (0, 0)
        self.role_group: int | None = None

    def read(self, place: int, depth: int) -> int | None:
        raw = self._raw
        self.content = place, place
        if raw[place : place + 1] == b"{":
            return _after_object(raw, place, depth, _MESSAGE_KEY, self._part)
        end = after_value(raw, place, depth)
        if end is not None:
            self.content = place, end
        return end

    def _part(self, group: int, place: int, depth: int) -> int | None:
        end = after_value(self._raw, place, depth)
        if end is not None and group == _CONTENT:
            self.content = place, end
        elif group == _ROLE:
            role = _OPENING_ROLE.match(self._raw, place)
            self.role_group = None if role is None else role.lastindex
        return end


def scan(raw: bytes) -> Spans | None:
    """Returns where the fields stand that the relay reads; None for what is no JSON object."""
    if not _is_utf8(raw):
        return None
    found = _BodyScan(raw)
    end = found.body()
    if end is None or _after_any(BLANKS, raw, end) != len(raw):
        return None
    return (*found.spans, *found.openings)
