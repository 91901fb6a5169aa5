"""Pushes sealed documents to the admin port of relay pods, and reads what they answer.

A tenant can run anything behind these addresses. So an answer is bounded as a whole, in time and in size, before it is
read, and says nothing but what its own pod has in force.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Annotated

import httpx
import orjson
import pydantic
from pydantic import ValidationError

from relay_contract import document, endpoints
from relay_contract.preflight import Preflight, Preflights
from relay_contract.provider_probe import PROBE_SECONDS, STREAM_PROBE_SECONDS, ProviderProbe
from relay_contract.quota_use import QuotaLevel, QuotaUses
from relay_operator.cluster.connecting import pod_connections
from relay_operator.cluster.connecting.connection_errors import in_words
from relay_operator.cluster.leadership import fence as fences
from relay_operator.cluster.leadership.fence import Fence, Unfenced
from relay_operator.cluster.metrics.catalogue import PUSHES
from relay_operator.errors import DocumentRefused, Unavailable

_ACKNOWLEDGED = frozenset({"digest", "generation", "workers", "missingKeys", "tls"})
_MOST_ANSWER_BYTES = 2 * document.MAX_DOCUMENT_BYTES + 64 * 1024
"""The largest envelope, which a pod sends when it keeps a newer document, and the acknowledgement beside it."""
_MOST_DETAIL_CHARACTERS = 200
_MOST_BREAKERS_BYTES = 128 * 1024
"""Several times what the routes of a full document can take."""
_MOST_PREFLIGHTS_BYTES = 2 * 1024 * 1024
"""More than a preflight of each route of a full document takes, with messages as they are."""
_BYTES_OF_A_PREFLIGHT = 3 * 1024
"""More than one takes with the longest message."""
_SPARE_PREFLIGHTS_BYTES = 64 * 1024
"""For preflights that a pod still tells of and nobody asks for any more."""
_MOST_TAG_CHARACTERS = 64

NO_ANSWER = (httpx.HTTPError, httpx.InvalidURL, UnicodeError, TimeoutError)
"""Errors that a client of httpx raises for an answer that is none: not all of it is of the client's own family."""


async def drop_location(response: httpx.Response) -> None:
    """Takes the address of a redirect out of an answer.

    The client makes the next request of it even where it follows none, and fails over an address that is none.
    """
    response.headers.pop("location", None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A relay pod as the watch showed it. incarnation changes when its container restarts; trouble says why it is not up;
    resources are what it requests and may use: requests or limits, cpu or memory, amount.
    """

    namespace: str
    name: str
    uid: str
    ip: str
    incarnation: int
    ready: bool
    terminating: bool
    admin_port: int = endpoints.ADMIN_PORT
    trouble: str = ""
    host_ip: str = ""
    resources: tuple[tuple[str, str, str], ...] = ()

    @property
    def admin_address(self) -> str:
        """Returns the admin port as it stands in a URL, with an IPv6 address in brackets (RFC 3986 section 3.2.2)."""
        host = f"[{self.ip}]" if ":" in self.ip else self.ip
        return f"{host}:{self.admin_port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PushAnswer:
    """Answer of a pod about the document it has in force.

    kept is the envelope that it says it keeps instead of the one pushed, leader what it says that a later leader has shown to
    it; either is worth what its signature is worth.
    """

    acknowledgement: document.Acknowledgement
    kept: bytes = b""
    leader: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenBreakers:
    """The canaries that a pod says it keeps calls away from: failed probes by route and fingerprint. tag names this state.

    size is how many bytes the answer had.
    """

    tag: str
    failed_probes: Mapping[tuple[str, str], int]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldPreflights:
    """Holds what a pod tells of the preflights that it is asked for. size is how many bytes the answer had.

    tag names this state; it is empty where the pod also told of others, which may be asked for by the next question.
    """

    tag: str
    preflights: tuple[Preflight, ...]
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldQuotaUse:
    """Holds what a pod says that it uses of each provider's quota. tag names this state; size is how many bytes the answer had."""

    tag: str
    levels: Mapping[str, QuotaLevel]
    size: int = 0


Asked = Callable[[], Collection[tuple[str, str]]]
"""Returns route and token of the preflights that are asked for at this moment."""


@dataclass(frozen=True, slots=True)
class _Question:
    """A path of the admin port that waits for changes, what it tells of, and the most that a relay tells at this moment."""

    path: str
    noun: str
    most_bytes: Callable[[], int]


_MOST_PROBE_BYTES = 8 * 1024
_MOST_QUOTA_USE_BYTES = 64 * 1024
"""More than the largest document's providers take."""
_OUTCOMES: dict[int, str] = {HTTPStatus.OK: "acknowledged", HTTPStatus.CONFLICT: "kept"}
"""Of pushes by the status of their answer."""


class Relays:
    """Connections to admin ports, over TCP unless another transport is given. timeout_seconds bounds a whole push.

    fence is asked before pushes, brake before those that only take weight away.
    """

    def __init__(
        self,
        *,
        timeout_seconds: float,
        transport: httpx.AsyncBaseTransport | None = None,
        fence: Fence | None = None,
        brake: Fence | None = None,
    ) -> None:
        self._timeout_seconds = timeout_seconds
        self._fence = fence or Unfenced()
        self._brake = brake or self._fence
        self._client = httpx.AsyncClient(
            transport=transport or pod_connections.to_pods(),
            timeout=timeout_seconds,
            trust_env=False,
            event_hooks={"response": [drop_location]},
            # a pod that compresses its answer could make it a thousand times as large
            headers={"accept-encoding": "identity"},
            # the client would keep whatever cookies a pod sends
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        )

    async def close(self) -> None:
        await self._client.aclose()

    async def push(
        self, pod: Pod, sealed: str, *, leader: str = "", lowers: bool = False
    ) -> PushAnswer:
        """Pushes a document, showing which leader this is; returns what the pod then has in force: this document, or one that it keeps instead.

        lowers tells that to what the pod has in force it changes nothing but that weight is taken away.
        Raises Unavailable when the pod has not answered in time, DocumentRefused when it cannot use the document, and
        NotLeading without a push where another operator may be the leader.
        """
        what = f"push to pod {pod.namespace}/{pod.name}"
        fence = self._brake if lowers else self._fence
        deadline = fences.bound(fence, self._timeout_seconds, what=what)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(deadline):
                status, body = await self._put(pod, sealed, leader, fence)
        except NO_ANSWER as error:
            PUSHES.labels("unanswered").observe(time.perf_counter() - started)
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} did not answer the push of its document within "
                f"{deadline:g} s: {in_words(error)}"
            ) from error
        outcome = _OUTCOMES.get(status, "refused")
        PUSHES.labels(outcome).observe(time.perf_counter() - started)
        if outcome == "refused":
            detail = body[:_MOST_DETAIL_CHARACTERS].decode(errors="replace")
            kind = DocumentRefused if status == HTTPStatus.UNPROCESSABLE_ENTITY else Unavailable
            raise kind(f"pod {pod.namespace}/{pod.name} refused the document: {status} {detail}")
        return _answer(pod, body)

    async def breakers(self, pod: Pod, *, seen: str, wait_seconds: int) -> OpenBreakers:
        """Returns the pod's open breakers, once they are others than those seen, or after the wait.

        Raises Unavailable when the pod has not answered a little later, or not as a relay does.
        """
        question = _Question(endpoints.BREAKERS_PATH, "breakers", lambda: _MOST_BREAKERS_BYTES)
        return _open_breakers(pod, await self._told(pod, question, seen, wait_seconds))

    async def preflights(
        self, pod: Pod, *, seen: str, wait_seconds: int, asked: Asked
    ) -> ToldPreflights:
        """Returns the pod's preflights among those asked for, once they stand otherwise than seen, or after the wait.

        Raises Unavailable when the pod has not answered a little later, or not as a relay does.
        """
        question = _Question(
            endpoints.PREFLIGHTS_PATH, "preflights", lambda: _most_bytes(len(asked()))
        )
        body = await self._told(pod, question, seen, wait_seconds)
        try:
            told = Preflights.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} does not tell of its preflights as a relay does"
            ) from error
        wanted = asked()
        mine = {key: one for one in told.preflights if (key := (one.route, one.token)) in wanted}
        lines = tuple(
            one.model_copy(update={"message": _line(one.message)}) for one in mine.values()
        )
        is_all = len(mine) == len(told.preflights)
        return ToldPreflights(tag=told.tag if is_all else "", preflights=lines, size=len(body))

    async def quota_use(self, pod: Pod, *, seen: str, wait_seconds: int) -> ToldQuotaUse:
        """Returns how much of each provider's quota the pod uses of what it holds, once that is another than seen, or after the wait.

        Raises Unavailable when the pod has not answered a little later, or not as a relay does.
        """
        question = _Question(endpoints.QUOTA_USE_PATH, "quota use", lambda: _MOST_QUOTA_USE_BYTES)
        body = await self._told(pod, question, seen, wait_seconds)
        try:
            told = QuotaUses.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} does not tell of its quota use as a relay does"
            ) from error
        levels = {one.provider: one.level for one in told.uses}
        return ToldQuotaUse(tag=told.tag, levels=levels, size=len(body))

    async def probe_provider(self, pod: Pod, provider: str, *, stream: str = "") -> ProviderProbe:
        """Has the pod ask a provider for its list of models, or this model of it for a stream.

        Raises Unavailable when the pod does not answer as a relay does that knows the question.
        """
        question = _Question(
            endpoints.PROVIDER_PROBE_PATH, "probe of a provider", lambda: _MOST_PROBE_BYTES
        )
        seconds = int(STREAM_PROBE_SECONDS if stream else PROBE_SECONDS) + 3
        more = {"stream": stream} if stream else {}
        body = await self._told(pod, question, "", seconds, provider=provider, **more)
        try:
            found = ProviderProbe.model_validate_json(body)
        except ValidationError as error:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} does not tell of a provider as a relay does"
            ) from error
        if found.streamed != bool(stream):
            raise Unavailable(f"pod {pod.namespace}/{pod.name} does not know probes of streams")
        return found.model_copy(update={"message": _line(found.message), "provider": provider})

    async def _told(
        self, pod: Pod, question: _Question, seen: str, wait_seconds: int, **more: str
    ) -> bytes:
        """Asks a question that the pod may let wait for a change; returns the answer's body."""
        url = f"http://{pod.admin_address}{question.path}"
        query: dict[str, str | int] = {"seen": seen, "wait": wait_seconds, **more}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(wait_seconds + self._timeout_seconds),
                self._client.stream("GET", url, params=query, timeout=None) as response,
            ):
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > question.most_bytes():
                        raise Unavailable(
                            f"pod {pod.namespace}/{pod.name} told more of its {question.noun} than a relay does"
                        )
        except NO_ANSWER as error:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} did not tell of its {question.noun}: {in_words(error)}"
            ) from error
        if response.status_code != 200:
            raise Unavailable(
                f"pod {pod.namespace}/{pod.name} does not tell of its {question.noun}: {response.status_code}"
            )
        return bytes(body)

    async def _put(self, pod: Pod, sealed: str, leader: str, fence: Fence) -> tuple[int, bytes]:
        url = f"http://{pod.admin_address}{endpoints.CONFIG_PATH}"
        request = self._client.stream(
            "PUT",
            url,
            content=sealed.encode(),
            headers={"content-type": "application/json", endpoints.LEADER_HEADER: leader},
            extensions=fences.last_moment(fence, what=f"push to pod {pod.namespace}/{pod.name}"),
        )
        body = bytearray()
        async with request as response:
            async for piece in response.aiter_raw():
                body += piece
                if len(body) > _MOST_ANSWER_BYTES:
                    raise Unavailable(
                        f"pod {pod.namespace}/{pod.name} answered the push of its document with more than "
                        f"{_MOST_ANSWER_BYTES} bytes, which no relay does"
                    )
        return response.status_code, bytes(body)


