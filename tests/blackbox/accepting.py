"""Accepts connections on a thread of its own, each served on another."""

import socket
import threading
from collections.abc import Callable


def accept_on(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    """Serves every connection of a listener, until that is shut down."""

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
