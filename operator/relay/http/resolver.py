"""Addresses of providers, cached for their time to live and longer while the name service fails."""

import asyncio
import socket
import time
from dataclasses import dataclass

Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Answer:
    addresses: tuple[str, ...]
    until: float


class Resolver:
    """The cache of one process: one look-up per name and time to live, shared by everyone who asks meanwhile."""

    __slots__ = ("_answers", "_asking", "_rotation", "_ttl")

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._answers: dict[Address, _Answer] = {}
        self._asking: dict[Address, asyncio.Task[tuple[str, ...]]] = {}
        self._rotation = 0

    async def addresses(self, host: str, port: int) -> tuple[str, ...]:
        """Returns the host's addresses, a different one first each time.

        Raises OSError when the name has never been resolved and cannot be now.
        """
        answer = self._answers.get((host, port))
        if answer is None or answer.until < time.monotonic():
            addresses = await self._ask(host, port)
        else:
            addresses = answer.addresses
        self._rotation += 1
        first = self._rotation % len(addresses)
        return addresses[first:] + addresses[:first]

    async def _ask(self, host: str, port: int) -> tuple[str, ...]:
        asking = self._asking.get((host, port))
        if asking is None:
            asking = asyncio.ensure_future(self._look_up(host, port))
            self._asking[host, port] = asking
            asking.add_done_callback(lambda _: self._asking.pop((host, port), None))
        # a caller that gives up must not cancel the look-up of the others
        return await asyncio.shield(asking)

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
            addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
        self._answers[host, port] = _Answer(addresses, time.monotonic() + self._ttl)
        return addresses
