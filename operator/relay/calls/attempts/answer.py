"""A provider's answer as it passes: what kind it is, whatever it calls itself, and what it says."""

from typing import Any, Final

from relay.accounting.usage_event import Outcome
from relay.calls.attempts.attempt_outcome import judge_error, judge_status, judge_stream
from relay.calls.attempts.call import Call
from relay.calls.attempts.unary_body import MAX_KEPT_BYTES, UnaryBody
from relay.dialect.answers.answer_content import decoded, generated_bytes, has_answer
from relay.dialect.answers.answer_labels import model_in, service_tier_in, word_at
from relay.dialect.answers.error_report import ErrorReport, read_error
from relay.dialect.answers.event_stream import SseScan, may_begin
from relay.dialect.answers.response_id_marker import ResponseIdMarker
from relay.dialect.body_scan import plain_answer, reports_in_answer
from relay.dialect.endpoints import RESPONSES, Endpoint
from relay.dialect.reported_usage import Tokens
from relay.dialect.usage.openai_usage import is_search, with_searches
from relay.http.content_coding import Inflater, is_coded
from relay.outbox.attempt_closing import Name
from relay.routing.routes import Target
from relay.tools.chat.answer_guard import AnswerGuard

MAX_UNDECIDED_BYTES: Final = 4096
"""Blanks in front of an answer, which some providers send to keep the connection alive."""
MOST_UNHEARD_BYTES: Final = 64 * 1024
"""Kept of a document that is read for its usage alone."""
_WITHOUT_CONTENT: Final = (204, 205)
"""Successes whose body, if there is one, is none of the answer (RFC 9110 sections 15.3.5 and 15.3.6)."""
_CHAT: Final = Endpoint.CHAT
_WHOLE: Final = {
    _CHAT: (b"choices", b"message"),
    Endpoint.EMBEDDINGS: (b"data", b"embedding"),
}
"""The list in an answer, and what each item of it has in one that is whole; relay.dialect.answers.answer_content has the rule."""
_CALLING: Final = (_CHAT, Endpoint.RESPONSES)
"""Endpoints whose answers may call tools."""
_JSON: Final = b"application/json"
_EVENT_STREAM: Final = b"text/event-stream"
_OTHER_STREAMS: Final = (b"stream", b"ndjson", b"jsonl")
"""Media types of streams that are not of events are named like this; they are passed on at once, unread."""


