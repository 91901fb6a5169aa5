"""Compares the answers to the copies of a call with the answer that its caller got."""

import asyncio
from typing import Any, Final

from relay.accounting.exception_log import ExceptionLog
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.usage_event import FAILURES, UsageEvent
from relay.calls.attempts.attempt import Attempt
from relay.calls.attempts.call import Call
from relay.dialect.answers.answer_parts import AnswerParts, parts_of_document, parts_of_stream
from relay.dialect.endpoints import EMBEDDINGS
from relay.dialect.reported_usage import Tokens
from relay_contract.shadow import ShadowOutcome, ShadowPair

TOKEN_DRIFT: Final = 0.05
"""Input counted this much differently is a difference: the same prompt should cost the same."""
SLOWER: Final = 2.0
"""A copy that takes this many times as long as the call it copies is slower."""
MAX_TRANSCRIPT_BYTES: Final = 64 * 1024
"""Of a longer stream neither texts nor tool calls are compared: each call that is copied may hold as much until it ends, and
copies are often done before it."""


class Transcript:
    """The events of a stream as they pass, to be read when it has ended."""

    __slots__ = ("_pieces", "_size")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0

    def add(self, data: bytes) -> None:
        """Keeps a piece, as long as all of them are not too much."""
        self._size += len(data)
        if self._size <= MAX_TRANSCRIPT_BYTES:
            self._pieces.append(data)
        else:
            self._pieces.clear()

    def clear(self) -> None:
        """Drops what has passed: another attempt begins."""
        self._pieces.clear()
        self._size = 0

    def events(self) -> bytes | None:
        """Returns the stream, None if it was too long."""
        return b"".join(self._pieces) if self._size <= MAX_TRANSCRIPT_BYTES else None


class Traits:
    """Holds what is compared of one answer; its body is not kept. parts is None where they could not be read."""

    __slots__ = (
        "finish_reason",
        "has_bad_arguments",
        "has_bad_text",
        "is_empty",
        "latency_seconds",
        "outcome",
        "shape",
        "side",
        "status",
        "tokens",
        "tools",
    )

    def __init__(
        self, attempt: Attempt, event: UsageEvent, transcript: Transcript, *, wants_json: bool
    ) -> None:
        answer = attempt.answer
        self.side = event.subject.side
        self.outcome = event.outcome
        self.status = attempt.status
        self.tokens = event.tokens
        self.latency_seconds = event.latency_seconds
        # decoded once: an answer may have a megabyte
        document = answer.document() if answer is not None and answer.stream is None else None
        self.finish_reason = answer.finish_reason(document or {}) if answer is not None else None
        self.shape: tuple[str, ...] = ("stream",)
        if answer is not None and answer.stream is None:
            self.shape = tuple(sorted(document or ()))
        parts = _parts(attempt, document, transcript) if event.outcome == "ok" else None
        self.tools = parts.tools() if parts is not None else ()
        self.is_empty = parts is not None and parts.empty
        self.has_bad_arguments = self.tools is None
        self.has_bad_text = wants_json and parts is not None and not parts.texts_are_json()


def _parts(
    attempt: Attempt, document: dict[str, Any] | None, transcript: Transcript
) -> AnswerParts | None:
    """Returns what the answer consists of; None where there is no text, or it was too long or compressed."""
    answer, endpoint = attempt.answer, attempt.call.endpoint
    if answer is None or endpoint is EMBEDDINGS:
        return None
    if answer.stream is None:
        return parts_of_document(document, endpoint) if document is not None else None
    events = transcript.events() if answer.is_stream else None
    return parts_of_stream(events, endpoint) if events is not None else None


