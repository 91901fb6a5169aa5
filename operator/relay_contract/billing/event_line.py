"""A record of an attempt as one line of JSON. Reading is strict: what is not exactly a record is refused with a reason."""

import hashlib
import json
from typing import Annotated, Any, Final, NoReturn

from pydantic import Field, TypeAdapter, ValidationError

from relay_contract.billing.attempt_event import (
    EVENT_VERSION,
    AttemptClosed,
    AttemptOpened,
    AttemptRecord,
)

MAX_EVENT_BYTES: Final = 16 * 1024
"""All labels at their longest, escaped, fit."""
_MAX_DIGITS: Final = 19
_MAX_SHOWN: Final = 80

_RECORD: Final[TypeAdapter[AttemptRecord]] = TypeAdapter(
    Annotated[AttemptOpened | AttemptClosed, Field(discriminator="phase")]
)


class UnreadableEvent(ValueError):
    """A text that is no record of an attempt; the message says what is wrong, in which field."""


def event_line(record: AttemptRecord) -> bytes:
    """Writes the record as JSON, without the newline. What holds its default stays out, so equal records are equal bytes."""
    content = record.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    content["phase"] = record.phase
    return plain_line(content)


def plain_line(content: dict[str, Any]) -> bytes:
    """Writes the fields of a record in the order of their names, without blanks."""
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode()


def content_digest(record: AttemptRecord) -> str:
    """Returns what two records have in common that say the same, however they were written: 32 hexadecimal digits."""
    return line_digest(event_line(record))


def line_digest(line: bytes) -> str:
    """Returns the digest of a line: that of its record, if event_line wrote it."""
    return hashlib.sha256(line).hexdigest()[:32]


def read_event(line: bytes) -> AttemptRecord:
    """Reads one record; raises UnreadableEvent."""
    content = versioned_object(line)
    try:
        return _RECORD.validate_python(content, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        # which of the two records it is stands first
        raise UnreadableEvent(first_problem(error, before=1)) from None


def versioned_object(line: bytes) -> dict[str, Any]:
    """Reads the fields of any record of this version; raises UnreadableEvent."""
    content = _decoded(line)
    version = content.get("v")
    if version != EVENT_VERSION or isinstance(version, bool):
        raise UnreadableEvent(
            f"v is {_shown(version)}, and this ledger reads version {EVENT_VERSION}:"
            " a ledger is upgraded before the relays"
        )
    return content


def first_problem(error: ValidationError, *, before: int = 0) -> str:
    """Returns the first thing that is wrong with a record, and in which field: the path to it without so many steps."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"][before:])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _decoded(line: bytes) -> dict[str, Any]:
    if len(line) > MAX_EVENT_BYTES:
        raise UnreadableEvent(f"{len(line)} bytes are more than the {MAX_EVENT_BYTES} of a record")
    try:
        content = json.loads(
            line.decode(),
            object_pairs_hook=unrepeated,
            parse_constant=_refuse_constant,
            parse_float=_refuse_fraction,
            parse_int=_bounded_integer,
        )
    except UnreadableEvent:
        raise
    except UnicodeDecodeError as error:
        raise UnreadableEvent(f"byte {error.start} is not UTF-8") from None
    except RecursionError:
        raise UnreadableEvent("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise UnreadableEvent(f"no JSON: {error.msg} at character {error.pos}") from None
    if not isinstance(content, dict):
        raise UnreadableEvent(f"{_shown(content)} is no object")
    return content


def unrepeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Returns the fields of an object of JSON; raises UnreadableEvent if one stands twice."""
    content = dict(pairs)
    if len(content) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise UnreadableEvent(f"{_shown(name)} stands twice")
            seen.add(name)
    return content


def _refuse_constant(word: str) -> NoReturn:
    raise UnreadableEvent(f"{word} is no number")


def _refuse_fraction(digits: str) -> NoReturn:
    raise UnreadableEvent(
        f"{digits[:_MAX_SHOWN]}: every number of a record is whole, in digits alone"
    )


def _bounded_integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise UnreadableEvent(f"{digits[:_MAX_SHOWN]}: no number of a record has so many digits")
    return int(digits)


def _shown(value: object) -> str:
    return repr(value)[:_MAX_SHOWN]
