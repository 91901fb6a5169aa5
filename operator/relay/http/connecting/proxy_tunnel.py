"""A connection to a provider through an HTTP proxy: a tunnel (CONNECT, RFC 9110 section 9.3.6), and TLS in it.

The proxy resolves the provider's name. What the tunnel carries is verified against that name, so the proxy can refuse and
read nothing.
"""

import asyncio
import re
import ssl
from dataclasses import dataclass
from typing import Any, Final, cast

from mypy_extensions import mypyc_attr

from relay.http.upstream import UpstreamConnection

MAX_ANSWER_BYTES: Final = 16 * 1024
"""Bounds all that a proxy sends before the tunnel."""
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_BEGINNING: Final = b"HTTP/1."
_CREDENTIALS_REFUSED: Final = 407


@mypyc_attr(native_class=False)
class ProxyFailed(OSError):
    """A proxy gave no tunnel; the message says why, and nothing that the proxy said but its status."""


@dataclass(frozen=True, slots=True)
class ProxyAddress:
    """Describes the address of a proxy. credentials_file names the file of its user and password; None sends none."""

    host: str
    port: int
    credentials_file: str | None


def authority(host: str, port: int) -> str:
    """Returns host and port as a request target has them (RFC 9110 section 4.2.1)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class ProxyTunnel:
    """An asyncio protocol that asks a proxy for a tunnel; `opened` tells when it is there, or raises ProxyFailed."""

    __slots__ = ("_answer", "_request", "_taken", "opened", "transport")

    def __init__(self, target: str, authorization: bytes) -> None:
        line = target.encode()
        self._request = b"CONNECT %b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % (line, line, authorization)
        self._answer = b""
        self._taken = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self.opened.done():
            self._answer += data
            return
        self._taken += len(data)
        try:
            if self._taken > MAX_ANSWER_BYTES:
                raise ProxyFailed(f"it sent more than {MAX_ANSWER_BYTES} bytes before the tunnel")
            self._answer += data
            opened = self._read()
        except ProxyFailed as error:
            self.opened.set_exception(error)
            return
        if opened:
            self.opened.set_result(None)

    def _read(self) -> bool:
        """Reads heads as far as they are there; returns True at the one that opens the tunnel."""
        while True:
            head, end, rest = self._answer.partition(b"\r\n\r\n")
            if not head.startswith(_BEGINNING[: len(head)]):
                raise ProxyFailed("its answer is not HTTP")
            if not end:
                return False
            status = _status(head)
            if status >= 200:
                return _is_open(status, rest)
            self._answer = rest

    @property
    def is_clean(self) -> bool:
        """Returns whether nothing has come through the tunnel; TLS begins with the relay's own message."""
        return self._answer.endswith(b"\r\n\r\n")

    def eof_received(self) -> None:
        self.connection_lost(None)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ProxyFailed("it closed the connection without an answer"))

    def pause_writing(self) -> None:
        """Does nothing: the request is written whole."""

    def resume_writing(self) -> None:
        """As above."""


def _status(head: bytes) -> int:
    found = _STATUS_LINE.match(head.partition(b"\r\n")[0])
    if found is None:
        raise ProxyFailed("its answer is not HTTP")
    return int(found.group(1))


def _is_open(status: int, rest: bytes) -> bool:
    if status == _CREDENTIALS_REFUSED:
        raise ProxyFailed("it wants other credentials (407)")
    if status >= 300:
        raise ProxyFailed(f"it refused the tunnel ({status})")
    # a length in this head says nothing (RFC 9110 section 9.3.6): what follows would be the provider's
    if rest:
        raise ProxyFailed("it sent bytes that the provider cannot have sent")
    return True


async def connect_through(
    connection: UpstreamConnection,
    *,
    address: str,
    port: int,
    target: tuple[str, int],
    tls_name: str,
    authorization: bytes,
    tls: ssl.SSLContext,
) -> None:
    """Connects to the target through the proxy at this address, with TLS verified against the target's name in certificates.

    authorization is a whole header line or empty. Raises OSError.
    """
    loop = asyncio.get_running_loop()
    host, target_port = target
    tunnel = ProxyTunnel(authority(host, target_port), authorization)
    transport, _ = await loop.create_connection(
        lambda: cast(asyncio.Protocol, tunnel), address, port
    )
    secured = False
    try:
        await tunnel.opened
        if not tunnel.is_clean:
            raise ProxyFailed("it sent bytes that the provider cannot have sent")
        # what comes with the end of the handshake is read before the handshake is reported here
        connection.transport = transport
        wrapped = await loop.start_tls(
            transport, cast(asyncio.Protocol, connection), tls, server_hostname=tls_name
        )
        if wrapped is None or wrapped.is_closing():
            raise ConnectionResetError("closed by the provider at once")
        connection.connection_made(wrapped)
        secured = True
    finally:
        if not secured:
            transport.abort()
            if tunnel.opened.done() and not tunnel.opened.cancelled():
                # given up at the moment at which it failed: the event loop would log it as forgotten
                tunnel.opened.exception()
