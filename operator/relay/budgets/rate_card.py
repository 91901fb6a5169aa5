"""Reckons what calls cost the tenant, in pico-USD: micro-USD per million tokens are pico-USD per token."""

from collections.abc import Callable, Iterable
from typing import Final, final

from relay_contract.billing.service_tiers import STANDARD, normal_tier
from relay_contract.billing.token_buckets import BUCKETS, UNITS
from relay_contract.spending import Rate

PICOS_PER_MICRO: Final = 1_000_000
Counts = tuple[int, ...]
"""Tokens and pieces of a call, in the order of BUCKETS and then UNITS of relay_contract.billing.token_buckets."""
_INPUT: Final = tuple(
    BUCKETS.index(name)
    for name in ("input", "cache_read", "cache_write", "cache_write_hour", "tool_prompt")
)
_OUTPUT: Final = BUCKETS.index("output"), BUCKETS.index("reasoning")
_AUDIO_INPUT: Final = BUCKETS.index("audio_input")
_AUDIO_OUTPUT: Final = BUCKETS.index("audio_output")
_WEB_SEARCH: Final = len(BUCKETS) + UNITS.index("web_search")
_WEB_FETCH: Final = len(BUCKETS) + UNITS.index("web_fetch")
_ALL_INPUT: Final = (*_INPUT, _AUDIO_INPUT)
_ALL_OUTPUT: Final = (*_OUTPUT, _AUDIO_OUTPUT)
_DAY: Final = 86_400


def in_any_tier(_: str) -> bool:
    """Stands for a call that may be served in every service tier."""
    return True


@final
class _Line:
    """A rate with its prices in pico-USD, in the order of Counts; None has no price. read and written are the dearest of what a call
    without sound reads and writes, heard and spoken of any.
    """

    __slots__ = ("call", "heard", "prices", "rate", "read", "spoken", "tier", "written")

    def __init__(self, rate: Rate) -> None:
        self.rate: Final = rate
        self.tier: Final = rate.tier or STANDARD
        written = rate.input if rate.cache_write is None else rate.cache_write
        prices: dict[str, int | None] = {
            "input": rate.input,
            "cache_read": rate.cached,
            "cache_write": written,
            "cache_write_hour": written if rate.cache_write_hour is None else rate.cache_write_hour,
            "output": rate.output,
            "reasoning": rate.output if rate.reasoning is None else rate.reasoning,
            "audio_input": rate.audio_input,
            "audio_output": rate.audio_output,
            "tool_prompt": rate.input if rate.tool_prompt is None else rate.tool_prompt,
            "web_search": _pico(rate.web_search),
            "web_fetch": _pico(rate.web_fetch),
        }
        self.prices: Final = tuple(prices[name] for name in (*BUCKETS, *UNITS))
        self.call: Final = rate.call * PICOS_PER_MICRO
        self.read: Final = self._dearest(_INPUT)
        self.written: Final = self._dearest(_OUTPUT)
        self.heard: Final = self._dearest(_ALL_INPUT)
        self.spoken: Final = self._dearest(_ALL_OUTPUT)

    def cost(self, counts: Counts) -> int:
        """Returns what these tokens and pieces cost, -1 where one of them has no price."""
        cost = self.call
        for number, price in zip(counts, self.prices, strict=True):
            if number:
                if price is None:
                    return -1
                cost += number * price
        return cost

    def pieces(self, searches: int, fetches: int) -> int:
        """Returns what so many searches and fetched pages cost, -1 where one of them has no price."""
        search, fetch = self.prices[_WEB_SEARCH], self.prices[_WEB_FETCH]
        if (searches and search is None) or (fetches and fetch is None):
            return -1
        return searches * (search or 0) + fetches * (fetch or 0)

    def has_prices_of(self, input_tokens: int, output_tokens: int) -> bool:
        """Tells whether what any call reads and writes has a price, as far as there is any of it."""
        rate = self.rate
        return (rate.input is not None or not input_tokens) and (
            rate.output is not None or not output_tokens
        )

    def is_in_force(self, at: int) -> bool:
        rate = self.rate
        return rate.starts_at <= at and (rate.ends_at is None or at < rate.ends_at)

    def has_hour(self, at: int) -> bool:
        hours = self.rate.hours
        if hours is None:
            return True
        start, end = hours
        second = at // 1_000_000 % _DAY
        return start <= second < end if start < end else second >= start or second < end

    def _dearest(self, places: Iterable[int]) -> int:
        return max(self.prices[place] or 0 for place in places)


