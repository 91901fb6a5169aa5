"""Records of a segment as lines of JSON, byte for byte what relay_contract.billing.event_line makes of them.

A line for each attempt is most of what the delivery costs, so what attempts of one kind have in common is rendered once, and the
line of an attempt that was closed is put together of these pieces, in the order of the fields' names: by a function in C where no text
needs an escape, as in most.
"""

import re
from typing import Any, Final

import orjson

from relay.outbox.record_format import (
    ABANDONED,
    CACHE_REPORTED,
    CLOSED,
    CLOSING,
    CLOSING_BYTES,
    DELIVERED,
    EXPECTED,
    OPENING,
    OPENING_BYTES,
    OUTCOMES,
    SOURCES,
    Found,
    doubt_of,
)
from relay_contract.billing.attempt_event import (
    COUNTED,
    EVENT_VERSION,
    event_digest,
    event_id,
)
from relay_contract.billing.token_buckets import BUCKETS, UNITS

try:
    # where it is built, as in the image
    from relay.outbox._plain_lines import plain_line
except ModuleNotFoundError:
    from relay.outbox.plain_lines_pure import plain_line

REMEMBERED_KINDS: Final = 4096
"""Of attempts, and of texts that many answers share; callers make up models, so the memory needs a bound."""
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")
_BUCKET_FIELDS: Final = tuple(
    name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in BUCKETS
)
_UNIT_FIELDS: Final = tuple(
    name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:]) for name in UNITS
)
_FIRST_BUCKET: Final = 9
_FIRST_UNIT: Final = _FIRST_BUCKET + len(BUCKETS)
_SORTED_BUCKETS: Final = tuple(
    sorted((name, place + _FIRST_BUCKET) for place, name in enumerate(_BUCKET_FIELDS))
)
"""Fields in the order of their names, and where their numbers stand among those of relay.outbox.record_format.CLOSING."""
_SORTED_UNITS: Final = tuple(
    sorted((name, place + _FIRST_UNIT) for place, name in enumerate(_UNIT_FIELDS))
)
_NAMED: Final = frozenset(
    {
        "endpoint",
        "keyName",
        "provider",
        "relay",
        "requestedModel",
        "routedModel",
        "route",
        "side",
        "tenant",
    }
)
_USAGE: Final = "usage"
_MANIFEST: Final = "manifestRevision"
"""Named by attempts of tenants that have a tool manifest."""
_EXPECTED_FIELDS: Final = ("input", "output")
_COUNTED_SOURCES: Final = tuple(source in COUNTED for source in SOURCES)


class UnreadableRecord(ValueError):
    """A record whose checksum is right and that means nothing: one of another version."""


def opening_in(found: Found) -> bytes:
    """Returns the bytes that the records of an attempt have in common; raises UnreadableRecord."""
    body = found.body
    if len(body) < OPENING_BYTES:
        raise UnreadableRecord(f"{len(body)} bytes")
    end = OPENING_BYTES + body[OPENING_BYTES - 33]
    return body[:end]


class _Kind:
    """Holds what the lines of one kind of attempts share: its fields, and the pieces of JSON between the fields of an attempt."""

    __slots__ = (
        "attempt_prefix",
        "endpoint",
        "fields",
        "key_name",
        "manifest",
        "models",
        "pieces",
        "provider",
        "relay",
        "side",
        "tenant",
    )

    def __init__(self, fields: dict[str, Any], tenant_uid: str) -> None:
        self.fields = fields
        # a copy of a call is counted from 1 again
        self.attempt_prefix = "shadow-" if fields["side"] == "shadow" else ""
        self.endpoint = _piece(fields, "endpoint")
        self.key_name = _piece(fields, "keyName")
        self.manifest = _piece(fields, _MANIFEST) if fields.get(_MANIFEST) else ""
        self.provider = _piece(fields, "provider")
        self.relay = _piece(fields, "relay")
        self.models = _piece(fields, "requestedModel", "route", "routedModel")
        self.side = _piece(fields, "side")
        self.tenant = _piece({**fields, "tenantUid": tenant_uid}, "tenant", "tenantUid")
        # as _plain_lines.c takes them
        self.pieces = tuple(
            piece.encode()
            for piece in (
                self.attempt_prefix,
                self.endpoint,
                self.key_name,
                self.manifest,
                self.provider,
                self.relay,
                self.models,
                self.side,
                self.tenant,
                f"{tenant_uid}/",
                f"/{_USAGE}/{EVENT_VERSION}",
            )
        )


