"""Reads usage, errors and the end marker from a provider's event stream without parsing every event.

Events end at blank lines only (WHATWG HTML section 9.2.6); JSON escapes line breaks and quotes inside strings, so that the
byte patterns below cannot occur in generated text.
"""

import re
from typing import Any, Final

import orjson

MAX_HELD_BYTES: Final = 1024 * 1024
"""An event that is still incomplete at this size is passed on unread."""

_USAGE = re.compile(rb'"usage"[ \t]*:[ \t]*\{')
_DONE = re.compile(rb"^data:[ ]?\[DONE\]", re.MULTILINE)
_ERROR = re.compile(
    rb'"error"[ \t]*:[ \t]*[{"]|^event:[ ]?error|"type"[ \t]*:[ \t]*"error"', re.MULTILINE
)
_FINISH = re.compile(rb'"finish_reason"[ \t]*:[ \t]*"([a-z_]{1,32})"')
_RESPONSE_TYPE = re.compile(
    rb'"type"[ \t]*:[ \t]*"response\.(created|completed|incomplete|failed)"'
)
_SEQUENCE = re.compile(rb'"sequence_number"[ \t]*:[ \t]*([0-9]{1,9})')
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:")


class SseScan:
    """Scans a stream as it passes.

    usage: the provider's usage object. ended: the stream's own end marker was seen. failed: it carried an error event.
    garbage: it does not begin like a stream of events. between_events: the client has whole events only, so that a
    comment may follow. With hide_usage the event that only reports usage is left out.
    """

    __slots__ = (
        "_hide_usage",
        "_last",
        "_partial",
        "between_events",
        "ended",
        "failed",
        "finish_reason",
        "garbage",
        "response_id",
        "started",
        "usage",
    )

    def __init__(self, *, hide_usage: bool) -> None:
        self._hide_usage = hide_usage
        self._partial = b""
        self._last = b""
        self.between_events = True
        self.usage: dict[str, Any] | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.started = self.ended = self.failed = self.garbage = False

    def feed(self, data: bytes) -> bytes:
        """Scans a read; returns what the client gets: all of it, or whole events if one may have to be left out."""
        whole = self._partial + data if self._partial else data
        if not self.started:
            self.garbage = not _may_begin(whole)
        cut = _boundary(whole)
        # with hide_usage the rest of an event is held back
        self.between_events = self._hide_usage or cut == len(whole)
        if cut == len(whole):
            self._partial = b""
            events = whole
        else:
            events, self._partial = whole[:cut], whole[cut:]
            if len(self._partial) > MAX_HELD_BYTES:
                events, self._partial = whole, b""
                self.between_events = False
        kept = self._read(events) if events else b""
        return kept if self._hide_usage else data

    def rest(self) -> bytes:
        """Scans and returns what is still held back when the stream ends."""
        rest, self._partial = self._partial, b""
        if not rest:
            return b""
        kept = self._read(rest)
        # an event without its blank line
        self.between_events = False
        return kept if self._hide_usage else b""

    def next_sequence_number(self) -> int:
        """Returns the number of the event that would follow, in the Responses API; 0 where none was seen."""
        numbers = _SEQUENCE.findall(self._last)
        return int(numbers[-1]) + 1 if numbers else 0

    def _read(self, events: bytes) -> bytes:
        self.started = True
        self._last = events
        if b"[DONE]" in events and _DONE.search(events):
            self.ended = True
        if b'"error"' in events and _ERROR.search(events):
            self._look_for_error(events)
        if b'"finish_reason"' in events:
            finish = _FINISH.search(events)
            if finish is not None:
                self.finish_reason = finish[1].decode()
        if b'"response.' in events:
            self._look_for_response(events)
        if b'"usage"' in events and _USAGE.search(events):
            return self._take_usage(events)
        return events

    def _look_for_error(self, events: bytes) -> None:
        for event in _split(events):
            payload = _payload(event)
            if payload is not None and (payload.get("error") or payload.get("type") == "error"):
                self.failed = True

    def _look_for_response(self, events: bytes) -> None:
        """Reads the events of /v1/responses that begin and end a stream."""
        for event in _split(events):
            kind = _RESPONSE_TYPE.search(event)
            payload = _payload(event) if kind is not None else None
            response = payload.get("response") if payload is not None else None
            if kind is None or not isinstance(response, dict):
                continue
            if isinstance(response.get("id"), str):
                self.response_id = response["id"]
            if isinstance(response.get("usage"), dict):
                self.usage = response["usage"]
            if kind[1] != b"created":
                self.ended = True
                self.finish_reason = kind[1].decode()
                self.failed = self.failed or kind[1] == b"failed"

    def _take_usage(self, events: bytes) -> bytes:
        kept: list[bytes] = []
        for event in _split(events):
            payload = _payload(event) if _USAGE.search(event) else None
            usage = payload.get("usage") if payload is not None else None
            if payload is not None and isinstance(usage, dict):
                self.usage = usage
                if payload.get("choices") == []:
                    continue
            kept.append(event)
        return b"".join(kept)


def _may_begin(data: bytes) -> bool:
    """Returns whether a stream of events can begin like this; a few bytes may not tell yet."""
    if data[:1] in (b":", b"\n", b"\r", b""):
        return True
    first = data[:6]
    return any(name.startswith(first) or first.startswith(name) for name in _FIELDS)


def _boundary(data: bytes) -> int:
    """Returns the end of the last whole event."""
    if data.endswith(b"\n\n"):
        return len(data)
    return (
        max(data.rfind(b"\n\n") + 2, data.rfind(b"\n\r\n") + 3, 2 + data.rfind(b"\r\r"))
        if (b"\n\n" in data or b"\n\r\n" in data or b"\r\r" in data)
        else 0
    )


def _split(events: bytes) -> list[bytes]:
    """Returns the events, each with its blank line."""
    return [event for event in _EVENT.findall(events) if event]


_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)


def _payload(event: bytes) -> dict[str, Any] | None:
    """Returns the event's data if it is a JSON object, else None."""
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    try:
        payload = orjson.loads(b"\n".join(lines))
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None