class Comparison:
    """A call and its copies, each counted under one outcome when both have ended."""

    __slots__ = (
        "_call",
        "_copied",
        "_exceptions",
        "_metrics",
        "_served",
        "_unreadable",
        "transcript",
        "wants_json",
    )

    def __init__(self, call: Call, metrics: WorkerMetrics, exceptions: ExceptionLog) -> None:
        self._call = call
        self._metrics = metrics
        self._exceptions = exceptions
        self._served: Traits | None = None
        # reading the caller's own answer has raised
        self._unreadable = False
        self._copied: list[tuple[ShadowPair, Traits]] = []
        self.transcript = Transcript()
        self.wants_json = False

    def served(self, attempt: Attempt, event: UsageEvent) -> None:
        """Takes the caller's own last attempt when it has ended; it is read when the caller has its answer."""
        asyncio.get_running_loop().call_soon(self._note_served, attempt, event)

    def _note_served(self, attempt: Attempt, event: UsageEvent) -> None:
        try:
            self._served = self._traits(attempt, event, self.transcript)
            self._unreadable = self._served is None
            self.transcript.clear()
            self._conclude()
        except Exception as raised:  # called by the event loop, which would only log it
            self._exceptions.note(raised)

    def copied(
        self, pair: ShadowPair, attempt: Attempt, event: UsageEvent, transcript: Transcript
    ) -> None:
        """Takes a copy when it has ended."""
        traits = self._traits(attempt, event, transcript)
        if traits is None:
            self._count(pair, "not_comparable")
            return
        self._copied.append((pair, traits))
        self._conclude()

    def _traits(self, attempt: Attempt, event: UsageEvent, transcript: Transcript) -> Traits | None:
        """Reads an answer; None where that raises, so that no copy is left uncounted."""
        try:
            return Traits(attempt, event, transcript, wants_json=self.wants_json)
        except Exception as raised:  # whatever an odd answer raises, its copy is counted
            self._exceptions.note(raised)
            return None

    def skipped(self, pair: ShadowPair, outcome: ShadowOutcome) -> None:
        """Counts a copy that is not made."""
        self._count(pair, outcome)

    def _conclude(self) -> None:
        served = self._served
        if served is None and not self._unreadable:
            return
        for pair, copied in self._copied:
            self._count(pair, compare(served, copied) if served is not None else "not_comparable")
        self._copied.clear()

    def _count(self, pair: ShadowPair, outcome: ShadowOutcome) -> None:
        count_copy(self._call, pair, outcome, self._metrics)


def count_copy(
    call: Call, pair: ShadowPair, outcome: ShadowOutcome, metrics: WorkerMetrics
) -> None:
    """Counts a copy of a call, made or not."""
    canary = call.plan.canary
    if canary is not None:
        call.tenant.recorder.slo.count_copy(call.plan.name, canary.fingerprint, pair, outcome)
    if pair == "canary":
        metrics.shadow[call.plan.name, outcome] += 1


def compare(served: Traits, copied: Traits) -> ShadowOutcome:
    """Names the first difference that counts, in the order of how much it matters; `match` without one."""
    if served.outcome != "ok" or served.side != "stable" or copied.outcome == "cancelled":
        return _failure(copied) or "not_comparable"
    failure = _failure(copied)
    if failure is not None:
        return failure
    if served.status != copied.status or copied.outcome == "client_error":
        return "status"
    return _difference_within(served, copied) or _difference_around(served, copied)


def _failure(copied: Traits) -> ShadowOutcome | None:
    outcome = copied.outcome
    if outcome == "throttled" or outcome == "no_key":
        return outcome
    if outcome in FAILURES:
        return outcome  # type: ignore[return-value]  # FAILURES are the failed outcomes of copies
    return None


def _difference_within(served: Traits, copied: Traits) -> ShadowOutcome | None:
    """Compares what the answers consist of. What the caller's own answer lacks as well is no difference."""
    if copied.is_empty and not served.is_empty:
        return "empty"
    if (copied.has_bad_text and not served.has_bad_text) or (
        copied.has_bad_arguments and not served.has_bad_arguments
    ):
        return "invalid_json"
    if served.tools is not None and copied.tools is not None and served.tools != copied.tools:
        return "tool_calls"
    return None


def _difference_around(served: Traits, copied: Traits) -> ShadowOutcome:
    if served.finish_reason != copied.finish_reason:
        return "finish_reason"
    if served.shape != copied.shape:
        return "shape"
    if _drifts(served.tokens, copied.tokens):
        return "tokens"
    return "slower" if copied.latency_seconds > SLOWER * served.latency_seconds else "match"


def _drifts(served: Tokens | None, copied: Tokens | None) -> bool:
    if served is None or copied is None:
        return served is not copied
    return abs(served.input - copied.input) > TOKEN_DRIFT * max(served.input, 1)
