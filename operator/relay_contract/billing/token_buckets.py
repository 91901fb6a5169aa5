"""Tokens of an attempt in disjoint buckets: a cost is the sum of each times its price, and no token is in two of them."""

from typing import Annotated, Final, Literal, Self, get_args

from pydantic import Field, model_validator

from relay_contract.document import Part

MAX_TOKENS: Final = 10**9
"""Of one attempt. More than the largest context and answer by far; at the largest price its cost stays below 2**63 pico-USD."""
MAX_UNITS: Final = 10_000
"""Of one kind in one attempt."""

Count = Annotated[int, Field(ge=0, le=MAX_TOKENS)]
UnitCount = Annotated[int, Field(ge=0, le=MAX_UNITS)]

Bucket = Literal[
    "input",
    "cache_read",
    "cache_write",
    "cache_write_hour",
    "output",
    "reasoning",
    "audio_input",
    "audio_output",
    "tool_prompt",
]
BUCKETS: Final[tuple[Bucket, ...]] = get_args(Bucket)
INPUT_BUCKETS: Final[tuple[Bucket, ...]] = (
    "input",
    "cache_read",
    "cache_write",
    "cache_write_hour",
    "audio_input",
    "tool_prompt",
)
"""What the model read, by which providers choose the price of a long context."""
Unit = Literal["web_search", "web_fetch"]
UNITS: Final[tuple[Unit, ...]] = get_args(Unit)
"""What a provider bills beside tokens, by its number."""


class TokenBuckets(Part):
    """Counts what an attempt used. A bucket that is left out holds no token; an attempt whose tokens are not known has no buckets.

    input is what came from no cache and went into none. cache_write is kept for the provider's shortest time (5 minutes at
    Anthropic), cache_write_hour for an hour. output is what the answer shows, reasoning what it does not. tool_prompt is
    what tools put before the model, where a provider counts it apart.
    """

    input: Count = 0
    cache_read: Count = 0
    cache_write: Count = 0
    cache_write_hour: Count = 0
    output: Count = 0
    reasoning: Count = 0
    audio_input: Count = 0
    audio_output: Count = 0
    tool_prompt: Count = 0

    @model_validator(mode="after")
    def _has_a_possible_total(self) -> Self:
        if self.total > MAX_TOKENS:
            raise ValueError(
                f"{self.total} tokens in all are more than the {MAX_TOKENS} that one attempt can use"
            )
        return self

    @property
    def total(self) -> int:
        """Returns the tokens of all buckets."""
        return sum(count for _, count in self.counts())

    @property
    def total_input(self) -> int:
        """Returns the tokens that the model read."""
        return sum(getattr(self, bucket) for bucket in INPUT_BUCKETS)

    def counts(self) -> tuple[tuple[Bucket, int], ...]:
        """Returns each bucket with its tokens, in the order of BUCKETS."""
        return tuple((bucket, getattr(self, bucket)) for bucket in BUCKETS)


class BilledUnits(Part):
    """Counts what the provider did for an attempt and bills by the piece."""

    web_search: UnitCount = 0
    web_fetch: UnitCount = 0

    def counts(self) -> tuple[tuple[Unit, int], ...]:
        """Returns each unit with its number, in the order of UNITS."""
        return tuple((unit, getattr(self, unit)) for unit in UNITS)
