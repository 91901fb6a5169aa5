"""Tokens as providers report them in a usage object, as far as they can be true."""

from typing import Any, Final

HIDDEN_INPUT_TOKENS: Final = 10_000_000
"""Input may be more than the bytes of the call: stored conversations, files and images by name, tools that the provider
runs. The largest context windows are of this size."""
MOST_OUTPUT_TOKENS: Final = 1_000_000
"""Output of a choice, beyond the bytes of the answer: what a model thinks need not be in it. Several times what any model
gives."""
_UNREADABLE: Final = -1
_CHAT_NAMES: Final = (
    "prompt_tokens",
    "completion_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
)
_RESPONSES_NAMES: Final = (
    "input_tokens",
    "output_tokens",
    "input_tokens_details",
    "output_tokens_details",
)
_TOTAL_NAMES: Final = ("total_tokens", "completion_tokens", "details", "details")
_CACHED_NAMES: Final[tuple[str, ...]] = (
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
)
"""Spellings beside the details or in their place: DeepSeek, Moonshot and Together, Mistral, Anthropic and gateways to it."""


class Tokens:
    """Tokens of one answer. input includes cached, output includes reasoning, as providers report them."""

    __slots__ = ("cached", "input", "output", "reasoning")

    def __init__(
        self,
        input: int,  # noqa: A002 - the API's own word
        output: int,
        cached: int = 0,
        reasoning: int = 0,
    ) -> None:
        self.input = input
        self.output = output
        self.cached = cached
        self.reasoning = reasoning

    def charged(self, cached_weight: float) -> int:
        """Returns the tokens as limits count them: a cached one weighs from 0 to 1."""
        if not self.cached:
            return self.input + self.output
        return self.input - self.cached + round(self.cached * cached_weight) + self.output

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self._counts() == other._counts()

    def __hash__(self) -> int:
        return hash(self._counts())

    def __repr__(self) -> str:
        return f"Tokens{self._counts()}"

    def _counts(self) -> tuple[int, int, int, int]:
        return self.input, self.output, self.cached, self.reasoning


def usage_of_event(payload: dict[str, Any]) -> dict[str, Any] | None:
    """Returns the usage object of an event of a stream; Moonshot has it in a choice, Groq in a field of its own."""
    usage = payload.get("usage")
    if isinstance(usage, dict):
        return usage
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for around in (first, payload.get("x_groq")):
        usage = around.get("usage") if isinstance(around, dict) else None
        if isinstance(usage, dict):
            return usage
    return None


def reported_tokens(
    usage: object, *, call_bytes: int = 0, answer_bytes: int = 0, choices: int = 1
) -> Tokens | None:
    """Returns the tokens of a usage object of chat completions or of responses.

    None if it is neither, or if a number in it is no count that a call and an answer of these sizes can have: limits, bills
    and metrics would carry it on, so it is as if nothing had been reported.
    """
    if not isinstance(usage, dict):
        return None
    if "prompt_tokens" in usage:
        names = _CHAT_NAMES
    elif "input_tokens" in usage:
        names = _RESPONSES_NAMES
    elif "total_tokens" in usage:
        # some report nothing else of embeddings
        names = _TOTAL_NAMES
    else:
        return None
    input_tokens = _count(usage, names[0], HIDDEN_INPUT_TOKENS + call_bytes)
    most_output = MOST_OUTPUT_TOKENS * choices + answer_bytes
    # an embedding has no output to report
    output_tokens = 0 if usage.get(names[1]) is None else _count(usage, names[1], most_output)
    if input_tokens == _UNREADABLE or output_tokens == _UNREADABLE:
        return None
    if names[0] == "input_tokens" and usage.get(names[2]) is None:
        input_tokens += _beside_input(usage)
    cached = _cached(usage, names[2], input_tokens)
    reasoning = _part(usage.get(names[3]), "reasoning_tokens", most_output)
    total = _count(usage, "total_tokens", input_tokens + most_output)
    # some leave what the model thought out of everything but the total
    output_tokens = max(output_tokens, total - input_tokens)
    return Tokens(input_tokens, output_tokens, cached, min(reasoning, output_tokens))


def _cached(usage: dict[str, Any], details: str, most: int) -> int:
    """Returns the input that came from a cache, as far as the dialect tells."""
    cached = _part(usage.get(details), "cached_tokens", most)
    for name in _CACHED_NAMES:
        if cached:
            break
        cached = _part(usage, name, most)
    return cached


def _beside_input(usage: dict[str, Any]) -> int:
    """Returns the input that Anthropic counts beside input_tokens: what was read from the cache and written to it."""
    beside = 0
    if usage.get("total_tokens") is None:
        for name in ("cache_read_input_tokens", "cache_creation_input_tokens"):
            beside += _part(usage, name, HIDDEN_INPUT_TOKENS)
    return beside


def _count(fields: dict[str, Any], name: str, most: int) -> int:
    """Returns a count from 0 to `most`, or _UNREADABLE. JSON does not tell 12 from 12.0."""
    value = fields.get(name)
    if type(value) is float and 0 <= value <= most and value.is_integer():
        value = int(value)
    return value if type(value) is int and 0 <= value <= most else _UNREADABLE


def _part(details: object, name: str, whole: int) -> int:
    """Returns the part of a count that the details name, 0 where they name none that it can have."""
    if not isinstance(details, dict):
        return 0
    part = _count(details, name, whole)
    return 0 if part == _UNREADABLE else part
