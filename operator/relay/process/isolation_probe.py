"""Connects to what the operator names, and tells how each attempt ended: does the network keep this pod apart?

Runs in the supervisor: no call is held up by it. Nothing is sent on a connection, and it is closed as soon as it is there.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable

from relay.process.document_acceptance import Acceptance
from relay_contract.isolation_probe import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    Outcome,
    ProbeAnswer,
    ProbeRefused,
    Target,
    open_request,
    outcome_of,
)


class IsolationProbe:
    """One request at a time. serving tells whether the pod's traffic port takes connections."""

    def __init__(self, acceptance: Acceptance, serving: Callable[[], bool]) -> None:
        self._acceptance = acceptance
        self._serving = serving
        self._is_busy = False
        self.challenge = _challenge()

    async def answer(self, envelope: bytes) -> ProbeAnswer:
        """Connects to the targets of a sealed request; raises ProbeRefused with any of its codes."""
        request = open_request(envelope, self._acceptance.public_keys)
        if request.tenant_uid != self._acceptance.tenant_uid:
            raise ProbeRefused("wrong_tenant", "the request is for the relay of another tenant")
        if request.challenge != self.challenge:
            raise ProbeRefused(
                "stale_challenge", "the request holds another challenge than the one given out last"
            )
        if self._is_busy:
            raise ProbeRefused("busy", "another request is being answered")
        self.challenge, self._is_busy = _challenge(), True
        try:
            outcomes = await _attempt_all(request.targets)
        finally:
            self._is_busy = False
        return ProbeAnswer(outcomes=outcomes, serving=self._serving())


async def _attempt_all(targets: tuple[Target, ...]) -> tuple[Outcome, ...]:
    """Connects to all targets at the same time; what has no end by the deadline has no answer."""
    outcomes = [Outcome.NO_ANSWER] * len(targets)

    async def note(place: int, target: Target) -> None:
        outcomes[place] = await _attempt(target)

    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            await asyncio.gather(*(note(place, target) for place, target in enumerate(targets)))
    except TimeoutError:
        pass
    return tuple(outcomes)


async def _attempt(target: Target) -> Outcome:
    family = socket.AF_INET6 if ":" in target.address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setblocking(False)
            async with asyncio.timeout(CONNECT_SECONDS):
                # an address is never looked up, so no thread is started in the process that forks
                await asyncio.get_running_loop().sock_connect(
                    attempt, (target.address, target.port)
                )
    except TimeoutError:
        return Outcome.NO_ANSWER
    except OSError as error:
        return outcome_of(error)
    return Outcome.CONNECTED


def _challenge() -> str:
    return secrets.token_hex(16)
