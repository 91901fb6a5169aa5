"""One call, from its request's head to the last byte of its answer."""

import time
from typing import Final

from relay.accounting.usage_event import UsageEvent
from relay.admission.admission import Applicant
from relay.admission.not_admitted import NotAdmitted
from relay.admission.reservation import Reservation
from relay.calls import own_responses, provider_error
from relay.calls.attempts import hop_rules
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.attempt_outcome import Trouble
from relay.calls.attempts.call import Call, new_call
from relay.calls.attempts.shadow_comparison import Comparison
from relay.calls.call_context import CallContext
from relay.calls.call_phases import ANSWERING, ATTEMPTING, OVER, RECEIVING, WAITING, may_move
from relay.calls.money.call_money import CallMoney, MoneyRefused, reserve_money
from relay.calls.provider_error import PassedOnError
from relay.calls.refusal_of import (
    BROKEN_STREAM_REFUSAL,
    CREDENTIAL_REFUSAL,
    PROBLEM_REFUSAL,
    PROBLEM_RETRY_SECONDS,
    REFUSAL_OF,
    TROUBLE_REFUSAL,
    UNUSABLE_REFUSAL,
)
from relay.calls.response_writer import ResponseWriter
from relay.calls.tenants.caller import Caller, check_size, identify, request_id
from relay.calls.tool_policy.denials import Denial, denial_event, denied_call
from relay.calls.tool_policy.permitted_tools import ToolsRefused, permitted_body
from relay.dialect.endpoints import Endpoint
from relay.dialect.refusals import Refusal
from relay.dialect.request_body import CallBody, read_body
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.http.problem import Problem
from relay.http.request_handler import RequestHandler
from relay.random_ids import random_id
from relay.routing.routes import Target
from relay.tools.chat.chat_policy import ChatPolicy

STREAM_COMMENT: Final = b": keep-alive\n\n"
"""Clients skip it (WHATWG HTML section 9.2.6)."""


