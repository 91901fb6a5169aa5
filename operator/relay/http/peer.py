"""Asks the kernel about the other side of a connection."""

import select
from typing import Final

_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def peer_has_left(descriptor: int) -> bool:
    """Returns whether the peer has closed its sending side or the connection, also while data of it is still unread."""
    poll = select.poll()
    poll.register(descriptor, _GONE)
    return bool(poll.poll(0))
