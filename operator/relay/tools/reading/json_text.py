"""Reads JSON that strangers sent: one meaning for every reader, bounds on its cost, and where each value stands.

Texts are str: decoded UTF-8 comes back to the same bytes, so that edits leave all others as they are.
"""

import json
import re
from typing import Any, Final, NamedTuple

_BLANKS: Final = re.compile(r"[ \t\n\r]*+")
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.|(?!))*+(?:"|\\?\Z)', re.DOTALL)
"""The last alternative of a character never matches, as in relay.dialect.body_scan_pure, and for its reason. One that nothing ends
goes to the end of the text: else each quote in it would begin a search of its own.
"""
_NO_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
_OPENING: Final = b"[{"


class Bounds(NamedTuple):
    """The most that one message may cost: its size in bytes, brackets inside one another, and brackets in all."""

    size: int
    depth: int
    brackets: int


class UnreadableJson(Exception):
    """The text is not JSON (RFC 8259) in UTF-8."""


class AmbiguousJson(UnreadableJson):
    """A key stands twice in an object: readers differ in which of both counts."""


class OversizedJson(UnreadableJson):
    """The text is longer, deeper or fuller than its bounds."""


class Member(NamedTuple):
    """A member of an object: its key, its value, and the range of the text where each stands."""

    key: str
    value: Any
    key_start: int
    start: int
    end: int


class Item(NamedTuple):
    """An item of an array, and where it stands in the text."""

    value: Any
    start: int
    end: int


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise AmbiguousJson
    return members


def _no_number(word: str) -> Any:
    raise UnreadableJson(word)


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_unambiguous, parse_constant=_no_number)
_DECODER_WITH_NAN: Final = json.JSONDecoder(object_pairs_hook=_unambiguous)


def text_of(raw: bytes, bounds: Bounds) -> str:
    """Returns the text of these bytes, which is known to be within the bounds; raises UnreadableJson."""
    if len(raw) > bounds.size:
        raise OversizedJson
    if raw.count(b"[") + raw.count(b"{") > bounds.depth:
        _check_brackets(raw, bounds)
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise UnreadableJson from error


def _check_brackets(raw: bytes, bounds: Bounds) -> None:
    brackets = _STRINGS.sub(b"", raw).translate(None, _NO_BRACKETS)
    if len(brackets) > 2 * bounds.brackets:
        raise OversizedJson
    depth = 0
    for bracket in brackets:
        if bracket in _OPENING:
            depth += 1
            if depth > bounds.depth:
                raise OversizedJson
        else:
            depth -= 1


def root_of(text: str) -> int:
    """Returns where the one value of the text begins."""
    return _skip(text, 0)


def check_end(text: str, end: int) -> None:
    """Raises UnreadableJson if something follows the value that ends there."""
    if _skip(text, end) != len(text):
        raise UnreadableJson


def value_in(text: str, *, with_nan: bool = False) -> Any:
    """Decodes the one value of the text, where asked with NaN and Infinity, which are no JSON; raises UnreadableJson."""
    decoder = _DECODER_WITH_NAN if with_nan else _DECODER
    try:
        return decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise UnreadableJson from error


def members_at(text: str, start: int) -> tuple[list[Member], int]:
    """Returns the members of the object that begins there, and its end; raises UnreadableJson."""
    members: list[Member] = []
    place = _after(text, start, "{")
    if text.startswith("}", place):
        return members, place + 1
    keys: set[str] = set()
    while True:
        key_start = place
        if not text.startswith('"', place):
            raise UnreadableJson
        key, place = _value(text, place)
        if key in keys:
            raise AmbiguousJson
        keys.add(key)
        first = _after(text, _skip(text, place), ":")
        value, end = _value(text, first)
        members.append(Member(key, value, key_start, first, end))
        place = _skip(text, end)
        if text.startswith("}", place):
            return members, place + 1
        place = _after(text, place, ",")


def found(members: list[Member], key: str) -> Member | None:
    """Returns the member with this key."""
    for member in members:
        if member.key == key:
            return member
    return None


def items_at(text: str, start: int) -> tuple[list[Item], int]:
    """Returns the items of the array that begins there, and its end; raises UnreadableJson."""
    items: list[Item] = []
    place = _after(text, start, "[")
    if text.startswith("]", place):
        return items, place + 1
    while True:
        value, end = _value(text, place)
        items.append(Item(value, place, end))
        place = _skip(text, end)
        if text.startswith("]", place):
            return items, place + 1
        place = _after(text, place, ",")


def _value(text: str, place: int) -> tuple[Any, int]:
    try:
        return _DECODER.raw_decode(text, place)
    except (ValueError, RecursionError) as error:
        raise UnreadableJson from error


def _after(text: str, place: int, sign: str) -> int:
    """Returns where the next thing begins after this sign."""
    if not text.startswith(sign, place):
        raise UnreadableJson
    return _skip(text, place + 1)


def _skip(text: str, place: int) -> int:
    found = _BLANKS.match(text, place)
    return place if found is None else found.end()
