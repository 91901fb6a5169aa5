"""Rates: requests by GCRA, tokens by hold-and-charge, for a tenant, its models and its slice of a provider.

Everything here is pure: the clock is an argument (monotonic seconds) and no call blocks.

A limit of L a minute, of which this process holds `share`, is one bucket that refills at r = L * share / 60 a second
and holds at most B = r * burst_seconds (at least one). In any window of W seconds it admits at most B + r * W, so a
limit with the default burst of 10 s admits at most 1.17 L in its worst minute.

Tokens are not known before the answer is complete, so a call is charged its input at once, *holds* its estimated
output against the bucket, and is *charged* what it really used when that is known. Deducting an estimate and
refunding the rest would let a caller bank m reservations into an m-fold instant burst; a hold cannot be banked,
because estimates in flight together never exceed the level. What a call uses beyond its hold is charged all the same:
the level becomes debt, and new calls wait until it is repaid.

A call whose estimate exceeds the bucket is admitted when the bucket is full and no hold is open, and leaves debt; a
call whose estimate exceeds a whole minute of the limit is refused for good (`*_request_too_large`), as the OpenAI API
does.
"""

from dataclasses import dataclass
from typing import Final

from relay.config import Limits, ProviderLimits
from relay.refused import Refused as Refused

SECONDS_PER_MINUTE: Final = 60.0
PROVIDER_BURST_SECONDS: Final = 10.0
"""Providers meter by the minute: 10 s of a slice at once keeps its worst minute at 1.17 of the slice."""

_ROUNDING: Final = 1e-9
"""Float refills may fall an ulp short of a whole request or token; this fraction is forgiven."""


class RateLimit:
    """One GCRA bucket: a theoretical arrival time (tat) and the tokens held against it.

    The level at `now` is burst - (tat - now) * rate; it is never stored, so idle time costs nothing and cannot raise
    it above burst. A negative level is debt.
    """

    __slots__ = ("burst", "held", "per_minute", "rate", "reason", "tat")

    def __init__(
        self, reason: str, *, per_minute: int, share: float, burst_seconds: float, now: float
    ) -> None:
        self.reason = reason
        self.held = 0
        self.tat = now
        self._set(per_minute=per_minute, share=share, burst_seconds=burst_seconds)

    def _set(self, *, per_minute: int, share: float, burst_seconds: float) -> None:
        self.per_minute = per_minute
        self.rate = per_minute * share / SECONDS_PER_MINUTE
        self.burst = max(1.0, self.rate * burst_seconds)

    def level(self, now: float) -> float:
        """What is left before holds, at most burst; negative while in debt."""
        return self.burst - max(0.0, self.tat - now) * self.rate

    def wait_seconds(self, amount: int, now: float) -> float:
        """Seconds until `amount` fits if every open hold is charged in full; 0 when it fits now."""
        # an amount beyond the bucket needs it full and free of holds
        needed = min(amount, self.burst) + self.held
        missing = needed - self.level(now)
        return missing / self.rate if missing > _ROUNDING * self.burst else 0.0

    def charge(self, amount: int, now: float) -> None:
        """The level is lower by amount; a negative amount refunds, never above burst."""
        self.tat = max(self.tat, now) + amount / self.rate

    def retune(self, *, per_minute: int, share: float, burst_seconds: float, now: float) -> None:
        """The new figures are in force; what was spent, owed and held stays so.

        Spent burst beyond the new burst is forgiven, or a lowered limit would lock its tenant out; debt is not.
        """
        level = self.level(now)
        spent, debt = self.burst - max(0.0, level), max(0.0, -level)
        self._set(per_minute=per_minute, share=share, burst_seconds=burst_seconds)
        self.tat = now + (min(spent, self.burst) + debt) / self.rate


