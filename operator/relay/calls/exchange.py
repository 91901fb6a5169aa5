"""One client request from its head to the last byte of its answer."""

import time
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import orjson

from relay.accounting.usage_event import UsageEvent
from relay.admission.admission import Applicant
from relay.admission.ask import Ask
from relay.admission.not_admitted import NotAdmitted
from relay.admission.reservation import Reservation
from relay.calls import own_responses
from relay.calls.attempt import Attempt, Consumer, Trouble
from relay.calls.call import Call
from relay.calls.call_phases import ANSWERING, ATTEMPTING, OVER, RECEIVING, WAITING, may_move
from relay.calls.caller import Caller, identify, request_id
from relay.calls.refusal_of import PROBLEM_REFUSAL, REFUSAL_OF
from relay.calls.response_writer import ResponseWriter
from relay.calls.shadow import Comparison
from relay.dialect.endpoints import CALLS, ME, MODEL, MODELS
from relay.dialect.refusals import Refusal, error_body
from relay.dialect.request_body import read_body
from relay.http.downstream import ClientConnection, RequestHandler
from relay.http.message import Request
from relay.http.problem import Problem
from relay.routing.routes import Leg
from relay.routing.snapshot import Snapshot

if TYPE_CHECKING:
    from relay.calls.call_service import CallService

MAX_ERROR_BYTES: Final = 64 * 1024
"""An error answer is read whole before it is passed on, up to this."""
STREAM_COMMENT: Final = b": keep-alive\n\n"
"""Clients skip it (WHATWG HTML section 9.2.6)."""
UNPROCESSED_STATUSES: Final = frozenset({429, 503})
"""With these a provider says that it did not take the call."""
UNPROCESSED_TROUBLES: Final[frozenset[Trouble]] = frozenset({"unreachable", "no_key"})
_TROUBLES: Final[dict[Trouble, Refusal]] = {
    "no_key": Refusal.upstream_key_missing,
    "unreachable": Refusal.upstream_unreachable,
    "timeout": Refusal.upstream_timeout,
    "reset": Refusal.upstream_reset,
    "truncated": Refusal.upstream_truncated,
    "invalid": Refusal.upstream_invalid,
}
_READS: Final = frozenset({b"GET", b"HEAD"})
_WRITES: Final = frozenset({b"POST"})
_RETRY_FIELDS: Final = frozenset({b"retry-after", b"retry-after-ms", b"x-should-retry"})


