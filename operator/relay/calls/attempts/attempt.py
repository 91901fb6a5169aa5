"""One attempt at a call: sent to one provider, read as it answers, judged, and reported once."""

import time
from abc import ABC, abstractmethod
from typing import Any, Final

from relay.accounting.token_rates import documented_tokens
from relay.accounting.usage_event import Outcome, UsageEvent
from relay.admission.token_buckets import Hold
from relay.calls.attempts.answer import Answer
from relay.calls.attempts.attempt_outcome import TROUBLE_OUTCOMES, Trouble
from relay.calls.attempts.call import Call
from relay.calls.attempts.estimated_usage import estimated_tokens, teach
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.usage_evidence import (
    expected_tokens,
    expected_usage,
    usage_evidence,
)
from relay.dialect.answers.error_report import UNPROCESSED
from relay.dialect.answers.retry_after import retry_after_seconds
from relay.dialect.endpoints import RESPONSES
from relay.dialect.refusals import Refusal, stream_error
from relay.dialect.reported_usage import Tokens, reported_tokens
from relay.dialect.usage.billed_usage import BilledUsage
from relay.http.connection_pool import Pool
from relay.http.headers import Field, identifier
from relay.http.outbox import Recorded
from relay.http.upstream import Fault, ResponseReceiver, UpstreamConnection
from relay.outbox.attempt_closing import Closing, Told
from relay.random_ids import random_id
from relay.routing.routes import Target

_BROKEN: Final = ("truncated", "invalid")
_UNENDED: Final = ("truncated", "timeout")
"""Faults of an answer that only lacks its end."""
_LEFT_ALONE: Final = ("ok", "cancelled")
"""Outcomes of an attempt that its provider has not failed."""


class Consumer(ABC):
    """The reader of an answer: the caller's exchange, a shadow copy, or a preflight's probe."""

    __slots__ = ()

    @abstractmethod
    def answer_started(self, attempt: "Attempt") -> None:
        """Takes the start of an answer; status, headers and answer are set."""

    @abstractmethod
    def answer_body(self, data: bytes) -> None:
        """Takes a piece of the body, for the caller."""

    @abstractmethod
    def answer_read(self, attempt: "Attempt", *, completed: bool) -> None:
        """Ends one read; with completed the answer is whole and outcome is set."""

    @abstractmethod
    def may_refuse(self) -> bool:
        """Returns whether nothing of the answer has left for the caller yet."""

    @abstractmethod
    def grant_second_send(self) -> bool:
        """Takes the second sending of a request that never arrived from a budget; returns False if there is none."""

    @abstractmethod
    def attempt_failed(self, attempt: "Attempt", trouble: Trouble) -> None:
        """Ends an attempt that has no whole answer; outcome is set."""

    @abstractmethod
    def crashed(self, error: Exception) -> None:
        """Ends everything after an exception in handling the answer."""

    @abstractmethod
    def attempt_settled(self, attempt: "Attempt", event: UsageEvent) -> None:
        """Takes the event of an attempt that is over and counted; the last call."""

    def attempt_left(self, attempt: "Attempt", event: UsageEvent) -> None:
        """Takes the event of an attempt that is cancelled for its side, and read on for its usage alone."""
        return


