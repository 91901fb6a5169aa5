"""Marks the id of a response while the answer passes, unary or as a stream of events."""

import re
from typing import Final

from relay.dialect.response_ids import ResponseId, marked_id

MAX_SEARCHED_BYTES: Final = 64 * 1024
"""An id that has not come by then stays as it is. Providers send it first."""

_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.|(?!))*+"|[{}\[\]:,]', re.DOTALL)
_PLAIN_STRING: Final = re.compile(rb'"([^"\\\x00-\x1f]{1,512})"')
_RESPONSE: Final = re.compile(rb'"response"[ \t]*+:[ \t]*+(?=\{)')
_EVENT_ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r")


class ResponseIdMarker:
    """Rewrites the pieces of one answer. What may be the beginning of the id is held until the next piece.

    echoed is the id of the response that the call continues: the answer repeats it.
    """

    __slots__ = ("_changes", "_fingerprint", "_held", "_is_stream", "_provider", "_searching")

    def __init__(
        self, *, fingerprint: str, provider: str, is_stream: bool, echoed: ResponseId | None
    ) -> None:
        self._fingerprint = fingerprint
        self._provider = provider
        self._is_stream = is_stream
        self._held = b""
        self._searching = True
        self._changes: list[tuple[bytes, bytes]] = []
        if echoed is not None and echoed.mark:
            self._change(
                echoed.own.encode("utf-8", "replace"), echoed.given.encode("utf-8", "replace")
            )

    def feed(self, data: bytes) -> bytes:
        """Returns what the client gets of this piece and of what was held."""
        if self._held:
            data = self._held + data
            self._held = b""
        if self._searching:
            data = self._search(data)
        for old, new in self._changes:
            if old in data:
                data = data.replace(old, new)
        return data if self._searching else self._without_beginning(data)

    def rest(self) -> bytes:
        """Returns what is still held when the answer ends."""
        rest, self._held = self._held, b""
        return rest

    def _search(self, data: bytes) -> bytes:
        """Looks for the id; returns what need not be held for it."""
        found = self._find(data)
        if found is not None:
            self._searching = False
            own = found.decode("utf-8", "replace")
            new = marked_id(own, fingerprint=self._fingerprint, provider=self._provider)
            self._change(found, new.encode())
            return data
        cut = _end_of_events(data) if self._is_stream else 0
        if len(data) - cut > MAX_SEARCHED_BYTES:
            self._searching = False
            return data
        self._held = data[cut:]
        return data[:cut]

    def _find(self, data: bytes) -> bytes | None:
        if not self._is_stream:
            return _id_of_object(data, 0)
        response = _RESPONSE.search(data)
        return None if response is None else _id_of_object(data, response.end())

    def _change(self, old: bytes, new: bytes) -> None:
        # quotes are escaped inside strings of JSON: with both of its own this is a whole string wherever it occurs
        self._changes.append((b'"' + old + b'"', b'"' + new + b'"'))

    def _without_beginning(self, data: bytes) -> bytes:
        """Holds what may be the beginning of a string to be changed: it can only begin at the last quote."""
        quote = data.rfind(b'"')
        if quote < 0:
            return data
        tail = data[quote:]
        for old, _ in self._changes:
            if old.startswith(tail):
                self._held = tail
                return data[:quote]
        return data


def _id_of_object(data: bytes, start: int) -> bytes | None:
    """Returns the id of the object that begins here, as far as it has come; None for none that is plain text."""
    depth = 0
    key = b""
    previous = b""
    for token in _TOKEN.finditer(data, start, start + MAX_SEARCHED_BYTES):
        text = token[0]
        if text in (b"{", b"["):
            depth += 1
        elif text in (b"}", b"]"):
            depth -= 1
            if depth == 0:
                return None
        elif text == b":":
            key = previous if depth == 1 else b""
        elif depth == 1 and key == b'"id"' and text != b",":
            plain = _PLAIN_STRING.fullmatch(text)
            return None if plain is None else plain[1]
        if text == b",":
            key = b""
        previous = text
    return None


def _end_of_events(data: bytes) -> int:
    """Returns the end of the last whole event."""
    return max(data.rfind(end) + len(end) if end in data else 0 for end in _EVENT_ENDS)
