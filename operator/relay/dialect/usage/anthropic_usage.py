"""Reads usage of Anthropic's Messages API: input_tokens leaves out both kinds of cache, output_tokens includes thinking."""

from typing import Any, Final

from relay.dialect.reported_usage import HIDDEN_INPUT_TOKENS, MOST_OUTPUT_TOKENS
from relay.dialect.usage.billed_usage import (
    NO_COUNT,
    BilledUsage,
    Reading,
    count,
    part,
    units,
    word,
)
from relay_contract.billing.attempt_event import Doubt

_USUAL_SPEED: Final = "standard"
_OF_THE_TOTAL: Final = (None, "message", "fallback_message")
"""Types of iterations that an answer's totals have in them."""
_COMPACTION: Final = "compaction"
"""One that they leave out, made by the model that answered."""


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
    read = _totals(usage)
    left_out = beside_totals(usage.get("iterations")) if read is not None else []
    if isinstance(left_out, str):
        return left_out
    for iteration in left_out:
        if isinstance(read, BilledUsage):
            read = _together(read, iteration)
    return read


def beside_totals(iterations: object) -> list[dict[str, Any]] | Doubt:
    """Returns the iterations that the totals of an answer leave out; or why it has no price of one model.

    Types and what the totals have in them: BetaUsage.iterations of Anthropic's SDK. An advisor is another model by its nature, and
    nobody knows the types that are to come.
    """
    if iterations is None:
        return []
    if not isinstance(iterations, list):
        return "shape"
    left_out: list[dict[str, Any]] = []
    models: list[object] = []
    for one in iterations:
        if not isinstance(one, dict):
            return "shape"
        kind = one.get("type")
        if kind == _COMPACTION:
            left_out.append(one)
        elif kind in _OF_THE_TOTAL:
            models.append(one.get("model"))
        else:
            return "models"
    return "models" if any(model != models[0] for model in models) else left_out


def every_iteration(usage: object) -> BilledUsage | None:
    """Returns what all models of an answer used together, None where it does not tell that of each."""
    iterations = usage.get("iterations") if isinstance(usage, dict) else None
    if not isinstance(usage, dict) or not isinstance(iterations, list):
        return None
    tools = usage.get("server_tool_use")
    searches, fetches = units(tools, "web_search_requests"), units(tools, "web_fetch_requests")
    if min(searches, fetches) == NO_COUNT:
        return None
    read: Reading = BilledUsage(
        input=0,
        web_search=searches,
        web_fetch=fetches,
        service_tier=word(usage, "service_tier"),
        region=word(usage, "inference_geo"),
    )
    for iteration in iterations:
        if not isinstance(read, BilledUsage) or not isinstance(iteration, dict):
            return None
        read = _together(read, iteration)
    return read if isinstance(read, BilledUsage) else None


def _together(read: BilledUsage, iteration: dict[str, Any]) -> Reading:
    """Adds the tokens of an iteration to those of others."""
    more = _totals(iteration)
    if not isinstance(more, BilledUsage):
        return "parts" if more is None else more
    given = more.input + more.cache_read + more.cache_write + more.cache_write_hour
    if given > HIDDEN_INPUT_TOKENS or more.output > MOST_OUTPUT_TOKENS:
        # no model takes or gives so much at once, and the totals that are compared with the call leave it out
        return "range"
    whole = read.with_tokens_of(more)
    return whole.doubt() or whole


def _totals(usage: dict[str, Any]) -> Reading:
    """Reads the counts of an answer, or of one of its iterations, without what they leave out."""
    uncached, output = count(usage, "input_tokens"), count(usage, "output_tokens")
    if uncached is None:
        return None
    if output is None:
        return "shape"
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
