"""Asks relay pods to connect to targets, and connects to the same ones.

A tenant can run anything behind a pod's address: its answer is bounded in time and size, and says nothing but how that
pod's own attempts ended.
"""

import asyncio
import socket
import time
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx
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
from relay_operator.cluster.probing.decoy import Decoy
from relay_operator.cluster.relays import NO_ANSWER, Pod, drop_location
from relay_operator.errors import Unavailable


class Probes:
    """The ways into the network. decoy tells who connected to it; timeout_seconds bounds both questions to a pod together."""

    def __init__(
        self,
        *,
        signing_key: Ed25519PrivateKey,
        decoy: Decoy,
        timeout_seconds: float = ANSWER_SECONDS + 2.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._signing_key = signing_key
        self._decoy = decoy
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=timeout_seconds,
            trust_env=False,
            event_hooks={"response": [drop_location]},
            headers={"accept-encoding": "identity"},
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            # a connection that is kept was let through under policies of an earlier moment
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def ask(self, pod: Pod, tenant_uid: str, targets: tuple[Target, ...]) -> ProbeAnswer:
        """Lets a pod connect to the targets; raises Unavailable where it does not answer as a relay does."""
        try:
            async with asyncio.timeout(self._timeout_seconds):
                challenge = ProbeChallenge.model_validate_json(await self._told(pod, "GET", b""))
                request = ProbeRequest(
                    tenant_uid=tenant_uid, challenge=challenge.challenge, targets=targets
                )
                sealed = seal_request(request, self._signing_key)
                body = await self._told(pod, "POST", sealed.encode())
                answer = ProbeAnswer.model_validate_json(body)
        except NO_ANSWER as error:
            raise Unavailable(
                f"no answer within {self._timeout_seconds:g} s ({type(error).__name__})"
            ) from error
        except ValidationError as error:
            raise Unavailable("its answer is not that of a relay") from error
        if len(answer.outcomes) != len(targets):
            raise Unavailable("it does not tell of every attempt")
        return answer

    async def _told(self, pod: Pod, method: str, content: bytes) -> bytes:
        url, body = f"http://{pod.admin_address}{ISOLATION_PATH}", bytearray()
        async with self._client.stream(method, url, content=content) as response:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > MAX_ANSWER_BYTES:
                    raise Unavailable("it told more than a relay does")
        if response.status_code == httpx.codes.NOT_FOUND:
            raise Unavailable(
                "it runs a version that does not probe; it is asked again once it is replaced"
            )
        if response.status_code != httpx.codes.OK:
            raise Unavailable(f"it answered {response.status_code}")
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
