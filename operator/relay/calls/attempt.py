"""One call to one provider: sent, read as it answers, judged, counted, and reported to the usage sink once."""

import time
from abc import ABC, abstractmethod
from typing import Any, Final, Literal

import orjson

from relay.accounting.token_estimates import BYTES_PER_TOKEN
from relay.accounting.usage_event import Outcome, Subject, UsageEvent
from relay.admission.token_buckets import Hold
from relay.calls.call import Call
from relay.dialect.event_stream import SseScan
from relay.dialect.reported_usage import Tokens, reported_tokens
from relay.http.connection_pool import Pool
from relay.http.headers import Field, identifier
from relay.http.upstream import Fault, ResponseReceiver, UpstreamConnection
from relay.random_ids import random_id
from relay.routing.routes import Leg
from relay.routing.snapshot import Destination

Trouble = Fault | Literal["no_key"]
"""A fault, or the relay's own lack of the provider's key."""

MAX_JSON_BYTES: Final = 1024 * 1024
"""A larger unary answer is passed on without being read; its tokens are then estimated."""
FAILURES: Final = frozenset({"failed", "unreachable", "timeout", "truncated", "invalid"})
"""Outcomes a provider is to blame for."""
_OUTCOMES: Final[dict[Trouble, Outcome]] = {
    "no_key": "no_key",
    "unreachable": "unreachable",
    "timeout": "timeout",
    "reset": "failed",
    "truncated": "truncated",
    "invalid": "invalid",
}


class Consumer(ABC):
    """Who reads the answer: the caller's exchange, or a shadow run."""

    __slots__ = ()

    @abstractmethod
    def answer_started(self, attempt: "Attempt") -> None:
        """status and headers are there."""

    @abstractmethod
    def answer_body(self, data: bytes) -> None:
        """A piece of the body, for the caller."""

    @abstractmethod
    def answer_read(self, attempt: "Attempt", *, completed: bool) -> None:
        """The end of one read; with completed the answer is whole and outcome is set."""

    @abstractmethod
    def attempt_failed(self, attempt: "Attempt", trouble: Trouble) -> None:
        """There is no whole answer; outcome is set."""

    @abstractmethod
    def attempt_settled(self, attempt: "Attempt", event: UsageEvent) -> None:
        """Everything about the attempt is known and counted; the last call."""


class Accounts(ABC):
    """Where an attempt is counted and reported; the service of the process."""

    first_byte_timeout: float
    upstream_idle_timeout: float

    @abstractmethod
    def pool(self, destination: Destination) -> Pool:
        """The provider's connections."""

    @abstractmethod
    def auth_line(self, destination: Destination) -> bytes | None:
        """The provider's credential as a header line, empty when it takes none, None when the key is missing."""

    @abstractmethod
    def subject(self, attempt: "Attempt") -> Subject:
        """What the attempt is booked on; the attempt's probe is set if it is one."""

    @abstractmethod
    def attempt_ended(self, attempt: "Attempt", event: UsageEvent) -> None:
        """Everything that is counted once per attempt."""


