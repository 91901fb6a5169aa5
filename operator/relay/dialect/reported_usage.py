"""Tokens as providers report them in a usage object."""

from collections.abc import Mapping
from typing import Any


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

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and self._counts() == other._counts()

    def __hash__(self) -> int:
        return hash(self._counts())

    def __repr__(self) -> str:
        return f"Tokens{self._counts()}"

    def _counts(self) -> tuple[int, int, int, int]:
        return self.input, self.output, self.cached, self.reasoning


def reported_tokens(usage: object) -> Tokens | None:
    """Returns the tokens of a usage object of chat completions or of responses; None if it is neither."""
    if not isinstance(usage, dict):
        return None
    if "prompt_tokens" in usage:
        names = (
            "prompt_tokens",
            "completion_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
        )
    elif "input_tokens" in usage:
        names = ("input_tokens", "output_tokens", "input_tokens_details", "output_tokens_details")
    else:
        return None
    return Tokens(
        input=_count(usage, names[0]),
        output=_count(usage, names[1]),
        cached=_detail(usage, names[2], "cached_tokens"),
        reasoning=_detail(usage, names[3], "reasoning_tokens"),
    )


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if type(value) is int and value > 0 else 0


def _detail(usage: Mapping[str, Any], group: str, name: str) -> int:
    details = usage.get(group)
    return _count(details, name) if type(details) is dict else 0
