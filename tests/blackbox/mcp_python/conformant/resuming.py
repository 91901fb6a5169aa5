"""A tool whose stream ends before its result, which a client gets by resuming the stream (SEP-1699)."""

import asyncio

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.streamable_http import EventCallback, EventMessage, EventStore
from mcp.types import JSONRPCMessage

RETRY_MILLISECONDS = 100


class Events(EventStore):
    """Keeps every event, numbered from 1."""

    def __init__(self) -> None:
        self._kept: list[tuple[str, JSONRPCMessage | None]] = []

    async def store_event(self, stream_id: str, message: JSONRPCMessage | None) -> str:
        """Keeps an event and returns its id."""
        self._kept.append((stream_id, message))
        return str(len(self._kept))

    async def replay_events_after(
        self, last_event_id: str, send_callback: EventCallback
    ) -> str | None:
        """Sends what came later on the stream of an event."""
        last = int(last_event_id)
        stream = self._kept[last - 1][0]
        for number, (of, message) in enumerate(self._kept, 1):
            if number > last and of == stream and message is not None:
                await send_callback(EventMessage(message, str(number)))
        return stream


def add_to(server: MCPServer) -> None:
    """Adds the tool."""
    server.add_tool(test_reconnection)


async def test_reconnection(ctx: Context) -> str:
    """Ends its stream, and returns when the client has had time to come back."""
    await ctx.close_sse_stream()
    await asyncio.sleep(2 * RETRY_MILLISECONDS / 1000)
    return "Reconnection test completed"
