"""A port of the operator's pod that everybody may connect to but relays, and who did."""

import asyncio
import ipaddress
import time
from collections.abc import Callable
from typing import Final

from relay_contract.isolation_probe import DECOY_PORT

_MOST_REMEMBERED: Final = 1024
_BACKLOG: Final = 64


class Decoy:
    """Closes every connection at once, and remembers the addresses of those that came last."""

    def __init__(
        self, *, port: int = DECOY_PORT, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._port = port
        self._clock = clock
        self._arrived: dict[str, float] = {}

    async def run(self) -> None:
        """Serves until cancelled."""
        # several operators may share a host's network
        server = await asyncio.start_server(
            self._accept, port=self._port, backlog=_BACKLOG, reuse_port=True
        )
        async with server:
            self._port = server.sockets[0].getsockname()[1]
            await server.serve_forever()

    @property
    def port(self) -> int:
        return self._port

    def arrived(self, address: str, *, within_seconds: float) -> bool:
        """Tells whether somebody connected from this address a moment ago."""
        at = self._arrived.get(address)
        return at is not None and self._clock() - at <= within_seconds

    async def _accept(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        # nothing is read: what it sent makes no difference
        writer.transport.abort()
        if peer:
            self._remember(str(peer[0]))

    def _remember(self, text: str) -> None:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        key = str(mapped or address)
        # the latest last, so that the first is the one to forget
        self._arrived.pop(key, None)
        self._arrived[key] = self._clock()
        if len(self._arrived) > _MOST_REMEMBERED:
            del self._arrived[next(iter(self._arrived))]
