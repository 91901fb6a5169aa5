"""Asks relay pods to connect to targets, and connects to the same ones.

A tenant can run anything behind a pod's address: its answer is bounded in time and size, and says nothing but how that
pod's own attempts ended.
"""

import asyncio
import socket
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

import aiohttp
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from relay_contract.endpoints import ISOLATION_PATH
from relay_contract.isolation_probe import (
    ANSWER_SECONDS,
    CONNECT_SECONDS,
    MAX_ANSWER_BYTES,
    Outcome,
    ProbeAnswer,
    ProbeChallenge,
    ProbeRequest,
    Target,
    outcome_of,
    seal_request,
)
from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.probing.decoy import Decoy
from relay_operator.cluster.relays import Pod
from relay_operator.errors import Unavailable

ROUND_SECONDS: Final = 0.4
"""Between two requests of a round lie milliseconds, and between two rounds of a tenant half a second at least."""
_LAST: Final = {"connection": "close"}
_NO_ANSWER: Final = (aiohttp.ClientError, OSError, ValueError)
"""Errors that the client raises for an answer that is none; one that comes too late is an OSError."""


class Probes:
    """The ways into the network. decoy tells who connected to it; timeout_seconds bounds both questions to a pod together."""

    def __init__(
        self,
        *,
        signing_key: Ed25519PrivateKey,
        decoy: Decoy,
        timeout_seconds: float = ANSWER_SECONDS + 2.0,
        connector: aiohttp.BaseConnector | None = None,
    ) -> None:
        self._signing_key = signing_key
        self._decoy = decoy
        self._timeout_seconds = timeout_seconds
        # among thousands of tenants probes are most of what the operator does at rest; they took twice the time by httpx
        self._session = aiohttp.ClientSession(
            # one connection for both requests of a round; one that is kept for longer was let through under policies of an earlier moment
            connector=connector or aiohttp.TCPConnector(limit=0, keepalive_timeout=ROUND_SECONDS),
            timeout=aiohttp.ClientTimeout(total=timeout_seconds),
            trust_env=False,
            auto_decompress=False,
            headers={"accept-encoding": "identity"},
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        await self._session.close()

    async def ask(self, pod: Pod, tenant_uid: str, targets: tuple[Target, ...]) -> ProbeAnswer:
        """Lets a pod connect to the targets; raises Unavailable where it does not answer as a relay does."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                told = await self._told(pod, "GET")
                challenge = ProbeChallenge.model_validate_json(told)
                request = ProbeRequest(
                    tenant_uid=tenant_uid, challenge=challenge.challenge, targets=targets
                )
                sealed = seal_request(request, self._signing_key)
                body = await self._told(pod, "POST", sealed.encode(), headers=_LAST)
                answer = ProbeAnswer.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable("its answer is not that of a relay") from error
        except _NO_ANSWER as error:
            raise Unavailable(
                f"no answer within {self._timeout_seconds:g} s: {in_words(error)}"
            ) from error
        if len(answer.outcomes) != len(targets):
            raise Unavailable("it does not tell of every attempt")
        return answer

    async def _told(
        self,
        pod: Pod,
        method: str,
        content: bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> bytes:
        url, body = f"http://{pod.admin_address}{ISOLATION_PATH}", bytearray()
        async with self._session.request(
            method, url, data=content, headers=headers, allow_redirects=False
        ) as response:
            async for piece in response.content.iter_any():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise Unavailable("it told more than a relay does")
        if response.status == HTTPStatus.NOT_FOUND:
            raise Unavailable(
                "it runs a version that does not probe; it is asked again once it is replaced"
            )
        if response.status != HTTPStatus.OK:
            raise Unavailable(f"it answered {response.status}")
        return bytes(body)

    async def connect(self, address: str, port: int) -> tuple[Outcome, float]:
        """Connects from the operator's own pod; returns how that ended, and after how many seconds."""
        began = time.monotonic()
        outcome = await _attempt(address, port)
        return outcome, time.monotonic() - began

    def arrived_at_decoy(self, address: str) -> bool:
        """Tells whether somebody connected to the decoy from this address during a probe that has just ended."""
        return self._decoy.arrived(address, within_seconds=self._timeout_seconds)


async def _attempt(address: str, port: int) -> Outcome:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as attempt:
            attempt.setblocking(False)
            async with asyncio.timeout(CONNECT_SECONDS):
                await asyncio.get_running_loop().sock_connect(attempt, (address, port))
    except TimeoutError:
        return Outcome.NO_ANSWER
    except OSError as error:
        return outcome_of(error)
    return Outcome.CONNECTED
