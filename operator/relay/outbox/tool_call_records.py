"""Writes the records of one worker's tool calls so that what was only denied takes no room from what a server may have carried out."""

from pathlib import Path
from typing import Final

from relay.outbox.tool_call_writer import MOST_TOOL_SEGMENTS, ToolCallWriter

PART_OF_DENIALS: Final = 2
"""What never went to a server begins no segment when half of what there may be are taken: whoever asks for what is denied, as fast as can be,
would else have the records of calls dropped that are paid for."""


class ToolCallRecords:
    """One per worker; relay is the name of its pod, most_segments bounds those of all workers. Times are monotonic seconds. trouble says why there is no room; dropped counts ends that had none."""

    __slots__ = ("_denials", "_sent", "relay")

    def __init__(
        self, directory: Path, *, relay: str, most_segments: int = MOST_TOOL_SEGMENTS
    ) -> None:
        self._sent = ToolCallWriter(directory, relay=relay, most_segments=most_segments)
        self._denials = ToolCallWriter(
            directory,
            relay=relay,
            most_segments=most_segments // PART_OF_DENIALS,
            suffix="-denials",
        )
        self.relay = self._sent.relay

    @property
    def dropped(self) -> int:
        """The number of requests whose end had no room."""
        return self._sent.dropped + self._denials.dropped

    @property
    def trouble(self) -> str:
        """Why there is no room; empty where there is some."""
        return self._sent.trouble or self._denials.trouble

    def opened(self, call: str, called_at: int, line: bytes) -> None:
        """Writes that a call may be sent to its server; call is the id of its record, called_at in microseconds since 1970."""
        self._sent.opened(call, called_at, line)

    def ended(self, call: str, called_at: int, line: bytes, *, was_opened: bool) -> None:
        """Writes how a call ended; without was_opened no server had it."""
        writer = self._sent if was_opened else self._denials
        writer.ended(call, called_at, line, was_opened=was_opened)

    def tick(self, now: float) -> None:
        """Looks for room again, and ends old segments; call it every second."""
        self._sent.tick(now)
        self._denials.tick(now)
