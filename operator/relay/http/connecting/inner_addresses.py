"""Addresses that a connection does not leave the pod or its link for, so that no network policy is asked.

The operator refuses them where a Provider names them. A name that stands for one (public names for 127.0.0.1 exist, and every
pod's hosts file has some) would lead calls to the relay's own ports.
"""

import ipaddress
import socket
from typing import Final

_ANY_PORT: Final = 9


def may_lead_inside(host: str) -> bool:
    """Tells whether a host says openly that it may be inside: an address, or a name under localhost (RFC 6761 section 6.3).

    The operator has judged these.
    """
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        # also other spellings of addresses, which the name service reads: 127.1, 0x7f000001
        return False
    return True


def is_inner(address: str) -> bool:
    """Tells whether an address is loopback, link-local, unspecified or multicast, also as IPv4 inside IPv6."""
    found: ipaddress.IPv4Address | ipaddress.IPv6Address = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast


def is_own(address: str) -> bool:
    """Tells whether an address is one of this pod's own: the kernel would call itself from it. Sends nothing."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, _ANY_PORT))
            return str(probe.getsockname()[0]) == address
    except OSError:
        # no way leads there
        return False
