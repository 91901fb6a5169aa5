"""Delivers messages to the webhook's receiver: behind everything else, bounded in number, time and what is read."""

import asyncio
import logging
import math
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

import httpx
from prometheus_client import Counter, Gauge

from relay_operator.cluster.leadership import fence as fences
from relay_operator.cluster.leadership.fence import Fence, Unfenced
from relay_operator.cluster.relays import drop_location
from relay_operator.cluster.webhook import signature
from relay_operator.cluster.webhook.guarded_transport import AddressRefused, GuardedTransport
from relay_operator.cluster.webhook.message import Message
from relay_operator.errors import NotLeading, OperatorError

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 1000
LONGEST_SECONDS: Final = 3600.0
"""From the first attempt at a message to the last."""
_ATTEMPT_SECONDS = 10.0
"""Of one attempt as a whole: name, connection, TLS, request and the head of the answer."""
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 300.0

_MESSAGES = Counter(
    "relay_operator_webhook_messages_total",
    "Messages of the webhook by how they ended: delivered, given_up after an hour, dropped from a full queue, or refused for "
    "good by a receiver that is gone (410)",
    ["outcome"],
)
for _outcome in ("delivered", "given_up", "dropped", "refused"):
    # so that the first one is an increase
    _MESSAGES.labels(_outcome)
