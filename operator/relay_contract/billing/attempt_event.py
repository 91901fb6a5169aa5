"""The two records of an attempt at a provider: opened before it is sent, closed when it has ended.

Each is complete in itself, so that they may come in any order, and one without the other. Both have the id of the attempt.
"""

import hashlib
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_contract.document import Name, Part

EVENT_VERSION: Final = 1
"""A part of every id: a record that means something else has another. A ledger is upgraded before the relays."""
MAX_MICROSECONDS: Final = 253_402_300_799_999_999
"""The end of the year 9999, since 1970."""
MAX_PICO_USD: Final = 2**63 - 1

Identifier = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z_-]{1,96}$")]
"""Of the relay's own making or the API server's."""
Label = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00-\x1f\x7f]*$")]
"""What others wrote: callers and providers."""
Microseconds = Annotated[int, Field(ge=0, le=MAX_MICROSECONDS)]
PicoUsd = Annotated[int, Field(ge=0, le=MAX_PICO_USD)]

Kind = Literal["usage", "tool"]
"""An attempt, or a tool call (relay_contract.billing.tool_call)."""
Phase = Literal["opened", "closed"]
AttemptSide = Literal["stable", "canary", "fallback", "shadow", "preflight"]
SERVED: Final[frozenset[AttemptSide]] = frozenset({"stable", "canary", "fallback"})
"""Sides whose answers callers get."""
BilledEndpoint = Literal["chat.completions", "completions", "embeddings", "responses", "messages"]
UsageSource = Literal["provider", "partial", "estimated", "none", "unknown"]
"""The evidence of the tokens. provider: its own count of the whole attempt. partial: a count or estimate of an answer that
was broken off. estimated: the relay's estimate of a whole one. none: nothing was used, for certain. unknown: something may have been
used, and nobody can tell (a timeout); it is not zero."""
COUNTED: Final[frozenset[UsageSource]] = frozenset({"provider", "partial", "estimated"})
AttemptOutcome = Literal[
    "ok",
    "client_error",
    "throttled",
    "failed",
    "unreachable",
    "timeout",
    "truncated",
    "invalid",
    "cancelled",
    "no_key",
]
Doubt = Literal["negative", "total", "parts", "range", "shape", "models"]
"""A reason not to take a provider's usage as it is. negative: a part is larger than its whole. total: the parts do not make
the total. parts: the parts of a part do not, or nobody knows whether the total has them in it. range: a number is no count. shape: it is no usage object of this API.
models: several models contributed, and an attempt has the price of one."""


def event_id(*, tenant_uid: str, attempt_id: str, dispatched_at: int, kind: Kind) -> str:
    """Computes the id of an attempt's records: 32 hexadecimal digits.

    Whoever writes a record again writes the same id. The tenant is in it, so no tenant can take an id of another; the time of dispatch is,
    so that a table partitioned by it can hold the id unique. None of the names can hold the slash.
    """
    name = f"{tenant_uid}/{attempt_id}/{dispatched_at}/{kind}/{EVENT_VERSION}"
    return event_digest(name.encode())


def event_digest(name: bytes) -> str:
    """Returns the id of the records that go by this name."""
    return hashlib.sha256(name).hexdigest()[:32]


class Attempt(Part):
    """Holds what both records say. Times are microseconds since 1970, of the relay's clock.

    call_id is the logical call, of which attempt_id is one attempt and `attempt` its number from 1. request_id is the caller's
    X-Request-ID, a label that proves nothing. requested_model is the caller's word, routed_model what the provider was asked
    for. manifest_revision is that of the tenant's tool manifest that the call was held to; empty without one. reserved_tokens are the most that the
    attempt was expected to use: of one that is opened, or of which nobody knows what it used. reserved_pico is the most that it was expected to cost, at the
    prices of price_version; None where the relay knew no price.
    """

    version: Annotated[Literal[1], Field(alias="v")]
    id: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]
    kind: Literal["usage"] = "usage"
    tenant_uid: Identifier
    tenant: Name
    relay: Name
    call_id: Identifier
    attempt_id: Identifier
    attempt: Annotated[int, Field(ge=1, le=1000)]
    dispatched_at: Microseconds
    side: AttemptSide
    route: Name
    key_name: Label
    provider: Name
    endpoint: BilledEndpoint
    requested_model: Label
    routed_model: Label
    stream: bool = False
    request_id: Label = ""
    manifest_revision: Label = ""
    reserved_tokens: TokenBuckets | None = None
    reserved_pico: PicoUsd | None = None
    price_version: Label | None = None

    @model_validator(mode="after")
    def _has_its_own_id(self) -> Self:
        expected = event_id(
            tenant_uid=self.tenant_uid,
            attempt_id=self.attempt_id,
            dispatched_at=self.dispatched_at,
            kind=self.kind,
        )
        if self.id != expected:
            raise ValueError(f"the id of this attempt is {expected}")
        return self


class AttemptOpened(Attempt):
    """Written, and on disk, before the attempt is sent."""

    phase: Literal["opened"]


class AttemptClosed(Attempt):
    """Written when the attempt has ended.

    closed_at is dispatched_at and the time that has passed, whatever the clock did meanwhile. delivered says that the caller
    got this attempt's answer, or its beginning. abandoned says that it left before that, and that its tenant pays for it all the
    same. answered_model is the provider's word. cache_reported is False where the provider said nothing of its
    cache: all input is then billed as uncached. service_tier and region are as served.
    """

    phase: Literal["closed"]
    closed_at: Microseconds
    outcome: AttemptOutcome
    status: Annotated[int, Field(ge=100, le=599)] | None = None
    delivered: bool
    abandoned: bool = False
    usage_source: UsageSource
    tokens: TokenBuckets | None = None
    units: BilledUnits = BilledUnits()
    cache_reported: bool = True
    doubt: Doubt | None = None
    answered_model: Label | None = None
    service_tier: Label | None = None
    region: Label | None = None
    upstream_request_id: Label | None = None

    @property
    def is_billed(self) -> bool:
        """Tells whether its tenant pays for it: every call has one such attempt at most."""
        return self.delivered or self.abandoned

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if (self.tokens is not None) != (self.usage_source in COUNTED):
            raise ValueError(
                f"usageSource {self.usage_source} {'has to have' if self.tokens is None else 'has no'} tokens"
            )
        if self.reserved_tokens is not None and self.usage_source != "unknown":
            raise ValueError(f"usageSource {self.usage_source} has no reservedTokens")
        if self.closed_at < self.dispatched_at:
            raise ValueError("closedAt is before dispatchedAt")
        if self.delivered and self.abandoned:
            raise ValueError("an attempt that was delivered was not abandoned before")
        if (self.delivered or self.abandoned) and self.side not in SERVED:
            raise ValueError(f"callers get no answer of the side {self.side}")
        return self


AttemptRecord = AttemptOpened | AttemptClosed
