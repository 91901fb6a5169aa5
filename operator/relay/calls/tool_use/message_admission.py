"""Admits messages to tool servers: each needs a seat, and what is no call and no list counts against a rate of its own."""

import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from relay.calls.tenants.caller import Caller
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.seats import Seat, ServerSeats

BUSY_SECONDS: Final = 1.0
"""For callers that find no seat."""


class WithinRate:
    """The servers that one more message may go to; in how many seconds it may to one of the others, 0 where there are none."""

    __slots__ = ("servers", "wait_seconds")

    def __init__(self, servers: frozenset[str], wait_seconds: float) -> None:
        self.servers = servers
        self.wait_seconds = wait_seconds

    @property
    def is_over(self) -> bool:
        """True if the message may go to none of them."""
        return not self.servers and self.wait_seconds > 0


def seat_at(caller: Caller, seats: ServerSeats, server: str) -> Seat | None:
    """Takes a seat for a message of the caller's to a server; None where there is none for it now. Whoever takes it leaves it."""
    document, tools = caller.snapshot.document, caller.snapshot.tools
    servers = 1 if tools is None else max(1, len(tools.permissions.all_servers()))
    return seats.take(server, caller.key.name, servers=servers, keys=len(document.tenant.keys))


def within_rate(caller: Caller, servers: Iterable[str]) -> WithinRate:
    """Charges each server a message that is no call and no list; one that had its share of them is not to be sent it."""
    limiter, now = caller.tenant.admission.tool_limiter, time.monotonic()
    able: set[str] = set()
    waits: list[float] = []
    for server in servers:
        over = limiter.admit_message(server, now=now)
        if over is None:
            able.add(server)
        else:
            waits.append(over.retry_after_seconds)
    return WithinRate(frozenset(able), min(waits, default=0.0))


class TooMany(NamedTuple):
    """Why none of a request's servers is sent anything."""

    error: ProtocolError
    retry_after_seconds: float


def with_seats(
    caller: Caller, seats: ServerSeats, requests: list[tuple[str, bytes]]
) -> list[tuple[str, bytes, Seat]] | TooMany:
    """Returns the requests with a seat for each; a server whose rate or whose seats are used up is left out."""
    rate = within_rate(caller, [server for server, _ in requests])
    if rate.is_over:
        return TooMany(ProtocolError.limited, rate.wait_seconds)
    found = [
        (server, request, seat_at(caller, seats, server))
        for server, request in requests
        if server in rate.servers
    ]
    taken = [(server, request, seat) for server, request, seat in found if seat is not None]
    return taken if taken or not found else TooMany(ProtocolError.busy, BUSY_SECONDS)