class Answer:
    """The answer of one attempt, from its head on.

    stream or unary holds what is read of it; neither where it is passed on unread. undecided: what it is shows in its first
    bytes, and nothing of it may be passed on yet. unusable, error, usage and response_id, which is that of a stored response, are valid once
    it is judged. So are report and tokens, which stand for usage, model and service tier of an answer that is like most, and are empty for any
    other.
    """

    __slots__ = (
        "_beginning",
        "_call",
        "_guard",
        "_holds_answer",
        "_inflater",
        "_marker",
        "_media_type",
        "_misnamed",
        "_model_end",
        "_model_start",
        "_most_kept",
        "_received",
        "_searches",
        "_target",
        "_text",
        "_tier_end",
        "_tier_start",
        "_whole",
        "error",
        "report",
        "response_id",
        "status",
        "stream",
        "tokens",
        "unary",
        "undecided",
        "unusable",
        "usage",
    )

    def __init__(
        self,
        call: Call,
        target: Target,
        *,
        status: int,
        media_type: bytes,
        content_encoding: bytes | None,
    ) -> None:
        self._call = call
        self._target = target
        self._marker: ResponseIdMarker | None = None
        self._searches = 0
        self.status = status
        self._media_type = media_type
        self._beginning = self._text = b""
        self._misnamed = self._received = self.undecided = self.unusable = False
        self.stream: SseScan | None = None
        self.unary: UnaryBody | None = None
        # a body that was not decoded, and where model and service tier stand in it
        self._whole: bytes | None = None
        self._model_start = self._model_end = self._tier_start = self._tier_end = 0
        self.error: ErrorReport | None = None
        self.usage: object = None
        self.report = b""
        self.tokens: Tokens | None = None
        self.response_id: str | None = None
        self._guard: AnswerGuard | None = None
        self._most_kept = MAX_KEPT_BYTES
        self._inflater: Inflater | None = None
        if content_encoding is not None and is_coded(content_encoding):
            self._inflater = Inflater(content_encoding)
        self._holds_answer = status < 300 and status not in _WITHOUT_CONTENT
        if not self._holds_answer:
            self.unary = self._document_body()
        elif media_type != _JSON and media_type.lower().startswith(_EVENT_STREAM):
            self._read_as_stream()
        elif self._inflater is None or self._inflater.readable:
            self.undecided = call.body.stream
            self.unary = None if self.undecided else self._document_body()
        if call.chat_policy is not None and self._holds_answer and call.endpoint in _CALLING:
            self._guard = AnswerGuard(call.chat_policy)

    def _document_body(self) -> UnaryBody:
        return UnaryBody(self._most_kept, may_search=self._call.endpoint is RESPONSES)

    # -- as it passes ----------------------------------------------------------------------------------------------

    @property
    def is_stream(self) -> bool:
        """True if the client gets a stream of events that the relay can add to."""
        return self.stream is not None and self._inflater is None

    @property
    def is_rewritten(self) -> bool:
        """True if the id in it is marked with the side that stores the response.

        An id without a mark is stable's: while there is no canary to be promoted, its answers stay as they are.
        """
        call = self._call
        return (
            call.endpoint is RESPONSES
            and (call.plan.canary_percent > 0 or self._target.destination.label != "stable")
            and self.status < 300
            and self._inflater is None
        )

    @property
    def may_be_held(self) -> bool:
        """True if the answer serves nobody before it is whole."""
        return self.unary is not None

    @property
    def is_passed_on(self) -> bool:
        """True if the client gets the body as it comes, rather than what the relay makes of it."""
        if self._guard is not None and self.stream is None:
            return False
        return self._holds_answer and not self._misnamed and not self.undecided

    @property
    def is_refused(self) -> bool:
        """True if it calls a tool that the tenant may not use, or cannot be read for that; nothing more of it is passed on.

        What is no answer at all is unusable, with a manifest as without.
        """
        guard = self._guard
        return guard is not None and guard.refuses and not (guard.is_unreadable and self.unusable)

    @property
    def denied_call(self) -> str:
        """Returns the name of the call for which the answer is refused; empty without one, and where nobody can tell."""
        return "" if self._guard is None else self._guard.denied

    @property
    def has_ended(self) -> bool:
        """True if this is a stream whose own end mark has passed."""
        return self.stream is not None and self.stream.ended

    @property
    def has_failed_first(self) -> bool:
        """True if this is a stream that reported an error before anything else."""
        stream = self.stream
        return stream is not None and stream.error is not None and not stream.begun

    def has_begun(self, data: bytes) -> bool:
        """Returns whether the answer proper has begun, with the piece that was read last or before it.

        Comments and events that only name a role are none of it, nor are the blanks that some providers send before a
        document.
        """
        if self.stream is not None and self.status < 300:
            return self.stream.begun
        return not data.isspace()

    @property
    def is_garbage(self) -> bool:
        """True if it calls itself a stream of events and is none."""
        return self.stream is not None and self.stream.garbage

    def feed(self, data: bytes) -> bytes:
        """Reads a piece of the body; returns what the client gets of it."""
        shown = self._read(data)
        return self._marked(shown) if shown and self.is_rewritten else shown

    def _read(self, data: bytes) -> bytes:
        self._received = True
        inflater = self._inflater
        read = data if inflater is None else inflater.feed(data)
        if self.undecided:
            self._beginning += data
            self._text += read
            if not self._decide():
                return b""
            data, read = self._beginning, self._text
            self._beginning = self._text = b""
        stream, unary = self.stream, self.unary
        shown = data
        if inflater is not None and not inflater.readable:
            self.stream = self.unary = None
        elif stream is not None:
            shown = stream.feed(read)
            if inflater is not None:
                shown = data
        elif unary is not None:
            unary.keep(read)
        guard = self._guard
        return shown if guard is None else self._guarded(guard, shown)

    def _guarded(self, guard: AnswerGuard, data: bytes) -> bytes:
        """Returns what may pass. A document waits until it is whole; what can only be passed on unread may not."""
        if self._inflater is not None or (self.stream is None and self.unary is None):
            guard.give_up()
            return b""
        if self.stream is not None:
            return guard.events(data)
        guard.keep(data)
        return b""

    def rest(self) -> bytes:
        """Ends the answer; returns what was held back of it."""
        rest = self.stream.rest() if self.stream is not None else b""
        if self._inflater is not None:
            return b""
        if self._guard is not None:
            rest = self._rest_of(self._guard, rest)
        if rest and self.is_rewritten:
            rest = self._marked(rest)
        marker = self._marker
        return rest if marker is None else rest + marker.rest()

    def _rest_of(self, guard: AnswerGuard, rest: bytes) -> bytes:
        """Returns what may pass of what is held, and of the rest of a stream."""
        if self.stream is not None:
            return guard.events(rest) + guard.rest()
        return b"" if self._misnamed else guard.document()

    def _marked(self, data: bytes) -> bytes:
        if self._marker is None:
            destination = self._target.destination
            self._marker = ResponseIdMarker(
                fingerprint=destination.fingerprint,
                provider=destination.upstream.name,
                is_stream=self.is_stream,
                echoed=self._call.body.previous_response_id(),
            )
        return self._marker.feed(data)

    def read_as_document(self, data: bytes) -> bool:
        """Reads a stream that is none as the document that it seems to be; returns False where it does not seem one.

        No client could read it under the name it has, so nothing of it is passed on.
        """
        if self._inflater is not None or not data.lstrip().startswith((b"{", b"[")):
            return False
        self.stream = None
        self.unary = self._document_body()
        self.unary.keep(data)
        self._misnamed = True
        return True

    def end_undecided(self) -> bytes:
        """Takes an answer that ended with nothing but blanks for a document; returns what may be passed on of it."""
        self._decide_by(b"")
        if self.unary is not None and self._text:
            self.unary.keep(self._text)
        beginning, self._beginning = self._beginning, b""
        return beginning

    def _decide(self) -> bool:
        """Finds out by its first text what answers a call for a stream; returns False as long as there is none."""
        text = self._text.lstrip()
        readable = self._inflater is None or self._inflater.readable
        if not text and readable and len(self._beginning) < MAX_UNDECIDED_BYTES:
            return False
        self._decide_by(text)
        return True

    def _decide_by(self, text: bytes) -> None:
        self.undecided = False
        media_type = self._media_type.lower()
        if text and may_begin(text):
            self._read_as_stream()
        elif not any(name in media_type for name in _OTHER_STREAMS):
            self.unary = self._document_body()

    def _read_as_stream(self) -> None:
        call = self._call
        self.stream = SseScan(
            hide_usage=call.forces_usage_of(self._target) and self._inflater is None,
            many_choices=call.asks_many_choices,
            endpoint=call.endpoint,
        )

    # -- once its caller has left ----------------------------------------------------------------------------------

    @property
    def may_tell_usage(self) -> bool:
        """True if what is still to come may tell what the call used, and nothing so far has."""
        stream = self.stream
        if self.status >= 300:
            return False
        if stream is None:
            return self.undecided or self.unary is not None
        return not stream.ended and stream.error is None and not (stream.whole and stream.usage)

    def read_for_usage(self) -> None:
        """Reads what comes for its usage alone: no tool in it is anybody's, and little of it is kept."""
        self._guard = None
        self._most_kept = MOST_UNHEARD_BYTES
        if self.unary is not None:
            self.unary.keep_at_most(MOST_UNHEARD_BYTES)

    # -- when it is whole ------------------------------------------------------------------------------------------

    def judge(self) -> Outcome:
        """Judges the answer, whose HTTP message is whole or which is not read any further."""
        outcome = self._judge()
        if self.is_refused:
            # it is answered by the relay, and paid
            self.error = None
            self.unusable = False
            return "invalid"
        return outcome

    def _judge(self) -> Outcome:
        if self.status >= 300:
            return self._judge_refusal()
        if self.stream is not None:
            stream = self.stream
            self.error = stream.error
            outcome = judge_stream(stream, asked_for=self._call.body.may_ask_for_stream)
            # what a stream has said so far is the client's, and an event tells it of the end
            self.unusable = outcome != "ok" and not (
                stream.started if outcome == "truncated" else stream.begun
            )
            return outcome
        if self.unary is not None:
            return self._judge_document(self.unary)
        broken = self._inflater is not None and self._inflater.broken
        self.unusable = broken or not self._received
        return "invalid" if self.unusable else "ok"

    @property
    def reported_usage(self) -> object:
        """Returns the usage object that was read so far, None without one."""
        stream = self.stream
        return self.usage if stream is None else with_searches(stream.usage, stream.searches)

    @property
    def searches(self) -> int:
        """Returns how many searches of the web have been made so far that are billed beside tokens, as far as was read."""
        if self.stream is not None:
            return self.stream.searches
        return self._searches if self.unary is None else max(self._searches, self.unary.searches)

    def answered_model(self) -> Name:
        """Returns the model that answered, by the provider's word; None where it does not say, nobody looked, or the report has it."""
        if self.stream is not None:
            return self.stream.model
        if self.report:
            return None
        if self._whole is not None:
            return word_at(self._whole, self._model_start, self._model_end)
        return None if self.unary is None else model_in(self.unary.head)

    def service_tier(self) -> Name:
        """Returns the tier of service that the call was given, by the provider's word; None in the same cases."""
        if self.stream is not None:
            return self.stream.service_tier
        if self.report:
            return None
        if self._whole is not None:
            return word_at(self._whole, self._tier_start, self._tier_end)
        return None if self.unary is None else service_tier_in(self.unary.tail)

    def passed(self, received_bytes: int) -> tuple[int, int]:
        """Returns the pieces of text that have come, 0 of what is no stream, and about how many bytes of text."""
        stream = self.stream
        if stream is not None:
            return stream.text_pieces(), stream.text_bytes()
        document = self.document()
        return 0, received_bytes if document is None else generated_bytes(document)

    @property
    def stored_as(self) -> str | None:
        """Returns the id under which the provider stored a response."""
        return self.stream.response_id if self.stream is not None else self.response_id

    def finish_reason(self, document: dict[str, Any]) -> str | None:
        """Returns why the model stopped, if the answer says so; document is a unary answer, decoded, and empty without one."""
        if self.stream is not None:
            return self.stream.finish_reason
        choices = document.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        reason = first.get("finish_reason") if isinstance(first, dict) else document.get("status")
        return reason if isinstance(reason, str) else None

    def body(self) -> bytes:
        """Returns the body of an answer that is no stream, empty where it was not kept."""
        kept = self.unary.kept if self.unary is not None else None
        return kept if kept is not None else b""

    def document(self) -> dict[str, Any] | None:
        """Decodes a unary answer, if it was kept and is a JSON object."""
        body = self.unary.kept if self.unary is not None else None
        document = decoded(body) if body is not None else None
        return document if isinstance(document, dict) else None

    def _judge_refusal(self) -> Outcome:
        body = self.unary.kept if self.unary is not None else None
        self.error = read_error(decoded(body)) if body is not None else None
        call = self._call
        return judge_status(
            self.status, self.error, endpoint=call.endpoint, call_body=call.body.raw
        )

    def _is_whole(self, body: bytes) -> bool:
        """Returns whether a glance shows that the answer is whole, and takes its usage; any other has to be decoded."""
        parts = _WHOLE.get(self._call.endpoint)
        if parts is None or self._misnamed:
            return False
        if self._call.endpoint is _CHAT and self._take_report(body):
            return True
        items, member = parts
        places = reports_in_answer(body, items, member)
        if places is None:
            return False
        start, end, self._model_start, self._model_end, self._tier_start, self._tier_end = places
        self._whole = body
        self.usage = decoded(body[start:end]) if start < end else None
        return True

    def _take_report(self, body: bytes) -> bool:
        """Takes all that an answer reports that is like most, without decoding any of it; returns whether this one is."""
        plain = plain_answer(body)
        if plain is None:
            return False
        self.report, given, said, cached, reasoning = plain
        self.tokens = Tokens(given, said, cached, reasoning)
        return True

    def _judge_document(self, unary: UnaryBody) -> Outcome:
        if self.status in _WITHOUT_CONTENT:
            self.unusable = True
            return "invalid"
        body = unary.kept
        if body is None and unary.begins_as_object:
            self.usage = with_searches(unary.usage(), unary.searches)
            return "ok"
        if body is not None and self._is_whole(body):
            return "invalid" if self._call.body.stream else "ok"
        document = decoded(body) if body is not None else None
        self.error = read_error(document)
        self.unusable = True
        if isinstance(document, dict):
            self._searches = _searches_in(document)
            self.usage = with_searches(document.get("usage"), self._searches)
        if self.error is not None:
            return judge_error(self.error)
        if not isinstance(document, dict) or not has_answer(document, self._call.endpoint):
            return "invalid"
        response_id = document.get("id")
        self.response_id = response_id if isinstance(response_id, str) else None
        self.unusable = self._misnamed
        # who asked for a stream finds no event in a document, and nobody reads one that calls itself a stream
        return "invalid" if self._misnamed or self._call.body.stream else "ok"


def _searches_in(document: dict[str, Any]) -> int:
    """Returns how many searches of the web a response has made that are billed."""
    output = document.get("output")
    return sum(is_search(item) for item in output) if isinstance(output, list) else 0
