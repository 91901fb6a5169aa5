"""Probes a canary once: a small call, and the same as a stream."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.usage_event import UsageEvent
from relay.admission.not_admitted import NotAdmitted
from relay.admission.token_buckets import Hold
from relay.calls.attempts.attempt import Attempt, Consumer
from relay.calls.attempts.attempt_outcome import Trouble
from relay.calls.attempts.call import OTHER_MODEL, Call
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.preflight.findings import PASSED, Finding, finding, of_answer, of_trouble
from relay.calls.preflight.questions import Question, first_question, other_endpoints
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.dialect.endpoints import Endpoint
from relay.dialect.request_body import CallBody, read_body
from relay.http.headers import Field
from relay.random_ids import random_id
from relay.routing.routes import Target, target_at
from relay.routing.snapshot import RoutePlan

PROBE_SECONDS: Final = 30.0
"""Time of each call, where its provider's firstByteTimeout says nothing else."""
NO_MODEL: Final = "relay-preflight"
"""Asked for where nothing names a model; that the provider does not know it is then no failure."""
_HEADERS: Final[list[Field]] = [
    (b"content-type", b"application/json"),
    (b"user-agent", b"relay-operator-preflight"),
]
_CHAT: Final = Endpoint.CHAT


class Probe(Consumer):
    """Asks one question after another, until one shows that the canary cannot be used or the last one is answered.

    done gets the finding, once, unless the probe is aborted. models are those that the route is known to take, in order;
    the first that the canary has is asked for.
    """

    __slots__ = (
        "_attempt",
        "_deadline",
        "_done",
        "_exceptions",
        "_model",
        "_models",
        "_others",
        "_over",
        "_plan",
        "_providers",
        "_question",
        "_refused",
        "_seconds",
        "_target",
        "_tenant",
        "_trouble",
    )

    def __init__(
        self,
        providers: ProviderAccess,
        exceptions: ExceptionLog,
        tenant: TenantRuntime,
        plan: RoutePlan,
        models: tuple[str, ...],
        done: Callable[[Finding], None],
    ) -> None:
        self._providers = providers
        self._exceptions = exceptions
        self._tenant = tenant
        self._plan = plan
        self._models = models
        self._model = NO_MODEL
        self._done = done
        self._attempt: Attempt | None = None
        self._target: Target | None = None
        self._question = first_question(_CHAT)
        self._others: list[Endpoint] = []
        self._refused: Finding | None = None
        self._trouble: Trouble | None = None
        self._over = False
        self._seconds = PROBE_SECONDS
        self._deadline = 0.0

    def start(self) -> None:
        """Asks the first question; done may be called before this returns."""
        canary = self._plan.canary
        assert canary is not None
        destination = replace(canary, label="preflight")
        self._seconds = destination.upstream.first_byte_timeout or PROBE_SECONDS
        for model in self._models or (NO_MODEL,):
            self._target = target_at(destination, model)
            if self._target is not None:
                self._model = destination.model or model
                self._question = first_question(_CHAT, dropped=self._target.dropped_parameters)
                self._ask()
                return
        message = (
            f"provider {canary.upstream.name} has none of the models that the route takes in its catalogue "
            f"({', '.join(self._models[:3])}); add one to the Provider, or name a model for the canary"
        )
        self._end(finding("ModelUnknown", message))

    def expire(self, now: float) -> None:
        """Ends a call whose time is up."""
        if self._attempt is not None and now >= self._deadline:
            self._attempt.time_out()

    def abort(self) -> None:
        """Ends the probe without a finding."""
        self._over = True
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            attempt.abort()

    # -- relay.calls.attempts.attempt.Consumer ------------------------------------------------------------------------------------

    def answer_started(self, attempt: Attempt) -> None:
        return

    def answer_body(self, data: bytes) -> None:
        return

    def answer_read(self, attempt: Attempt, *, completed: bool) -> None:
        return

    def may_refuse(self) -> bool:
        return True

    def grant_second_send(self) -> bool:
        return True

    def attempt_failed(self, attempt: Attempt, trouble: Trouble) -> None:
        self._trouble = trouble

    def attempt_settled(self, attempt: Attempt, event: UsageEvent) -> None:
        # the attempt refers to us: let go, or only the collector could free it
        self._attempt = None
        if not self._over:
            self._follow(self._found(attempt))

    def crashed(self, error: Exception) -> None:
        self._exceptions.note(error)
        attempt, self._attempt = self._attempt, None
        if not self._over:
            self._end(finding("NoAnswer", "the relay met an error of its own; its log tells where"))
        if attempt is not None:
            attempt.give_up()

    # -- questions -------------------------------------------------------------------------------------------------

    def _found(self, attempt: Attempt) -> Finding:
        trouble, self._trouble = self._trouble, None
        if trouble is None:
            return of_answer(attempt, self._question)
        why = self._providers.pool(attempt.target.destination.upstream.origin).last_error
        return of_trouble(attempt, trouble, self._question, why=why, seconds=self._seconds)

    def _follow(self, found: Finding) -> None:
        following = self._after(found)
        if following is None:
            self._end(found if self._refused is None else self._kept(found))
            return
        self._question = following
        # the connection of this answer is free for the next call a moment later
        asyncio.get_running_loop().call_soon(self._ask)

    def _after(self, found: Finding) -> Question | None:
        """Returns the next question, None if there is none."""
        question, target = self._question, self._target
        assert target is not None
        if not found.reason:
            if question.stream:
                return None
            self._refused = None
            return question.streamed()
        other = question.bounded_otherwise(status=found.status, words=found.words)
        if other is not None:
            return other
        if not question.stream and question.endpoint is _CHAT:
            self._others = list(other_endpoints(status=found.status, words=found.words))
            self._refused = found if self._others else None
        elif found.reason not in ("ModelUnknown", "Refused", "Unauthorized"):
            self._others = []
        if question.stream or not self._others:
            return None
        return first_question(self._others.pop(0), dropped=target.dropped_parameters)

    def _kept(self, found: Finding) -> Finding:
        """Returns what the endpoint for chats said, unless another one got further."""
        refused = self._refused
        further = found.reason in ("", "NoStream", "Throttled", "ServerError")
        return found if refused is None or further else refused

    def _end(self, found: Finding) -> None:
        self._over = True
        nameless = not self._models and found.reason in ("ModelUnknown", "Refused")
        self._done(PASSED if nameless else found)

    def _ask(self) -> None:
        if self._over:
            return
        try:
            self._attempt_now()
        except Exception as raised:  # called by the event loop, which would only log it
            self.crashed(raised)

    def _attempt_now(self) -> None:
        target = self._target
        assert target is not None
        call = _call(self._tenant, self._plan, self._question, self._model)
        self._deadline = time.monotonic() + self._seconds
        attempt = self._attempt = Attempt(
            self._providers, self, call, target, number=1, hold=self._hold(call, target)
        )
        attempt.start()

    def _hold(self, call: Call, target: Target) -> Hold | None:
        """Takes from the tenant's part of the provider's quota if there is room; a probe is too small to wait for it."""
        hold = self._tenant.admission.try_quota(
            target.provider,
            input_tokens=call.estimate.input_tokens,
            output_tokens=call.estimate.output_tokens,
            least_tokens=call.estimate.least_tokens,
        )
        return None if isinstance(hold, NotAdmitted) else hold


def _call(tenant: TenantRuntime, plan: RoutePlan, question: Question, model: str) -> Call:
    """Makes a call that no caller made: no key of the tenant stands in what is booked of it."""
    body = read_body(question.body(model))
    assert isinstance(body, CallBody)
    label = model if model in tenant.snapshot.known_models else OTHER_MODEL
    return Call(
        tenant=tenant,
        endpoint=question.endpoint,
        key_name="",
        plan=plan,
        body=body,
        model_label=label,
        headers=_HEADERS,
        heads={},
        connection_field=None,
        query=b"",
        call_id=random_id(32),
        request_id="req_" + random_id(32),
        trace_id=random_id(32),
        trace_flags="00",
        estimate=tenant.recorder.estimator.estimate(
            label,
            text_bytes=len(body.raw),
            attachments=0,
            bound=body.output_bound(question.endpoint),
        ),
        manifest_revision=tenant.snapshot.manifest_revision,
    )
