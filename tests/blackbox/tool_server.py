"""A tool server that speaks MCP 2026-07-28 without sessions: real HTTP, and on demand what no server should say."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, str, bytes]
"""Status, content type and body."""
Behaviour = Callable[[dict[str, Any]], Reply]
EVENTS = "text/event-stream"


@dataclass(slots=True)
class ToolServer:
    """Lists `tools` on pages of `page_size`, and answers a call with its tool and arguments, or as `behaviours` has it by tool.

    Where it `acknowledges`, it says so of every subscription, whose filter is then what it tells of: `say` sends to all of them.
    """

    tools: list[dict[str, Any]]
    page_size: int = 100
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    requests: list[tuple[dict[str, str], dict[str, Any]]] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    acknowledges: Callable[[dict[str, Any]], bytes] | None = None
    streams: "list[queue.Queue[bytes | None]]" = field(default_factory=list)
    port: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def calls(self) -> list[dict[str, Any]]:
        """Returns the calls of tools that arrived."""
        return [body["params"] for _, body in self.requests if body["method"] == "tools/call"]

    def say(self, content: bytes | None) -> None:
        """Sends a message on every open stream; None ends them."""
        with self.lock:
            for stream in self.streams:
                stream.put(content)

    def reply(self, body: dict[str, Any]) -> Reply:
        """Returns the answer to a request."""
        method, params = body["method"], body["params"]
        if method == "tools/list":
            return result(body, self._page(params.get("cursor")))
        if method == "tools/call":
            behave = self.behaviours.get(params["name"])
            return behave(body) if behave is not None else result(body, called(params))
        return 404, "application/json", error(body, -32601, f"{method}: upstream words")

    def _page(self, cursor: str | None) -> dict[str, Any]:
        start = int(cursor or 0)
        end = start + self.page_size
        more = {"nextCursor": str(end)} if end < len(self.tools) else {}
        listed = {"tools": self.tools[start:end], "ttlMs": 300_000, "cacheScope": "public"}
        return {"resultType": "complete", **listed, **more, "_meta": {"total": len(self.tools)}}


def called(params: dict[str, Any]) -> dict[str, Any]:
    """Returns the result of a call: what was asked."""
    text = json.dumps([params["name"], params.get("arguments")])
    return {"resultType": "complete", "content": [{"type": "text", "text": text}]}


def message(body: dict[str, Any], content: dict[str, Any]) -> bytes:
    """Returns the message that answers a request with this result."""
    return json.dumps({"jsonrpc": "2.0", "id": body["id"], "result": content}).encode()


def result(body: dict[str, Any], content: dict[str, Any]) -> Reply:
    """Returns the answer with this result."""
    return 200, "application/json", message(body, content)


def error(body: dict[str, Any], code: int, words: str) -> bytes:
    """Returns the message that answers a request with an error."""
    content = {"code": code, "message": words}
    return json.dumps({"jsonrpc": "2.0", "id": body["id"], "error": content}).encode()


def events(*messages: bytes) -> Reply:
    """Returns the answer as a stream of these messages."""
    return 200, EVENTS, b"".join(b"event: message\r\ndata: %b\r\n\r\n" % one for one in messages)


def note(method: str, **params: Any) -> bytes:
    """Returns a notification."""
    return json.dumps({"jsonrpc": "2.0", "method": method, "params": params}).encode()


@contextmanager
def serving(
    server: ToolServer, address: tuple[str, int] = ("127.0.0.1", 0)
) -> Iterator[ToolServer]:
    """Serves at an address, or on a port of its own, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["content-length"]))
            body = json.loads(raw)
            with server.lock:
                fields = {name.lower(): value for name, value in self.headers.items()}
                server.requests.append((fields, body))
                server.raw.append(raw)
            if body["method"] == "subscriptions/listen" and server.acknowledges is not None:
                self._stream(server.acknowledges(body))
                return
            status, content_type, content = server.reply(body)
            self.send_response(status)
            self.send_header("content-type", content_type)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _stream(self, first: bytes) -> None:
            told: queue.Queue[bytes | None] = queue.Queue()
            told.put(first)
            with server.lock:
                server.streams.append(told)
            self.close_connection = True
            self.send_response(200)
            self.send_header("content-type", EVENTS)
            self.send_header("connection", "close")
            self.end_headers()
            while (content := told.get()) is not None:
                self.wfile.write(b"event: message\r\ndata: %b\r\n\r\n" % content)
                self.wfile.flush()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
            """Writes nothing."""

    listener = ThreadingHTTPServer(address, Handler)
    listener.daemon_threads = True
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
