"""Reads usage, errors and the end marker from a provider's event stream without parsing every event.

Events end at blank lines only (WHATWG HTML section 9.2.6); JSON escapes line breaks and quotes inside strings, so that the
byte patterns below cannot occur in generated text.
"""

import re
from typing import Any, Final

from relay.dialect.answers.answer_content import decoded, generated_bytes, generates
from relay.dialect.answers.error_report import ErrorReport, read_error
from relay.dialect.answers.huge_event import HugeEvent
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import usage_of_event
from relay.dialect.usage.openai_usage import is_search

MAX_HELD_BYTES: Final = 64 * 1024
"""An event that is still incomplete at this size is passed on, and read at its ends only."""
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"

_USAGE = re.compile(rb'"usage"[ \t]*+:(?:[ \t\r\n]|data:)*+\{')
"""The value may begin on the event's next line of data."""
_DONE = re.compile(rb"(?:^|\r)data:[ ]?\[DONE\]", re.MULTILINE)
_ERROR = re.compile(
    rb'"error"[ \t]*+:(?:[ \t\r\n]|data:)*+[{\["t1-9]|(?:^|\r)event:[ ]?error|"(?:type|object|finish_reason)"[ \t]*:[ \t]*"error"',
    re.MULTILINE,
)
_EVENT_NAME = re.compile(rb"(?:^|\r)event:[ ]?([^\r\n]*)", re.MULTILINE)
_FINISH = re.compile(rb'"finish_reason"[ \t]*:[ \t]*"([^"\\]{1,64})"')
_INDEX = re.compile(rb'"index"[ \t]*:[ \t]*([0-9]{1,4})')
_RESPONSE_TYPE = re.compile(
    rb'"type"[ \t]*:[ \t]*"response\.(created|in_progress|queued|completed|incomplete|failed)"'
)
_RESPONSE_ID = re.compile(rb'"response"[ \t]*:[ \t]*\{[ \t]*"id"[ \t]*:[ \t]*"([^"\\]{1,256})"')
_ITEM_DONE: Final = b'"response.output_item.done"'
_LAST_TYPES: Final = frozenset({b"completed", b"incomplete", b"failed"})
_SEQUENCE = re.compile(rb'"sequence_number"[ \t]*:[ \t]*([0-9]{1,9})')
_PIECES: Final = {
    Endpoint.CHAT: b'"delta"',
    Endpoint.COMPLETIONS: b'"text"',
    Endpoint.RESPONSES: b'.delta"',
}
"""Stands once in an event for each piece of text."""
_FIELDS: Final = (b"data:", b"event:", b"id:", b"retry:")
_RETURN: Final = 0x0D
"""As a number: to look for bytes in bytes, Python 3.11 raises and drops an exception first."""


