"""Ends a worker without failing a call: it serves on while endpoints leave the load balancers, then closes one by one."""

from typing import Final, Protocol

from relay.calls.attempts.unheard_answers.drained_answers import DrainedAnswers
from relay.calls.client_connections import ClientConnections

QUIET_SECONDS: Final = 1.0
"""A connection idle this long is closed; a shorter pause may end in a request that would cross the close."""
ABORT_SECONDS: Final = 1.0
"""Kept back from the drain's time for aborting what has not ended."""


class Listener(Protocol):
    """A server that can stop to accept connections."""

    def close(self) -> None:
        """Accepts no more connections."""


class Drain:
    """Advanced once a second. Answers say `connection: close` from the start. Those that are read on for their usage are waited for too."""

    def __init__(
        self,
        connections: ClientConnections,
        server: Listener,
        *,
        drained_answers: DrainedAnswers,
        now: float,
        accept_seconds: float,
        drain_seconds: float,
    ) -> None:
        self._connections = connections
        self._server = server
        self._drained_answers = drained_answers
        self._accept_until = now + min(accept_seconds, drain_seconds)
        self._until = now + max(0.0, drain_seconds - ABORT_SECONDS)
        self.over = False

    def advance(self, now: float) -> None:
        """Does what is due; sets `over` when no connection is left or the time is up."""
        if now < self._accept_until:
            return
        self._server.close()
        for connection in list(self._connections.open):
            if connection.idle and now - connection.idle_since() >= QUIET_SECONDS:
                connection.close()
        if not self._connections.open and not self._drained_answers.are_any:
            self.over = True
        elif now >= self._until:
            # first: whose connection is aborted is read on no more
            self._drained_answers.stop()
            self._connections.abort_all()
            self.over = True