class EventLines:
    """Makes the lines of one tenant's records."""

    __slots__ = ("_kinds", "_tenant_uid", "_texts")

    def __init__(self, tenant_uid: str) -> None:
        self._tenant_uid = tenant_uid
        self._kinds: dict[bytes, _Kind] = {}
        self._texts: dict[bytes, str] = {}

    def line(self, found: Found, names: bytes) -> bytes:
        """Writes a record of kind opened or closed as a line without the newline; raises UnreadableRecord.

        names is the body of the record of names that it refers to.
        """
        kind = self._kinds.get(names)
        if kind is None:
            kind = self._new_kind(names)
        opening = opening_in(found)
        if found.kind == CLOSED:
            return self._closed(kind, opening, found.body)
        return self._opened(kind, opening, found.body[len(opening) :])

    def _new_kind(self, names: bytes) -> _Kind:
        try:
            fields = orjson.loads(names)
        except orjson.JSONDecodeError as error:
            raise UnreadableRecord(f"names are no JSON: {error}") from error
        if not isinstance(fields, dict) or fields.keys() - {_MANIFEST} != _NAMED:
            raise UnreadableRecord("names have other fields")
        if not all(isinstance(value, str) for value in fields.values()):
            raise UnreadableRecord("names are no texts")
        if len(self._kinds) >= REMEMBERED_KINDS:
            self._kinds = {}
        kind = self._kinds[names] = _Kind(fields, self._tenant_uid)
        return kind

    def _opened(self, kind: _Kind, opening: bytes, expected: bytes) -> bytes:
        """Writes the line of a record that few attempts come to: most are closed before it is their turn.

        A record of a former version does not say what was expected, and its line stays the same: the ledger may have it already.
        """
        if expected and len(expected) != EXPECTED.size:
            raise UnreadableRecord(f"{len(expected)} bytes of what was expected")
        dispatched_at, attempt, stream, _, digits = OPENING.unpack_from(opening)
        call_id = digits.decode("ascii", "replace")
        attempt_id = f"{call_id}-{kind.attempt_prefix}{attempt}"
        fields: dict[str, Any] = {
            **kind.fields,
            "v": EVENT_VERSION,
            "id": self._id(attempt_id, dispatched_at),
            "phase": "opened",
            "tenantUid": self._tenant_uid,
            "callId": call_id,
            "attemptId": attempt_id,
            "attempt": attempt,
            "dispatchedAt": dispatched_at,
        }
        if stream:
            fields["stream"] = True
        if len(opening) > OPENING_BYTES:
            fields["requestId"] = _text(opening[OPENING_BYTES:])
        if any(expected):
            counts = zip(_EXPECTED_FIELDS, EXPECTED.unpack(expected), strict=True)
            fields["reservedTokens"] = {name: count for name, count in counts if count}
        return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)

    def _closed(self, kind: _Kind, opening: bytes, body: bytes) -> bytes:
        line = plain_line(body, kind.pieces, event_digest)
        if line is not None:
            return line
        texts_start = len(opening) + CLOSING_BYTES
        if len(body) < texts_start:
            raise UnreadableRecord(f"{len(body)} bytes")
        dispatched_at, attempt, stream, _, digits = OPENING.unpack_from(opening)
        numbers: tuple[int, ...] = CLOSING.unpack_from(body, len(opening))
        elapsed, status, outcome, source, flags = numbers[:5]
        if outcome >= len(OUTCOMES) or source >= len(SOURCES):
            raise UnreadableRecord(f"outcome {outcome}, source {source}")
        tier_start = texts_start + numbers[5]
        region_start = tier_start + numbers[6]
        region_end = region_start + numbers[7]
        call_id = digits.decode("ascii", "replace")
        attempt_id = f"{call_id}-{kind.attempt_prefix}{attempt}"
        written = "".join(
            (
                '{"abandoned":true,' if flags & ABANDONED else "{",
                self._shared("answeredModel", body[texts_start:tier_start]),
                f'"attempt":{attempt},"attemptId":"{attempt_id}",',
                "" if flags & CACHE_REPORTED else '"cacheReported":false,',
                f'"callId":"{call_id}","closedAt":{dispatched_at + elapsed},',
                '"delivered":true,' if flags & DELIVERED else '"delivered":false,',
                f'"dispatchedAt":{dispatched_at},',
                _doubt(flags),
                kind.endpoint,
                f'"id":"{self._id(attempt_id, dispatched_at)}",',
                kind.key_name,
                kind.manifest,
                f'"outcome":"{OUTCOMES[outcome]}","phase":"closed",',
                kind.provider,
                self._shared("region", body[region_start:region_end]),
                kind.relay,
                _field("requestId", opening[OPENING_BYTES:]),
                kind.models,
                self._shared("serviceTier", body[tier_start:region_start]),
                kind.side,
                f'"status":{status},' if status else "",
                '"stream":true,' if stream else "",
                kind.tenant,
                _counts("tokens", _SORTED_BUCKETS, numbers) if _COUNTED_SOURCES[source] else "",
                _units(numbers),
                _field("upstreamRequestId", body[region_end : region_end + numbers[8]]),
                f'"usageSource":"{SOURCES[source]}","v":{EVENT_VERSION}}}',
            )
        )
        if not _COUNTED_SOURCES[source] and any(numbers[_FIRST_BUCKET:_FIRST_UNIT]):
            return _with_expected(written, numbers)
        return written.encode()

    def _id(self, attempt_id: str, dispatched_at: int) -> str:
        return event_id(
            tenant_uid=self._tenant_uid,
            attempt_id=attempt_id,
            dispatched_at=dispatched_at,
            kind=_USAGE,
        )

    def _shared(self, name: str, data: bytes) -> str:
        """Writes the field of a text that many answers have in common; nothing where it is empty."""
        if not data:
            return ""
        text = self._texts.get(data)
        if text is None:
            if len(self._texts) >= REMEMBERED_KINDS:
                self._texts = {}
            text = self._texts[data] = _quoted(_text(data))
        return f'"{name}":{text},'


