"""Pushes sealed documents to the admin port of relay pods, and reads what they acknowledge."""

from dataclasses import dataclass

import httpx

from relay_contract import document, endpoints
from relay_operator.errors import Unavailable

_ACKNOWLEDGED = frozenset({"digest", "generation", "workers", "missingKeys"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A relay pod as the watch showed it. incarnation changes when its container restarts."""

    namespace: str
    name: str
    uid: str
    ip: str
    incarnation: int
    ready: bool
    terminating: bool
    admin_port: int = endpoints.ADMIN_PORT


class Relays:
    """A pool of connections to admin ports, over TCP unless another transport is given."""

    def __init__(
        self, *, timeout_seconds: float, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._client = httpx.AsyncClient(
            transport=transport,
            timeout=timeout_seconds,
            trust_env=False,
            limits=httpx.Limits(
                max_connections=256, max_keepalive_connections=64, keepalive_expiry=30
            ),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def push(self, pod: Pod, sealed: str) -> document.Acknowledgement:
        """Pushes a document; returns what the pod then has in force: this document, or a newer one that it keeps.

        Raises Unavailable when the pod does not answer or cannot use the document.
        """
        url = f"http://{_host(pod.ip)}:{pod.admin_port}{endpoints.CONFIG_PATH}"
        try:
            response = await self._client.put(
                url, content=sealed.encode(), headers={"content-type": "application/json"}
            )
        except httpx.HTTPError as error:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} did not answer the push of its document ({type(error).__name__})"
            ) from error
        if response.status_code not in (200, 409):
            detail = response.text[:200]
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} refused the document: {response.status_code} {detail}"
            )
        return _acknowledgement(pod, response)


def _acknowledgement(pod: Pod, response: httpx.Response) -> document.Acknowledgement:
    """Reads an answer. The address of a pod that is gone may by now be that of a server which is no relay."""
    try:
        answer = response.json()
        known = {name: answer[name] for name in _ACKNOWLEDGED & answer.keys()}
        return document.Acknowledgement.model_validate(known)
    except (ValueError, AttributeError, TypeError) as error:
        raise Unavailable(
            f"pod {pod.namespace}/{pod.name} at {pod.ip} did not answer as a relay does"
        ) from error


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip
