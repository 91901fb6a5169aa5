"""Rates: requests by GCRA, tokens by hold-and-charge, for a tenant, its models and keys, and its slice of a provider.

Everything here is pure: the clock is an argument (monotonic seconds) and no call blocks.

A limit of L a minute, of which this process holds `share`, is one bucket that refills at r = L * share / 60 a second
and holds at most B = r * burst_seconds (at least one). In any window of W seconds it admits at most B + r * W, so a
limit with the default burst of 10 s admits at most 1.17 L in its worst minute.

Tokens are not known before the answer is complete, so a call is charged its input at once, *holds* its estimated
output against the bucket, and is *charged* what it really used when that is known. Deducting an estimate and
refunding the rest would let a caller bank m reservations into an m-fold instant burst. A hold cannot be banked: what is
charged never exceeds the level and what is refilled while the calls are under way, and input charged too much is given
back only as far as the bucket would be fuller now had it never been charged. What a call uses beyond its hold is
charged all the same: the level becomes debt, and new calls wait until it is repaid. In any window of W seconds a bucket
is charged at most B + r * (W + D) plus such overruns, D being how long calls usually last, at most a minute.

A call whose estimate exceeds the bucket is admitted when the bucket is full and no hold is open, and leaves debt; a
call whose estimate exceeds a whole minute of the limit is refused for good (`*_request_too_large`), as the OpenAI API
does.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay.admission.not_admitted import NotAdmitted as NotAdmitted
from relay.admission.token_buckets import ROUNDING, RateLimit
from relay.admission.token_buckets import Hold as Hold
from relay_contract.document import ApiKey, Limits, ProviderLimits

PROVIDER_BURST_SECONDS: Final = 10.0
"""Providers meter by the minute: 10 s of a slice at once keeps its worst minute at 1.17 of the slice."""
ANY_MODEL: Final = ""
"""Stands for models without limits of their own."""


class RateView:
    """What is left, for x-ratelimit-* headers and /v1/me; None is unlimited.

    limit_* are the configured figures a minute of the whole tenant; remaining_* what this process would admit now;
    reset_*_seconds the time until that is full again. Where several limit, the scarcest one is shown.
    """

    __slots__ = (
        "limit_requests",
        "limit_tokens",
        "remaining_requests",
        "remaining_tokens",
        "reset_requests_seconds",
        "reset_tokens_seconds",
    )

    def __init__(
        self,
        limit_requests: int | None = None,
        remaining_requests: int | None = None,
        reset_requests_seconds: float | None = None,
        limit_tokens: int | None = None,
        remaining_tokens: int | None = None,
        reset_tokens_seconds: float | None = None,
    ) -> None:
        self.limit_requests = limit_requests
        self.remaining_requests = remaining_requests
        self.reset_requests_seconds = reset_requests_seconds
        self.limit_tokens = limit_tokens
        self.remaining_tokens = remaining_tokens
        self.reset_tokens_seconds = reset_tokens_seconds

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RateView) and self._figures() == other._figures()

    def __hash__(self) -> int:
        return hash(self._figures())

    def __repr__(self) -> str:
        return f"RateView{self._figures()}"

    def _figures(self) -> tuple[float | None, ...]:
        return (
            self.limit_requests,
            self.remaining_requests,
            self.reset_requests_seconds,
            self.limit_tokens,
            self.remaining_tokens,
            self.reset_tokens_seconds,
        )


@dataclass(frozen=True, slots=True)
class BucketSet:
    """All buckets one call has to pass, all or none."""

    requests: tuple[RateLimit, ...] = ()
    tokens: tuple[RateLimit, ...] = ()

    def admit(
        self, *, key: str, model: str, input_tokens: int, output_tokens: int, now: float
    ) -> Hold | NotAdmitted:
        refusal = self._refusal(input_tokens + output_tokens, now)
        if refusal is not None:
            return refusal
        for bucket in self.requests:
            bucket.charge(1, now)
        return Hold(
            key,
            model,
            buckets=self.tokens,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            now=now,
        )

    def _refusal(self, tokens: int, now: float) -> NotAdmitted | None:
        for bucket in self.tokens:
            if tokens > bucket.per_minute:
                return NotAdmitted(f"{bucket.reason}_request_too_large", 0.0, waiting_helps=False)
        longest, reason = 0.0, ""
        for bucket in self.requests:
            wait = bucket.wait_seconds(1, now)
            if wait > longest:
                longest, reason = wait, bucket.reason
        for bucket in self.tokens:
            wait = bucket.wait_seconds(tokens, now)
            if wait > longest:
                longest, reason = wait, bucket.reason
        return NotAdmitted(reason, longest) if reason else None

    def beside(self, other: "BucketSet") -> "BucketSet":
        """The buckets of both."""
        return BucketSet(self.requests + other.requests, self.tokens + other.tokens)

    def view(self, now: float) -> RateView:
        view = RateView()
        scarcest = _scarcest(self.requests, now)
        if scarcest is not None:
            view.limit_requests = scarcest.per_minute
            view.remaining_requests = _left(scarcest, now)
            view.reset_requests_seconds = max(0.0, scarcest.tat - now)
        scarcest = _scarcest(self.tokens, now)
        if scarcest is not None:
            view.limit_tokens = scarcest.per_minute
            view.remaining_tokens = _left(scarcest, now)
            view.reset_tokens_seconds = max(0.0, scarcest.tat - now)
        return view


def _scarcest(buckets: tuple[RateLimit, ...], now: float) -> RateLimit | None:
    """The first of those with the least left."""
    scarcest: RateLimit | None = None
    least = 0.0
    for bucket in buckets:
        available = bucket.available(now)
        if scarcest is None or available < least:
            scarcest, least = bucket, available
    return scarcest


def _left(bucket: RateLimit, now: float) -> int:
    return max(0, int(bucket.available(now) + ROUNDING * bucket.burst))


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

    def gate(self, noun: str, name: str, *, requests: int | None, tokens: int | None) -> BucketSet:
        """The buckets of one tenant, model or provider; None is unlimited."""
        return BucketSet(
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
    """The tenant's limits and those of its models and API keys, as far as this process holds them."""

    __slots__ = ("_buckets", "_keys", "_models")

    def __init__(
        self, limits: Limits, *, share: float, now: float, keys: Iterable[ApiKey] = ()
    ) -> None:
        self._buckets: _Buckets | None = None
        self.reconfigure(limits, share=share, now=now, keys=keys)

    def admit(
        self, *, key: str, model: str, input_tokens: int, output_tokens: int, now: float
    ) -> Hold | NotAdmitted:
        """The call is charged one request and its input and holds its output everywhere, or nothing anywhere.

        output_tokens is an estimate (max_tokens, or a quantile of what such calls used). A refusal names the limit
        with the longest wait: tenant_requests, tenant_tokens, model_requests, model_tokens, key_requests, key_tokens,
        or one of the token limits with _request_too_large.
        """
        return self._gate(key, model).admit(
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

    def view(self, *, model: str, now: float, key: str = "") -> RateView:
        """What is left for calls of this model with this key."""
        return self._gate(key, model).view(now)

    def _gate(self, key: str, model: str) -> BucketSet:
        models = self._keys.get(key, self._models) if self._keys else self._models
        gate = models.get(model)
        return models[ANY_MODEL] if gate is None else gate

    def reconfigure(
        self, limits: Limits, *, share: float, now: float, keys: Iterable[ApiKey] = ()
    ) -> None:
        """The new figures are in force; what was spent, owed and held stays so.

        share is the fraction of the tenant's limits that this process holds, above 0 and at most 1.
        """
        buckets = _Buckets(self._buckets, share=share, burst_seconds=limits.burst_seconds, now=now)
        tenant = buckets.gate(
            "tenant", "", requests=limits.requests_per_minute, tokens=limits.tokens_per_minute
        )
        self._models = {ANY_MODEL: tenant}
        for model in limits.models:
            own = buckets.gate(
                "model",
                model.name,
                requests=model.requests_per_minute,
                tokens=model.tokens_per_minute,
            )
            self._models[model.name] = tenant.beside(own)
        self._keys: dict[str, dict[str, BucketSet]] = {}
        for key in keys:
            if key.requests_per_minute is None and key.tokens_per_minute is None:
                continue
            own = buckets.gate(
                "key", key.name, requests=key.requests_per_minute, tokens=key.tokens_per_minute
            )
            self._keys[key.name] = {name: gate.beside(own) for name, gate in self._models.items()}
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
    ) -> Hold | NotAdmitted:
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