def _with_expected(line: str, numbers: tuple[int, ...]) -> bytes:
    """Adds to the line of an attempt of unknown use what was expected of it; few attempts come here.

    Raises UnreadableRecord for a damaged id, which makes no JSON.
    """
    expected = {field: numbers[place] for field, place in _SORTED_BUCKETS if numbers[place]}
    try:
        told = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise UnreadableRecord(str(error)) from error
    fields = {**told, "reservedTokens": expected}
    return orjson.dumps(fields, option=orjson.OPT_SORT_KEYS)


def _piece(fields: dict[str, Any], *names: str) -> str:
    return "".join(f'"{name}":{_quoted(fields[name])},' for name in names)


def _field(name: str, data: bytes) -> str:
    return f'"{name}":{_quoted(_text(data))},' if data else ""


def _doubt(flags: int) -> str:
    try:
        doubt = doubt_of(flags)
    except IndexError as error:
        raise UnreadableRecord(str(error)) from error
    return "" if doubt is None else f'"doubt":"{doubt}",'


def _units(numbers: tuple[int, ...]) -> str:
    return _counts("units", _SORTED_UNITS, numbers) if any(numbers[_FIRST_UNIT:]) else ""


def _counts(name: str, fields: tuple[tuple[str, int], ...], numbers: tuple[int, ...]) -> str:
    counts = [f'"{field}":{numbers[place]}' for field, place in fields if numbers[place]]
    return f'"{name}":{{{",".join(counts)}}},'


def _quoted(text: str) -> str:
    return orjson.dumps(text).decode()


def _text(data: bytes) -> str:
    text = data.decode(errors="replace")
    # what can be printed has no control characters
    return text if text.isprintable() else _CONTROLS.sub("\ufffd", text)
