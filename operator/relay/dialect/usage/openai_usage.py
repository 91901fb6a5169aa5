"""Reads usage of the OpenAI API and of those who speak it: input includes cached tokens, output includes reasoning.

Some keep neither: xAI counts reasoning beside completion_tokens, Google leaves it out of everything but the total. The total tells
which it is, and where it does not come out, nothing of the usage is believed.
"""

from typing import Any, Final

from relay.dialect.endpoints import EMBEDDINGS, Endpoint
from relay.dialect.usage.anthropic_usage import anthropic_usage, beside_totals
from relay.dialect.usage.billed_usage import NO_COUNT, BilledUsage, Reading, count, part, units
from relay_contract.billing.attempt_event import Doubt

_CACHE_NAMES: Final[tuple[str, ...]] = (
    "prompt_cache_hit_tokens",
    "cached_tokens",
    "num_cached_tokens",
    "cache_read_input_tokens",
)
"""Beside the details or in their place: DeepSeek, Moonshot and Together, Mistral, gateways to Anthropic."""


class _Names:
    """Fields of one of the APIs."""

    __slots__ = ("input", "input_details", "output", "output_details")

    def __init__(self, whole_input: str, whole_output: str) -> None:
        self.input = whole_input
        self.output = whole_output
        self.input_details = f"{whole_input}_details"
        self.output_details = f"{whole_output}_details"


_SERVER_TOOLS: Final = "server_tool_use"
"""The field in which Anthropic and gateways count uses of the provider's own tools."""
_SEARCHES: Final = "web_search_requests"
_CHAT: Final = _Names("prompt_tokens", "completion_tokens")
_RESPONSES: Final = _Names("input_tokens", "output_tokens")


def with_searches(usage: object, searches: int) -> object:
    """Returns a usage object that tells of the searches of a response, unless it does so itself.

    OpenAI bills each search of the web and reports none: they are items of the answer.
    """
    if not searches or not isinstance(usage, dict) or usage.get(_SERVER_TOOLS) is not None:
        return usage
    return {**usage, _SERVER_TOOLS: {_SEARCHES: searches}}


def is_search(item: object) -> bool:
    """Returns whether an item of a response is a search of the web that is billed: opening a page that was found, or looking through it, is none."""
    if not isinstance(item, dict) or item.get("type") != "web_search_call":
        return False
    action = item.get("action")
    kind = action.get("type") if isinstance(action, dict) else None
    return item.get("status") != "failed" and kind in (None, "search")


def openai_usage(usage: object, endpoint: Endpoint) -> Reading:
    """Reads a usage object of chat completions, completions, embeddings or responses."""
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return "shape"
    if endpoint is EMBEDDINGS:
        return _embedded(usage)
    if "prompt_tokens" in usage:
        return _in_doubt(usage) or _read(usage, _CHAT)
    if "input_tokens" in usage:
        # a gateway that hands a message's usage on as it is
        if "total_tokens" not in usage and "input_tokens_details" not in usage:
            return anthropic_usage(usage)
        return _in_doubt(usage) or _read(usage, _RESPONSES)
    return "shape"


def _in_doubt(usage: dict[str, Any]) -> Doubt | None:
    """Returns why iterations keep an answer's totals from being read, None where they do not.

    No provider documents iterations beside totals of this API. Of a gateway that hands them on, nobody knows whether the totals have
    in them what Anthropic's leave out.
    """
    left_out = beside_totals(usage.get("iterations"))
    if isinstance(left_out, str):
        return left_out
    return "parts" if left_out else None


def _embedded(usage: dict[str, Any]) -> Reading:
    """Reads what has an input alone; some report nothing but the total of it."""
    for name in ("prompt_tokens", "input_tokens", "total_tokens"):
        tokens = count(usage, name)
        if tokens is not None:
            return "range" if tokens == NO_COUNT else BilledUsage(input=tokens)
    return None if usage.keys() & {"prompt_tokens", "total_tokens"} else "shape"


def _read(usage: dict[str, Any], names: _Names) -> Reading:
    whole_input, output = count(usage, names.input), count(usage, names.output)
    total = count(usage, "total_tokens")
    if whole_input is None:
        return None
    if NO_COUNT in (whole_input, output, total):
        return "range"
    if output is None:
        if total is None:
            return "shape"
        output = total - whole_input
    details = usage.get(names.output_details)
    reasoning = part(details, "reasoning_tokens") or part(usage, "reasoning_tokens")
    audio_output = part(details, "audio_tokens")
    if min(reasoning, audio_output) == NO_COUNT:
        return "range"
    beside = 0 if total is None else total - whole_input - output
    if beside not in (0, reasoning):
        if beside < 0 or reasoning:
            return "total"
        # what the model thought, which only the total tells of
        reasoning = beside
    return _with_input(
        usage,
        usage.get(names.input_details),
        whole_input=whole_input,
        output=output + beside - reasoning - audio_output,
        reasoning=reasoning,
        audio_output=audio_output,
    )


def _with_input(
    usage: dict[str, Any],
    details: object,
    *,
    whole_input: int,
    output: int,
    reasoning: int,
    audio_output: int,
) -> Reading:
    cached = _cached(usage, details)
    written = part(details, "cache_write_tokens") or part(usage, "cache_creation_input_tokens")
    audio_input = part(details, "audio_tokens")
    read = 0 if cached is None else cached
    tools = usage.get(_SERVER_TOOLS)
    searches, fetches = units(tools, _SEARCHES), units(tools, "web_fetch_requests")
    if min(read, written, audio_input, searches, fetches) == NO_COUNT:
        return "range"
    billed = BilledUsage(
        input=whole_input - read - written - audio_input,
        cache_read=read,
        cache_write=written,
        audio_input=audio_input,
        output=output,
        reasoning=reasoning,
        audio_output=audio_output,
        web_search=searches,
        web_fetch=fetches,
        cache_reported=cached is not None,
    )
    return billed.doubt() or billed


def _cached(usage: dict[str, Any], details: object) -> int | None:
    """Returns the input that came from a cache, NO_COUNT for what is no count, None where nothing tells of a cache."""
    told = count(details, "cached_tokens") if isinstance(details, dict) else None
    if told is None and details is not None and not isinstance(details, dict):
        return NO_COUNT
    for name in _CACHE_NAMES:
        if told:
            break
        other = count(usage, name)
        told = told if other is None else other
    return told