class Hold:
    """A call that was admitted: what it has been charged, and what it holds of the token buckets until settled."""

    __slots__ = ("buckets", "charged_tokens", "held_tokens", "key", "model", "settled")

    def __init__(
        self,
        key: str,
        model: str,
        *,
        buckets: tuple[RateLimit, ...],
        charged_tokens: int,
        held_tokens: int,
    ) -> None:
        self.key = key
        self.model = model
        self.buckets = buckets
        self.charged_tokens = charged_tokens
        self.held_tokens = held_tokens
        self.settled = False

    def progress(self, tokens: int, *, now: float) -> None:
        """A running stream has been charged the `tokens` (input and output) it used so far.

        Worth calling every few hundred tokens: what is charged refills while a long stream runs on, what is held
        does not.
        """
        grown = tokens - self.charged_tokens
        if not self.settled and grown > 0:
            self._charge(tokens, release=min(grown, self.held_tokens), now=now)

    def settle(self, tokens: int, *, now: float) -> None:
        """The call has been charged exactly `tokens` and holds nothing; only the first settlement counts."""
        if not self.settled:
            self.settled = True
            self._charge(tokens, release=self.held_tokens, now=now)

    def _charge(self, tokens: int, *, release: int, now: float) -> None:
        difference = tokens - self.charged_tokens
        for bucket in self.buckets:
            bucket.charge(difference, now)
            bucket.held -= release
        self.charged_tokens = tokens
        self.held_tokens -= release


@dataclass(frozen=True, slots=True)
class RateView:
    """What is left, for x-ratelimit-* headers and /v1/me; None is unlimited.

    limit_* are the configured figures a minute of the whole tenant; remaining_* what this process would admit now;
    reset_*_seconds the time until that is full again. Where tenant and model both limit, the scarcer one is shown.
    """

    limit_requests: int | None
    remaining_requests: int | None
    reset_requests_seconds: float | None
    limit_tokens: int | None
    remaining_tokens: int | None
    reset_tokens_seconds: float | None


@dataclass(frozen=True, slots=True)
class _Gate:
    """All buckets one call has to pass, all or none."""

    requests: tuple[RateLimit, ...] = ()
    tokens: tuple[RateLimit, ...] = ()

    def admit(
        self, *, key: str, model: str, input_tokens: int, output_tokens: int, now: float
    ) -> Hold | Refused:
        refusal = self._refusal(input_tokens + output_tokens, now)
        if refusal is not None:
            return refusal
        for bucket in self.requests:
            bucket.charge(1, now)
        for bucket in self.tokens:
            bucket.charge(input_tokens, now)
            bucket.held += output_tokens
        return Hold(
            key, model, buckets=self.tokens, charged_tokens=input_tokens, held_tokens=output_tokens
        )

    def _refusal(self, tokens: int, now: float) -> Refused | None:
        for bucket in self.tokens:
            if tokens > bucket.per_minute:
                return Refused(f"{bucket.reason}_request_too_large", 0.0, waiting_helps=False)
        longest, reason = 0.0, ""
        for buckets, amount in ((self.requests, 1), (self.tokens, tokens)):
            for bucket in buckets:
                wait = bucket.wait_seconds(amount, now)
                if wait > longest:
                    longest, reason = wait, bucket.reason
        return Refused(reason, longest) if reason else None

    def view(self, now: float) -> RateView:
        return RateView(*_scarcest(self.requests, now), *_scarcest(self.tokens, now))


def _scarcest(
    buckets: tuple[RateLimit, ...], now: float
) -> tuple[int, int, float] | tuple[None, None, None]:
    if not buckets:
        return None, None, None
    scarcest = min(buckets, key=lambda bucket: bucket.level(now) - bucket.held)
    left = scarcest.level(now) - scarcest.held + _ROUNDING * scarcest.burst
    return scarcest.per_minute, max(0, int(left)), max(0.0, scarcest.tat - now)


class _Buckets:
    """Every bucket by what it limits, kept over reconfigurations so that holds and debts stay theirs."""

    __slots__ = ("_burst_seconds", "_current", "_former", "_now", "_share")

    def __init__(
        self,
        former: "_Buckets | None",
        *,
        share: float,
        burst_seconds: float,
        now: float,
    ) -> None:
        self._former = former._current if former else {}
        self._current: dict[tuple[str, str], RateLimit] = {}
        self._share = share
        self._burst_seconds = burst_seconds
        self._now = now

    def gate(self, noun: str, name: str, *, requests: int | None, tokens: int | None) -> _Gate:
        """The buckets of one tenant, model or provider; None is unlimited."""
        return _Gate(
            self._bucket(f"{noun}_requests", name, requests),
            self._bucket(f"{noun}_tokens", name, tokens),
        )

    def _bucket(self, reason: str, name: str, per_minute: int | None) -> tuple[RateLimit, ...]:
        if per_minute is None:
            return ()
        bucket = self._former.get((reason, name))
        if bucket is None:
            bucket = RateLimit(
                reason,
                per_minute=per_minute,
                share=self._share,
                burst_seconds=self._burst_seconds,
                now=self._now,
            )
        else:
            bucket.retune(
                per_minute=per_minute,
                share=self._share,
                burst_seconds=self._burst_seconds,
                now=self._now,
            )
        self._current[reason, name] = bucket
        return (bucket,)


