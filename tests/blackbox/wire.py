"""A raw HTTP/1.1 client: sends exactly the bytes it is given and reads answers piece by piece, with deadlines."""

import socket
import ssl
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import orjson

READ_BYTES = 65536
DEADLINE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer; header names in lower case. body is empty until it has been read."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """Returns the value of a header that may appear at most once."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} appears {len(values)} times: {values}"
        return values[0] if values else None

    def json(self) -> Any:
        """Returns the body as JSON; a failure shows the body."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise AssertionError(
                f"{self.status} with a body that is no JSON: {self.body!r}"
            ) from error

    def error(self) -> dict[str, Any]:
        """Returns the error object; asserts OpenAI's shape around it."""
        assert self.header("content-type") == "application/json", self
        body = self.json()
        assert isinstance(body, dict), body
        assert set(body) == {"error"}, body
        assert {"message", "type", "param", "code"} <= set(body["error"]), body
        error: dict[str, Any] = body["error"]
        return error


class Gone(AssertionError):
    """The peer ended the connection too early; seen holds what had arrived."""

    def __init__(self, message: str, seen: bytes) -> None:
        super().__init__(f"{message}; got {seen[-500:]!r}")
        self.seen = seen


class Wire:
    """A connection. Reading past the deadline raises AssertionError with what had arrived by then."""

    def __init__(
        self,
        port: int,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
        receive_buffer_bytes: int | None = None,
    ) -> None:
        connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer_bytes is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        connection.settimeout(deadline_seconds)
        try:
            connection.connect(("127.0.0.1", port))
            self._socket = (
                tls.wrap_socket(connection, server_hostname=server_name) if tls else connection
            )
        except BaseException:
            connection.close()
            raise
        self._deadline_seconds = deadline_seconds
        self._buffer = b""
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection in order."""
        self._socket.close()

    def peer_certificate(self) -> bytes:
        """Returns the server's certificate as DER."""
        assert isinstance(self._socket, ssl.SSLSocket)
        certificate = self._socket.getpeercert(binary_form=True)
        assert certificate is not None
        return certificate

    def reset(self) -> None:
        """Closes the connection with a TCP reset."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        self._socket.close()

    def half_close(self) -> None:
        """Closes the sending side; the other direction stays open."""
        self._socket.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Sends all of the data to the kernel."""
        self._socket.settimeout(self._deadline_seconds)
        self._socket.sendall(data)

    def answer(self) -> Answer:
        """Reads the next answer, skipping informational ones."""
        head = self.head()
        while 100 <= head.status < 200:
            head = self.head()
        return self.body_of(head)

    def head(self) -> Answer:
        """Reads the next answer's head."""
        text = self.until(b"\r\n\r\n").decode("latin-1")
        first, *lines = text[:-4].split("\r\n")
        version, status, *_ = first.split(" ", 2)
        assert version in ("HTTP/1.1", "HTTP/1.0"), first
        pairs = (line.partition(":") for line in lines)
        headers = tuple((name.lower(), value.strip()) for name, _, value in pairs)
        return Answer(int(status), headers)

    def body_of(self, head: Answer) -> Answer:
        """Reads the answer's body, framed as RFC 9112, 6.3 says."""
        if head.status in (204, 304):
            return head
        if head.header("transfer-encoding") == "chunked":
            body = b"".join(iter(self.chunk, b""))
        elif (length := head.header("content-length")) is not None:
            body = self.exactly(int(length))
        else:
            body = self.rest()
        return Answer(head.status, head.headers, body)

    def chunk(self) -> bytes:
        """Reads the next chunk of a chunked body; empty at its end."""
        size = int(self.until(b"\r\n").partition(b";")[0].strip(), 16)
        data = self.exactly(size)
        assert self.exactly(2) == b"\r\n"
        return data

    def until(self, mark: bytes) -> bytes:
        """Reads up to and with the mark."""
        while mark not in self._buffer:
            self._fill(f"waiting for {mark!r}")
        data, _, self._buffer = self._buffer.partition(mark)
        return data + mark

    def exactly(self, size: int) -> bytes:
        """Reads that many bytes."""
        while len(self._buffer) < size:
            self._fill(f"waiting for {size} bytes")
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data

    def some(self) -> bytes:
        """Reads whatever is there, at least a byte, without buffering more."""
        if not self._buffer:
            self._fill("waiting for anything")
        data, self._buffer = self._buffer, b""
        return data

    @property
    def has_ended(self) -> bool:
        """Returns True once the end of the connection was seen; does not read."""
        return self._ended

    def rest(self) -> bytes:
        """Reads until the peer ends the connection, in whatever way."""
        try:
            while True:
                self._fill("waiting for the end of the connection")
        except Gone:
            data, self._buffer = self._buffer, b""
            return data

    def ended(self) -> bool:
        """Returns True once the peer has ended the connection and nothing unread is left."""
        return self.rest() == b""

    def pending(self, within_seconds: float) -> bytes:
        """Returns whatever arrives in that time, without consuming it."""
        deadline = time.monotonic() + within_seconds
        while (left := deadline - time.monotonic()) > 0 and not self._ended:
            self._socket.settimeout(left)
            try:
                self._take()
            except TimeoutError:
                break
        return self._buffer

    def _fill(self, purpose: str) -> None:
        if self._ended:
            raise Gone(f"the connection ended while {purpose}", self._buffer)
        self._socket.settimeout(self._deadline_seconds)
        try:
            self._take()
        except TimeoutError as error:
            raise AssertionError(
                f"nothing for {self._deadline_seconds} s while {purpose}; got {self._buffer[-500:]!r}"
            ) from error
        if self._ended:
            raise Gone(f"the connection ended while {purpose}", self._buffer)

    def _take(self) -> None:
        try:
            data = self._socket.recv(READ_BYTES)
        except (ConnectionResetError, BrokenPipeError, ssl.SSLError):
            data = b""
        self._buffer += data
        self._ended = not data


def request_bytes(
    method: str, target: str, headers: dict[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Returns a well-formed request; Content-Length is added when there is a body."""
    lines = [f"{method} {target} HTTP/1.1"]
    fields = {"host": "relay.test", **(headers or {})}
    if body and not {"content-length", "transfer-encoding"} & fields.keys():
        fields["content-length"] = str(len(body))
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