class Attempt(ResponseReceiver, Recorded):
    """Lives from `start` to one of the consumer's last calls. Times are monotonic seconds, 0 where not reached.

    Only the attempt itself writes its fields.
    """

    __slots__ = (
        "_auth",
        "_closing",
        "_connection",
        "_counted",
        "_counted_slow",
        "_delivered",
        "_estimates",
        "_is_left",
        "_is_opening_due",
        "_is_paid_for",
        "_opening",
        "_overhead_seconds",
        "_paused_at",
        "_paused_seconds",
        "_pool",
        "_probe",
        "_providers",
        "_report",
        "_seconds",
        "_sent_twice",
        "_unreadable",
        "_used",
        "answer",
        "call",
        "client_gone",
        "consumer",
        "ended_at",
        "first_byte_at",
        "first_token_at",
        "headers",
        "hold",
        "number",
        "outcome",
        "quiet_since",
        "received_bytes",
        "sent_at",
        "settled",
        "started_at",
        "status",
        "subject",
        "target",
        "upstream_request_id",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        consumer: Consumer,
        call: Call,
        target: Target,
        *,
        number: int,
        hold: Hold | None,
    ) -> None:
        self._providers = providers
        self.consumer = consumer
        self.call = call
        self.target = target
        self._auth = b""
        self.number = number
        self._probe = False
        self._unreadable = self._sent_twice = False
        # on the provider's quota; the attempt settles it
        self.hold = hold
        self._connection: UpstreamConnection | None = None
        self._pool: Pool | None = None
        self.answer: Answer | None = None
        self.status = 0
        self.headers: list[Field] = []
        self.outcome: Outcome | None = None
        self.client_gone = False
        # the caller's leaving is how it ended, whatever the provider says after it
        self._is_left = False
        self.settled = False
        self.received_bytes = 0
        self._overhead_seconds = 0.0
        # the caller reads slower than the provider writes
        self._paused_at = self._paused_seconds = 0.0
        # the ledger's record of the beginning waits for the end of this turn
        self._is_opening_due = False
        # what that of the end refers to; empty without one, and once it is written
        self._opening = b""
        self._closing: Closing | None = None
        # in its place for most attempts: what the answer said, and how long it took
        self._report = b""
        self._seconds = 0.0
        self._delivered = False
        # though its caller has left
        self._is_paid_for = False
        self._counted = self._estimates = False
        self._used: Tokens | None = None
        self._counted_slow: tuple[str, ...] = ()
        self.started_at = self.sent_at = self.first_byte_at = self.first_token_at = (
            self.ended_at
        ) = 0.0
        # the last piece of the answer, or what was sent in its place
        self.quiet_since = 0.0
        self.upstream_request_id: str | None = None

    def start(self) -> None:
        """Starts the attempt; the consumer may be called before this returns."""
        if self.outcome is not None:
            return
        now = time.monotonic()
        call, destination = self.call, self.target.destination
        tenant = call.tenant
        subject = self.subject = tenant.recorder.subject(
            self.target,
            call.plan,
            endpoint=call.endpoint,
            key=call.key_name,
            model=call.body.model,
            model_label=call.model_label,
            manifest_revision=call.manifest_revision,
        )
        if subject.side == "canary":
            self._probe = tenant.router.breakers.probing(subject.route, subject.fingerprint)
        auth = self._providers.auth_line(destination.upstream)
        # nothing that could raise stands between this and the count: whatever ends was started
        self.started_at = now
        if tenant.recorder.keeps_records:
            self._is_opening_due = True
            self._providers.outbox.record_soon(self)
        if auth is None:
            # never sent, and the platform's own lack: no side's SLO counts it
            self._fail("no_key")
        else:
            self._auth = auth
            tenant.recorder.started(subject)
            pool = self._pool = self._providers.pool(destination.upstream.origin)
            pool.acquire(self, now)

    def abort(self) -> None:
        """Ends the attempt because nobody wants the answer; what it has used is accounted for as known."""
        if self.outcome is not None:
            return
        self.outcome = "cancelled"
        self.client_gone = True
        if not self.started_at:
            self._never_started()
            return
        if self._connection is not None:
            self._connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
        self._settle(time.monotonic())

    def abandoned(self) -> None:
        """Notes that the caller has left, and that the tenant pays for the attempt unless the provider fails it."""
        self._is_paid_for = True

    @property
    def lacks_only_usage(self) -> bool:
        """True if this is a stream of which everything has come but the usage, which most providers send last."""
        stream = self.answer.stream if self.answer is not None else None
        if stream is None or self.outcome is not None or stream.error is not None:
            return False
        call = self.call
        if call.asks_many_choices and (
            call.body.has_several_prompts or stream.finished_choices < call.estimate.bound.choices
        ):
            # of those that have not begun nothing was seen
            return False
        return stream.whole and not stream.ended and stream.usage is None

    @property
    def may_tell_usage(self) -> bool:
        """True if the provider has the whole call, and may still tell what it used."""
        connection, answer = self._connection, self.answer
        if self.outcome is not None or connection is None or not self.sent_at:
            return False
        return connection.has_written and (answer is None or answer.may_tell_usage)

    @property
    def streamed_tokens(self) -> int:
        """The tokens of a stream as far as it has come, as they are estimated; 0 of anything else."""
        stream = self.answer.stream if self.answer is not None else None
        return 0 if stream is None else documented_tokens(stream.text_pieces(), stream.text_bytes())

    def read_on_for(self, consumer: Consumer) -> None:
        """Hands the rest of the answer to another reader: its caller has left."""
        self.client_gone = True
        self.consumer = consumer
        self.resume()

    def leave(self, now: float) -> UsageEvent:
        """Counts the attempt for its side as cancelled now, by what is known now; what the provider does after it is not counted there.

        Otherwise a side would be judged by answers that nobody waited for.
        """
        if self.answer is not None:
            self.answer.read_for_usage()
        reported = self.answer.reported_usage if self.answer is not None else None
        event = self._event(now, "cancelled", self._tokens(reported))
        self._is_left = True
        self.call.tenant.attempt_left(event, now)
        return event

    def time_out(self) -> None:
        """Ends the attempt because its consumer gave it only so much time."""
        if self.outcome is not None or not self.started_at:
            return
        connection = self._connection
        if connection is not None:
            connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
        self._fail("timeout")

    def give_up(self) -> None:
        """Ends the attempt after an exception in its handling: lets the provider go and reports what is certain.

        What the provider said is dropped, since reading it may be what raised.
        """
        if self.settled:
            return
        if not self.started_at:
            self._never_started()
            return
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        elif self._pool is not None:
            self._pool.cancel(self)
        if self.outcome is None:
            self.outcome = "cancelled"
        self.answer = None
        self._settle(time.monotonic())

    def _never_started(self) -> None:
        """Gives back what was reserved; there is nothing to report."""
        self.outcome = "cancelled"
        self.settled = True
        if self.hold is not None:
            self.hold.settle(0, now=time.monotonic())

    def pause(self) -> None:
        """Stops reading the provider for now."""
        if self._connection is not None:
            self._paused_at = self._paused_at or time.monotonic()
            self._connection.pause()

    def resume(self) -> None:
        """Reads the provider again."""
        if self._paused_at:
            self._paused_seconds += time.monotonic() - self._paused_at
            self._paused_at = 0.0
        if self._connection is not None:
            self._connection.resume()

    @property
    def credential(self) -> bytes:
        """The provider's key as it was sent; empty where none was."""
        upstream = self.target.destination.upstream
        return self._auth[len(upstream.auth_prefix) :].strip()

    @property
    def is_stream(self) -> bool:
        """True if the answer is a stream of events that the relay can add to."""
        return self.answer is not None and self.answer.is_stream

    @property
    def between_events(self) -> bool:
        """True if this is a stream of which the client has whole events only, and more are to come."""
        answer = self.answer
        if answer is None or self.outcome is not None or not answer.is_stream:
            return False
        return answer.stream is not None and answer.stream.between_events

    @property
    def is_broken_stream(self) -> bool:
        """True if the answer is a stream that must not end like a whole one."""
        answer = self.answer
        return answer is not None and answer.stream is not None and self.outcome in _BROKEN

    @property
    def is_refused(self) -> bool:
        """True if the answer calls a tool that the tenant may not use."""
        return self.answer is not None and self.answer.is_refused

    @property
    def denied_call(self) -> str:
        """Returns the name of the call for which the answer is refused; empty where nobody can tell."""
        return "" if self.answer is None else self.answer.denied_call

    @property
    def is_unusable(self) -> bool:
        """True if the answer holds nothing that a caller could use."""
        return self.answer is not None and self.answer.unusable

    def error_event(self, refusal: Refusal) -> bytes:
        """Returns the event that tells the client of a stream that it broke; never inside another event."""
        stream = self.answer.stream if self.answer is not None else None
        assert stream is not None
        event = stream_error(
            refusal,
            responses_api=self.call.endpoint == RESPONSES,
            sequence_number=stream.next_sequence_number(),
        )
        return event if stream.between_events else b"\n\n" + event

    def comment_sent(self, now: float) -> None:
        """Notes that the client got a comment in place of the silent provider's events."""
        self.quiet_since = now

    def answer_begins(self, now: float, *, waited_seconds: float) -> None:
        """Notes the time the relay added: before the attempt, and since the provider's first byte."""
        self._overhead_seconds = waited_seconds + now - self.first_byte_at
        self._delivered = True

    def passed_on(self, now: float) -> None:
        """Notes that the client is about to get the provider's error."""
        self._delivered = True
        self.answer_ends(now)

    def answer_ends(self, now: float) -> None:
        """Records the end for the ledger; called before the last byte leaves for the client, the outcome being known.

        A process that dies between the two must not have served a call that no book knows.
        """
        self._record_end(now)

    def count_overdue(self, now: float) -> None:
        """Counts the attempt as slow for each objective it has exceeded while still under way."""
        if self.settled or self.client_gone or not self.sent_at:
            return
        taken = now - self.started_at
        for signal, limit in self.subject.objectives.items():
            waited = taken - self._paused(now) if signal == "Total" else taken
            under_way = signal == "Total" or (signal == "FirstToken" and not self.first_token_at)
            if under_way and waited > limit and signal not in self._counted_slow:
                self._counted_slow += (signal,)
                self.call.tenant.recorder.slow(self.subject, signal)

    def _paused(self, now: float) -> float:
        """Returns for how long nothing was read because the caller did not: that is none of the provider's time."""
        since = now - self._paused_at if self._paused_at else 0.0
        return self._paused_seconds + since

    # -- relay.http.upstream.ResponseReceiver ----------------------------------------------------------------------------------

    def connected(self, connection: UpstreamConnection, now: float) -> None:
        self._connection = connection
        self.sent_at = now
        upstream = self.target.destination.upstream
        pieces = self.call.pieces(self.target, auth=self._auth, span_id=random_id(16))
        connection.send(
            self,
            pieces,
            now,
            first_byte=upstream.first_byte_timeout or self._providers.first_byte_timeout,
            idle=upstream.idle_timeout or self._providers.idle_timeout,
        )

    def response(self, status: int, headers: list[Field], now: float) -> None:
        self.first_byte_at = self.quiet_since = now
        self.status = status
        self.headers = headers
        media_type, content_encoding = b"", None
        for name, value in headers:
            if name == b"content-type":
                media_type = value
            elif name == b"content-encoding":
                # a client reads all lines as one list (RFC 9110 section 5.3)
                content_encoding = (
                    value if content_encoding is None else b"%b, %b" % (content_encoding, value)
                )
            elif name == b"x-request-id":
                self.upstream_request_id = identifier(value)
        answer = self.answer = Answer(
            self.call,
            self.target,
            status=status,
            media_type=media_type,
            content_encoding=content_encoding,
        )
        if self._is_left:
            answer.read_for_usage()
        if not answer.undecided:
            self.consumer.answer_started(self)

    def body_received(self, data: bytes, now: float) -> None:
        answer = self.answer
        assert answer is not None
        self.received_bytes += len(data)
        self.quiet_since = now
        undecided = answer.undecided
        shown = answer.feed(data)
        if undecided:
            if answer.undecided:
                return
            self.consumer.answer_started(self)
        if answer.is_garbage and not (self.consumer.may_refuse() and answer.read_as_document(data)):
            self._end_at_once(now)
            return
        if not self.first_token_at and answer.has_begun(data):
            self.first_token_at = now
            if self._connection is not None:
                self._connection.answer_begun(now)
        if shown and answer.is_passed_on:
            self.consumer.answer_body(shown)
        if answer.is_refused:
            self._end_at_once(now)

    def _end_at_once(self, now: float) -> None:
        """Ends an answer that will not get better, before the provider does."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abandon()
        self._conclude(now)

    def _conclude(self, now: float) -> None:
        answer = self.answer
        assert answer is not None
        self.outcome = answer.judge()
        if self.outcome != "ok":
            self._note_cool_down(answer, now)
        self.consumer.answer_read(self, completed=True)
        self._settle(now)

    def _note_cool_down(self, answer: Answer, now: float) -> None:
        """Lets routing pass the target over, where the provider says that it took no call and when to come back.

        What serves no caller, a copy or a probe, must not take callers off a target.
        """
        error = answer.error
        status = error.status if error is not None and self.status < 300 else self.status
        if status not in UNPROCESSED or not self.subject.is_served:
            return
        details: dict[str, Any] = error.details if error is not None else {}
        seconds = retry_after_seconds(self.headers, details, wall_time=time.time())
        if seconds is not None:
            self.call.tenant.cool_down(self.target, seconds, now)

    def read_ended(self, now: float, *, completed: bool) -> None:
        answer = self.answer
        assert answer is not None
        if completed:
            self._connection = None
            self._end_answer(answer)
            self._conclude(now)
        elif answer.has_failed_first and self.consumer.may_refuse():
            self._end_at_once(now)
        elif answer.is_passed_on:
            self.consumer.answer_read(self, completed=False)

    def _end_answer(self, answer: Answer) -> None:
        if answer.undecided:
            rest = answer.end_undecided()
            self.consumer.answer_started(self)
        else:
            rest = answer.rest()
        if rest:
            self.consumer.answer_body(rest)

    def failed(self, fault: Fault) -> None:
        answer = self.answer
        if fault in _UNENDED and answer is not None and answer.has_ended and self.outcome is None:
            # the end mark has come, only the end of the HTTP message has not
            self._connection = None
            now = time.monotonic()
            self._end_answer(answer)
            self._conclude(now)
        elif fault != "undelivered" or not self._send_again():
            self._fail(fault)

    def _send_again(self) -> bool:
        """Sends a request that never arrived on another connection, once; returns False if it may not."""
        self.sent_at = 0.0
        pool = self._pool
        if self._sent_twice or pool is None or self.outcome is not None:
            return False
        if not self.consumer.grant_second_send():
            return False
        self._sent_twice = True
        self._connection = None
        pool.acquire_new(self)
        return True

    def crashed(self, error: Exception) -> None:
        self.consumer.crashed(error)

    def _fail(self, trouble: Trouble) -> None:
        if self.outcome is not None:
            return
        self._connection = None
        self.outcome = TROUBLE_OUTCOMES[trouble]
        now = time.monotonic()
        self.consumer.attempt_failed(self, trouble)
        self._settle(now)

    # -- the answer -------------------------------------------------------------------------------------------------

    def charge_progress(self, now: float) -> int:
        """Charges the provider's quota the tokens that a stream has reported so far, and returns what limits count of them.

        Some providers report with each chunk.
        """
        stream = self.answer.stream if self.answer is not None else None
        if stream is None or self.settled:
            return 0
        tokens = self._tokens(stream.usage)
        if tokens is None:
            return 0
        used = self._charged(tokens)
        if self.hold is not None:
            self.hold.progress(used, now=now)
        return used

    def _settle(self, now: float) -> None:
        self.ended_at = now
        tokens = self._used_tokens()
        outcome = self._counted_outcome()
        answer = self.answer
        if tokens is not None and answer is not None and outcome == "ok" and not self._estimates:
            teach(self.call, self.subject.rates, answer, self.received_bytes, tokens)
        event = self._event(now, outcome, tokens)
        if self.hold is not None:
            self.hold.settle(event.charged_tokens, now=now)
        self._record_end(now)
        self.settled = True
        self.call.tenant.attempt_ended(event, now)
        self.consumer.attempt_settled(self, event)

    def _counted_outcome(self) -> Outcome:
        outcome = self.outcome
        assert outcome is not None
        return "cancelled" if self._is_left else outcome

    def _event(self, now: float, outcome: Outcome, tokens: Tokens | None) -> UsageEvent:
        answer, call, started_at = self.answer, self.call, self.started_at
        # a shadow copy is an attempt at the same call, counted from 1 again
        shadow = self.subject.side == "shadow"
        return UsageEvent(
            self.subject,
            call_id=call.call_id,
            attempt_id=f"{call.call_id}-{'shadow-' if shadow else ''}{self.number}",
            request_id=call.request_id,
            upstream_request_id=self.upstream_request_id,
            trace_id=call.trace_id,
            attempt=self.number,
            status=self.status or None,
            outcome=outcome,
            stream=call.body.stream,
            tokens=tokens,
            charged_tokens=self._charged(tokens) if tokens is not None else 0,
            estimated=self._estimates,
            unreadable=self._unreadable,
            client_gone=self.client_gone,
            latency_seconds=now - started_at,
            paused_seconds=self._paused(now),
            first_token_seconds=self._first_token_seconds(),
            response_id=answer.stored_as if answer is not None else None,
            estimate=call.estimate,
            first_byte_seconds=self.first_byte_at - started_at if self.first_byte_at else 0.0,
            overhead_seconds=self._overhead_seconds,
            counted_slow=self._counted_slow,
            probe=self._probe,
            was_left=self._is_left,
        )

    def _used_tokens(self) -> Tokens | None:
        """Returns the tokens of the whole attempt, reported or estimated; counts them once."""
        if self._counted:
            return self._used
        answer = self.answer
        tokens = answer.tokens if answer is not None else None
        if tokens is None and answer is not None:
            tokens = self._tokens(answer.reported_usage)
        # a provider that answered nothing usable and reports nothing has charged nothing
        if tokens is None and self.status < 300 and self.sent_at > 0 and not self.is_unusable:
            self._estimates = True
            tokens = estimated_tokens(
                self.call, self.target, self.subject.rates, answer, self.received_bytes
            )
        self._counted = True
        self._used = tokens
        return tokens

    def _record_end(self, now: float) -> None:
        """Records for the ledger how the attempt ended, once: at once, or with what else is recorded in this turn."""
        if self._is_opening_due:
            self._record_beginning()
        if not self._opening or self._report:
            return
        answer = self.answer
        outcome = self._counted_outcome()
        if answer is None or not answer.report or outcome != "ok" or self.is_abandoned:
            opening, self._opening = self._opening, b""
            self._closing = self._closing_at(now)
            self.call.tenant.recorder.closed(self.subject, opening, self._closing)
            return
        # most calls come here, and nothing in a report is in doubt: what the other way would find out is known
        self._report = answer.report
        self._seconds = now - self.started_at
        self._used_tokens()
        self._providers.outbox.record_soon(self)

    # -- relay.http.outbox.Recorded ------------------------------------------------------------------------------------------------

    def write_record(self) -> None:
        try:
            if self._is_opening_due:
                self._record_beginning()
            elif self._report and self._opening:
                self._record_report()
        except Exception as raised:  # the other records of this turn are to be written
            self.crashed(raised)

    def _record_beginning(self) -> None:
        """Records for the ledger that the attempt is about to be sent."""
        self._is_opening_due = False
        call = self.call
        self._opening = call.tenant.recorder.opened(
            self.subject,
            attempt=self.number,
            stream=call.body.stream,
            call_id=call.call_id,
            request_id=call.request_id,
            expected=expected_tokens(call.estimate),
        )

    def _record_report(self) -> None:
        opening, self._opening = self._opening, b""
        self.call.tenant.recorder.closed_with_report(
            self.subject,
            opening,
            seconds=self._seconds,
            status=self.status,
            delivered=self._delivered,
            report=self._report,
            upstream_request_id=self.upstream_request_id,
        )

    def _closing_at(self, now: float) -> Closing:
        answer, outcome = self.answer, self.outcome
        assert outcome is not None
        tokens = self._used_tokens()
        source, usage, doubt = usage_evidence(
            answer,
            endpoint=self.call.endpoint,
            outcome=outcome,
            was_sent=self.sent_at > 0,
            has_begun=self.first_token_at > 0,
            client_gone=self.client_gone,
            unreadable=self._unreadable,
            tokens=tokens,
        )
        tier = usage.service_tier if isinstance(usage, BilledUsage) else None
        return Closing(
            elapsed=int((now - self.started_at) * 1_000_000),
            outcome=self._counted_outcome(),
            status=self.status if 100 <= self.status <= 599 else 0,
            delivered=self._delivered,
            abandoned=self.is_abandoned and source != "none",
            source=source,
            usage=usage,
            doubt=doubt,
            answered_model=answer.answered_model() if answer is not None else None,
            service_tier=tier or (answer.service_tier() if answer is not None else None),
            upstream_request_id=self.upstream_request_id,
            expected=expected_usage(self.call.estimate) if source == "unknown" else None,
        )

    @property
    def is_billed(self) -> bool:
        """True if the tenant pays for it: the caller got its answer, or the beginning, or has left before and is to pay all the same."""
        return self._delivered or self.is_abandoned

    @property
    def is_abandoned(self) -> bool:
        """True if the tenant pays for an attempt whose caller left before the answer began; not if the provider refused or failed it."""
        return (
            self._is_paid_for
            and not self._delivered
            and self.sent_at > 0
            and self.status < 300
            and self.outcome in _LEFT_ALONE
        )

    def told(self) -> Told | None:
        """Returns what the ledger is told of what was used, None where it is told nothing."""
        closing = self._closing
        if closing is not None:
            return closing.usage, closing.answered_model, closing.service_tier
        return (self._report, None, None) if self._report else None

    def _first_token_seconds(self) -> float | None:
        return (
            self.first_token_at - self.started_at
            if self.first_token_at and not self.is_unusable
            else None
        )

    def _charged(self, tokens: Tokens) -> int:
        return tokens.charged(self.target.destination.upstream.provider.cached_token_weight)

    def _tokens(self, usage: object) -> Tokens | None:
        """Reads a usage object; what this call and this answer cannot have used counts as unreported."""
        tokens = reported_tokens(
            usage,
            call_bytes=len(self.call.body.raw),
            answer_bytes=self.received_bytes,
            choices=self.call.estimate.bound.choices,
        )
        self._unreadable = tokens is None and isinstance(usage, dict)
        return tokens
