"""How relays count shadow copies: the pairs that they compare and the outcomes, each of which is a label's value."""

from typing import Final, Literal, get_args

ShadowPair = Literal["canary", "stable"]
"""What is compared with the answer that the caller got: the canary's, or stable's own to the same call asked again. The
second is how much two answers differ that come from one side."""
PAIRS: Final[tuple[ShadowPair, ...]] = get_args(ShadowPair)

ComparedOutcome = Literal[
    "match",
    "status",
    "empty",
    "invalid_json",
    "tool_calls",
    "finish_reason",
    "shape",
    "tokens",
    "slower",
]
"""Both sides answered: no difference that counts, or the first of these. Another status; nothing in the answer where the
caller got something; text that is no JSON though the call asked for JSON, or arguments of a tool call that are none; other
tool calls by name and names of arguments; another reason to stop; other fields in the document; input tokens more than 5 %
off; more than twice the time."""
FailedOutcome = Literal[
    "failed", "unreachable", "timeout", "truncated", "invalid", "throttled", "no_key"
]
"""The copy failed, as an attempt for a caller would have."""
UncomparedOutcome = Literal[
    "not_comparable",
    "skipped_budget",
    "skipped_size",
    "skipped_state",
    "skipped_model",
    "skipped_slice",
]
"""There is nothing to compare: the caller's own answer was none, or no copy was made. Too many were under way, the call was
too large, it stores or continues something at its provider or has it run tools, the canary lacks its model, the provider's
quota was used up."""
ShadowOutcome = ComparedOutcome | FailedOutcome | UncomparedOutcome

COMPARED: Final[tuple[ComparedOutcome, ...]] = get_args(ComparedOutcome)
FAILED: Final[tuple[FailedOutcome, ...]] = get_args(FailedOutcome)
UNCOMPARED: Final[tuple[UncomparedOutcome, ...]] = get_args(UncomparedOutcome)
OUTCOMES: Final[tuple[ShadowOutcome, ...]] = (*COMPARED, *FAILED, *UNCOMPARED)
