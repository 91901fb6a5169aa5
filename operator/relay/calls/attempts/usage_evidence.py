"""Says on what evidence the tokens of an ended attempt stand, and which they are, as they are booked.

What a provider reported counts if it can be true and is of the whole answer. Of an answer that was broken off, input is booked in full,
since it was read, and output as far as it came. What was never sent used nothing, and so did what was answered with a status from 300 on,
whatever stands in its body: providers do not bill it. An error under 200 counts by the usage that comes with it, and as nothing without
one. What may have been processed and said nothing is unknown, and not zero.
"""

from typing import Final

from relay.accounting.token_estimates import CallEstimate
from relay.accounting.usage_event import Outcome
from relay.calls.attempts.answer import Answer
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import HIDDEN_INPUT_TOKENS, Tokens
from relay.dialect.usage.anthropic_usage import every_iteration
from relay.dialect.usage.billed_usage import BilledUsage
from relay.dialect.usage.openai_usage import openai_usage
from relay_contract.billing.attempt_event import Doubt, UsageSource
from relay_contract.billing.token_buckets import MAX_UNITS

_MOST_EXPECTED: Final = 10_000_000
"""Of output: what a caller writes is no evidence of more."""
Evidence = tuple[UsageSource, BilledUsage | bytes | None, Doubt | None]
"""The source; the usage, None where the source has no tokens, and a report (relay.dialect.usage.billed_usage.labels_of) of an answer that is
like most; and why the provider's own numbers were not taken. A tuple, since compiled it is returned without an object."""


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
        return "none", None, None
    if answer is not None and answer.report:
        # nothing in it is in doubt
        return "provider", answer.report, None
    doubt: Doubt | None = None
    reported = answer.reported_usage if answer is not None else None
    if answer is not None and reported is not None:
        reading = openai_usage(reported, endpoint)
        if reading is None or isinstance(reading, str):
            doubt = reading
        elif unreadable:
            doubt = "range"
        else:
            whole = answer.stream is None or answer.stream.whole
            return "provider" if whole else "partial", reading, None
    source = _source(answer, outcome, has_begun=has_begun, client_gone=client_gone)
    if source == "none":
        return "none", None, None
    told = reported if doubt == "models" and not unreadable else None
    used = _estimated(answer, tokens, told) if source != "unknown" else None
    return ("unknown", None, doubt) if used is None else (source, used, doubt)


def _estimated(answer: Answer | None, tokens: Tokens | None, told: object) -> BilledUsage | None:
    """Returns an estimate of what was used, None where nothing can be estimated.

    told is the usage of an answer of several models, whose tokens are then those of all of them, and None for any other.
    """
    together = every_iteration(told)
    if together is not None or tokens is None:
        return together
    return BilledUsage(
        input=tokens.input,
        output=tokens.output,
        web_search=min(answer.searches, MAX_UNITS) if answer is not None else 0,
        cache_reported=False,
    )


def expected_tokens(estimate: CallEstimate) -> tuple[int, int]:
    """Returns the most that a call is expected to use: its input, and the output as its caller bounds it, or else as the model's answers usually have.

    So much is reserved of the tenant's money, and held of an attempt of which nobody knows what it used.
    """
    bound = estimate.bound.tokens
    output = estimate.output_tokens if bound is None else bound
    return min(estimate.input_tokens, HIDDEN_INPUT_TOKENS), min(output, _MOST_EXPECTED)


def expected_usage(estimate: CallEstimate) -> BilledUsage:
    """Returns it as usage."""
    expected = expected_tokens(estimate)
    return BilledUsage(input=expected[0], output=expected[1])


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
