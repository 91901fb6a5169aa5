"""Writes the record of how an attempt ended."""

from typing import Any, Final

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox import record_writing
from relay.outbox.record_format import CACHE_REPORTED, DELIVERED, DOUBTS, OUTCOMES, SOURCES
from relay_contract.billing.attempt_event import AttemptOutcome, Doubt, UsageSource

Name = str | bytes | None
"""A name that a caller or a provider has given, as text or in UTF-8; None without one."""
_OUTCOME_NUMBERS: Final = {name: number for number, name in enumerate(OUTCOMES)}
_SOURCE_NUMBERS: Final = {name: number for number, name in enumerate(SOURCES)}
_DOUBT_NUMBERS: Final = {name: number for number, name in enumerate(DOUBTS)}
# looked up once, since each attempt needs it
_write_closed: Final = record_writing.write_closed


class Closing:
    """Holds how an attempt ended, by the names that AttemptClosed has. usage is None where the source has no tokens."""

    __slots__ = (
        "answered_model",
        "delivered",
        "doubt",
        "elapsed",
        "outcome",
        "service_tier",
        "source",
        "status",
        "upstream_request_id",
        "usage",
    )

    def __init__(
        self,
        *,
        elapsed: int,
        outcome: AttemptOutcome,
        status: int,
        delivered: bool,
        source: UsageSource,
        usage: BilledUsage | None,
        doubt: Doubt | None,
        answered_model: Name,
        service_tier: Name,
        upstream_request_id: Name,
    ) -> None:
        self.elapsed = elapsed
        self.outcome = outcome
        self.status = status
        self.delivered = delivered
        self.source = source
        self.usage = usage
        self.doubt = doubt
        self.answered_model = answered_model
        self.service_tier = service_tier
        self.upstream_request_id = upstream_request_id


_NOTHING: Final = BilledUsage(input=0)


def write_closing(
    segment: Any, offset: int, end: int, *, names: int, opening: bytes, closing: Closing
) -> bytes:
    """Writes the record closed, where it fits (relay.outbox.record_writing_pure); returns its body."""
    usage = closing.usage or _NOTHING
    flags = _DOUBT_NUMBERS[closing.doubt]
    if closing.delivered:
        flags |= DELIVERED
    if usage.cache_reported:
        flags |= CACHE_REPORTED
    return _write_closed(
        segment,
        offset,
        end,
        names,
        opening,
        closing.elapsed,
        closing.status,
        _OUTCOME_NUMBERS[closing.outcome],
        _SOURCE_NUMBERS[closing.source],
        flags,
        usage.input,
        usage.cache_read,
        usage.cache_write,
        usage.cache_write_hour,
        usage.output,
        usage.reasoning,
        usage.audio_input,
        usage.audio_output,
        usage.web_search,
        usage.web_fetch,
        closing.answered_model,
        closing.service_tier,
        usage.region,
        closing.upstream_request_id,
    )
