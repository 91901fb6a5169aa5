"""How a worker ends without failing anyone: serve on while endpoints leave the load balancers, then let go one by one."""

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from relay.calls.call_service import CallService

QUIET_SECONDS: Final = 1.0
"""A connection idle this long is closed; a shorter pause may end in a request that would cross the close."""
CUT_SECONDS: Final = 1.0
"""Kept back from the drain's time for cutting off what has not ended."""


class Drain:
    """Advanced once a second. Answers say `connection: close` from the start."""

    def __init__(
        self,
        service: "CallService",
        server: asyncio.Server,
        *,
        now: float,
        accept_seconds: float,
        drain_seconds: float,
    ) -> None:
        self._service = service
        self._server = server
        self._accept_until = now + min(accept_seconds, drain_seconds)
        self._until = now + max(0.0, drain_seconds - CUT_SECONDS)
        self.over = False

    def advance(self, now: float) -> None:
        """Whatever is due is done; `over` is set when no connection is left or the time is up."""
        if now < self._accept_until:
            return
        self._server.close()
        for connection in list(self._service.connections):
            if connection.idle and now - connection.idle_since() >= QUIET_SECONDS:
                connection.close()
        if not self._service.connections:
            self.over = True
        elif now >= self._until:
            self._service.cut_all()
            self.over = True
