"""The provider's behaviour as one frozen value that the control API and a header can change."""

import math
import random
from enum import StrEnum
from typing import Annotated, Any, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tests.simulator.api.dialect import Dialect

Percent = Annotated[float, Field(ge=0, le=100)]
Token = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
HeaderValue = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
Milliseconds = Annotated[float, Field(ge=0, le=3_600_000)]


class Fault(StrEnum):
    """A way of failing other than a well-formed error answer."""

    NO_ANSWER = "no_answer"
    """The request is read and never answered."""
    STALL = "stall"
    """The head arrives, the body never does."""
    SLOW_HEADERS = "slow_headers"
    """The head arrives one byte per token_interval_ms (at least 20 ms)."""
    RESET = "reset"
    """TCP reset instead of an answer."""
    CLOSE = "close"
    """The connection ends in order, without an answer."""
    DIE = "die"
    """The connection ends after fault_after_events events, or in the middle of a unary body."""
    DIE_RESET = "die_reset"
    """Like die, with a TCP reset."""
    LONG_CONTENT_LENGTH = "long_content_length"
    """Content-Length promises 16 bytes more than are sent before the connection ends."""
    SHORT_CONTENT_LENGTH = "short_content_length"
    """Content-Length promises 16 bytes fewer than are sent; the connection stays open."""
    CONFLICTING_LENGTH = "conflicting_length"
    """Content-Length and Transfer-Encoding: chunked in one answer (RFC 9112, 6.3)."""
    GARBAGE = "garbage"
    """Status 200 and a body that is neither JSON nor an event stream."""
    EMPTY = "empty"
    """Status 200 and nothing: a body of no bytes, a stream of no events."""
    NOT_HTTP = "not_http"
    """Bytes that are not an HTTP answer."""
    ERROR_EVENT = "error_event"
    """Status 200, fault_after_events events, then an event whose JSON holds an error object."""
    HUGE_HEADERS = "huge_headers"
    """An answer with one mebibyte of headers."""
    EARLY_HINTS = "early_hints"
    """Two informational answers (103, RFC 8297) before the final one; legal, but easy to mishandle."""
    CLOSE_AFTER = "close_after"
    """A good answer, after which the connection is closed although it was announced as reusable."""


class Framing(StrEnum):
    """How the end of a unary answer is marked (RFC 9112, 6.3)."""

    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """By the end of the connection, as HTTP/1.0 does."""


class BehaviourRejected(Exception):
    """A change that was refused; the behaviour in force stays. The message names the field."""


class Behaviour(BaseModel):
    """The provider's behaviour. Times in milliseconds, rates in percent. The default is healthy and without delay."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    latency_ms: Milliseconds = 0.0
    """From the last byte of the request to the head of the answer; the median when latency_sigma is set."""
    latency_sigma: Annotated[float, Field(ge=0, le=5)] = 0.0
    """Standard deviation of the latency's logarithm (lognormal); 0 is a fixed latency."""
    first_token_ms: Milliseconds = 0.0
    """From the head of a stream to its first event."""
    token_interval_ms: Milliseconds = 0.0
    """Between the events of a stream; 0 sends all of them at once."""
    completion_tokens: Annotated[int, Field(ge=0, le=1_000_000)] = 16
    """Tokens of an answer, one event each when streamed; a smaller max_tokens in the call wins."""
    prompt_tokens: Annotated[int, Field(ge=0)] | None = None
    """Reported input tokens; None estimates one per four bytes of the request body."""
    cached_tokens: Annotated[int, Field(ge=0)] = 0
    cache_write_tokens: Annotated[int, Field(ge=0)] = 0
    """Of the input, as written into a cache; no more than there is."""
    reasoning_tokens: Annotated[int, Field(ge=0)] = 0
    """Reported on top of completion_tokens, never sent as text, as reasoning models do."""
    service_tier: Annotated[str, Field(max_length=64)] | None = None
    """What unary answers of chat say they were served in; None says nothing."""
    report_usage: bool = True
    """False omits usage everywhere, as some providers do."""
    stream_bytes: Annotated[int, Field(ge=0, le=1 << 40)] = 0
    """Least total size of a stream's events; 0 keeps events as small as they come."""
    dialect: Dialect = Dialect.PLAIN
    """How a stream's events are written."""
    fragment_bytes: Annotated[int, Field(ge=0, le=65536)] = 0
    """A stream is sent in pieces of this size, wherever events end, each counted and paced as an event; 0 sends
    whole events."""

    error_percent: Percent = 0.0
    error_first: Annotated[int, Field(ge=0)] = 0
    """That many calls after this was set fail with error_status, whatever error_percent is."""
    error_status: Annotated[int, Field(ge=300, le=599)] = 500
    """A status from 300 to 399 is a redirect to another path of this provider."""
    retry_after: str | None = None
    """The Retry-After header of error answers, as written."""
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None
    """Above this rate calls get OpenAI's 429; None is unlimited."""
    quota_burst: Annotated[int, Field(ge=1)] | None = None
    """Calls the quota lets through at once; None is one second's worth."""

    fault: Fault | None = None
    fault_percent: Percent = 100.0
    fault_after_events: Annotated[int, Field(ge=0)] = 3
    hold_after_events: Annotated[int, Field(ge=0)] | None = None
    """A stream waits here for POST /release; at 0, and for unary calls, even the head waits."""
    extra_headers: dict[Token, HeaderValue] = {}
    """Sent with every answer to a call."""
    close_connection: bool = False
    """Answers have Connection: close, and the connection is closed."""
    framing: Framing = Framing.LENGTH
    gzip: bool = False
    """Unary bodies are compressed when the request accepts gzip."""

    api_key: str | None = None
    """Calls must carry it as a bearer token or api-key header; None accepts all calls."""
    models: tuple[str, ...] = (
        "gpt-4.1",
        # what the provider holysheep of the examples calls it
        "gpt-4.1-2025",
        "gpt-4.1-mini",
        "gpt-4o-mini",
        "text-embedding-3-small",
    )
    strict_models: bool = False
    """True answers model_not_found for a model outside the list, as a real provider does."""

    def updated(self, patch: dict[str, Any]) -> Self:
        """Returns a copy with the fields of patch; raises BehaviourRejected."""
        try:
            return type(self).model_validate({**self.model_dump(), **patch})
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise BehaviourRejected(f"{where}: {first['msg']}") from error

    def updated_from_json(self, text: bytes) -> Self:
        """Like updated, from a JSON object; raises BehaviourRejected for other JSON too."""
        try:
            patch = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BehaviourRejected(f"not JSON: {error}") from error
        if not isinstance(patch, dict):
            raise BehaviourRejected("not a JSON object")
        return self.updated(patch)

    def latency_seconds(self, chance: random.Random) -> float:
        """Draws the latency."""
        seconds = self.latency_ms / 1000
        if not self.latency_sigma:
            return seconds
        return seconds * math.exp(chance.gauss(0.0, self.latency_sigma))

    def drawn_fault(self, chance: random.Random) -> Fault | None:
        """Draws the fault of this call, None for a call without one."""
        if self.fault is None or (
            self.fault_percent < 100 and not hits(chance, self.fault_percent)
        ):
            return None
        return self.fault


def hits(chance: random.Random, percent: float) -> bool:
    """Returns True in percent of the draws."""
    return percent > 0 and chance.random() * 100 < percent
