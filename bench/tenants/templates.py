"""Objects as etcd stores them, with other texts in place of some: custom resources are JSON there, all others Protocol Buffers.

A field of Protocol Buffers is a varint of number and type, and where it holds text or a message a varint of its length before that
(protobuf.dev, "Encoding"). So a text of another length changes the lengths of everything around it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import orjson

_PROTOBUF: Final = b"k8s\0"
"""What the API server begins such a value with, before a runtime.Unknown."""
_WITH_LENGTH: Final = 2
_FIXED: Final = {1: 8, 5: 4}
"""Bytes of a value, by the type of its field."""
_UNKNOWN_RAW, _OBJECT_METADATA, _METADATA_UID = 2, 1, 5
"""Numbers of fields, by Kubernetes' generated.proto files."""

Texts = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class _Text:
    before: bytes


@dataclass(frozen=True, slots=True)
class _Inner:
    """The content of a field, with its length before it."""

    parts: "Sequence[_Part]"


_Part = bytes | _Text | _Inner


@dataclass(frozen=True, slots=True)
class _Field:
    """A field with a length: its number, where the length begins, and the content."""

    number: int
    length_at: int
    begin: int
    end: int


class Template:
    """A stored value in which each of some texts can be another one, wherever it stands."""

    def __init__(self, stored: bytes, texts: Iterable[bytes]) -> None:
        # of two that begin alike the longer one is meant
        longest_first = sorted(texts, key=len, reverse=True)
        pattern = re.compile(b"(" + b"|".join(map(re.escape, longest_first)) + b")")
        self._parts = [*_parts(stored, pattern)]

    def rendered(self, texts: Texts) -> bytes:
        """Returns the value with these texts, by those that the template was made for."""
        return _rendered(self._parts, texts)


def uid_of(stored: bytes) -> str:
    """Returns the UID in a stored object's metadata."""
    if not stored.startswith(_PROTOBUF):
        return str(orjson.loads(stored)["metadata"]["uid"])
    found = stored.removeprefix(_PROTOBUF)
    for number in (_UNKNOWN_RAW, _OBJECT_METADATA, _METADATA_UID):
        found = next(found[one.begin : one.end] for one in _fields(found) if one.number == number)
    return found.decode()


def _parts(stored: bytes, pattern: re.Pattern[bytes]) -> Iterator[_Part]:
    if not stored.startswith(_PROTOBUF):
        return _of_text(stored, pattern)
    rest = stored.removeprefix(_PROTOBUF)
    return iter([_PROTOBUF, *_of_content(rest, pattern)])


def _of_content(content: bytes, pattern: re.Pattern[bytes]) -> list[_Part]:
    """Returns the parts of what may be a message or a text: no type tells, but what has a text between two fields is no message."""
    try:
        fields = [one for one in _fields(content) if pattern.search(content, one.begin, one.end)]
    except ValueError:
        return [*_of_text(content, pattern)]
    parts: list[_Part] = []
    at = 0
    for one in fields:
        parts.append(content[at : one.length_at])
        parts.append(_Inner(_of_content(content[one.begin : one.end], pattern)))
        at = one.end
    parts.append(content[at:])
    if any(isinstance(part, bytes) and pattern.search(part) for part in parts):
        return [*_of_text(content, pattern)]
    return parts


def _of_text(content: bytes, pattern: re.Pattern[bytes]) -> Iterator[_Part]:
    for index, part in enumerate(pattern.split(content)):
        yield _Text(part) if index % 2 else part


def _rendered(parts: Sequence[_Part], texts: Texts) -> bytes:
    made: list[bytes] = []
    for part in parts:
        match part:
            case _Text(before=before):
                made.append(texts[before])
            case _Inner(parts=inner):
                content = _rendered(inner, texts)
                made += (_varint(len(content)), content)
            case _:
                made.append(part)
    return b"".join(made)


def _fields(content: bytes) -> Iterator[_Field]:
    """Yields the fields of a message that have a length; raises ValueError where it is none."""
    at = 0
    while at < len(content):
        tag, value_at = _read_varint(content, at)
        number, kind = divmod(tag, 8)
        begin, end = _span(content, value_at, kind)
        if not number or end > len(content):
            raise ValueError("a field has a number, and ends where its message does at the latest")
        if kind == _WITH_LENGTH:
            yield _Field(number=number, length_at=value_at, begin=begin, end=end)
        at = end


def _span(content: bytes, at: int, kind: int) -> tuple[int, int]:
    """Returns where the value of a field begins, after its length if it has one, and where it ends."""
    if kind in _FIXED:
        return at, at + _FIXED[kind]
    number, end = _read_varint(content, at)
    match kind:
        case 0:
            return at, end
        case 2:
            return end, end + number
        case _:
            raise ValueError(f"no field is of type {kind}")


def _read_varint(content: bytes, at: int) -> tuple[int, int]:
    """Returns a number and where it ends."""
    value = 0
    for index, byte in enumerate(content[at : at + 10]):
        value |= (byte & 0x7F) << 7 * index
        if byte < 0x80:
            return value, at + index + 1
    raise ValueError("a number does not end")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