class Attempt(ResponseReceiver):
    """Lives from `start` to one of the consumer's last calls. Times are monotonic seconds, 0 where not reached."""

    __slots__ = (
        "_accounts",
        "_auth",
        "_connection",
        "_json",
        "_json_bytes",
        "_pool",
        "_scan",
        "client_gone",
        "consumer",
        "content_type",
        "destination",
        "ended_at",
        "first_byte_at",
        "first_token_at",
        "headers",
        "hold",
        "leg",
        "number",
        "order",
        "outcome",
        "overdue",
        "overhead_seconds",
        "probe",
        "quiet_since",
        "received_bytes",
        "sent_at",
        "settled",
        "started_at",
        "status",
        "subject",
        "upstream_request_id",
    )

    def __init__(
        self,
        accounts: Accounts,
        consumer: Consumer,
        order: Call,
        leg: Leg,
        *,
        number: int,
        probe: bool = False,
        hold: Hold | None = None,
    ) -> None:
        self._accounts = accounts
        self.consumer = consumer
        self.order = order
        self.leg = leg
        self.destination = leg.destination
        self._auth = b""
        self.number = number
        self.probe = probe
        self.hold = hold
        self._connection: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self._scan: SseScan | None = None
        self._json: list[bytes] | None = None
        self._json_bytes = 0
        self.status = 0
        self.headers: list[Field] = []
        self.content_type = b""
        self.outcome: Outcome | None = None
        self.client_gone = False
        self.settled = False
        self.received_bytes = 0
        self.overhead_seconds = 0.0
        # the signals it was counted slow for before it ended
        self.overdue: tuple[str, ...] = ()
        self.started_at = self.sent_at = self.first_byte_at = self.first_token_at = (
            self.ended_at
        ) = 0.0
        # the last piece of the answer, or what was sent in its place
        self.quiet_since = 0.0
        self.upstream_request_id: str | None = None

    def start(self) -> None:
        """The attempt is under way; the consumer hears of it, perhaps before this returns."""
        if self.outcome is not None:
            return
        self.started_at = time.monotonic()
        self.subject = self._accounts.subject(self)
        auth = self._accounts.auth_line(self.destination)
        if auth is None:
            # never sent, and the platform's own lack: no side's SLO hears of it
            self._fail("no_key")
        else:
            self._auth = auth
            self.subject.slo.started += 1
            pool = self._pool = self._accounts.pool(self.destination)
            pool.acquire(self, self.started_at)

    def abort(self) -> None:
        """Nobody wants the answer: the provider is let go at once and what it did is accounted for as known."""
        if self.outcome is not None:
            return
        self.outcome = "cancelled"
        self.client_gone = True
        if not self.started_at:
            return
        if self._connection is not None:
            self._connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
        self._settle(time.monotonic())

    def pause(self) -> None:
        """The provider is read no further for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """The provider is read again."""
        if self._connection is not None:
            self._connection.resume()

    @property
    def is_stream(self) -> bool:
        """Whether the answer is a stream of events."""
        return self._scan is not None

    @property
    def between_events(self) -> bool:
        """Whether this is a stream of which the client has whole events only, and more are to come."""
        return self._scan is not None and self._scan.between_events and self.outcome is None

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        self._connection = connection
        self.sent_at = now
        pieces = self.order.pieces(self.leg, auth=self._auth, span_id=random_id(16))
        connection.send(
            self,
            pieces,
            now,
            first_byte=self._accounts.first_byte_timeout,
            idle=self._accounts.upstream_idle_timeout,
        )

    def response(self, status: int, headers: list[Field], now: float) -> None:
        self.first_byte_at = self.quiet_since = now
        self.status = status
        self.headers = headers
        for name, value in headers:
            if name == b"content-type":
                self.content_type = value
            elif name == b"x-request-id":
                self.upstream_request_id = identifier(value)
        if status < 300 and self.content_type.startswith(b"text/event-stream"):
            self._scan = SseScan(hide_usage=self.order.forces_usage)
        elif status < 300:
            self._json = []
        self.consumer.answer_started(self)

    def body_received(self, data: bytes, now: float) -> None:
        if not self.received_bytes:
            self.first_token_at = now
        self.received_bytes += len(data)
        self.quiet_since = now
        if self._scan is not None:
            data = self._scan.feed(data)
        elif self._json is not None:
            self._keep(data)
        if data:
            self.consumer.answer_body(data)

    def read_ended(self, now: float, *, completed: bool) -> None:
        if not completed:
            self.consumer.answer_read(self, completed=False)
            return
        self._connection = None
        if self._scan is not None:
            rest = self._scan.rest()
            if rest:
                self.consumer.answer_body(rest)
        self.outcome = self._judge()
        self.consumer.answer_read(self, completed=True)
        self._settle(now)

    def failed(self, fault: Fault) -> None:
        self._fail(fault)

    def _fail(self, trouble: Trouble) -> None:
        if self.outcome is not None:
            return
        self._connection = None
        self.outcome = _OUTCOMES[trouble]
        now = time.monotonic()
        self.consumer.attempt_failed(self, trouble)
        self._settle(now)

    # -- judgement -------------------------------------------------------------------------------------------------

    def _keep(self, data: bytes) -> None:
        assert self._json is not None
        self._json_bytes += len(data)
        if self._json_bytes > MAX_JSON_BYTES:
            self._json = None
        else:
            self._json.append(data)

    def _judge(self) -> Outcome:
        status = self.status
        if 300 <= status < 400:
            return "invalid"
        if status < 300:
            return self._judge_stream() if self._scan is not None else "ok"
        if status == 429:
            return "throttled"
        return "failed" if status >= 500 or status in (401, 403) else "client_error"

    def _judge_stream(self) -> Outcome:
        scan = self._scan
        assert scan is not None
        if scan.garbage:
            return "invalid"
        if scan.failed:
            return "failed"
        return "ok" if scan.ended else "truncated"

    def progress(self, now: float) -> int:
        """The tokens a stream has reported so far, as some providers do with each chunk; the slice is charged them."""
        if self._scan is None or self.settled:
            return 0
        tokens = reported_tokens(self._scan.usage)
        if tokens is None:
            return 0
        used = tokens.input + tokens.output
        if self.hold is not None:
            self.hold.progress(used, now=now)
        return used

    def document(self) -> dict[str, Any] | None:
        """A unary answer as JSON, if it was kept and is an object."""
        if not self._json:
            return None
        try:
            document = orjson.loads(self._json[0] if len(self._json) == 1 else b"".join(self._json))
        except orjson.JSONDecodeError:
            return None
        return document if type(document) is dict else None

    def finish_reason(self) -> str | None:
        """Why the model stopped, if the answer says so."""
        if self._scan is not None:
            return self._scan.finish_reason
        document = self.document() or {}
        choices = document.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        reason = first.get("finish_reason") if isinstance(first, dict) else document.get("status")
        return reason if isinstance(reason, str) else None

    def shape(self) -> tuple[str, ...]:
        """What kind of answer this is: the names of a unary answer's fields, or that it is a stream."""
        if self._scan is not None:
            return ("stream",)
        return tuple(sorted(self.document() or ()))

    def _settle(self, now: float) -> None:
        self.ended_at = now
        tokens, response_id = self._reported()
        estimated = tokens is None and self.status < 400 and self.sent_at > 0
        if estimated:
            tokens = self._estimated()
        order, outcome = self.order, self.outcome
        assert outcome is not None
        event = UsageEvent(
            self.subject,
            request_id=order.request_id,
            upstream_request_id=self.upstream_request_id,
            trace_id=order.trace_id,
            attempt=self.number,
            status=self.status or None,
            outcome=outcome,
            stream=order.body.stream,
            tokens=tokens,
            estimated=estimated,
            client_gone=self.client_gone,
            latency_seconds=self.ended_at - self.started_at,
            first_token_seconds=(
                self.first_token_at - self.started_at if self.first_token_at else None
            ),
            response_id=response_id,
        )
        self.settled = True
        self._accounts.attempt_ended(self, event)
        self.consumer.attempt_settled(self, event)

    def _reported(self) -> tuple[Tokens | None, str | None]:
        """Tokens as the provider reported them, and the id under which it stored a response."""
        if self._scan is not None:
            return reported_tokens(self._scan.usage), self._scan.response_id
        document = self.document()
        if document is None:
            if self._json and self.outcome == "ok" and b"json" in self.content_type:
                self.outcome = "invalid"
            return None, None
        if self.outcome == "ok" and document.get("error"):
            self.outcome = "failed"
        response_id = document.get("id")
        return (
            reported_tokens(document.get("usage")),
            response_id if isinstance(response_id, str) else None,
        )

    def _estimated(self) -> Tokens:
        # a stream's frame around each piece of text is about ten times the text
        divisor = BYTES_PER_TOKEN * (10 if self._scan is not None else 1)
        return Tokens(self.order.input_tokens, self.received_bytes // divisor)
