"""Records of a segment as lines of JSON, byte for byte what relay_contract.billing.event_line makes of them."""

import re
from typing import Any, Final

import orjson

from relay.outbox.record_format import (
    CACHE_REPORTED,
    CLOSED,
    CLOSING,
    CLOSING_BYTES,
    DELIVERED,
    OPENING,
    OPENING_BYTES,
    OUTCOMES,
    SOURCES,
    Found,
    doubt_of,
)
from relay_contract.billing.attempt_event import COUNTED, EVENT_VERSION, event_id
from relay_contract.billing.token_buckets import BUCKETS, UNITS

_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET_FIELDS: Final = tuple(
    name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in BUCKETS
)
_UNIT_FIELDS: Final = tuple(
    name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in UNITS
)


class UnreadableRecord(ValueError):
    """A record whose checksum is right and that means nothing: one of another version."""


def opening_in(found: Found) -> bytes:
    """Returns the bytes that the records of an attempt have in common; raises UnreadableRecord."""
    body = found.body
    if len(body) < OPENING_BYTES:
        raise UnreadableRecord(f"{len(body)} bytes")
    end = OPENING_BYTES + body[OPENING_BYTES - 33]
    return body[:end]


def event_line_of(found: Found, names: dict[str, Any], tenant_uid: str) -> bytes:
    """Writes a record of kind opened or closed as a line without the newline; raises UnreadableRecord."""
    opening = opening_in(found)
    fields = {**names, **_opened(opening, str(names.get("side")), tenant_uid)}
    if found.kind == CLOSED:
        _add_closing(fields, found.body, len(opening))
    elif len(found.body) != len(opening):
        raise UnreadableRecord(f"{len(found.body)} bytes")
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _opened(opening: bytes, side: str, tenant_uid: str) -> dict[str, Any]:
    dispatched_at, attempt, stream, _, digits = OPENING.unpack_from(opening)
    call_id = digits.decode("ascii", "replace")
    attempt_id = f"{call_id}-{'shadow-' if side == 'shadow' else ''}{attempt}"
    fields: dict[str, Any] = {
        "v": EVENT_VERSION,
        "id": event_id(
            tenant_uid=tenant_uid,
            attempt_id=attempt_id,
            dispatched_at=dispatched_at,
            kind="usage",
        ),
        "phase": "opened",
        "tenantUid": tenant_uid,
        "callId": call_id,
        "attemptId": attempt_id,
        "attempt": attempt,
        "dispatchedAt": dispatched_at,
    }
    if stream:
        fields["stream"] = True
    request_id = _text(opening[OPENING_BYTES:])
    if request_id:
        fields["requestId"] = request_id
    return fields


def _add_closing(fields: dict[str, Any], body: bytes, start: int) -> None:
    if len(body) < start + CLOSING_BYTES:
        raise UnreadableRecord(f"{len(body)} bytes")
    elapsed, status, outcome, source, flags, *rest = CLOSING.unpack_from(body, start)
    lengths, buckets, units = rest[:4], rest[4:13], rest[13:]
    try:
        fields["outcome"] = OUTCOMES[outcome]
        fields["usageSource"] = SOURCES[source]
        doubt = doubt_of(flags)
    except IndexError as error:
        raise UnreadableRecord(str(error)) from error
    fields["phase"] = "closed"
    fields["closedAt"] = fields["dispatchedAt"] + elapsed
    fields["delivered"] = bool(flags & DELIVERED)
    if status:
        fields["status"] = status
    if doubt is not None:
        fields["doubt"] = doubt
    if not flags & CACHE_REPORTED:
        fields["cacheReported"] = False
    if SOURCES[source] in COUNTED:
        fields["tokens"] = _counts(_BUCKET_FIELDS, buckets)
    counted = _counts(_UNIT_FIELDS, units)
    if counted:
        fields["units"] = counted
    _add_texts(fields, body, start + CLOSING_BYTES, lengths)


def _counts(names: tuple[str, ...], numbers: list[int]) -> dict[str, int]:
    return {name: number for name, number in zip(names, numbers, strict=True) if number}


def _add_texts(fields: dict[str, Any], body: bytes, start: int, lengths: list[int]) -> None:
    for name, length in zip(
        ("answeredModel", "serviceTier", "region", "upstreamRequestId"), lengths, strict=True
    ):
        end = start + length
        if length:
            fields[name] = _text(body[start:end])
        start = end


def _text(data: bytes) -> str:
    return _CONTROLS.sub("\ufffd", data.decode(errors="replace"))