def _printable(acknowledgement: document.Acknowledgement) -> document.Acknowledgement:
    """Returns it with a problem that a status can hold: a pod's words are anybody's."""
    served = acknowledgement.tls
    if served is None or served.problem.isprintable():
        return acknowledgement
    tls = served.model_copy(update={"problem": _line(served.problem)})
    return acknowledgement.model_copy(update={"tls": tls})


def _most_bytes(preflights: int) -> int:
    return min(_SPARE_PREFLIGHTS_BYTES + preflights * _BYTES_OF_A_PREFLIGHT, _MOST_PREFLIGHTS_BYTES)


def _line(text: str) -> str:
    """Returns the text as one line of printable characters."""
    if not text.isprintable():
        text = "".join(one if one.isprintable() else " " for one in text)
    return " ".join(text.split())


def _answer(pod: Pod, body: bytes) -> PushAnswer:
    """Reads an answer. The address of a pod that is gone may by now be that of a server which is no relay."""
    try:
        answer = orjson.loads(body)
        known = {name: answer[name] for name in _ACKNOWLEDGED & answer.keys()}
        acknowledgement = _printable(document.Acknowledgement.model_validate(known))
        kept, leader = answer.get("inForce"), answer.get("leader")
        return PushAnswer(
            acknowledgement=acknowledgement,
            kept=b"" if kept is None else orjson.dumps(kept),
            leader=leader if isinstance(leader, str) else "",
        )
    except (ValidationError, ValueError, AttributeError, TypeError, RecursionError) as error:
        raise Unavailable(
            f"pod {pod.namespace}/{pod.name} at {pod.ip} did not answer as a relay does"
        ) from error


class _Breaker(pydantic.BaseModel):
    route: str
    fingerprint: str
    failed_probes: Annotated[int, pydantic.Field(alias="failedProbes", ge=0, le=2**31)]


class _Breakers(pydantic.BaseModel):
    tag: Annotated[str, pydantic.Field(max_length=_MOST_TAG_CHARACTERS, pattern="^[0-9a-f]*$")]
    open: tuple[_Breaker, ...]


def _open_breakers(pod: Pod, body: bytes) -> OpenBreakers:
    try:
        told = _Breakers.model_validate_json(body)
    except ValidationError as error:
        raise Unavailable(
            f"pod {pod.namespace}/{pod.name} does not tell of its breakers as a relay does"
        ) from error
    return OpenBreakers(
        tag=told.tag,
        failed_probes={(one.route, one.fingerprint): one.failed_probes for one in told.open},
        size=len(body),
    )
