"""Cuts off the streams that answer POSTs, each after its first event with an id: what a client does then is its own affair."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.blackbox.accepting import accept_on
from tests.blackbox.scripted import READ_BYTES


@dataclass(slots=True)
class StreamCutter:
    """Stands before a port. `cuts` counts the streams that were cut off, `resumed` the requests that named an event."""

    target: int
    port: int = 0
    cuts: int = 0
    resumed: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def pass_on(self, here: socket.socket) -> None:
        """Passes on what a client sends and is sent, until one of both ends it or its stream is cut off."""
        posts, seen = threading.Event(), bytearray()
        with (
            here,
            socket.create_connection(("127.0.0.1", self.target)) as there,
            contextlib.suppress(OSError),
        ):
            ask = threading.Thread(target=self._ask, args=(here, there, posts, seen), daemon=True)
            ask.start()
            self._answer(there, here, posts, seen)
            here.shutdown(socket.SHUT_RDWR)
            there.shutdown(socket.SHUT_RDWR)
            ask.join()

    def _ask(
        self, here: socket.socket, there: socket.socket, posts: threading.Event, seen: bytearray
    ) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(READ_BYTES):
                if data.startswith((b"GET ", b"DELETE ")):
                    posts.clear()
                elif data.startswith(b"POST "):
                    # what was told before is no part of its answer
                    seen.clear()
                    posts.set()
                with self.lock:
                    self.resumed += b"last-event-id: call." in data.lower()
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)

    def _answer(
        self, there: socket.socket, here: socket.socket, posts: threading.Event, seen: bytearray
    ) -> None:
        while data := there.recv(READ_BYTES):
            seen += data
            start = seen.find(b"id: call.") if posts.is_set() else -1
            end = seen.find(b"\n\n", start) if start >= 0 else -1
            if end >= 0:
                with self.lock:
                    self.cuts += 1
                here.sendall(data[: len(data) - (len(seen) - end - 2)])
                return
            here.sendall(data)


@contextlib.contextmanager
def cutting(target: int) -> Iterator[StreamCutter]:
    """Listens while the block runs."""
    listener = socket.create_server(("127.0.0.1", 0))
    cutter = StreamCutter(target, port=listener.getsockname()[1])
    accept_on(listener, cutter.pass_on)
    try:
        yield cutter
    finally:
        # close alone would leave the accepting thread waiting
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