class Limiter:
    """The tenant's limits and those of its models, as far as this process holds them."""

    __slots__ = ("_buckets", "_models", "_tenant")

    def __init__(self, limits: Limits, *, share: float, now: float) -> None:
        self._buckets: _Buckets | None = None
        self.reconfigure(limits, share=share, now=now)

    def admit(
        self, *, key: str, model: str, input_tokens: int, output_tokens: int, now: float
    ) -> Hold | Refused:
        """The call is charged one request and its input and holds its output everywhere, or nothing anywhere.

        output_tokens is an estimate (max_tokens, or a quantile of what such calls used). A refusal names the limit
        with the longest wait: tenant_requests, tenant_tokens, model_requests, model_tokens, or one of the token
        limits with _request_too_large. key is remembered in the hold; a document limits no key by itself.
        """
        return self._models.get(model, self._tenant).admit(
            key=key,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            now=now,
        )

    def settle(self, hold: Hold, *, tokens: int, now: float) -> None:
        """The call has been charged exactly `tokens` (input and output, as reported) and holds nothing more.

        Idempotent: only the first settlement counts. The request itself is never given back.
        """
        hold.settle(tokens, now=now)

    def view(self, *, model: str, now: float) -> RateView:
        """What this tenant has left for calls of this model."""
        return self._models.get(model, self._tenant).view(now)

    def reconfigure(self, limits: Limits, *, share: float, now: float) -> None:
        """The new figures are in force; what was spent, owed and held stays so.

        share is the fraction of the tenant's limits that this process holds, above 0 and at most 1.
        """
        buckets = _Buckets(self._buckets, share=share, burst_seconds=limits.burst_seconds, now=now)
        tenant = buckets.gate(
            "tenant",
            "",
            requests=limits.requests_per_minute,
            tokens=limits.tokens_per_minute,
        )
        self._models = {}
        for model in limits.models:
            own = buckets.gate(
                "model",
                model.name,
                requests=model.requests_per_minute,
                tokens=model.tokens_per_minute,
            )
            self._models[model.name] = _Gate(
                tenant.requests + own.requests, tenant.tokens + own.tokens
            )
        self._tenant = tenant
        self._buckets = buckets


class ProviderLimiter:
    """This tenant's slice of one provider's quota, as far as this process holds it.

    A refusal here is nobody's fault: the call waits retry_after_seconds and asks again.
    """

    __slots__ = ("_buckets", "_slice")

    def __init__(self, limits: ProviderLimits, *, share: float, now: float) -> None:
        self._buckets: _Buckets | None = None
        self.reconfigure(limits, share=share, now=now)

    def admit(
        self, *, input_tokens: int, output_tokens: int, now: float, key: str = "", model: str = ""
    ) -> Hold | Refused:
        """As Limiter.admit, for one attempt; the reasons are provider_requests and provider_tokens."""
        return self._slice.admit(
            key=key,
            model=model,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            now=now,
        )

    def settle(self, hold: Hold, *, tokens: int, now: float) -> None:
        """As Limiter.settle."""
        hold.settle(tokens, now=now)

    def view(self, *, now: float) -> RateView:
        """What is left of the slice."""
        return self._slice.view(now)

    def reconfigure(self, limits: ProviderLimits, *, share: float, now: float) -> None:
        """As Limiter.reconfigure."""
        buckets = _Buckets(
            self._buckets, share=share, burst_seconds=PROVIDER_BURST_SECONDS, now=now
        )
        self._slice = buckets.gate(
            "provider",
            "",
            requests=limits.requests_per_minute,
            tokens=limits.tokens_per_minute,
        )
        self._buckets = buckets