class Exchange(Consumer, Applicant, RequestHandler):
    """Driven by its connection, the admission and its attempts; ends answered, aborted or abandoned, and only once."""

    __slots__ = (
        "_admitted",
        "_attempt",
        "_attempts",
        "_call_id",
        "_connection",
        "_context",
        "_endpoint",
        "_hidden_tools",
        "_index",
        "_may_be_paid",
        "_money",
        "_paused",
        "_request_id",
        "_targets",
        "_used_tokens",
        "_writer",
        "call",
        "caller",
        "comparison",
        "phase",
        "ready_at",
        "request",
        "reservation",
    )

    call: Call
    reservation: Reservation

    def __init__(
        self,
        context: CallContext,
        endpoint: Endpoint,
        connection: ClientConnection,
        request: Request,
    ) -> None:
        self._context = context
        self._endpoint = endpoint
        self._connection = connection
        self.request = request
        self._writer = ResponseWriter(connection, request)
        self.phase = RECEIVING
        self.ready_at = 0.0
        self._admitted = False
        self._attempt: Attempt | None = None
        self._attempts = 0
        # an attempt before the last one may have been processed
        self._may_be_paid = False
        self._money: CallMoney | None = None
        self._targets: tuple[Target, ...] = ()
        self._index = 0
        # of a call that was recorded before it began
        self._call_id = ""
        self._hidden_tools = b""
        self._paused = False
        self._used_tokens = 0
        self.caller: Caller | None = None
        self.comparison: Comparison | None = None
        self._request_id = request_id(request)

    # -- the request -----------------------------------------------------------------------------------------------

    def begin(self) -> None:
        known = self.request.known
        if known is not None:
            caller = known.notes
            if isinstance(caller, Caller) and caller.up_to_date:
                self.caller = caller
                caller.use.at = self.request.received_at
                return
        refusal = self._check_head()
        if refusal is not None:
            self.refuse(refusal)
            return
        if known is not None:
            known.notes = self.caller
        self._connection.want_body(self.request)

    def _check_head(self) -> Refusal | None:
        caller = identify(self.request, self._context.tenants)
        if isinstance(caller, Refusal):
            return caller
        self.caller = caller
        return check_size(self.request, self._context.max_body_bytes)

    def request_complete(self) -> None:
        if self.phase is not RECEIVING:
            return
        self.ready_at = time.monotonic()
        request, caller = self.request, self.caller
        assert caller is not None
        body = self._read_body(request, caller)
        if body is None:
            return
        snapshot, router = caller.snapshot, caller.tenant.router
        routed = router.routed(snapshot, body.model, caller.task)
        if routed is None:
            message = own_responses.no_such_model(snapshot, body.model)
            self.refuse(Refusal.model_not_found, message=message)
            return
        if not routed.stable:
            self.refuse(Refusal.provider_closed)
            return
        call = self.call = new_call(
            request,
            caller,
            routed.plan,
            body,
            endpoint=self._endpoint,
            call_id=self._call_id,
            request_id=self._request_id,
        )
        self._context.budget.deposit()
        targets = router.targets(routed, body, request.fields)
        self._targets = targets
        self._keep(router.open_targets(routed.plan, targets, self.ready_at), self.ready_at)
        if caller.tenant.spender.binds and not self._reserve_money(call):
            return
        self.reservation = Reservation(call.ask(caller, self._targets[0]))
        self._admitted = True
        self._move(WAITING)
        caller.tenant.admission.enter(self, self.ready_at)

    def _read_body(self, request: Request, caller: Caller) -> CallBody | None:
        """Returns what the call asks for; None where it was refused for that."""
        context = self._context
        records = context.needed_records
        if records is not None and not records.ensure_room(
            waiting=len(context.providers.outbox.records)
        ):
            self.refuse(Refusal.outbox_full)
            return None
        body = read_body(request.body)
        if isinstance(body, Refusal):
            self.refuse(body)
            return None
        policy = caller.snapshot.chat_policy
        return body if policy is None else self._permitted(body, caller, policy)

    def _permitted(self, body: CallBody, caller: Caller, policy: ChatPolicy) -> CallBody | None:
        """Returns the body without tools that the tenant may not offer a model; None where the call was refused for them."""
        permitted = permitted_body(body, policy)
        if permitted.denial is not None:
            self._call_id = random_id(32)
            self._record_denial(permitted.denial, caller, policy)
        if isinstance(permitted, ToolsRefused):
            self.refuse(permitted.refusal, message=permitted.message)
            return None
        left = permitted.body
        if left is not body and not self._connection.reserve_copy(self.request, len(left.raw)):
            self.unusable(Problem.BODY_MEMORY_FULL)
            return None
        self._hidden_tools = permitted.field
        return left

    def _record_denial(
        self, denial: Denial, caller: Caller, policy: ChatPolicy, answer_bytes: int = 0
    ) -> None:
        """Records what the manifest denies of the call or of its answer."""
        event = denial_event(
            denial,
            key=caller.key.name,
            revision=policy.revision,
            call_id=self._call_id,
            request_id=self._request_id,
            request_bytes=self.request.body_bytes,
            answer_bytes=answer_bytes,
        )
        caller.tenant.tool_calls.record(event, was_opened=False)

    def _reserve_money(self, call: Call) -> bool:
        """Reserves what the call may cost; answers it where there is not enough."""
        session = self.request.fields.get(b"x-session-id")
        reserved = reserve_money(call, self._targets, session, self.ready_at)
        if isinstance(reserved, MoneyRefused):
            self.refuse(
                reserved.refusal,
                message=reserved.message,
                retry_after_seconds=reserved.retry_seconds,
            )
            return False
        self._money = reserved
        return True

    # -- admission -------------------------------------------------------------------------------------------------

    def turned_away(self, refused: NotAdmitted) -> None:
        """Refuses the call because a limit or the queue did not admit it."""
        try:
            self._turn_away(refused)
        except Exception as raised:  # called by timers as well, which would only log it
            self.crashed(raised)

    def _turn_away(self, refused: NotAdmitted) -> None:
        wait = refused.retry_after_seconds if refused.waiting_helps else None
        self.refuse(REFUSAL_OF[refused.reason], retry_after_seconds=wait)

    def tick(self, now: float) -> None:
        """Called every second while the call holds a seat.

        Counts an overdue attempt as slow, charges the tokens used so far, and keeps a silent stream alive.
        """
        try:
            if self._attempt is not None:
                self._watch(self._attempt, now)
        except Exception as raised:  # the other calls are to have their tick
            self.crashed(raised)

    def _watch(self, attempt: Attempt, now: float) -> None:
        attempt.count_overdue(now)
        used = attempt.charge_progress(now)
        if used:
            self.reservation.progress(self._used_tokens + used, now)
        self._keep_stream(attempt, now)
        self._release_held(attempt, now)

    def _keep_stream(self, attempt: Attempt, now: float) -> None:
        """Sends a comment on a silent stream: load balancers close what is idle for a minute, models think longer."""
        quiet = now - attempt.quiet_since
        if (
            self.phase is ANSWERING
            and attempt.between_events
            and not self._paused
            and quiet >= self._context.stream_keepalive_seconds
        ):
            attempt.comment_sent(now)
            self._writer.body(STREAM_COMMENT)
            self._writer.flush()

    def _release_held(self, attempt: Attempt, now: float) -> None:
        """Passes on what is held of an answer that takes its time: the client would take the silence for the end."""
        waited = now - attempt.first_byte_at
        if (
            self.phase is ATTEMPTING
            and attempt.first_byte_at
            and waited >= self._context.stream_keepalive_seconds
            and self._writer.may_release
        ):
            self._writer.holds = False
            self._flush(attempt)

    def seated(self) -> None:
        """Starts the first attempt; called when the call gets its seat."""
        try:
            if self.phase is WAITING:
                self._begin_attempts()
        except Exception as raised:  # called by the event loop as well, which would only log it
            self.crashed(raised)

    def _begin_attempts(self) -> None:
        call, context = self.call, self._context
        cool_downs = call.tenant.router.cool_downs
        may_change = cool_downs.any or self._targets[0].destination.label == "canary"
        if may_change and not self._pass_breaker():
            return
        first = self._targets[0]
        context.metrics.queue_wait.observe(self.reservation.queue_seconds)
        self._move(ATTEMPTING)
        if call.plan.shadow_percent and first.destination.label == "stable":
            self.comparison = context.shadows.sample(call)
        self._attempt_at(first)

    def choose_provider(self, now: float) -> str:
        """Gives up a canary whose breaker is open and who cools down; returns the provider of the first target that is left."""
        call = self.call
        self._keep(call.tenant.router.open_targets(call.plan, self._targets, now), now)
        return self._targets[0].provider

    def _keep(self, left: tuple[Target, ...], now: float) -> None:
        """Leaves the call these of its targets, the last of them; counts those before that cool down."""
        dropped = len(self._targets) - len(left)
        if dropped:
            self._note_passed_over(self._targets[:dropped], now)
        self._targets = left

    def _note_passed_over(self, targets: tuple[Target, ...], now: float) -> None:
        cool_downs, passed_over = (
            self.call.tenant.router.cool_downs,
            self._context.metrics.passed_over,
        )
        for target in targets:
            if cool_downs.is_cooling(target, now):
                passed_over[self.call.plan.name, target.provider] += 1

    def _pass_breaker(self) -> bool:
        """Takes the call past its canary's breaker and who cools down; returns False where it waits for another provider."""
        call, now = self.call, time.monotonic()
        self._keep(call.tenant.router.pass_breaker(call.plan, self._targets, now), now)
        # one provider's quota was waited for: another's is not to be used without being charged
        return call.tenant.admission.change_provider(self, self._targets[0].provider, now)

    def _attempt_at(self, target: Target) -> None:
        if target.dropped_parameters and not self._has_room_for_body(target):
            problem = Problem.BODY_MEMORY_FULL
            self.call.tenant.router.note_unsent(self.call.plan, target)
            self.refuse(
                PROBLEM_REFUSAL[problem], retry_after_seconds=PROBLEM_RETRY_SECONDS[problem]
            )
            return
        hold = self.reservation.take_provider_hold(target.provider)
        self._attempts += 1
        self._attempt = Attempt(
            self._context.providers, self, self.call, target, number=self._attempts, hold=hold
        )
        self._attempt.start()

    def _has_room_for_body(self, target: Target) -> bool:
        """Returns whether there is memory for what is left of the body without what the provider refuses."""
        call = self.call
        if target.dropped_parameters in call.thinned:
            return True
        body = call.body_for(target)
        return body is call.body or self._connection.reserve_copy(self.request, len(body.raw))

    def _try_next_target(self, reason: str) -> bool:
        """Starts an attempt at the next target, the last one having not processed the call; returns False if there is none.

        A provider whose quota has no room now is passed over: a second wait would be longer than the first. So is who cools
        down, unless nobody else is left.
        """
        tenant = self.call.tenant
        cool_downs = tenant.router.cool_downs
        for index in cool_downs.following(self._targets, self._index, time.monotonic()):
            target = self._targets[index]
            if not tenant.admission.try_provider(self.reservation, target.provider):
                continue
            if not self._context.budget.withdraw():
                return False
            self._note_passed_over(self._targets[self._index + 1 : index], time.monotonic())
            self._index = index
            self._may_be_paid = self._may_be_paid or reason in hop_rules.PAID_REASONS
            self._writer.forget()
            if self.comparison is not None:
                self.comparison.transcript.clear()
            self._context.metrics.fallbacks[self.call.plan.name, reason] += 1
            self.ready_at = time.monotonic()
            self._move(ATTEMPTING)
            self._attempt_at(target)
            return True
        return False

    # -- relay.calls.attempts.attempt.Consumer ------------------------------------------------------------------------------------

    def answer_started(self, attempt: Attempt) -> None:
        answer = attempt.answer
        if answer is None or attempt.status >= 300:
            return
        fields = own_responses.common_fields(
            self._request_id,
            self.caller,
            self.call.body.model,
            attempt.first_byte_at,
            upstream_request_id=attempt.upstream_request_id,
        )
        keep = self._connection.keeps_alive(self.request, attempt.first_byte_at)
        self._writer.begin(
            attempt.status,
            attempt.headers,
            fields + self._hidden_tools,
            stream=answer.is_stream,
            hold=answer.may_be_held,
            rewritten=answer.is_rewritten,
            keep_alive=keep,
        )

    def answer_body(self, data: bytes) -> None:
        if self.comparison is not None:
            self.comparison.transcript.add(data)
        self._writer.body(data)

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        if completed:
            if attempt.status >= 300:
                self._answer_error(attempt)
            else:
                self._answer_read_whole(attempt)
        elif not self._writer.holds:
            self._flush(attempt)

    def _flush(self, attempt: Attempt) -> None:
        if self.phase is ATTEMPTING:
            self._begin_answering(attempt, time.monotonic())
        self._writer.flush()

    def _answer_read_whole(self, attempt: Attempt) -> None:
        now = time.monotonic()
        if attempt.is_refused:
            self._record_denied_call(attempt)
        if self.phase is ATTEMPTING:
            # nothing can be added to a compressed stream, and nothing of it has left
            if attempt.is_refused:
                self.refuse(Refusal.tool_call_denied)
                return
            if attempt.is_unusable or (attempt.is_broken_stream and not attempt.is_stream):
                self._answer_unusable(attempt)
                return
            self._begin_answering(attempt, now)
        if attempt.is_refused:
            self._end_early(Refusal.tool_call_denied)
        elif attempt.is_broken_stream:
            self._end_early(BROKEN_STREAM_REFUSAL[attempt.outcome or "invalid"])
        else:
            attempt.answer_ends(now)
            self._writer.end()
            self._finish(now, keep_alive=self._writer.keep_alive)

    def _record_denied_call(self, attempt: Attempt) -> None:
        caller, policy = self.caller, self.call.chat_policy
        assert caller is not None
        assert policy is not None
        self._call_id = self.call.call_id
        denial = denied_call(attempt.denied_call)
        self._record_denial(denial, caller, policy, attempt.received_bytes)

    def may_refuse(self) -> bool:
        return self.phase is ATTEMPTING

    def grant_second_send(self) -> bool:
        return self._context.budget.withdraw()

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        refusal = TROUBLE_REFUSAL[trouble]
        if self.phase is ANSWERING:
            self._end_early(refusal)
        elif not hop_rules.goes_on_after_trouble(attempt, trouble) or not self._try_next_target(
            trouble
        ):
            origin = attempt.target.destination.upstream.origin
            self.refuse(refusal, message=own_responses.trouble_message(refusal, origin))

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        self._used_tokens += event.charged_tokens
        if self._money is not None:
            told, is_billed = attempt.told(), attempt.is_billed
            self._money.count(self.call, attempt.target, event, told, is_billed=is_billed)
        if self.phase is OVER:
            if self.comparison is not None:
                self.comparison.served(attempt, event)
            # the attempt refers to us: let go, or only the collector could free the call's body
            self._free(attempt.ended_at)

    def attempt_left(self, attempt: Attempt, event: UsageEvent) -> None:
        comparison, self.comparison = self.comparison, None
        if comparison is not None:
            comparison.served(attempt, event)

    def _answer_error(self, attempt: Attempt) -> None:
        status = attempt.status
        if hop_rules.goes_on_after_error(attempt) and self._try_next_target(str(status)):
            return
        if status < 400:
            # a redirect would send the caller's prompt wherever the provider points
            self.refuse(Refusal.upstream_redirected)
        elif status in CREDENTIAL_REFUSAL and attempt.outcome == "failed":
            self.refuse(CREDENTIAL_REFUSAL[status])
        else:
            self._pass_on(attempt, provider_error.passed_on(attempt))

    def _answer_unusable(self, attempt: Attempt) -> None:
        """Makes an error of an answer under a status of success that holds nothing for the caller."""
        error = attempt.answer.error if attempt.answer is not None else None
        reason = "unusable" if error is None else str(error.status)
        if hop_rules.goes_on_after_unusable(attempt) and self._try_next_target(reason):
            return
        if error is None:
            self.refuse(UNUSABLE_REFUSAL.get(attempt.outcome or "ok", Refusal.upstream_unusable))
        elif error.status in CREDENTIAL_REFUSAL and attempt.outcome == "failed":
            self.refuse(CREDENTIAL_REFUSAL[error.status])
        else:
            self._pass_on(attempt, provider_error.made_of(attempt, error))

    def _pass_on(self, attempt: Attempt, error: PassedOnError) -> None:
        now = time.monotonic()
        attempt.passed_on(now)
        status, fields, body = error
        keep = self._connection.keeps_alive(self.request, now)
        if self._may_be_paid and b"x-should-retry" not in fields:
            fields += own_responses.NO_RETRY
        self._writer.whole(status, fields + self._common_fields(now), body, keep_alive=keep)
        self._finish(now, keep_alive=keep)

    def _begin_answering(self, attempt: Attempt, now: float) -> None:
        """Notes that the client is about to get a byte, and the time that the relay added.

        That is the time before the provider was asked, less the wait for a seat, and the time since its first byte.
        """
        before = max(0.0, attempt.started_at - self.ready_at)
        if self._index == 0:
            before = max(0.0, before - self.reservation.queue_seconds)
        attempt.answer_begins(now, waited_seconds=before)
        self._move(ANSWERING)

    # -- the end ---------------------------------------------------------------------------------------------------

    def refuse(
        self,
        refusal: Refusal,
        *,
        message: str | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        """Answers with a refusal, or aborts the connection where an answer has begun."""
        if self.phase is OVER:
            return
        if self.phase is ANSWERING:
            self._stop_attempt()
            self._writer.abort()
            self._finish(time.monotonic(), keep_alive=False)
            return
        self._stop_attempt()
        now = time.monotonic()
        self._context.metrics.rejections[(refusal.name,)] += 1
        keep = self._connection.keeps_alive(self.request, now)
        fields = self._common_fields(now)
        if self._may_be_paid and refusal.value.retry is None:
            fields += own_responses.NO_RETRY
        self._writer.refusal(
            refusal,
            fields,
            message=message,
            retry_after_seconds=retry_after_seconds,
            keep_alive=keep,
        )
        self._finish(now, keep_alive=keep)

    def unusable(self, problem: Problem) -> None:
        self.refuse(
            PROBLEM_REFUSAL[problem], retry_after_seconds=PROBLEM_RETRY_SECONDS.get(problem)
        )

    def crashed(self, error: Exception) -> None:
        """Ends the call with 500, or aborts what was begun; what it held is free whatever raises on the way."""
        self._context.exceptions.note(error)
        try:
            if self._attempt is not None:
                self._attempt.give_up()
            if self.phase is OVER:
                # the answer may be half written
                self._writer.abort()
            else:
                self.request.keep_alive = False
                self.refuse(Refusal.internal_error)
        except Exception as raised:
            self._context.exceptions.note(raised)
            self._connection.abort()
        finally:
            self._free(time.monotonic())

    def _free(self, now: float) -> None:
        """Gives back seat, quota and limits; what is given back already stays so."""
        if self._admitted:
            self.call.tenant.admission.leave(self.reservation, now)
            self._settle(now)
        self._attempt = None

    def _settle(self, now: float) -> None:
        """Charges what the call used; a second time changes nothing."""
        self.reservation.settle(self._used_tokens, now)
        if self._money is not None:
            self._money.settle()

    def client_gone(self) -> None:
        if self.phase is OVER:
            return
        self._writer.abandoned()
        now = time.monotonic()
        attempt, context = self._attempt, self._context
        is_drained = False
        if attempt is not None:
            context.metrics.disconnects[(self.call.plan.name,)] += 1
            if self.call.tenant.spender.charges_abandoned and not self._connection.was_aborted:
                attempt.abandoned()
            is_drained = context.drained_answers.take(attempt, now)
            if not is_drained and not context.usage_waits.take(attempt, now):
                attempt.abort()
        self._finish(now, keep_alive=False, keep_seat=is_drained)

    def pause(self) -> None:
        self._paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        self._paused = False
        if self._attempt is not None:
            self._attempt.resume()

    def _end_early(self, refusal: Refusal) -> None:
        """Tells of a late failure: a stream by an event that SDKs raise on; any other answer can only be aborted."""
        attempt = self._attempt
        if attempt is None or not attempt.is_stream:
            self._writer.abort()
        else:
            self._writer.end_stream_with(attempt.error_event(refusal))
        self._finish(time.monotonic(), keep_alive=False)

    def _stop_attempt(self) -> None:
        if self._attempt is not None:
            self._attempt.abort()

    def _finish(self, now: float, *, keep_alive: bool, keep_seat: bool = False) -> None:
        waiting_or_later = self.phase is not RECEIVING
        self._move(OVER)
        if waiting_or_later:
            if not keep_seat:
                self.call.tenant.admission.leave(self.reservation, now)
            if self._attempt is None or self._attempt.settled:
                self._settle(now)
                self._attempt = None
        model = self.call.model_label if waiting_or_later else ""
        series = self._context.metrics.calls(self._endpoint, model)
        series.answered(self._writer.status, now - self.request.received_at)
        self._connection.finished(now, keep_alive=keep_alive)

    def _common_fields(self, now: float) -> bytes:
        model = "" if self.phase is RECEIVING else self.call.body.model
        fields = own_responses.common_fields(self._request_id, self.caller, model, now)
        return fields + self._hidden_tools

    def _move(self, target: int) -> None:
        assert may_move(self.phase, target), (self.phase, target)
        self.phase = target
