"""Connections to thousands of relay pods, some of them held open by questions that a pod answers once it has news.

The client's pool goes through all its connections whenever a request begins or ends, several times, and through all of them again
for each that is idle (httpcore, `_assign_requests_to_connections`). So pods are spread over many pools, by their addresses.
"""

import ssl
import zlib
from collections.abc import Callable
from typing import Final

import httpx

_POOLS: Final = 128
_LIMITS: Final = httpx.Limits(
    # the publisher bounds the pushes of each tenant; a pool would let one tenant's hold up all others'
    max_connections=None,
    max_keepalive_connections=1,
    keepalive_expiry=30,
)


def to_pods() -> httpx.AsyncBaseTransport:
    """Returns what requests to pods go through, over TCP."""
    # nothing at a pod is spoken to by TLS, and each pool would load the authorities of the system
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    return Spread(lambda: httpx.AsyncHTTPTransport(verify=unused, limits=_LIMITS, trust_env=False))


class Spread(httpx.AsyncBaseTransport):
    """Sends the requests to one address through one of many transports, always the same."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport]) -> None:
        self._transports = tuple(make() for _ in range(_POOLS))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends a request; raises as the transport does."""
        number = zlib.crc32(request.url.host.encode()) % _POOLS
        return await self._transports[number].handle_async_request(request)

    async def aclose(self) -> None:
        """Closes all connections."""
        for transport in self._transports:
            await transport.aclose()