@final
class RateCard:
    """The rates of a document by model."""

    __slots__ = ("_by_model",)

    def __init__(self, rates: tuple[Rate, ...]) -> None:
        self._by_model: dict[str, list[_Line]] = {}
        for rate in rates:
            self._by_model.setdefault(rate.model, []).append(_Line(rate))

    def asks_for_service(self, provider: str, model: str, asked_model: str) -> bool:
        """Tells whether what a call asks for may change the price of its tokens: a tier other than the standard one, or sound."""
        return any(
            line.tier != STANDARD or (line.heard, line.spoken) != (line.read, line.written)
            for line in self._lines(provider, model, asked_model)
        )

    def cost(
        self,
        provider: str,
        model: str,
        asked_model: str,
        at: int,
        counts: Counts,
        *,
        tier: str | None = None,
        region: str | None = None,
    ) -> int:
        """Returns what a call costs that is sent at that time, microseconds since 1970, and served in that tier and region; -1 without a price.

        model is the provider's name of it; where no rate has it, the caller's counts. The ledger books the same (its prices/pricing.py).
        """
        served = normal_tier(tier)
        lines = [
            line
            for line in self._lines(provider, model, asked_model)
            if line.tier == served and line.is_in_force(at) and line.has_hour(at)
        ]
        regional = [line for line in lines if line.rate.region == region] if region else []
        read = sum(counts[place] for place in _ALL_INPUT)
        best = max(
            (
                line
                for line in regional or lines
                if (regional or not line.rate.region) and _fits(line, read)
            ),
            key=lambda line: (line.rate.above_input_tokens, line.rate.hours is not None),
            default=None,
        )
        return -1 if best is None else best.cost(counts)

    def most(
        self,
        provider: str,
        model: str,
        asked_model: str,
        at: int,
        *,
        input_tokens: int,
        output_tokens: int,
        may_be_served_in: Callable[[str], bool] = in_any_tier,
        sound: bool = True,
        searches: int = 0,
        fetches: int = 0,
    ) -> int:
        """Returns the most that a call can cost which is sent at that time: in whichever region, hour and tier that it
        may be served in, with all that it reads written into the provider's cache, and with so many searches of the web and fetched pages. -1 where the standard tier has no price for what calls of any region read or write, or for such a piece.
        """
        most = -1
        is_priced = False
        for line in self._lines(provider, model, asked_model):
            if not line.is_in_force(at) or not _fits(line, input_tokens):
                continue
            pieces = line.pieces(searches, fetches)
            if pieces < 0 or not line.has_prices_of(input_tokens, output_tokens):
                continue
            is_priced = is_priced or (line.tier == STANDARD and not line.rate.region)
            if not may_be_served_in(line.tier):
                continue
            read, written = (line.heard, line.spoken) if sound else (line.read, line.written)
            most = max(most, input_tokens * read + output_tokens * written + pieces + line.call)
        return most if is_priced else -1

    def _lines(self, provider: str, model: str, asked_model: str) -> list[_Line]:
        """Returns the rates that name the provider, or else those for all."""
        lines = self._by_model.get(model.strip().lower())
        if lines is None:
            lines = self._by_model.get(asked_model.strip().lower(), [])
        named = [line for line in lines if line.rate.provider == provider]
        return named or [line for line in lines if line.rate.provider is None]


def _fits(line: _Line, input_tokens: int) -> bool:
    above = line.rate.above_input_tokens
    return not above or input_tokens > above


def _pico(micro: int | None) -> int | None:
    return None if micro is None else micro * PICOS_PER_MICRO
