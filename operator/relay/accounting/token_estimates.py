"""Estimates of a call's tokens, learned per model from earlier calls: holds need a number before there is one."""

from typing import Final

from relay.dialect.reported_usage import Tokens
from relay.dialect.request_body import OutputBound

BYTES_PER_TOKEN: Final = 4
"""A rough rule for English text and JSON; used where no provider reported, and flagged."""
MOST_BYTES_PER_TOKEN: Final = 128
"""No tokeniser in use has a longer token; the longest are runs of blanks. What it makes of a body is certain."""
MOST_TOKENS_PER_BYTE: Final = 1.0
"""A call whose input is more than its bytes names what it does not hold, such as a stored conversation: the next call's
bytes are none the heavier for it."""
ATTACHMENT_TOKENS: Final = 1500
"""Held for each image, recording or file of a model that has taken none yet: a large image at the usual prices."""
MEMORY_CALLS: Final = 50
"""Weight of history against one new call."""
COLD_OUTPUT_TOKENS: Final = 1024
"""Held for a call whose model has not answered yet and whose caller set no bound; a model's own maximum would throttle
everyone at once."""
MOST_OUTPUT_TOKENS: Final = 131_072
"""The most that is booked for a choice nobody counted and nobody bounded; no larger answers are known."""
QUANTILE: Final = 0.9
MARGIN: Final = 1.2


class CallEstimate:
    """What a call will probably use, and what that was made from. A value: it does not change.

    least_tokens is certain: what its text makes at least, and as much of the caller's own bound as is expected to be used.
    text_bytes and attachments are the body's, bound is the caller's.
    """

    __slots__ = (
        "attachments",
        "bound",
        "input_tokens",
        "least_tokens",
        "output_tokens",
        "text_bytes",
    )

    def __init__(
        self,
        *,
        text_bytes: int,
        attachments: int,
        bound: OutputBound,
        input_tokens: int,
        output_tokens: int,
    ) -> None:
        self.text_bytes = text_bytes
        self.attachments = attachments
        self.bound = bound
        self.input_tokens = input_tokens
        self.output_tokens = output_tokens
        certain = output_tokens if bound.tokens is not None else 0
        self.least_tokens = text_bytes // MOST_BYTES_PER_TOKEN + certain

    def bounded_output(self, tokens: int, *, is_bound_known: bool = True) -> int:
        """Returns the tokens of an answer that nobody counted, as far as the call can have got so many.

        With is_bound_known false the provider was not told the caller's own bound.
        """
        bound = self.bound
        # 0 is that of an endpoint without output, and nobody's word
        if bound.tokens is not None and (is_bound_known or not bound.tokens):
            return min(tokens, bound.tokens)
        return min(tokens, MOST_OUTPUT_TOKENS * bound.choices)


class _ModelHistory:
    """What calls of one model used; outputs are of one choice."""

    __slots__ = (
        "attachment_calls",
        "attachment_tokens",
        "output_quantile",
        "tokens_per_byte",
    )

    def __init__(self) -> None:
        self.tokens_per_byte = 1 / BYTES_PER_TOKEN
        self.attachment_calls = 0
        self.attachment_tokens = float(ATTACHMENT_TOKENS)
        self.output_quantile = COLD_OUTPUT_TOKENS / MARGIN


class TokenEstimator:
    """Per model the tokens that a byte of text and an attachment make, and the 90th percentile of a choice's tokens."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[str, _ModelHistory] = {}

    def estimate(
        self, model: str, *, text_bytes: int, attachments: int, bound: OutputBound
    ) -> CallEstimate:
        """Estimates a call: its input is at least 1 token, its output never above the caller's own bound."""
        history = self._models.get(model)
        if history is None:
            input_tokens = text_bytes // BYTES_PER_TOKEN + 1
            usual = COLD_OUTPUT_TOKENS
            each = ATTACHMENT_TOKENS
        else:
            input_tokens = int(text_bytes * history.tokens_per_byte) + 1
            usual = int(MARGIN * history.output_quantile) + 1
            each = int(history.attachment_tokens)
        usual *= bound.choices
        return CallEstimate(
            text_bytes=text_bytes,
            attachments=attachments,
            bound=bound,
            input_tokens=input_tokens + attachments * each,
            output_tokens=usual if bound.tokens is None else min(bound.tokens, usual),
        )

    def learn(self, model: str, call: CallEstimate, tokens: Tokens) -> None:
        """Learns from a call of this model, which used so many tokens; model is from a bounded set."""
        history = self._models.get(model)
        if history is None:
            history = self._models[model] = _ModelHistory()
        _learn_input(history, call, tokens.input)
        if call.bound.tokens != 0:
            _learn_output(history, tokens.output / call.bound.choices)


def _learn_input(history: _ModelHistory, call: CallEstimate, tokens: int) -> None:
    if tokens <= 0:
        return
    if call.attachments:
        rest = max(0.0, tokens - call.text_bytes * history.tokens_per_byte)
        each = rest / call.attachments
        history.attachment_calls = min(history.attachment_calls + 1, MEMORY_CALLS)
        history.attachment_tokens += (each - history.attachment_tokens) / history.attachment_calls
    elif call.text_bytes > 0:
        rate = min(tokens / call.text_bytes, MOST_TOKENS_PER_BYTE)
        history.tokens_per_byte += (rate - history.tokens_per_byte) / MEMORY_CALLS


def _learn_output(history: _ModelHistory, tokens: float) -> None:
    # stochastic quantile: steps up are rarer than steps down by the odds of the quantile
    step = max(1.0, history.output_quantile) / MEMORY_CALLS * 2
    above = tokens > history.output_quantile
    history.output_quantile += step * (QUANTILE if above else QUANTILE - 1)
