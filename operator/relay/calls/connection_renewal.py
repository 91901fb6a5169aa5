"""Renews client connections after a network policy has taken callers away.

Most engines decide about new connections alone; one that is there stays, whoever made it. So each is closed once, and its
client comes back through the policy, or does not. Closed like in a drain: no call fails, and each connection has one
more answer at most.
"""

from typing import Final

from relay.calls.client_connections import ClientConnections
from relay.http.downstream import ClientConnection
from relay_contract.document import TenantDocument

QUIET_SECONDS: Final = 1.0
"""A connection idle this long is closed; a shorter pause may end in a request that would cross the close."""
ENFORCED_SECONDS: Final = 5.0
"""Engines follow a policy within a second or two; connections made until then are closed once more."""


class ConnectionRenewal:
    """Advanced once a second."""

    __slots__ = ("_again_at", "_aging", "_connections", "_known", "_patience_seconds", "_until")

    def __init__(self, connections: ClientConnections, *, patience_seconds: float) -> None:
        self._connections = connections
        self._patience_seconds = patience_seconds
        # by the tenant's UID, what its last document told
        self._known: dict[str, int] = {}
        self._aging: set[ClientConnection] = set()
        self._again_at = self._until = 0.0

    def install(self, tenant: TenantDocument, now: float) -> None:
        """Begins a renewal if callers were taken away since the tenant's last document."""
        before = self._known.get(tenant.uid)
        self._known[tenant.uid] = tenant.renewals
        if before is None or tenant.renewals <= before:
            return
        self._again_at = now + ENFORCED_SECONDS
        self._until = self._again_at + self._patience_seconds
        self._begin(now)

    def tick(self, now: float) -> None:
        """Closes what is quiet; aborts what is still there when the time is up."""
        if not self._aging and not self._again_at:
            return
        if self._again_at and now >= self._again_at:
            self._again_at = 0.0
            self._begin(now)
        self._aging &= self._connections.open
        for connection in list(self._aging):
            if now >= self._until:
                connection.abort()
            elif connection.idle and now - connection.idle_since() >= QUIET_SECONDS:
                connection.close()

    def _begin(self, now: float) -> None:
        for connection in self._connections.open:
            connection.end_age(now)
        self._aging |= self._connections.open
