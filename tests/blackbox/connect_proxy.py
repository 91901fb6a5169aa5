"""An HTTP proxy that gives tunnels, or fails to in every way that the test asks for."""

import contextlib
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.blackbox.accepting import accept_on
from tests.blackbox.scripted import READ_BYTES, Script, play

OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass(slots=True)
class ConnectProxy:
    """Answers each CONNECT with `answer`; with `tunnels` it then passes bytes on to where `names` says that the target is.

    `heads` holds what it was asked.
    """

    names: Mapping[str, int]
    answer: Script = OPEN
    tunnels: bool = True
    closes: bool = False
    heads: list[str] = field(default_factory=list)
    port: int = 0

    @property
    def targets(self) -> list[str]:
        """Returns what tunnels were asked for to."""
        return [head.split(" ")[1] for head in self.heads]

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            head = b""
            while not head.endswith(b"\r\n\r\n"):
                piece = connection.recv(1)
                if not piece:
                    return
                head += piece
            self.heads.append(head.decode())
            play(self.answer, connection)
            if self.tunnels:
                with socket.create_connection(("127.0.0.1", self._port_of_target())) as there:
                    self._pass_on(connection, there)
            elif not self.closes:
                while connection.recv(READ_BYTES):
                    pass

    def _port_of_target(self) -> int:
        return self.names[self.targets[-1]]

    def _pass_on(self, here: socket.socket, there: socket.socket) -> None:
        back = threading.Thread(target=pump, args=(there, here), daemon=True)
        back.start()
        pump(here, there)
        back.join(10)


def pump(source: socket.socket, sink: socket.socket) -> None:
    """Passes on what comes until there is no more."""
    with contextlib.suppress(OSError):
        while data := source.recv(READ_BYTES):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def listening(proxy: ConnectProxy) -> Iterator[ConnectProxy]:
    """Listens on a free port while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    proxy.port = listener.getsockname()[1]
    accept_on(listener, proxy.serve)
    try:
        yield proxy
    finally:
        # close alone would leave the accepting thread waiting
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
