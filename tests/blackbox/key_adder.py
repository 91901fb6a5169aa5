"""Adds a tenant's key to each request on its way to a relay: for clients that cannot be told of one."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from tests.blackbox.accepting import accept_on
from tests.blackbox.connect_proxy import pump
from tests.blackbox.scripted import READ_BYTES, content_length

END = b"\r\n\r\n"


@contextlib.contextmanager
def adding(key: str, port: int) -> Iterator[int]:
    """Listens while the block runs, on the port that it returns, for requests to a port; nothing else of them is another."""
    listener = socket.create_server(("127.0.0.1", 0))
    accept_on(listener, lambda connection: _pass_on(connection, key, port))
    try:
        yield listener.getsockname()[1]
    finally:
        # close alone would leave the accepting thread waiting
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _pass_on(here: socket.socket, key: str, port: int) -> None:
    with here, socket.create_connection(("127.0.0.1", port)) as there, contextlib.suppress(OSError):
        back = threading.Thread(target=pump, args=(there, here), daemon=True)
        back.start()
        _add(here, there, f"\r\nauthorization: Bearer {key}".encode())
        there.shutdown(socket.SHUT_WR)
        back.join()


def _add(here: socket.socket, there: socket.socket, field: bytes) -> None:
    """Passes on request after request. Their bodies have a length."""
    buffer = b""
    while True:
        while END not in buffer:
            if not (data := here.recv(READ_BYTES)):
                return
            buffer += data
        head, _, buffer = buffer.partition(END)
        missing = content_length(head)
        assert b"transfer-encoding" not in head.lower()
        there.sendall(head + field + END)
        while missing:
            if not buffer and not (buffer := here.recv(READ_BYTES)):
                return
            there.sendall(buffer[:missing])
            taken = min(missing, len(buffer))
            missing, buffer = missing - taken, buffer[taken:]
