"""Reckons what calls cost the tenant, in pico-USD: micro-USD per million tokens are pico-USD per token."""

from typing import Final, final

from relay_contract.spending import Rate

PICOS_PER_MICRO: Final = 1_000_000


@final
class RateCard:
    """The rates of a document by model."""

    __slots__ = ("_by_model",)

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self._by_model: dict[str, list[Rate]] = {}
        for rate in rates:
            self._by_model.setdefault(rate.model, []).append(rate)

    def cost(
        self,
        provider: str,
        model: str,
        asked_model: str,
        at: int,
        *,
        input_tokens: int,
        cached_tokens: int,
        output_tokens: int,
    ) -> int:
        """Returns what a call costs that is sent at that time, microseconds since 1970; -1 without a price.

        model is the provider's name of it; where no rate has it, the caller's counts.
        """
        rate = self._rate(provider, model, asked_model, at, input_tokens)
        if rate is None:
            return -1
        return (
            (input_tokens - cached_tokens) * rate.input
            + cached_tokens * rate.cached
            + output_tokens * rate.output
            + rate.call * PICOS_PER_MICRO
        )

    def _rate(
        self, provider: str, model: str, asked_model: str, at: int, input_tokens: int
    ) -> Rate | None:
        rates = self._by_model.get(model.strip().lower())
        if rates is None:
            rates = self._by_model.get(asked_model.strip().lower())
        if rates is None:
            return None
        named = [rate for rate in rates if rate.provider == provider]
        best: Rate | None = None
        for rate in named or rates:
            if rate.provider is not None and rate.provider != provider:
                continue
            if rate.starts_at > at or (rate.ends_at is not None and at >= rate.ends_at):
                continue
            above = rate.above_input_tokens
            if above and input_tokens <= above:
                continue
            if best is None or above > best.above_input_tokens:
                best = rate
        return best
