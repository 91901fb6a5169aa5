"""Names the events of the stream that answers a call, so that a client can go on after any of them."""

import os
from typing import Final

from relay.tools.reading.event_stream import event, mark, retry_line
from relay.tools.sealed.event_ids import CallPosition, CallPositionSeal
from relay.tools.sealed.sealing import NONCE_BYTES

MOST_RETRY_MILLISECONDS: Final = 60_000
"""That a client is told to wait: a call that nobody goes on with is over after twice that."""


class CallIds:
    """How far one stream has come. marks says whether its client knows events without data."""

    __slots__ = ("_marks", "_position", "_retry_milliseconds", "_seal", "_told_retry")

    def __init__(self, seal: CallPositionSeal, position: CallPosition, *, marks: bool) -> None:
        self._seal = seal
        self._position = position
        self._marks = marks
        self._retry_milliseconds = self._told_retry = -1

    @property
    def call(self) -> str:
        """The id of the call that is told of."""
        return self._position.call

    def reached(self, server_id: str, retry_milliseconds: int) -> None:
        """Takes the server's id of what is told from now on, and the time that it lets clients wait, -1 without one."""
        self._position = self._position._replace(server_id=server_id)
        self._retry_milliseconds = min(retry_milliseconds, MOST_RETRY_MILLISECONDS)

    def mark(self) -> bytes:
        """Returns an event that only tells how far the stream has come; empty where there can be none."""
        event_id = self._id() if self._marks else ""
        return self._retry() + mark(event_id) if event_id else b""

    def event(self, text: str) -> tuple[bytes, bool]:
        """Returns a message as an event, and whether that has an id."""
        event_id = self._id()
        return (self._retry() if event_id else b"") + event(text, event_id), bool(event_id)

    def _id(self) -> str:
        return self._seal.sealed(self._position, os.urandom(NONCE_BYTES))

    def _retry(self) -> bytes:
        """Returns the line that tells the time to wait, where it is another than the last one told."""
        if self._retry_milliseconds in (-1, self._told_retry):
            return b""
        self._told_retry = self._retry_milliseconds
        return retry_line(self._retry_milliseconds)
