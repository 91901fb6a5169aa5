"""Reads the segments of tool calls: each call is told once, as it ended, or as unknown if its process was killed first."""

from relay.outbox.outbox_reader import OpenRecord, OutboxReader, Parcel, Writer
from relay.outbox.record_format import TOOL_CALL_OPENED, Found, dispatched_at, tool_call_of
from relay.outbox.segment_reader import SegmentReader


class ToolCallReader(OutboxReader):
    """One per outbox; opened, closed and left_open count calls. The lines are ready, and only passed on."""

    __slots__ = ()

    def _take(
        self,
        writer: Writer,
        segment: SegmentReader,
        found: Found,
        parcels: list[Parcel],
        now: float,
    ) -> None:
        call, line = tool_call_of(found)
        segment.outstanding += 1
        if found.kind == TOOL_CALL_OPENED:
            self.opened += 1
            writer.opened[call] = OpenRecord(found, segment, now)
            return
        self.closed += 1
        parcels.append(Parcel(line, dispatched_at(found), segment))
        known = writer.opened.pop(call, None)
        if known is None:
            self.opened += 1
        else:
            known.segment.outstanding -= 1

    def _take_overdue(self, writer: Writer, parcels: list[Parcel], now: float) -> None:
        """Takes calls as unknown that nobody can end any more."""
        if not writer.has_ended:
            return
        for call in writer.opened.values():
            _, line = tool_call_of(call.found)
            parcels.append(Parcel(line, dispatched_at(call.found), call.segment))
        self.left_open += len(writer.opened)
        writer.opened = {}

    def _remove_delivered(self, writer: Writer) -> None:
        """Removes segments in their order alone: the end of a call may not go before its beginning, or a reader that is started
        anew would tell it as unknown."""
        while writer.segments:
            segment = writer.segments[0]
            if not segment.is_finished or segment.outstanding:
                return
            self._forget(segment)
            del writer.segments[0]
