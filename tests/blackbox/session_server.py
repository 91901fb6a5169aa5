"""A tool server of the era with sessions (MCP 2025-11-25): each session has its own stream, and a count of what it was asked."""

import json
import queue
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar, cast

from tests.blackbox.tool_server import Reply, called, message

EVENT = b"id: %d\r\nevent: message\r\ndata: %b\r\n\r\n"
Spoken = Callable[[BaseHTTPRequestHandler], None]
"""Writes an answer to the connection, or what is none."""


@dataclass(slots=True)
class SessionServer:
    """Lists `tools`. `asks` maps a tool to a request that its call sends to the client first; the call's answer has the reply."""

    tools: list[dict[str, Any]]
    capabilities: dict[str, Any] = field(default_factory=lambda: {"tools": {}, "logging": {}})
    version: str = "2025-11-25"
    asks: dict[str, dict[str, Any]] = field(default_factory=dict)
    streams: dict[str, "queue.Queue[bytes | None]"] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    seen: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    replies: "queue.Queue[Any]" = field(default_factory=queue.Queue)
    has_stream: bool = True
    no_stream_status: int = 405
    told: dict[str, list[bytes]] = field(default_factory=dict)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/mcp"

    def methods(self) -> list[str]:
        """Returns the methods of the messages that arrived, in order."""
        return [body.get("method", "response") for verb, _, _, body in self.seen if verb == "POST"]

    def say(self, content: bytes) -> None:
        """Sends an event on the stream of every session, which it is remembered for."""
        for name, stream in self.streams.items():
            self.told[name].append(content)
            stream.put(content)

    def begin(self) -> str:
        """Begins a session."""
        name = uuid.uuid4().hex
        self.streams[name] = queue.Queue()
        self.counts[name] = 0
        self.told[name] = []
        return name

    def reply(self, body: dict[str, Any], session: str) -> "Reply | Spoken | None":
        """Returns the answer to a request in a session, "" for one without; None: as this server has it."""
        return None if session in self.streams else (404, "application/json", b"")

    def rest(self, last: str) -> Spoken | None:
        """Returns how the stream of a call goes on after an event of it; None: there is none, it is the session's."""
        return None

    def forget(self) -> None:
        """Loses every session, as after a restart."""
        for stream in self.streams.values():
            stream.put(None)
        self.streams.clear()


S = TypeVar("S", bound=SessionServer)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, state: SessionServer, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.state = state


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    @property
    def state(self) -> SessionServer:
        return cast(_Listener, self.server).state

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        session = self._noted(body)
        if not isinstance(body, dict):
            # this server takes no batches
            self._send(400, b"")
            return
        method = body.get("method")
        if method == "initialize":
            name = self.state.begin()
            content = {
                "protocolVersion": self.state.version,
                "capabilities": self.state.capabilities,
                "serverInfo": {"name": "erp-internal", "version": "1"},
                "instructions": "Ask pay for everything.",
            }
            self._send(200, message(body, content), session=name)
        elif "id" in body and method is not None:
            reply = self.state.reply(body, session)
            if reply is None:
                self._answer(body, session)
            elif callable(reply):
                reply(self)
            else:
                status, content_type, answer = reply
                self._send(status, answer, content_type=content_type)
        elif session not in self.state.streams:
            self._send(404, b"")
        else:
            if method is None:
                self.state.replies.put(body)
            self._send(202, b"")

    def do_GET(self) -> None:
        session = self._noted(None)
        stream = self.state.streams.get(session)
        last = self.headers["last-event-id"]
        rest = None if stream is None or last is None else self.state.rest(last)
        if rest is not None:
            rest(self)
            return
        if stream is None or not self.state.has_stream:
            self._send(404 if stream is None else self.state.no_stream_status, b"")
            return
        self._begin_events()
        told = self.state.told[session]
        if last is not None:
            # what was missed; then this server lets the client come again
            for place in range(int(last), len(told)):
                self._event(told[place], place + 1)
            return
        place = len(told)
        self._event(b"", place)
        while (content := stream.get()) is not None:
            place += 1
            self._event(content, place)

    def do_DELETE(self) -> None:
        session = self._noted(None)
        stream = self.state.streams.pop(session, None)
        if stream is not None:
            stream.put(None)
        self._send(200 if stream is not None else 404, b"")

    def _answer(self, body: dict[str, Any], session: str) -> None:
        if body["method"] == "tools/list":
            self._send(200, message(body, {"tools": self.state.tools}))
        elif body["method"] == "tools/call":
            self.state.counts[session] += 1
            self._call(body, session)
        else:
            self._send(200, message(body, {}))

    def _call(self, body: dict[str, Any], session: str) -> None:
        params = body["params"]
        content = {**called(params), "structuredContent": {"count": self.state.counts[session]}}
        content.pop("resultType")
        asked = self.state.asks.get(params["name"])
        if asked is None:
            self._send(200, message(body, content))
            return
        self._begin_events()
        self._event(b"")
        self._event(json.dumps(asked).encode())
        content["structuredContent"] = {"reply": self.state.replies.get(timeout=10)}
        self._event(message(body, content))

    def _noted(self, body: Any) -> str:
        fields = {name.lower(): value for name, value in self.headers.items()}
        session = fields.get("mcp-session-id", "")
        self.state.seen.append((self.command, session, fields, body))
        return session

    def _begin_events(self) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()

    def _event(self, content: bytes, number: int = 1) -> None:
        self.wfile.write(EVENT % (number, content))
        self.wfile.flush()

    def _send(
        self,
        status: int,
        content: bytes,
        *,
        session: str = "",
        content_type: str = "application/json",
    ) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(content)))
        if session:
            self.send_header("mcp-session-id", session)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Writes nothing."""


@contextmanager
def serving_sessions(server: S, port: int = 0, host: str = "127.0.0.1") -> Iterator[S]:
    """Serves on a port, or one of its own, while the block runs."""
    listener = _Listener(server, (host, port))
    server.port = listener.server_address[1]
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.forget()
        listener.shutdown()
        listener.server_close()
        thread.join()
