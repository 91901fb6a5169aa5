"""The small calls that a preflight makes, and which one follows a refusal. Pure.

Providers differ in how the length of an answer is bounded, and not every model takes chats: what a refusal says of either
leads to the next question.
"""

import re
from dataclasses import dataclass, replace
from typing import Any, Final

import orjson

from relay.dialect.endpoints import Endpoint

OUTPUT_TOKENS: Final = 16
"""The least that the Responses API takes. A model that thinks uses them up without a word, which is an answer too."""
PROMPT: Final = "Say OK."
_CHAT_BOUNDS: Final = ("max_tokens", "max_completion_tokens", "")
_BOUNDS: Final[dict[Endpoint, tuple[str, ...]]] = {
    Endpoint.CHAT: _CHAT_BOUNDS,
    Endpoint.COMPLETIONS: ("max_tokens", ""),
    Endpoint.RESPONSES: ("max_output_tokens", ""),
    Endpoint.EMBEDDINGS: ("",),
}
"""Parameters that bound an answer, in the order in which they are tried; the last resort is none."""
_NAMES_A_BOUND: Final = re.compile(r"max_(completion_|output_|new_)?tokens")
_NO_CHAT: Final = re.compile(
    r"not a chat model|chat ?completions? .{0,80}(not|n't) (work|support)"
    r"|(not|n't) (support|allow|enabled? for|available for) .{0,40}(chat|generat|complet)"
    r"|not allowed to sample|(is|as) an embedding|embeddings? (model|only)|v1/(completions|embeddings|responses)\b",
    re.IGNORECASE | re.DOTALL,
)
"""What providers say of a model that takes no chats: OpenAI, Azure, vLLM, Ollama, SGLang and others, each in its words."""
_REFUSED: Final = frozenset({400, 403, 404, 405, 422, 501})
_NO_PATH: Final = frozenset({404, 405, 501})


@dataclass(frozen=True, slots=True)
class Question:
    """A small call. bound is the parameter that bounds its answer, empty without one."""

    endpoint: Endpoint
    bound: str
    stream: bool

    def body(self, model: str) -> bytes:
        """Returns the body of the call, for the model of this name."""
        fields: dict[str, Any] = {"model": model}
        match self.endpoint:
            case Endpoint.CHAT:
                fields["messages"] = [{"role": "user", "content": PROMPT}]
            case Endpoint.COMPLETIONS:
                fields["prompt"] = PROMPT
            case Endpoint.RESPONSES:
                fields |= {"input": PROMPT, "store": False}
            case Endpoint.EMBEDDINGS:
                fields["input"] = PROMPT
        if self.bound:
            fields[self.bound] = OUTPUT_TOKENS
        if self.stream:
            fields["stream"] = True
        return orjson.dumps(fields)

    def streamed(self) -> "Question | None":
        """Returns the same question for a stream; None where the endpoint has none."""
        return None if self.endpoint is Endpoint.EMBEDDINGS else replace(self, stream=True)

    def bounded_otherwise(self, *, status: int, words: str) -> "Question | None":
        """Returns the question that follows a refusal of the bound; None if it was no such refusal, or none is left."""
        bounds = _BOUNDS[self.endpoint]
        if not self.bound or status not in (400, 422) or _NAMES_A_BOUND.search(words) is None:
            return None
        return replace(self, bound=bounds[bounds.index(self.bound) + 1])


def first_question(endpoint: Endpoint, *, dropped: tuple[bytes, ...] = ()) -> Question:
    """Returns the first question for an endpoint; dropped are the parameters that the provider does not get."""
    for bound in _BOUNDS[endpoint]:
        if bound.encode() not in dropped:
            return Question(endpoint, bound, stream=False)
    return Question(endpoint, "", stream=False)


def other_endpoints(*, status: int, words: str) -> tuple[Endpoint, ...]:
    """Returns the endpoints to try after the one for chats refused the model so; none if it may be a model for chats."""
    if status not in _REFUSED:
        return ()
    if "v1/responses" in words:
        return (Endpoint.RESPONSES,)
    # a server for embeddings alone has no such path, and says nothing of the model
    if _NO_CHAT.search(words) is not None or (status in _NO_PATH and "model" not in words.lower()):
        return (Endpoint.EMBEDDINGS, Endpoint.COMPLETIONS)
    return ()
