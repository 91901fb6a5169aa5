"""A provider that answers every request with bytes given in advance: for answers that no simulator should give."""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.blackbox.accepting import accept_on

READ_BYTES = 65536
GATE_SECONDS = 20.0

Script = bytes | tuple[bytes | float | threading.Event, ...]
"""An answer: its bytes, or pieces of them with what the provider waits for in between, seconds or an event of the test."""


@dataclass(slots=True)
class ScriptedProvider:
    """Answers request after request on each connection with `answers`, the last one again and again.

    With `hangs` a connection is read and never answered, with `closes` it ends after its first answer. `heads` holds what each request began with, `closed` how many
    connections the relay ended, `connections` how many it opened.
    """

    answers: Sequence[Script]
    hangs: bool = False
    closes: bool = False
    reads_body: bool = True
    heads: list[bytes] = field(default_factory=list)
    closed: int = 0
    connections: int = 0
    port: int = 0
    listener: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def stop_listening(self) -> None:
        """Takes no more connections; those that are open stay."""
        listener, self.listener = self.listener, None
        if listener is not None:
            # close alone would leave the accepting thread waiting
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def serve(self, connection: socket.socket) -> None:
        """Answers on one connection until the relay ends it."""
        self.connections += 1
        with connection:
            buffer = b""
            while (request := self._request(connection, buffer)) is not None:
                head, buffer = request
                self.heads.append(head)
                if self.hangs:
                    while self._read(connection):
                        pass
                    return
                try:
                    play(self.answers[min(len(self.heads), len(self.answers)) - 1], connection)
                except OSError:  # the relay reset the connection
                    self.closed += 1
                    return
                if self.closes:
                    return

    def _request(self, connection: socket.socket, buffer: bytes) -> tuple[bytes, bytes] | None:
        """Reads a head, and its body if bodies are read; returns the head and what came after it."""
        while b"\r\n\r\n" not in buffer:
            if not (data := self._read(connection)):
                return None
            buffer += data
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        missing = content_length(head) if self.reads_body else 0
        while missing > len(buffer):
            missing -= len(buffer)
            if not (buffer := self._read(connection)):
                return None
        return head, buffer[missing:]

    def _read(self, connection: socket.socket) -> bytes:
        try:
            data = connection.recv(READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self.closed += 1
        return data


def play(script: Script, connection: socket.socket) -> None:
    """Sends an answer piece by piece."""
    for piece in (script,) if isinstance(script, bytes) else script:
        if isinstance(piece, bytes):
            connection.sendall(piece)
        elif isinstance(piece, float):
            time.sleep(piece)
        else:
            assert piece.wait(GATE_SECONDS), "the test never opened the gate"


def content_length(head: bytes) -> int:
    """Returns the length a request's head announces; 0 without one."""
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length":
            return int(value)
    return 0


@contextmanager
def scripted(provider: ScriptedProvider) -> Iterator[ScriptedProvider]:
    """Listens on a free port while the block runs."""
    listener = provider.listener = socket.create_server(("127.0.0.1", 0))
    provider.port = listener.getsockname()[1]
    accept_on(listener, provider.serve)
    try:
        yield provider
    finally:
        provider.stop_listening()


def unary(body: bytes, *, status: bytes = b"200 OK", fields: bytes = b"") -> bytes:
    """Returns a JSON answer with its length."""
    head = b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n"
    return head % (status, len(body), fields) + body


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
END = b"0\r\n\r\n"


def piece(data: bytes) -> bytes:
    """Returns one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def stream(events: bytes, *, fields: bytes = b"", length: bool = False) -> bytes:
    """Returns an event stream, framed by its length or in one chunk."""
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n" + fields
    if length:
        return head + b"content-length: %d\r\n\r\n" % len(events) + events
    return head + b"transfer-encoding: chunked\r\n\r\n" + (piece(events) if events else b"") + END


CHAT_ANSWER = (
    b'{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,'
    b'"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}'
)


def chunk(delta: str, finish: str = "null") -> bytes:
    """Returns one event of a chat stream."""
    return (
        f'data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"m",'
        f'"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}\n\n'
    ).encode()


USAGE_CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[],'
    b'"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n'
)
DONE = b"data: [DONE]\n\n"
GOOD_STREAM = (
    chunk('{"role":"assistant"}')
    + chunk('{"content":"hi"}')
    + chunk("{}", '"stop"')
    + USAGE_CHUNK
    + DONE
)
