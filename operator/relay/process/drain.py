"""Ends a worker without failing a call: it serves on while endpoints leave the load balancers, then closes one by one.

An idle connection cannot be told that it ends: HTTP/1.1 says so with an answer alone. A request may always cross its close, so it is
closed as late as the time allows: after its client has given it up by itself, or taken it for a call, whose answer is the last.
"""

from typing import Final, Protocol

from relay.calls.attempts.unheard_answers.drained_answers import DrainedAnswers
from relay.calls.client_connections import ClientConnections
from relay.http.downstream import ClientConnection

IDLE_SECONDS: Final = 16.0
"""A connection idle this long is closed. The pools of common clients keep one for less: undici 4 s, httpx 5 s, aiohttp 15 s."""
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

    def takes_calls(self, now: float) -> bool:
        """Returns whether one more call may come."""
        return now < self._accept_until or bool(self._idle())

    def advance(self, now: float) -> None:
        """Does what is due; sets `over` when no connection is left or the time is up."""
        if now < self._accept_until:
            return
        self._server.close()
        last = now >= self._until
        for connection in self._idle():
            if last or now - connection.idle_since() >= IDLE_SECONDS:
                connection.close()
        if not self._connections.open and not self._drained_answers.are_any:
            self.over = True
        elif last:
            # first: whose connection is aborted is read on no more
            self._drained_answers.stop()
            self._connections.abort_all()
            self.over = True

    def _idle(self) -> list[ClientConnection]:
        return [one for one in self._connections.open if one.idle and not one.closing]
