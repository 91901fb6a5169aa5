"""Says on what evidence the tokens of an ended attempt stand, and which they are, as they are booked.

What a provider reported counts if it can be true and is of the whole answer. Of an answer that was broken off, input is booked in full,
since it was read, and output as far as it came. What was never sent used nothing, and so did what was answered with a status from 300 on,
whatever stands in its body: providers do not bill it. An error under 200 counts by the usage that comes with it, and as nothing without
one. What may have been processed and said nothing is unknown, and not zero.
"""

from typing import Final

from relay.accounting.usage_event import Outcome
from relay.calls.attempts.answer import Answer
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.dialect.usage.billed_usage import BilledUsage
from relay.dialect.usage.openai_usage import openai_usage
from relay_contract.billing.attempt_event import Doubt, UsageSource


class Evidence:
    """usage is None where the source has no tokens. doubt says why the provider's own numbers were not taken."""

    __slots__ = ("doubt", "source", "usage")

    def __init__(
        self, source: UsageSource, usage: BilledUsage | None = None, doubt: Doubt | None = None
    ) -> None:
        self.source = source
        self.usage = usage
        self.doubt = doubt


_NONE: Final = Evidence("none")
_UNKNOWN: Final = Evidence("unknown")


def usage_evidence(
    answer: Answer | None,
    *,
    endpoint: Endpoint,
    outcome: Outcome,
    was_sent: bool,
    has_begun: bool,
    client_gone: bool,
    unreadable: bool,
    tokens: Tokens | None,
) -> Evidence:
    """Judges an attempt that has ended.

    has_begun says that something of the answer proper has come, unreadable that the reported usage cannot be true of this
    call; tokens are those reported or else estimated, None where nothing can be estimated.
    """
    if not was_sent:
        return _NONE
    doubt: Doubt | None = None
    if answer is not None and answer.reported_usage is not None:
        reading = openai_usage(answer.reported_usage, endpoint)
        if isinstance(reading, BilledUsage):
            if not unreadable:
                whole = answer.stream is None or answer.stream.whole
                return Evidence("provider" if whole else "partial", reading)
            doubt = "range"
        else:
            doubt = reading
    source = _source(answer, outcome, has_begun=has_begun, client_gone=client_gone)
    if source == "none":
        return _NONE
    if source == "unknown" or tokens is None:
        return _UNKNOWN if doubt is None else Evidence("unknown", None, doubt)
    estimated = BilledUsage(input=tokens.input, output=tokens.output, cache_reported=False)
    return Evidence(source, estimated, doubt)


def _source(
    answer: Answer | None, outcome: Outcome, *, has_begun: bool, client_gone: bool
) -> UsageSource:
    """Returns the source where the provider reported nothing that counts."""
    if answer is None:
        return "partial" if client_gone else "unknown"
    if answer.status >= 300 or (answer.error is not None and not has_begun):
        return "none"
    if answer.unusable:
        return "none" if answer.error is not None else "unknown"
    if outcome == "ok":
        return "estimated"
    if client_gone or has_begun:
        return "partial"
    return "unknown"
