"""Writes the record of how an attempt ended."""

from typing import Final

from mypy_extensions import mypyc_attr

from relay.dialect.usage.billed_usage import BilledUsage
from relay.outbox.record_format import ABANDONED, DELIVERED, DOUBTS, OUTCOMES, SOURCES
from relay.outbox.record_writing import Place
from relay_contract.billing.attempt_event import AttemptOutcome, Doubt, UsageSource

Name = str | bytes | None
"""A name that a caller or a provider has given, as text or in UTF-8; None without one."""
Told = tuple[BilledUsage | bytes | None, Name, Name]
"""Usage, model and service tier of an attempt, as its record tells them."""
_OUTCOME_NUMBERS: Final = {name: number for number, name in enumerate(OUTCOMES)}
_SOURCE_NUMBERS: Final = {name: number for number, name in enumerate(SOURCES)}
_DOUBT_NUMBERS: Final = {name: number for number, name in enumerate(DOUBTS)}


@mypyc_attr(acyclic=True, free_list_len=1)
class Closing:
    """Holds how an attempt ended, by the names that AttemptClosed has. usage is None where the source has no tokens, and may be packed
    or a report (relay.dialect.usage.billed_usage.labels_of): that has model and service tier itself. expected is the most that an attempt of unknown use was expected to use.
    """

    __slots__ = (
        "abandoned",
        "answered_model",
        "delivered",
        "doubt",
        "elapsed",
        "expected",
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
        usage: BilledUsage | bytes | None,
        doubt: Doubt | None,
        answered_model: Name,
        service_tier: Name,
        upstream_request_id: Name,
        expected: BilledUsage | None = None,
        abandoned: bool = False,
    ) -> None:
        self.abandoned = abandoned
        self.elapsed = elapsed
        self.expected = expected
        self.outcome = outcome
        self.status = status
        self.delivered = delivered
        self.source = source
        self.usage = usage
        self.doubt = doubt
        self.answered_model = answered_model
        self.service_tier = service_tier
        self.upstream_request_id = upstream_request_id


_NOTHING: Final = BilledUsage(input=0).packed()


def write_closing(place: Place, names: int, opening: bytes, closing: Closing) -> bool:
    """Writes the record closed; returns whether it fits there. names is the number of the attempt's names."""
    usage, counts, region = closing.usage, _NOTHING, None
    if isinstance(usage, bytes):
        counts = usage
    elif usage is not None:
        counts, region = usage.packed(), usage.region
    elif closing.expected is not None:
        # a source without tokens leaves the place of theirs
        counts = closing.expected.packed()
    flags = DELIVERED if closing.delivered else 0
    if closing.abandoned:
        flags |= ABANDONED
    if closing.doubt is not None:
        flags |= _DOUBT_NUMBERS[closing.doubt]
    return place.write_closed(
        names,
        opening,
        closing.elapsed,
        closing.status,
        _OUTCOME_NUMBERS[closing.outcome],
        _SOURCE_NUMBERS[closing.source],
        flags,
        counts,
        closing.answered_model,
        closing.service_tier,
        region,
        closing.upstream_request_id,
    )