class SseScan:
    """Scans a stream as it passes.

    usage: the provider's usage object. model, service_tier: what it says of itself in the events that are decoded. error: what it said went wrong. ended: the stream's own end marker was seen.
    generated: content, reasoning or a tool call has passed. garbage: it does not begin like a stream of events.
    pieces: how many pieces of text have passed. searches: how many searches of the web a response has made that are billed.
    between_events: the client has whole events only, so that a comment may follow. With hide_usage the event that only
    reports usage is left out. With many_choices the call asked for more than one answer.
    """

    __slots__ = (
        "_finished",
        "_frame_bytes",
        "_hide_usage",
        "_huge",
        "_last",
        "_many_choices",
        "_partial",
        "_piece",
        "_piece_bytes",
        "_sample",
        "_seen",
        "between_events",
        "ended",
        "error",
        "finish_reason",
        "garbage",
        "generated",
        "model",
        "pieces",
        "response_id",
        "searches",
        "service_tier",
        "started",
        "usage",
    )

    def __init__(
        self,
        *,
        hide_usage: bool,
        many_choices: bool = False,
        endpoint: Endpoint = Endpoint.CHAT,
    ) -> None:
        self._hide_usage = hide_usage
        self._many_choices = many_choices
        self._seen: set[int] = set()
        self._finished: set[int] = set()
        self._partial = b""
        self._huge: HugeEvent | None = None
        self._last = b""
        self._piece = _PIECES.get(endpoint, b'"delta"')
        self._piece_bytes = self._frame_bytes = self.pieces = self.searches = 0
        self._sample = b""
        self.between_events = True
        self.usage: dict[str, Any] | None = None
        self.error: ErrorReport | None = None
        self.finish_reason: str | None = None
        self.response_id: str | None = None
        self.model: str | None = None
        self.service_tier: str | None = None
        self.started = self.ended = self.generated = self.garbage = False

    @property
    def begun(self) -> bool:
        """True if the answer has begun, or has ended in order without anything in it."""
        return self.generated or (self.finish_reason is not None and self.error is None)

    @property
    def whole(self) -> bool:
        """True if nothing is missing: the end marker was seen, or every choice that was seen has finished."""
        return self.ended or (self.finish_reason is not None and self._seen <= self._finished)

    @property
    def finished_choices(self) -> int:
        """The number of choices that have finished, where the call asked for more than one answer."""
        return len(self._finished)

    def feed(self, data: bytes) -> bytes:
        """Scans a read; returns what the client gets: all of it, or whole events if one may have to be left out."""
        huge = self._huge
        if huge is not None:
            return self._feed_huge(huge, data)
        whole = self._partial + data if self._partial else data
        if not self.started:
            whole = whole.removeprefix(_BYTE_ORDER_MARK)
            self.garbage = not may_begin(whole)
        cut = _boundary(whole)
        # with hide_usage the rest of an event is held back
        self.between_events = self._hide_usage or cut == len(whole)
        if cut == len(whole):
            self._partial = b""
            events = whole
        else:
            events, self._partial = whole[:cut], whole[cut:]
        kept = self._read(events) if events else b""
        if len(self._partial) > MAX_HELD_BYTES:
            kept += self._begin_huge()
        return kept if self._hide_usage else data

    def _begin_huge(self) -> bytes:
        beginning, self._partial = self._partial, b""
        self._huge = HugeEvent(beginning)
        self.between_events = False
        return beginning

    def _feed_huge(self, huge: HugeEvent, data: bytes) -> bytes:
        end = huge.end_in(data)
        if not end:
            huge.add(data)
            return data
        event, rest = data[:end], data[end:]
        huge.add(event)
        self._huge = None
        self._read_huge(huge)
        self.between_events = True
        return event + self.feed(rest) if rest else event

    def rest(self) -> bytes:
        """Scans and returns what is still held back when the stream ends."""
        huge, self._huge = self._huge, None
        if huge is not None:
            self._read_huge(huge)
        rest, self._partial = self._partial, b""
        if not rest:
            return b""
        last = self._last
        kept = self._read(rest)
        if _SEQUENCE.search(rest) is None:
            # cut before its number: the last one that was seen counts
            self._last = last
        # an event without its blank line
        self.between_events = False
        return kept if self._hide_usage else b""

    def next_sequence_number(self) -> int:
        """Returns the number of the event that would follow, in the Responses API; 0 where none was seen."""
        numbers = _SEQUENCE.findall(self._last)
        return int(numbers[-1]) + 1 if numbers else 0

    def _count_pieces(self, events: bytes) -> None:
        """Counts the pieces of text; what is about as long as the first of them is one, which costs nothing to find out."""
        size, usual = len(events), len(self._sample)
        pieces = 1 if usual < 2 * size < 3 * usual else events.count(self._piece)
        if pieces:
            self.pieces += pieces
            self._piece_bytes += size

    def text_pieces(self) -> int:
        """Returns how many pieces of text have passed, without the one that only names a role."""
        return self.pieces if self._sample or self.pieces < 2 else self.pieces - 1

    def text_bytes(self) -> int:
        """Estimates the bytes of text that have passed: the events' without what stands around the text in the first of them."""
        return max(0, self._piece_bytes - self.pieces * self._frame_bytes)

    def _read(self, events: bytes) -> bytes:
        self.started = True
        self._last = events
        if b"[DONE]" in events and _DONE.search(events):
            self.ended = True
        has_sample = self._sample != b""
        if not has_sample:
            self._look_for_content(events)
        if b"error" in events and _ERROR.search(events):
            self._look_for_error(events)
        if b'"finish_reason"' in events:
            self._look_for_finish(events)
        if b'"response.' in events:
            self._look_for_response(events)
        if b'"usage"' in events and _USAGE.search(events):
            events = self._take_usage(events)
        if has_sample:
            self._count_pieces(events)
        return events

    def _look_for_content(self, events: bytes) -> None:
        """Looks for the first piece of text, from which on pieces are counted: those before it only name a role."""
        for event in _split(events):
            is_piece = self._piece in event
            self.pieces += is_piece
            if self._sample:
                self._piece_bytes += len(event) if is_piece else 0
                continue
            payload = _payload(event) if is_piece or not self.generated else None
            if payload is None or not generates(payload):
                continue
            if not self.generated:
                self.generated = True
                self._take_labels(payload)
            if is_piece:
                self._sample = event
                self._frame_bytes = len(event) - generated_bytes(payload)
                self.pieces = 1
                self._piece_bytes = len(event)

    def _look_for_error(self, events: bytes) -> None:
        for event in _split(events):
            if self.error is None and _ERROR.search(event):
                self.error = read_error(decoded(_data(event)), event=_name(event))

    def _look_for_finish(self, events: bytes) -> None:
        finish = _FINISH.search(events)
        if finish is not None:
            self.finish_reason = finish[1].decode(errors="replace")
        if self._many_choices:
            for event in _split(events):
                payload = _payload(event)
                choices = payload.get("choices") if payload is not None else None
                for choice in choices if isinstance(choices, list) else ():
                    self._note_choice(choice)

    def _note_choice(self, choice: object) -> None:
        index = choice.get("index", 0) if isinstance(choice, dict) else None
        if isinstance(choice, dict) and isinstance(index, int):
            self._seen.add(index)
            if choice.get("finish_reason"):
                self._finished.add(index)

    def _look_for_response(self, events: bytes) -> None:
        """Reads the events of /v1/responses that begin and end a stream."""
        for event in _split(events):
            if _ITEM_DONE in event:
                item = _payload(event)
                self.searches += item is not None and is_search(item.get("item"))
                continue
            kind = _RESPONSE_TYPE.search(event)
            payload = _payload(event) if kind is not None else None
            response = payload.get("response") if payload is not None else None
            if kind is None or not isinstance(response, dict):
                continue
            if isinstance(response.get("id"), str):
                self.response_id = response["id"]
            self._take_labels(response)
            if isinstance(response.get("usage"), dict):
                self.usage = response["usage"]
            if kind[1] in _LAST_TYPES:
                self._end_response(kind[1])
                self.error = self.error or read_error(payload)

    def _end_response(self, kind: bytes) -> None:
        self.ended = True
        self.finish_reason = kind.decode()

    def _read_huge(self, huge: HugeEvent) -> None:
        """Reads what is known of an event that passed unheld."""
        excerpt = self._last = huge.excerpt
        kind, finish = _RESPONSE_TYPE.search(excerpt), _FINISH.search(excerpt)
        index = _INDEX.search(excerpt)
        reports_error = huge.reports_error
        if kind is None:
            self.generated = self.generated or not reports_error
            self.pieces += 1
            if finish is not None:
                self.finish_reason = finish[1].decode(errors="replace")
            if index is not None and self._many_choices:
                self._note_choice({"index": int(index[1]), "finish_reason": finish})
        else:
            identity = _RESPONSE_ID.search(excerpt)
            if identity is not None:
                self.response_id = identity[1].decode(errors="replace")
            if kind[1] in _LAST_TYPES:
                self._end_response(kind[1])
            reports_error = reports_error or kind[1] == b"failed"
        if reports_error and self.error is None:
            self.error = ErrorReport({}, {})
        self.usage = huge.usage() or self.usage

    def _take_usage(self, events: bytes) -> bytes:
        kept: list[bytes] = []
        for event in _split(events):
            payload = _payload(event) if _USAGE.search(event) else None
            usage = usage_of_event(payload) if payload is not None else None
            if payload is not None and usage is not None:
                self.usage = usage
                self._take_labels(payload)
                if not payload.get("choices") and not _reports_error(event, payload):
                    continue
            kept.append(event)
        return b"".join(kept)

    def _take_labels(self, payload: dict[str, Any]) -> None:
        """Takes what an event says of the model and the tier that answered; the last word counts."""
        model, tier = payload.get("model"), payload.get("service_tier")
        if model and isinstance(model, str):
            self.model = model
        if tier and isinstance(tier, str):
            self.service_tier = tier


