"""Opens the listening sockets of both ports, for IPv6 and IPv4 alike where the kernel has both."""

import errno
import socket
from typing import Final

EVERY_ADDRESS: Final = "::"
EVERY_IPV4_ADDRESS: Final = "0.0.0.0"
BACKLOG: Final = 4096
_NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
"""What a kernel without IPv6 says, by the way in which it was taken away."""


def listening_socket(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Opens a socket that listens; raises OSError.

    On `::` it takes IPv4 too, and on a kernel without IPv6 IPv4 alone. Of several shared sockets on one port each gets a
    part of the connections (SO_REUSEPORT).
    """
    if host != EVERY_ADDRESS:
        return _listening(host, port, shared=shared)
    try:
        return _listening(host, port, shared=shared)
    except OSError as error:
        if error.errno not in _NO_IPV6:
            raise
        return _listening(EVERY_IPV4_ADDRESS, port, shared=shared)


def _listening(host: str, port: int, *, shared: bool) -> socket.socket:
    is_v6 = ":" in host
    opened = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if is_v6:
            opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        opened.bind((host, port))
        opened.listen(BACKLOG)
        opened.setblocking(False)
    except BaseException:
        opened.close()
        raise
    return opened
