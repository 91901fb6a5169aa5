"""A tool server that costs next to nothing: `python server.py PORT`. One tool, one answer, both eras of the protocol, no sessions.

Another gateway beside the relay greets it and asks for its lists before it calls; all is answered from memory.
"""

import asyncio
import re
import sys
from typing import Final, cast

import orjson
import uvloop

TOOL: Final = {
    "name": "read_invoice",
    "description": "Returns an invoice by its number.",
    "inputSchema": {"type": "object", "properties": {"number": {"type": "integer"}}},
}
TEXT: Final = "1 x bolt M8, galvanised, 0.12 EUR, part of order 4711. " * 18
"""About a kilobyte."""
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_RESULTS: Final[dict[str, dict[str, object]]] = {
    "initialize": {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "erp", "version": "1"},
    },
    "tools/list": {"tools": [TOOL]},
    "tools/call": {"content": [{"type": "text", "text": TEXT}]},
}


def answer(head: bytes, body: bytes) -> bytes:
    """Returns the answer to a request, whole."""
    if not head.startswith(b"POST"):
        return b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n"
    message = orjson.loads(body)
    if "id" not in message:
        return b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n"
    result = {"resultType": "complete", **_RESULTS.get(message["method"], {})}
    said = orjson.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result})
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (
        len(said),
        said,
    )


class Connection(asyncio.Protocol):
    """Answers request after request."""

    def __init__(self) -> None:
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's is of no class of asyncio's
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _LENGTH.search(head)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            body, self._buffer = self._buffer[end + 4 : whole], self._buffer[whole:]
            assert self._transport is not None
            self._transport.write(answer(head, body))


async def serve(port: int) -> None:
    """Serves until the process ends."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