def may_begin(data: bytes) -> bool:
    """Returns whether a stream of events can begin like this; a few bytes may not tell yet."""
    if data[:1] in (b":", b"\n", b"\r", b"") or _BYTE_ORDER_MARK.startswith(data):
        return True
    first = data[:6]
    return any(name.startswith(first) or first.startswith(name) for name in _FIELDS)


def payloads(events: bytes) -> list[dict[str, Any]]:
    """Returns the JSON objects that these events carry."""
    found = [_payload(event) for event in _split(events)]
    return [payload for payload in found if payload is not None]


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
    """Returns the events, each with its blank line. Most reads bring one."""
    if (
        events.endswith(b"\n\n")
        and events.find(b"\n\n") == len(events) - 2
        and _RETURN not in events
    ):
        return [events]
    return [event for event in _EVENT.findall(events) if event]


_EVENT = re.compile(rb".*?(?:\r\n\r\n|\n\n|\r\r|\Z)", re.DOTALL)


def _data(event: bytes) -> bytes:
    """Returns the event's data, its lines joined as a client does. Most events have one line."""
    if event.startswith(b"data:") and event.find(b"\n") == len(event) - 2 and _RETURN not in event:
        return event[5:].strip()
    return b"\n".join(
        [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    )


def _name(event: bytes) -> bytes:
    name = _EVENT_NAME.search(event)
    return name[1].strip() if name is not None else b""


def _reports_error(event: bytes, payload: dict[str, Any]) -> bool:
    return b"error" in event and read_error(payload, event=_name(event)) is not None


def _payload(event: bytes) -> dict[str, Any] | None:
    """Returns the event's data if it is a JSON object, else None."""
    data = _data(event)
    payload = decoded(data) if data.startswith(b"{") else None
    return payload if isinstance(payload, dict) else None
