"""Asks the kernel about the other side of a connection."""

import fcntl
import select
import struct
import termios
from typing import Final

_GONE: Final = select.POLLRDHUP | select.POLLHUP | select.POLLERR


def peer_has_left(descriptor: int) -> bool:
    """Returns whether the peer has closed its sending side or the connection, also while data of it is still unread."""
    poll = select.poll()
    poll.register(descriptor, _GONE)
    return bool(poll.poll(0))


def unread_bytes(descriptor: int) -> int:
    """Returns the number of bytes from the peer that wait in the kernel (SIOCINQ, tcp(7)); 0 if unknown."""
    buffer = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.FIONREAD, buffer)
    except (OSError, ValueError):
        return 0
    (unread,) = struct.unpack("i", buffer)
    return int(unread)
