"""Asks the kernel how much of what was sent the other side has taken.

TCP acknowledges a byte only when the other system has it, and every segment, the last one too, says how far it got (RFC 9293
section 3.4). A connection that was closed in order without an acknowledgement of a request was closed by a side that had none
of that request. A reset proves nothing: its acknowledgement is not counted.
"""

import fcntl
import socket
import struct
import termios
from typing import Any, Final

_TCP_INFO_BYTES: Final = 128
_BYTES_ACKED_AT: Final = 120
"""Offset of tcpi_bytes_acked in struct tcp_info (linux/tcp.h), 64 bits."""


def waiting_bytes(descriptor: int) -> int:
    """Returns the number of bytes in the kernel that the other side has not acknowledged (SIOCOUTQ, tcp(7)); 0 if unknown."""
    buffer = bytearray(4)
    try:
        fcntl.ioctl(descriptor, termios.TIOCOUTQ, buffer)
    except OSError:
        return 0
    (waiting,) = struct.unpack("i", buffer)
    return int(waiting)


def acknowledged_bytes(connection: Any) -> int:
    """Returns the number of bytes that the other side has acknowledged in the connection's life; -1 if unknown.

    connection is a socket, or what an event loop has in its place.
    """
    try:
        information = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    except OSError:
        return -1
    if len(information) < _TCP_INFO_BYTES:
        return -1
    (acknowledged,) = struct.unpack_from("Q", information, _BYTES_ACKED_AT)
    return int(acknowledged)
