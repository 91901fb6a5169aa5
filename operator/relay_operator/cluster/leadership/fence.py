"""The fence in front of everything that leaves the operator to change something: writes, pushes, messages.

It is asked twice: before a call, whose deadline it shortens to what is left of the lease, and by the client library when a
connection is there and the first byte is about to leave. Waiting for a connection can take seconds, and a process can be
stopped in between for any time.
"""

import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final, Protocol

import aiohttp

from relay_operator.errors import NotLeading

_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def boot_seconds() -> float:
    """Returns seconds of a clock that never goes back, nobody sets, and that counts while the machine is suspended."""
    return time.clock_gettime(_CLOCK)


class Fence(Protocol):
    """Says whether this process may act."""

    @property
    def epoch(self) -> int:
        """The number of this leader; every later leader has a higher one."""

    def rest_seconds(self) -> float:
        """Returns for how long this process is certainly the only leader; 0 or less when it may not be."""


class Unfenced:
    """The fence of a process that is alone by other means: a test, a command that a person runs."""

    epoch = 0

    def rest_seconds(self) -> float:
        return float("inf")


class Lead(Fence, Protocol):
    """A fence that also says whether a leader whose lease ran out may still take weight away."""

    def may_brake(self) -> bool:
        """Tells whether the lease ran out because the API server does not answer, and nothing else speaks against it."""


class Brake:
    """The fence of pushes that only take weight away: open for a leader, and for one that nothing but the API server's silence ended.

    Such a push does no harm where another operator leads by now: a relay that has met it refuses the push, and from the others
    that one takes the lower weight over.
    """

    def __init__(self, lead: Lead) -> None:
        self._lead = lead

    @property
    def epoch(self) -> int:
        return self._lead.epoch

    def rest_seconds(self) -> float:
        rest = self._lead.rest_seconds()
        return float("inf") if rest <= 0 and self._lead.may_brake() else rest


def bound(fence: Fence, seconds: float, *, what: str) -> float:
    """Returns the deadline of a call that would have this one; raises NotLeading."""
    rest = fence.rest_seconds()
    if rest <= 0:
        raise NotLeading(f"{what}: not sent, this operator is not the leader, or not certainly")
    return min(seconds, rest)


_ASKED: ContextVar[tuple[Fence, str] | None] = ContextVar("_ASKED", default=None)


@contextmanager
def asked_at_the_last_moment(fence: Fence, *, what: str) -> Iterator[None]:
    """Lets a FencedRequest inside ask the fence."""
    token = _ASKED.set((fence, what))
    try:
        yield
    finally:
        _ASKED.reset(token)


class FencedRequest(aiohttp.ClientRequest):
    """A request of aiohttp that asks the fence when it has its connection."""

    async def send(self, conn: Any) -> aiohttp.ClientResponse:
        asked = _ASKED.get()
        if asked is not None:
            fence, what = asked
            bound(fence, 0.0, what=what)
        return await super().send(conn)


_LEAVING: Final = frozenset(
    {"http11.send_request_headers.started", "http11.send_request_body.started"}
)


def last_moment(fence: Fence, *, what: str) -> dict[str, Callable[..., Awaitable[None]]]:
    """Returns the extensions of a request of httpx that asks the fence when it has its connection."""

    async def trace(event: str, _: dict[str, Any]) -> None:
        if event in _LEAVING:
            bound(fence, 0.0, what=what)

    return {"trace": trace}
