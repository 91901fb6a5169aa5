"""Gives messages to tool servers their seats."""

from relay.calls.tenants.caller import Caller
from relay.tools.seats import Seat, ServerSeats


def seat_at(caller: Caller, seats: ServerSeats, server: str) -> Seat | None:
    """Takes a seat for a message of the caller's to a server; None where there is none for it now. Whoever takes it leaves it."""
    document, tools = caller.snapshot.document, caller.snapshot.tools
    servers = 1 if tools is None else max(1, len(tools.upstreams))
    return seats.take(server, caller.key.name, servers=servers, keys=len(document.tenant.keys))
