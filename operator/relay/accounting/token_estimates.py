"""Estimates of a call's tokens, learned per model from earlier calls: holds need a number before there is one."""

from typing import Final

from relay.dialect.reported_usage import Tokens

BYTES_PER_TOKEN: Final = 4
"""A rough rule for English text and JSON; used where no provider reported, and flagged."""
MEMORY_CALLS: Final = 50
"""Weight of history against one new call."""
COLD_OUTPUT_TOKENS: Final = 1024
"""Held for a call whose model has not answered yet and whose caller set no bound; a model's own maximum would throttle
everyone at once."""
QUANTILE: Final = 0.9
MARGIN: Final = 1.2


class _ModelHistory:
    __slots__ = ("output_quantile", "tokens_per_byte")

    def __init__(self) -> None:
        self.tokens_per_byte = 1 / BYTES_PER_TOKEN
        self.output_quantile = COLD_OUTPUT_TOKENS / MARGIN


class TokenEstimator:
    """Per model the tokens that a byte of a body makes, and the 90th percentile of output tokens."""

    __slots__ = ("_models",)

    def __init__(self) -> None:
        self._models: dict[str, _ModelHistory] = {}

    def input_tokens(self, model: str, body_bytes: int) -> int:
        """Estimates the tokens of a body; at least 1."""
        history = self._models.get(model)
        rate = history.tokens_per_byte if history is not None else 1 / BYTES_PER_TOKEN
        return int(body_bytes * rate) + 1

    def output_tokens(self, model: str, asked: int | None) -> int:
        """Estimates the tokens of an answer; never above the caller's own bound."""
        history = self._models.get(model)
        usual = COLD_OUTPUT_TOKENS if history is None else int(MARGIN * history.output_quantile) + 1
        return min(asked, usual) if asked is not None else usual

    def learn(self, model: str, *, body_bytes: int, tokens: Tokens) -> None:
        """Learns from a call of this model, which used so many tokens; model is from a bounded set."""
        history = self._models.get(model)
        if history is None:
            history = self._models[model] = _ModelHistory()
        if body_bytes > 0 and tokens.input > 0:
            history.tokens_per_byte += (
                tokens.input / body_bytes - history.tokens_per_byte
            ) / MEMORY_CALLS
        # stochastic quantile: steps up are rarer than steps down by the odds of the quantile
        step = max(1.0, history.output_quantile) / MEMORY_CALLS * 2
        above = tokens.output > history.output_quantile
        history.output_quantile += step * (QUANTILE if above else QUANTILE - 1)