_FAILED = Counter(
    "relay_operator_webhook_failed_attempts_total", "Attempts to deliver a message that failed"
)
_WAITING = Gauge("relay_operator_webhook_waiting", "Messages that wait to be delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """Address of the receiver, and the files of the signing secret and of its certificate authority, if not a public one.

    allowed_cidrs are blocks that are not public where it may be; cluster_cidrs those of the cluster itself.
    """

    url: str
    secret_file: str
    ca_file: str = ""
    allowed_cidrs: tuple[str, ...] = ()
    cluster_cidrs: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        """Returns what logs may name: a path can hold a credential."""
        return urlsplit(self.url).netloc


@dataclass(slots=True)
class _Waiting:
    message: Message
    due: float
    until: float
    ended: Callable[[str], None] | None = None
    failures: int = 0


class _NotTaken(OperatorError):
    """The receiver answered, but did not take the message; wait_seconds is what it asks for, secrets are what signed it."""

    def __init__(self, status: int, wait_seconds: float, secrets: tuple[bytes, ...]) -> None:
        super().__init__(f"the receiver answered {status}")
        self.status = status
        self.secrets = secrets
        self.wait_seconds = wait_seconds


class Webhook:
    """Takes messages without waiting, and delivers one at a time until cancelled.

    A message that fails is tried again after pauses that double, while others go first. A receiver that is gone (410) gets
    none any more until its secret is another. clock is seconds since the epoch; transport stands in for the network.
    """

    def __init__(
        self,
        receiver: Receiver,
        *,
        clock: Callable[[], float] = time.time,
        transport: Callable[[ssl.SSLContext], httpx.AsyncBaseTransport] | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._receiver = receiver
        self._fence = fence or Unfenced()
        self._clock = clock
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._news = asyncio.Event()
        self._gone: tuple[bytes, ...] = ()

    def tell(self, message: Message, ended: Callable[[str], None] | None = None) -> None:
        """Queues a message; the oldest one gives way when the queue is full. ended is called with how it ended, at once where the
        receiver is gone, and never for a message that waits already.
        """
        if message.id in self._waiting:
            return
        if self._is_gone():
            if ended is not None:
                ended("refused")
            return
        if len(self._waiting) >= MOST_WAITING:
            oldest = next(iter(self._waiting))
            self._drop(oldest, "dropped", f"{MOST_WAITING} messages wait already")
        now = asyncio.get_running_loop().time()
        self._waiting[message.id] = _Waiting(
            message, due=now, until=now + LONGEST_SECONDS, ended=ended
        )
        _WAITING.set(len(self._waiting))
        self._news.set()

    async def run(self) -> None:
        """Delivers what is due, the longest due first."""
        try:
            while True:
                self._news.clear()
                first = min(self._waiting.values(), key=lambda one: one.due, default=None)
                now = asyncio.get_running_loop().time()
                if first is not None and first.due <= now:
                    await self._deliver(first)
                else:
                    await self._news_or(first.due - now if first is not None else math.inf)
        finally:
            if self._client is not None:
                await self._client.aclose()

    async def _news_or(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds if math.isfinite(seconds) else None):
                await self._news.wait()
        except TimeoutError:
            return

    async def _deliver(self, waiting: _Waiting) -> None:
        try:
            deadline = fences.bound(self._fence, _ATTEMPT_SECONDS, what="message of the webhook")
            async with asyncio.timeout(deadline):
                await self._attempt(waiting.message)
        except _NotTaken as error:
            if error.status == HTTPStatus.GONE:
                self._give_up(error.secrets)
            else:
                self._failed(waiting, str(error), error.wait_seconds)
        except TimeoutError:
            self._failed(waiting, f"no answer within {_ATTEMPT_SECONDS:g} s")
        except (
            *(httpx.HTTPError, OSError),
            *(AddressRefused, signature.SecretUnusable, NotLeading),
        ) as error:
            self._failed(waiting, str(error) or type(error).__name__)
        except Exception as error:  # a message is worth no more than itself; the operator goes on
            logger.exception("webhook message not sent")
            self._failed(waiting, type(error).__name__)
        else:
            self._end(waiting.message.id, "delivered")

    async def _attempt(self, message: Message) -> None:
        secrets = signature.read_secrets(self._receiver.secret_file)
        signed = signature.headers(
            secrets, id_=message.id, at=int(self._clock()), body=message.body
        )
        client = await self._connected()
        headers = {"content-type": "application/json", "user-agent": "relay-operator", **signed}
        # the answer's body is not read: however long or slow it is, it says nothing
        request = client.stream(
            "POST",
            self._receiver.url,
            content=message.body,
            headers=headers,
            extensions=fences.last_moment(self._fence, what="message of the webhook"),
        )
        async with request as answer:
            if not answer.is_success:
                raise _NotTaken(answer.status_code, _asked_pause(answer), secrets)

    async def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            # reading authorities takes tens of milliseconds, which no decision should wait for
            context = await asyncio.to_thread(
                ssl.create_default_context, cafile=self._receiver.ca_file or None
            )
            self._client = httpx.AsyncClient(
                transport=(self._transport or self._guarded)(context),
                timeout=_ATTEMPT_SECONDS,
                follow_redirects=False,
                event_hooks={"response": [drop_location]},
                trust_env=False,
            )
        return self._client

    def _guarded(self, context: ssl.SSLContext) -> httpx.AsyncBaseTransport:
        """Returns a transport that makes a connection for each attempt, to a checked address."""
        return GuardedTransport(
            httpx.AsyncHTTPTransport(
                verify=context,
                trust_env=False,
                limits=httpx.Limits(max_connections=1, max_keepalive_connections=0),
            ),
            allowed_cidrs=self._receiver.allowed_cidrs,
            cluster_cidrs=self._receiver.cluster_cidrs,
        )

    def _failed(self, waiting: _Waiting, why: str, wait_seconds: float = 0.0) -> None:
        _FAILED.inc()
        pause = min(_FIRST_PAUSE_SECONDS * 2**waiting.failures, _LONGEST_PAUSE_SECONDS)
        pause = max(pause, min(wait_seconds, _LONGEST_PAUSE_SECONDS))
        waiting.failures += 1
        waiting.due = asyncio.get_running_loop().time() + pause
        if waiting.message.id not in self._waiting:
            return
        if waiting.due > waiting.until:
            self._drop(waiting.message.id, "given_up", why)
        elif waiting.failures == 1:
            logger.warning(
                "webhook message not delivered, will retry for an hour",
                extra={"host": self._receiver.host, "id": waiting.message.id, "why": why},
            )

    def _is_gone(self) -> bool:
        """Tells whether the receiver said so, under the secret that there still is: who made another one has another receiver."""
        if not self._gone:
            return False
        try:
            secrets = signature.read_secrets(self._receiver.secret_file)
        except signature.SecretUnusable:
            return True
        if secrets == self._gone:
            return True
        self._gone = ()
        logger.info(
            "the webhook has another secret, messages are sent again",
            extra={"host": self._receiver.host},
        )
        return False

    def _give_up(self, secrets: tuple[bytes, ...]) -> None:
        self._gone = secrets
        logger.error(
            "the webhook's receiver is gone (410): nothing is sent to it until its secret is another, or webhook.url",
            extra={"host": self._receiver.host, "messages": len(self._waiting)},
        )
        for id_ in list(self._waiting):
            self._end(id_, "refused")

    def _drop(self, id_: str, outcome: str, why: str) -> None:
        logger.warning(
            "webhook message given up",
            extra={"host": self._receiver.host, "id": id_, "outcome": outcome, "why": why},
        )
        self._end(id_, outcome)

    def _end(self, id_: str, outcome: str) -> None:
        waiting = self._waiting.pop(id_, None)
        if waiting is not None:
            _MESSAGES.labels(outcome).inc()
            if waiting.ended is not None:
                waiting.ended(outcome)
        _WAITING.set(len(self._waiting))


def _asked_pause(answer: httpx.Response) -> float:
    """Returns the seconds that the receiver asks to be left alone for (retry-after), 0 where it says nothing usable."""
    text = answer.headers.get("retry-after", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
