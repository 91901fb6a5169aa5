"""Connects to the first of several addresses that answers (RFC 8305 section 5, "Happy Eyeballs").

An address that drops packets says nothing until the deadline. So the next one is tried a moment later, beside it, and the
first connection wins.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Final

from mypy_extensions import trait

from relay.http.upstream import UpstreamConnection

ATTEMPT_DELAY_SECONDS: Final = 0.25
"""RFC 8305 section 8 recommends 250 ms."""


@trait
class Connector(ABC):
    """Opens connections to one provider."""

    @abstractmethod
    async def connect_to(self, address: str) -> UpstreamConnection:
        """Opens a connection, with TLS where the provider has it; raises OSError or ValueError."""


class Winner:
    """The connection, and the addresses tried before its own, which failed or are still silent."""

    __slots__ = ("beaten", "connection")

    def __init__(self, connection: UpstreamConnection, beaten: list[str]) -> None:
        self.connection = connection
        self.beaten = beaten


class AddressRace:
    """One connection that is being opened. Raises the last error when every address has failed."""

    __slots__ = ("_addresses", "_connector", "_error", "_running", "_tried")

    def __init__(self, connector: Connector, addresses: Sequence[str]) -> None:
        self._connector = connector
        self._addresses = addresses
        self._tried: list[str] = []
        self._running: dict[asyncio.Task[UpstreamConnection], str] = {}
        self._error: Exception = OSError("no address")

    async def run(self) -> Winner:
        """Tries the addresses in order, each a moment after the one before it, or as soon as that has failed."""
        try:
            while True:
                winner = self._winner()
                if winner is not None:
                    return winner
                if len(self._tried) < len(self._addresses):
                    self._start(self._addresses[len(self._tried)])
                elif not self._running:
                    raise self._error
                await self._wait()
        finally:
            self._stop()

    def _start(self, address: str) -> None:
        self._tried.append(address)
        attempt = asyncio.get_running_loop().create_task(self._connector.connect_to(address))
        self._running[attempt] = address

    async def _wait(self) -> None:
        more = len(self._tried) < len(self._addresses)
        await asyncio.wait(
            list(self._running),
            timeout=ATTEMPT_DELAY_SECONDS if more else None,
            return_when=asyncio.FIRST_COMPLETED,
        )

    def _winner(self) -> Winner | None:
        """Returns the first open connection; forgets attempts that failed."""
        for attempt in [attempt for attempt in self._running if attempt.done()]:
            address = self._running.pop(attempt)
            error = attempt.exception()
            if error is None:
                return Winner(attempt.result(), self._tried[: self._tried.index(address)])
            if not isinstance(error, (OSError, ValueError)):
                raise error
            self._error = error
        return None

    def _stop(self) -> None:
        """Ends the other attempts; a second connection that was opened meanwhile is closed."""
        for attempt in self._running:
            attempt.cancel()
            attempt.add_done_callback(_close_unused)
        self._running = {}


def _close_unused(attempt: "asyncio.Task[UpstreamConnection]") -> None:
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().close()