class Exchange(Consumer, Applicant, RequestHandler):
    """Driven by its connection, the admission and its attempts; ends answered, cut off or left, and only once."""

    __slots__ = (
        "_attempt",
        "_chain",
        "_connection",
        "_error",
        "_hop",
        "_paused",
        "_used_tokens",
        "caller",
        "comparison",
        "model_label",
        "order",
        "phase",
        "ready_at",
        "reply",
        "request",
        "request_id",
        "reservation",
        "service",
    )

    order: Call
    reservation: Reservation

    def __init__(
        self, service: "CallService", connection: ClientConnection, request: Request
    ) -> None:
        self.service = service
        self._connection = connection
        self.request = request
        self.reply = ResponseWriter(connection, request)
        self.phase = RECEIVING
        self.ready_at = 0.0
        self._attempt: Attempt | None = None
        self._chain: tuple[Leg, ...] = ()
        self._hop = 0
        self._paused = False
        self._error: list[bytes] | None = None
        self._used_tokens = 0
        self.caller: Caller | None = None
        self.comparison: Comparison | None = None
        self.model_label = ""
        self.request_id = request_id(request)

    # -- the request -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        known = self.request.known
        if known is not None:
            caller = known.notes
            if isinstance(caller, Caller) and caller.snapshot is self.service.snapshot:
                self.caller = caller
                return
        refusal = self._check_head()
        if refusal is Refusal.method_not_allowed:
            self.refuse(refusal, fields=_allow(self.request.path))
        elif refusal is not None:
            self.refuse(refusal)
        elif self.request.method != b"OPTIONS":
            if known is not None:
                known.notes = self.caller
            self._connection.want_body(self.request)

    def _check_head(self) -> Refusal | None:
        request = self.request
        path = request.path
        if path in CALLS:
            allowed = _WRITES
        elif path in (ME, MODELS) or path.startswith(MODEL):
            allowed = _READS
        else:
            return Refusal.unknown_url
        if request.method == b"OPTIONS":
            return None
        if request.method not in allowed:
            return Refusal.method_not_allowed
        caller = identify(request, self.service.snapshot)
        if isinstance(caller, Refusal):
            return caller
        self.caller = caller
        return self._check_size()

    def _check_size(self) -> Refusal | None:
        fields = self.request.fields
        if b"content-encoding" in fields and fields[b"content-encoding"].lower() != b"identity":
            return Refusal.unsupported_encoding
        if int(fields.get(b"content-length", b"0")) > self.service.client_limits.max_body_bytes:
            return Refusal.payload_too_large
        if b"expect" in fields and not self.request.expects_continue and self.request.http11:
            return Refusal.expectation_failed
        return None

    def request_complete(self) -> None:
        if self.phase is not RECEIVING:
            return
        self.ready_at = time.monotonic()
        if self.request.method == b"POST":
            self._read_call()
        else:
            self._answer_here()

    def _read_call(self) -> None:
        request, caller = self.request, self.caller
        assert caller is not None
        raw = request.body[0] if len(request.body) == 1 else b"".join(request.body)
        request.body = [raw]
        body = read_body(raw)
        if isinstance(body, Refusal):
            self.refuse(body)
            return
        snapshot = caller.snapshot
        routed = self.service.routed(snapshot, body.model, caller.task)
        if routed is None:
            self.refuse(
                Refusal.model_not_found, message=own_responses.no_such_model(snapshot, body.model)
            )
            return
        self.order = self.service.order(request, caller, routed.plan, body, self.request_id)
        self.model_label = self.order.model_label
        self._chain = self.service.chain(routed, self.order, request)
        self._move(WAITING)
        self.reservation = Reservation(_ask(self.order, caller, self._chain[0]))
        self.service.enter(self, self.ready_at)

    def _answer_here(self) -> None:
        request, caller = self.request, self.caller
        if caller is None:  # OPTIONS, which says nothing about the tenant
            self._answer(204, _allow(request.path), b"")
        elif request.path == MODELS:
            self._answer(200, own_responses.JSON, own_responses.models_body(caller.snapshot))
        elif request.path == ME:
            self._answer(200, own_responses.JSON, self.service.me(caller))
        else:
            self._answer_model(caller.snapshot, unquote(request.path[len(MODEL) :].decode("ascii")))

    def _answer_model(self, snapshot: Snapshot, name: str) -> None:
        body = own_responses.model_body(snapshot, name)
        if body is None:
            message = own_responses.no_such_model(snapshot, name)
            self.refuse(Refusal.model_not_found, message=message)
        else:
            self._answer(200, own_responses.JSON, body)

    # -- admission -------------------------------------------------------------------------------------------------

    def turned_away(self, refused: NotAdmitted) -> None:
        """Refuses the call because a limit or the queue did not admit it."""
        wait = refused.retry_after_seconds if refused.waiting_helps else None
        self.refuse(REFUSAL_OF[refused.reason], retry_after_seconds=wait)

    def tick(self, now: float) -> None:
        """What takes long is counted and charged while it does, not only when it has ended."""
        if self._attempt is None:
            return
        self.service.books.overdue(self._attempt, now)
        used = self._attempt.progress(now)
        if used:
            self.reservation.progress(self._used_tokens + used, now)
        self._keep_stream(self._attempt, now)

    def _keep_stream(self, attempt: Attempt, now: float) -> None:
        """A stream that falls silent gets a comment: load balancers close what is idle for a minute, models think longer."""
        quiet = now - attempt.quiet_since
        if (
            self.phase is ANSWERING
            and attempt.between_events
            and not self._paused
            and quiet >= self.service.settings.stream_keepalive_seconds
        ):
            attempt.quiet_since = now
            self.reply.body(STREAM_COMMENT)
            self.reply.flush()

    def seated(self) -> None:
        """A seat is ours: the first provider is asked."""
        if self.phase is not WAITING:
            return
        self.service.metrics.queue_wait.observe(self.reservation.queue_seconds)
        self._chain = self.service.without_open_canary(self.order, self._chain)
        self._move(ATTEMPTING)
        if self.order.plan.shadow_percent and self._chain[0].destination.label == "stable":
            self.comparison = self.service.shadows.sample(self.order)
        self._attempt_at(self._chain[0])

    def _attempt_at(self, leg: Leg) -> None:
        hold = self.reservation.take_provider_hold(leg.destination.upstream.name)
        self._attempt = self.service.attempt(self, self.order, leg, number=self._hop + 1, hold=hold)
        self._attempt.start()

    def _hopped(self, reason: str) -> bool:
        """Whether another destination is being asked, because this one provably did not process the call.

        A destination whose slice has no room now is passed over: a second wait would be longer than the first.
        """
        for hop in range(self._hop + 1, len(self._chain)):
            provider = self._chain[hop].destination.upstream.name
            if not self.service.try_provider(self.reservation, provider):
                continue
            if not self.service.budget.withdraw():
                return False
            self._hop = hop
            self._error = None
            self.service.metrics.fallbacks[self.order.plan.name, reason] += 1
            self.ready_at = time.monotonic()
            self._move(ATTEMPTING)
            self._attempt_at(self._chain[hop])
            return True
        return False

    # -- relay.calls.attempt.Consumer ------------------------------------------------------------------------------------

    def answer_started(self, attempt: Attempt) -> None:
        if attempt.status >= 300:
            self._error = []
            return
        fields = self._common_fields(attempt.first_byte_at) + _ids(attempt)
        keep = self._connection.keeps_alive(self.request, attempt.first_byte_at)
        self.reply.begin(
            attempt.status, attempt.headers, fields, stream=attempt.is_stream, keep_alive=keep
        )

    def answer_body(self, data: bytes) -> None:
        if self._error is None:
            self.reply.body(data)
        elif sum(map(len, self._error)) < MAX_ERROR_BYTES:
            self._error.append(data)

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        if self._error is not None:
            if completed:
                self._answer_error(attempt, b"".join(self._error))
        elif completed:
            self._answer_read_whole(attempt)
        elif not self.reply.holds:
            if self.phase is ATTEMPTING:
                self._begin_answering(attempt, time.monotonic())
            self.reply.flush()

    def _answer_read_whole(self, attempt: Attempt) -> None:
        now = time.monotonic()
        if self.phase is ATTEMPTING:
            self._begin_answering(attempt, now)
        if attempt.outcome == "truncated":
            self._break_off(Refusal.upstream_truncated)
        else:
            self.reply.end()
            self._finish(now, keep_alive=self.reply.keep_alive)

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        refusal = _TROUBLES[trouble]
        if self.phase is ANSWERING:
            self._break_off(refusal)
        elif trouble not in UNPROCESSED_TROUBLES or not self._hopped(trouble):
            self.refuse(refusal)

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        if self.comparison is not None:
            self.comparison.served(attempt, event)
        if event.tokens is not None:
            self._used_tokens += event.tokens.input + event.tokens.output
        if self.phase is OVER:
            self.reservation.settle(self._used_tokens, attempt.ended_at)
            # the attempt refers to us: let go, or only the collector could free the call's body
            self._attempt = None

    def _answer_error(self, attempt: Attempt, body: bytes) -> None:
        status = attempt.status
        if status in UNPROCESSED_STATUSES and self._hopped(str(status)):
            return
        if status in (401, 403) or status < 400:
            # a redirect would send the caller's prompt wherever the provider points
            refusal = Refusal.upstream_redirected if status < 400 else Refusal.upstream_unauthorized
            self.refuse(refusal)
            return
        shaped = _is_error_shape(body)
        if not shaped:
            message = f"The provider answered {status} without an error this relay can pass on."
            body = error_body(message=message, kind="server_error", code="upstream_error")
            status = 502 if status >= 500 and status != 503 else status
        self._answer(status, own_responses.JSON + _retry_lines(attempt) + _ids(attempt), body)

    def _begin_answering(self, attempt: Attempt, now: float) -> None:
        """The client is about to see a byte. What we added: the time before the provider was asked, less the wait for a
        seat, and the time since its first byte."""
        before = max(0.0, attempt.started_at - self.ready_at)
        if self._hop == 0:
            before = max(0.0, before - self.reservation.queue_seconds)
        attempt.overhead_seconds = before + now - attempt.first_byte_at
        self._move(ANSWERING)

    # -- the end ---------------------------------------------------------------------------------------------------

    def refuse(
        self,
        refusal: Refusal,
        *,
        message: str | None = None,
        retry_after_seconds: float | None = None,
        fields: bytes = b"",
    ) -> None:
        """Answered with a refusal, or cut off where an answer has begun."""
        if self.phase is OVER:
            return
        if self.phase is ANSWERING:
            self._stop_attempt()
            self.reply.cut()
            self._finish(time.monotonic(), keep_alive=False)
            return
        self._stop_attempt()
        now = time.monotonic()
        self.service.metrics.rejections[(refusal.name,)] += 1
        keep = self._connection.keeps_alive(self.request, now)
        self.reply.refusal(
            refusal,
            fields + self._common_fields(now),
            message=message,
            retry_after_seconds=retry_after_seconds,
            keep_alive=keep,
        )
        self._finish(now, keep_alive=keep)

    def unusable(self, problem: Problem) -> None:
        self.refuse(PROBLEM_REFUSAL[problem])

    def client_gone(self) -> None:
        if self.phase is OVER:
            return
        self.reply.status = 499
        if self._attempt is not None:
            self.service.metrics.disconnects[(self.order.plan.name,)] += 1
        self._stop_attempt()
        self._finish(time.monotonic(), keep_alive=False)

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.resume()

    def _break_off(self, refusal: Refusal) -> None:
        """A late failure: a stream says so in an event the SDKs raise on; anything else can only be cut."""
        attempt = self._attempt
        if attempt is None or not attempt.is_stream:
            self.reply.cut()
        else:
            row = refusal.value
            event = error_body(message=row.message, kind=row.type, code=row.code)
            self.reply.body(b"data: " + event + b"\n\n")
            self.reply.end()
        self._finish(time.monotonic(), keep_alive=False)

    def _answer(self, status: int, fields: bytes, body: bytes) -> None:
        now = time.monotonic()
        keep = self._connection.keeps_alive(self.request, now)
        self.reply.whole(status, fields + self._common_fields(now), body, keep_alive=keep)
        self._finish(now, keep_alive=keep)

    def _stop_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.abort()

    def _finish(self, now: float, *, keep_alive: bool) -> None:
        waiting_or_later = self.phase is not RECEIVING
        self._move(OVER)
        if waiting_or_later:
            self.service.leave(self.reservation, now)
            if self._attempt is None or self._attempt.settled:
                self.reservation.settle(self._used_tokens, now)
                self._attempt = None
        self.service.exchange_over(self, now)
        self._connection.finished(now, keep_alive=keep_alive)

    def _common_fields(self, now: float) -> bytes:
        model = None if self.phase is RECEIVING else self.order.body.model
        return self.service.common_fields(self.request_id, self.caller, model, now)

    def _move(self, target: int) -> None:
        assert may_move(self.phase, target), (self.phase, target)
        self.phase = target


def _allow(path: bytes) -> bytes:
    """What a path takes (RFC 9110 section 10.2.1)."""
    methods = b"POST, OPTIONS" if path in CALLS else b"GET, HEAD, OPTIONS"
    return b"allow: %b\r\n" % methods


def _ask(call: Call, caller: Caller, first: Leg) -> Ask:
    return Ask(
        key=caller.key.name,
        key_weight=caller.key.weight,
        priority=caller.priority,
        model=call.body.model,
        provider=first.destination.upstream.name,
        input_tokens=call.input_tokens,
        output_tokens=call.output_tokens,
    )


def _ids(attempt: Attempt) -> bytes:
    if attempt.upstream_request_id is None:
        return b""
    return f"x-upstream-request-id: {attempt.upstream_request_id}\r\n".encode()


def _is_error_shape(body: bytes) -> bool:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _retry_lines(attempt: Attempt) -> bytes:
    lines = [b"%b: %b\r\n" % field for field in attempt.headers if field[0] in _RETRY_FIELDS]
    if not lines and attempt.status == 429:
        # the provider named no time; one second keeps clients from coming back at once
        lines.append(b"retry-after: 1\r\n")
    return b"".join(lines)
