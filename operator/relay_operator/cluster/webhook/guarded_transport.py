"""Connects to public addresses alone, and to blocks that the platform allows: a receiver's name is no way into the cluster.

The address that is checked is the one that is connected to. A name that leads elsewhere a moment later (DNS rebinding) changes nothing, and
redirects are not followed by whoever uses this.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

import httpx

from relay_operator.errors import OperatorError
from relay_operator.manifests.addresses.forbidden_addresses import obstacle_of_receiver

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Returns the addresses of a name, for a port; raises OSError."""
_PORTS: Final = {"http": 80, "https": 443}
_CONNECT_SECONDS: Final = 2.0
"""Of each address that another one follows: a network that swallows one family leaves time for the other."""


class AddressRefused(OperatorError):
    """A host none of whose addresses may be connected to; the message says what they are and how to allow them."""


class GuardedTransport(httpx.AsyncBaseTransport):
    """Resolves the host of each request, and sends it through another transport to an address that may be connected to.

    TLS is verified for the name, and the request has it in its Host header.
    """

    def __init__(
        self,
        inner: httpx.AsyncBaseTransport,
        *,
        allowed_cidrs: Sequence[str] = (),
        cluster_cidrs: Sequence[str] = (),
        resolve: Resolve | None = None,
    ) -> None:
        self._inner = inner
        self._allowed_cidrs = allowed_cidrs
        self._cluster_cidrs = cluster_cidrs
        self._resolve = resolve or _resolved

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Sends the request; raises AddressRefused, OSError, or an error of the inner transport."""
        url = request.url
        found = await self._resolve(url.host, url.port or _PORTS[url.scheme])
        *others, last = self._open(url.host, found)
        for address in others:
            try:
                first = _sent_to(request, url, address, connect_seconds=_CONNECT_SECONDS)
                return await self._inner.handle_async_request(first)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                # nothing has left yet: the next address may answer
                continue
        return await self._inner.handle_async_request(_sent_to(request, url, last))

    async def aclose(self) -> None:
        """Closes the inner transport."""
        await self._inner.aclose()

    def _open(self, host: str, found: Sequence[str]) -> list[str]:
        """Returns the addresses that may be connected to, at least one; raises AddressRefused."""
        # IPv6 of a link has its interface behind a percent sign
        obstacles = {
            address: obstacle_of_receiver(
                address.partition("%")[0],
                allowed=self._allowed_cidrs,
                cluster_cidrs=self._cluster_cidrs,
            )
            for address in found
        }
        opened = [address for address, obstacle in obstacles.items() if not obstacle]
        if opened:
            return opened
        told = ", ".join(f"{address} ({why})" for address, why in list(obstacles.items())[:3])
        raise AddressRefused(
            f"{host} leads to {told or 'no address'}: the webhook connects to public addresses; name the receiver's block in "
            "webhook.allowedCIDRs of the chart if it is meant"
        )


def _sent_to(
    request: httpx.Request, url: httpx.URL, address: str, *, connect_seconds: float | None = None
) -> httpx.Request:
    """Returns the request for one address: its Host header, and the name of TLS, stay those of the URL."""
    timeout = dict(request.extensions.get("timeout", {}))
    if connect_seconds is not None:
        timeout["connect"] = connect_seconds
    return httpx.Request(
        request.method,
        url.copy_with(host=address),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "timeout": timeout, "sni_hostname": url.host},
    )


async def _resolved(host: str, port: int) -> Sequence[str]:
    with contextlib.suppress(ValueError):
        return [str(ipaddress.ip_address(host))]
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))
