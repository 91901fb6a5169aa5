"""What tenants can have of each ToolServer, and which tenants follow which: a tenant without grants is in none of it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from relay_operator.api.tenant import Tools
from relay_operator.manifests.tools.tool_use import Offer, Offers


@dataclass(slots=True)
class ToolOffers:
    """Offers by server, of those that were looked at since the operator's start."""

    _offers: dict[str, Offer] = field(default_factory=dict)
    _granted: dict[str, frozenset[str]] = field(default_factory=dict)
    _tenants: dict[str, set[str]] = field(default_factory=dict)

    def of(self, server: str) -> Offer | None:
        """Returns what tenants can have of a server; None before the first look."""
        return self._offers.get(server)

    def put(self, server: str, offer: Offer) -> bool:
        """Keeps what tenants can have of a server; tells whether that is another than before."""
        is_news = self._offers.get(server) != offer
        self._offers[server] = offer
        return is_news

    def drop(self, server: str) -> bool:
        """Forgets a server that is gone; tells whether it was known."""
        return self._offers.pop(server, None) is not None

    def to(self, tenant: str, servers: Iterable[str]) -> Offers:
        """Returns what these servers offer a tenant; None of one that is still to be looked at."""
        offers = {name: self._offers.get(name) for name in servers}
        return {name: offer and offer.to(tenant, name) for name, offer in offers.items()}

    def note_grants(self, tenant: str, tools: Tools | None) -> None:
        """Keeps which servers a tenant follows, at the cost of its own grants."""
        before = self._granted.get(tenant, frozenset())
        now = _servers(tools)
        if before == now:
            return
        for server in before - now:
            self._tenants[server].discard(tenant)
            if not self._tenants[server]:
                del self._tenants[server]
        for server in now - before:
            self._tenants.setdefault(server, set()).add(tenant)
        if now:
            self._granted[tenant] = now
        else:
            self._granted.pop(tenant, None)

    def tenants_of(self, server: str) -> frozenset[str]:
        """Returns the tenants with a grant of the server."""
        return frozenset(self._tenants.get(server, ()))


def _servers(tools: Tools | None) -> frozenset[str]:
    return frozenset(one.server for one in tools.grants) if tools is not None else frozenset()
