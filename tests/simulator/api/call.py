"""A call as the provider reads it, and the text of an answer."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import orjson
from tests.simulator.behaviour import Behaviour

WORDS = ("a ", "relay ", "moves ", "traffic ", "between ", "upstreams, ", "step ", "by ", "step. ")
PIECE_BYTES = 16 * 1024
"""Text of one event if stream_bytes asks for volume."""


class Endpoint(StrEnum):
    CHAT = "chat/completions"
    COMPLETIONS = "completions"
    EMBEDDINGS = "embeddings"
    RESPONSES = "responses"


class BadCall(Exception):
    """A call that the provider refuses: HTTP status, and OpenAI's code and param for the error object."""

    def __init__(
        self, message: str, *, status: int = 400, code: str | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens as a provider reports them; completion includes reasoning, prompt includes cached and cache_write."""

    prompt: int
    completion: int
    cached: int = 0
    reasoning: int = 0
    cache_write: int = 0


@dataclass(frozen=True, slots=True)
class Identity:
    """The parts of an answer that are unique: a serial number in the process, and a time in Unix seconds."""

    serial: str
    created: int


@dataclass(frozen=True, slots=True)
class Call:
    endpoint: Endpoint
    model: str
    payload: dict[str, Any]
    body_bytes: int
    stream: bool
    include_usage: bool

    @property
    def token_limit(self) -> int | None:
        """Returns the caller's own limit of output tokens, under any of its three names."""
        for name in ("max_completion_tokens", "max_tokens", "max_output_tokens"):
            limit = self.payload.get(name)
            if isinstance(limit, int):
                return limit
        return None

    @property
    def wants_tool(self) -> bool:
        """Returns whether tools are offered and the conversation does not already end in a tool's result."""
        if not self.payload.get("tools") or self.payload.get("tool_choice") == "none":
            return False
        turns = self.payload.get("messages") or self.payload.get("input")
        last = turns[-1] if isinstance(turns, list) and turns else {}
        answered = isinstance(last, dict) and (
            last.get("role") == "tool" or last.get("type") == "function_call_output"
        )
        return not answered

    @property
    def tool_name(self) -> str:
        """Returns the first tool offered; chat nests it under function, responses does not."""
        tool = self.payload["tools"][0]
        name = tool.get("name") or tool.get("function", {}).get("name")
        return str(name or "unnamed")


def parsed(endpoint: Endpoint, body: bytes) -> Call:
    """Parses the call in a request body; raises BadCall with OpenAI's wording."""
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise BadCall("We could not parse the JSON body of your request.") from error
    if not isinstance(payload, dict):
        raise BadCall("The JSON body of your request must be an object.")
    model = payload.get("model")
    if not isinstance(model, str) or not model:
        raise BadCall("you must provide a model parameter", param="model")
    options = payload.get("stream_options")
    return Call(
        endpoint=endpoint,
        model=model,
        payload=payload,
        body_bytes=len(body),
        stream=payload.get("stream") is True and endpoint is not Endpoint.EMBEDDINGS,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def output_tokens(call: Call, behaviour: Behaviour) -> int:
    """Returns the number of tokens of visible output."""
    limit = call.token_limit
    asked = behaviour.completion_tokens
    return asked if limit is None else min(asked, limit)


def finish_reason(call: Call, behaviour: Behaviour) -> str:
    """Returns stop, or length if the caller's own limit ended the answer."""
    return "length" if output_tokens(call, behaviour) < behaviour.completion_tokens else "stop"


def usage_of(call: Call, behaviour: Behaviour) -> Usage:
    """Returns the tokens this call is billed; about four bytes of request are one input token."""
    prompt = behaviour.prompt_tokens
    estimated = max(1, call.body_bytes // 4) if prompt is None else prompt
    if call.endpoint is Endpoint.EMBEDDINGS:
        return Usage(prompt=estimated, completion=0)
    return Usage(
        prompt=estimated,
        completion=output_tokens(call, behaviour) + behaviour.reasoning_tokens,
        cached=min(behaviour.cached_tokens, estimated),
        reasoning=behaviour.reasoning_tokens,
        cache_write=min(behaviour.cache_write_tokens, estimated),
    )


@lru_cache(maxsize=256)
def text_of(tokens: int) -> str:
    """Returns a visible answer of that many tokens."""
    return "".join(WORDS[index % len(WORDS)] for index in range(tokens))


def pieces(call: Call, behaviour: Behaviour) -> Iterator[str]:
    """Yields the visible answer, event by event; stream_bytes overrides the token count."""
    if not behaviour.stream_bytes:
        for index in range(output_tokens(call, behaviour)):
            yield WORDS[index % len(WORDS)]
        return
    piece = "x" * PIECE_BYTES
    for _ in range(-(-behaviour.stream_bytes // PIECE_BYTES)):
        yield piece


def event(value: Any, *, name: str | None = None) -> bytes:
    """Returns one server-sent event (WHATWG HTML, 9.2)."""
    head = b"data: " if name is None else b"event: %s\ndata: " % name.encode()
    return head + orjson.dumps(value) + b"\n\n"


DONE = b"data: [DONE]\n\n"
