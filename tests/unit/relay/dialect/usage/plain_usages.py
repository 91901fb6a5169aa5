"""Usage objects that most answers have or might have, in answers, and what all rules make of them."""

from typing import Any

from relay.dialect.body_fields import PlainAnswer
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens, reported_tokens
from relay.dialect.usage.billed_usage import PACKED, BilledUsage, labels_of
from relay.dialect.usage.openai_usage import openai_usage
from relay_contract.billing.token_buckets import MAX_TOKENS

Read = tuple[bytes | None, Tokens | None]
"""The packed usage and the tokens as limits count them; None where the rules find a doubt or nothing."""
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


def answer(usage: str, *more: str) -> bytes:
    """Returns a whole answer with this usage and these members, all of them JSON."""
    members = ('"choices":[{"message":{"content":"a"}}]', f'"usage":{usage}', *more)
    return ("{" + ",".join(members) + "}").encode("utf-8", "surrogatepass")


def read(usage: object) -> Read:
    """Returns what all rules make of a usage object."""
    reading = openai_usage(usage, Endpoint.CHAT)
    packed = reading.packed() if isinstance(reading, BilledUsage) else None
    return packed, reported_tokens(usage)


def read_at_once(plain: PlainAnswer) -> Read:
    """Returns the same of an answer that was read at once; its report is well-formed."""
    report, *tokens = plain
    assert labels_of(report) is not None
    return report[: PACKED.size], Tokens(*tokens)
