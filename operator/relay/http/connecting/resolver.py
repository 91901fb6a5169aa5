"""Addresses of providers, cached for their time to live and longer while the name service fails."""

import asyncio
import socket
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from relay.http.connecting.inner_addresses import is_inner, may_lead_inside

Address = tuple[str, int]

AVOIDED_SECONDS: Final = 60.0
"""An address that another one beat to the connection comes last for so long."""


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...]
    until: float


class Resolver:
    """The cache of one process: one look-up per name and time to live, shared by everyone who asks meanwhile.

    is_own tells the addresses of this pod, which no network policy keeps it from, like its loopback.
    """

    __slots__ = ("_answers", "_asking", "_avoided", "_is_own", "_rotation", "_ttl")

    def __init__(self, ttl: float, is_own: Callable[[str], bool]) -> None:
        self._ttl = ttl
        self._is_own = is_own
        self._answers: dict[Address, _Answer] = {}
        self._asking: dict[Address, asyncio.Task[tuple[str, ...]]] = {}
        self._avoided: dict[tuple[str, int, str], float] = {}
        self._rotation = 0

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Returns the host's addresses in the order in which to try them.

        The preferred family first and the families in turn (RFC 8305 section 4), within each a different address first
        each time, those to be avoided last. Raises OSError when the name has never been resolved and cannot be now.
        """
        answer = self._answers.get((host, port))
        if answer is None or answer.until < time.monotonic():
            addresses = await self._ask(host, port)
        else:
            addresses = answer.addresses
        if len(addresses) == 1:
            return addresses
        self._rotation += 1
        ordered = _interleaved(addresses, self._rotation)
        if self._avoided:
            now = time.monotonic()
            ordered.sort(key=lambda address: self._avoided.get((host, port, address), 0.0) > now)
        return tuple(ordered)

    def avoid(self, host: str, port: int, addresses: Iterable[str]) -> None:
        """Puts these addresses last for a while: they failed, or were slower than another."""
        now = time.monotonic()
        self._avoided = {key: until for key, until in self._avoided.items() if until > now}
        for address in addresses:
            self._avoided[host, port, address] = now + AVOIDED_SECONDS

    async def _ask(self, host: str, port: int) -> tuple[str, ...]:
        asking = self._asking.get((host, port))
        if asking is None:
            asking = asyncio.ensure_future(self._look_up(host, port))
            self._asking[host, port] = asking
            asking.add_done_callback(lambda _: self._asking.pop((host, port), None))
        # a caller that gives up must not cancel the look-up of the others
        return await asyncio.shield(asking)

    def _outer(self, host: str, found: list[str]) -> tuple[str, ...]:
        """Returns the addresses that lead out of the pod; raises OSError where there are none."""
        openly = may_lead_inside(host)
        outer = [
            address
            for address in found
            if (openly and is_inner(address)) or not (is_inner(address) or self._is_own(address))
        ]
        if not outer:
            raise OSError(
                f"{host} leads to {', '.join(dict.fromkeys(found[:3]))}, which is loopback, link-local or this pod itself: "
                "relays are not led there; name the provider's own address"
            )
        return tuple(dict.fromkeys(outer))

    async def _look_up(self, host: str, port: int) -> tuple[str, ...]:
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError:
            former = self._answers.get((host, port))
            if former is None:
                raise
            addresses = former.addresses
        else:
            # not among what the name service fails with: a name that was turned inwards is not kept alive by what it was
            addresses = self._outer(host, [str(entry[4][0]) for entry in found])
        self._answers[host, port] = _Answer(addresses, time.monotonic() + self._ttl)
        return addresses


def _interleaved(addresses: tuple[str, ...], rotation: int) -> list[str]:
    """Returns the addresses with the families in turn, that of the first address first, each family rotated."""
    is_v6 = ":" in addresses[0]
    preferred = [address for address in addresses if (":" in address) == is_v6]
    other = [address for address in addresses if (":" in address) != is_v6]
    ordered: list[str] = []
    for index in range(max(len(preferred), len(other))):
        ordered += [
            family[(index + rotation) % len(family)]
            for family in (preferred, other)
            if index < len(family)
        ]
    return ordered
