"""Reads usage of Anthropic's Messages API: input_tokens leaves out both kinds of cache, output_tokens includes thinking."""

from typing import Any, Final

from relay.dialect.usage.billed_usage import (
    NO_COUNT,
    BilledUsage,
    Reading,
    count,
    part,
    units,
    word,
)

_USUAL_SPEED: Final = "standard"


def merged_usage(earlier: dict[str, Any] | None, later: dict[str, Any]) -> dict[str, Any]:
    """Returns the usage of a stream so far: message_delta repeats a running total of what it names, the rest stands in
    message_start."""
    if earlier is None:
        return later
    return {**earlier, **{name: value for name, value in later.items() if value is not None}}


def anthropic_usage(usage: object) -> Reading:
    """Reads a usage object of a message; an answer to which several models contributed has no price of one model."""
    if usage is None:
        return None
    if not isinstance(usage, dict):
        return "shape"
    uncached, output = count(usage, "input_tokens"), count(usage, "output_tokens")
    if uncached is None:
        return None
    if output is None:
        return "shape"
    if _several_models(usage.get("iterations")):
        return "models"
    return _read(usage, uncached, output)


def _read(usage: dict[str, Any], uncached: int, output: int) -> Reading:
    cache_read = count(usage, "cache_read_input_tokens")
    written, hour = _cache_writes(usage)
    thinking = part(usage.get("output_tokens_details"), "thinking_tokens")
    tools = usage.get("server_tool_use")
    searches, fetches = units(tools, "web_search_requests"), units(tools, "web_fetch_requests")
    read = 0 if cache_read is None else cache_read
    if min(uncached, output, read, thinking, written, searches, fetches) == NO_COUNT:
        return "range"
    if hour < 0:
        return "parts"
    speed = word(usage, "speed")
    tier = word(usage, "service_tier")
    billed = BilledUsage(
        input=uncached,
        cache_read=read,
        cache_write=written,
        cache_write_hour=hour,
        output=output - thinking,
        reasoning=thinking,
        web_search=searches,
        web_fetch=fetches,
        cache_reported=cache_read is not None,
        service_tier=tier if speed is None or speed == _USUAL_SPEED else speed,
        region=word(usage, "inference_geo"),
    )
    return billed.doubt() or billed


def _cache_writes(usage: dict[str, Any]) -> tuple[int, int]:
    """Returns what was written for 5 minutes and for an hour. The first is NO_COUNT for what is none, the second if the two
    are not what was written in all."""
    whole = count(usage, "cache_creation_input_tokens")
    split = usage.get("cache_creation")
    if split is None:
        return (0 if whole is None else whole), 0
    short = part(split, "ephemeral_5m_input_tokens")
    hour = part(split, "ephemeral_1h_input_tokens")
    if min(short, hour) == NO_COUNT or whole == NO_COUNT:
        return NO_COUNT, 0
    if whole is not None and whole != short + hour:
        return short, NO_COUNT
    return short, hour


def _several_models(iterations: object) -> bool:
    """Returns whether the parts of an answer name more than one model."""
    if not isinstance(iterations, list):
        return False
    models = [one.get("model") for one in iterations if isinstance(one, dict)]
    return any(model != models[0] for model in models)
