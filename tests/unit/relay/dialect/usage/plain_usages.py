"""The reading in C of most answers' usage, and whatever it may be asked to read."""

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hatch_build import PLAIN_USAGE
from relay.dialect.endpoints import Endpoint
from relay.dialect.usage.billed_usage import BilledUsage
from relay.dialect.usage.openai_usage import openai_usage
from relay_contract.billing.token_buckets import MAX_TOKENS

PlainUsage = Callable[[object], bytes | None]
ODD: tuple[Any, ...] = (
    *(None, True, -1, 1.0, 1.5, "1", []),
    *(MAX_TOKENS - 7, MAX_TOKENS, MAX_TOKENS + 1, 2**63, 2**70),
)
"""Values that are no count, or one that is hardly possible."""
PARTS = (
    "reasoning_tokens",
    "audio_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "cache_creation_input_tokens",
)
BESIDE = ("prompt_cache_hit_tokens", "num_cached_tokens", "cache_read_input_tokens")
DETAILS = ("prompt_tokens_details", "completion_tokens_details")


def loaded(path: Path) -> PlainUsage:
    """Returns the function of a built extension."""
    spec = importlib.util.spec_from_file_location(PLAIN_USAGE, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: PlainUsage = module.plain_usage
    return function


def read(usage: object) -> bytes | None:
    """Returns what all rules make of a usage object, packed; None where they find a doubt or nothing."""
    reading = openai_usage(usage, Endpoint.CHAT)
    return reading.packed() if isinstance(reading, BilledUsage) else None
