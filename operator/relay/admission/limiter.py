"""Rate limits: requests by GCRA, tokens by hold-and-charge. docs/limits.md explains both and lists the properties kept.

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

A call whose estimate exceeds the bucket is admitted when the bucket is full and no hold is open, and leaves debt. A call
that uses more than a whole minute of the limit for certain is refused for good (*_REQUEST_TOO_LARGE), as the OpenAI API
does; an estimate alone never refuses for good.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.token_buckets import ROUNDING, Hold, RateLimit, local_grant
from relay_contract.document import ApiKey, Limits, ProviderLimits

QUOTA_BURST_SECONDS: Final = 10.0
"""Providers meter by the minute: 10 s of a quota at once keeps its worst minute at 1.17 of the quota."""
ANY_MODEL: Final = ""
"""The key for models without limits of their own."""


class RateView:
    """Rest of the limits, as callers are told it; None is unlimited.

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
class Scope:
    """The reasons of the limits on one kind of thing."""

    requests: NotAdmittedReason
    tokens: NotAdmittedReason


TENANT: Final = Scope(NotAdmittedReason.TENANT_REQUESTS, NotAdmittedReason.TENANT_TOKENS)
MODEL: Final = Scope(NotAdmittedReason.MODEL_REQUESTS, NotAdmittedReason.MODEL_TOKENS)
KEY: Final = Scope(NotAdmittedReason.KEY_REQUESTS, NotAdmittedReason.KEY_TOKENS)
PROVIDER: Final = Scope(NotAdmittedReason.PROVIDER_REQUESTS, NotAdmittedReason.PROVIDER_TOKENS)
_TOO_LARGE: Final = {
    NotAdmittedReason.TENANT_TOKENS: NotAdmittedReason.TENANT_REQUEST_TOO_LARGE,
    NotAdmittedReason.MODEL_TOKENS: NotAdmittedReason.MODEL_REQUEST_TOO_LARGE,
    NotAdmittedReason.KEY_TOKENS: NotAdmittedReason.KEY_REQUEST_TOO_LARGE,
    NotAdmittedReason.PROVIDER_TOKENS: NotAdmittedReason.PROVIDER_REQUEST_TOO_LARGE,
}


@dataclass(frozen=True, slots=True)
class BucketSet:
    """The buckets that a call has to pass: it is charged by all of them or by none."""

    requests: tuple[RateLimit, ...] = ()
    tokens: tuple[RateLimit, ...] = ()

    def admit(
        self, *, input_tokens: int, output_tokens: int, least_tokens: int, now: float
    ) -> Hold | NotAdmitted:
        """Charges every bucket and returns the hold, or returns the refusal with the longest wait.

        Estimates count up to a minute of the least limit: a wrong one keeps other calls away, and not for hours.
        """
        for bucket in self.tokens:
            if least_tokens > bucket.per_minute:
                return NotAdmitted(_TOO_LARGE[bucket.reason], 0.0, waiting_helps=False)
            input_tokens = min(input_tokens, bucket.per_minute)
            output_tokens = min(output_tokens, bucket.per_minute - input_tokens)
        refusal = self._refusal(input_tokens + output_tokens, now)
        if refusal is not None:
            return refusal
        for bucket in self.requests:
            bucket.charge(1, now)
        return Hold(
            buckets=self.tokens, input_tokens=input_tokens, output_tokens=output_tokens, now=now
        )

    def _refusal(self, tokens: int, now: float) -> NotAdmitted | None:
        longest = 0.0
        slowest: RateLimit | None = None
        for bucket in self.requests:
            wait = bucket.wait_seconds(1, now)
            if wait > longest:
                longest, slowest = wait, bucket
        for bucket in self.tokens:
            wait = bucket.wait_seconds(tokens, now)
            if wait > longest:
                longest, slowest = wait, bucket
        return None if slowest is None else NotAdmitted(slowest.reason, longest)

    def beside(self, other: "BucketSet") -> "BucketSet":
        """Returns the buckets of both."""
        return BucketSet(self.requests + other.requests, self.tokens + other.tokens)

    def view(self, now: float) -> RateView:
        """Returns what is left in the scarcest bucket of each kind."""
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
    """Returns the bucket with the least left, the first of several."""
    scarcest: RateLimit | None = None
    least = 0.0
    for bucket in buckets:
        available = bucket.available(now)
        if scarcest is None or available < least:
            scarcest, least = bucket, available
    return scarcest


def _left(bucket: RateLimit, now: float) -> int:
    """Returns what is left as a whole number, never below 0."""
    return max(0, int(bucket.available(now) + ROUNDING * bucket.burst))


class Buckets:
    """Every bucket by what it limits, kept over reconfigurations together with its holds and debts."""

    __slots__ = ("_burst_seconds", "_current", "_former", "_now", "_share")

    def __init__(
        self,
        former: "Buckets | None",
        *,
        share: float,
        burst_seconds: float,
        now: float,
    ) -> None:
        self._former = former._current if former else {}
        self._current: dict[tuple[NotAdmittedReason, str], RateLimit] = {}
        self._share = share
        self._burst_seconds = burst_seconds
        self._now = now

    def bucket_set(
        self, scope: Scope, name: str, *, requests: int | None, tokens: int | None
    ) -> BucketSet:
        """Makes the buckets of one tenant, model, key or provider; None is unlimited."""
        return BucketSet(
            self._bucket(scope.requests, name, requests), self._bucket(scope.tokens, name, tokens)
        )

    def _bucket(
        self, reason: NotAdmittedReason, name: str, per_minute: int | None
    ) -> tuple[RateLimit, ...]:
        if per_minute is None:
            return ()
        grant = local_grant(per_minute, share=self._share, burst_seconds=self._burst_seconds)
        bucket = self._former.get((reason, name))
        if bucket is None:
            bucket = RateLimit(reason, grant, now=self._now)
        else:
            bucket.retune(grant, now=self._now)
        self._current[reason, name] = bucket
        return (bucket,)


class Limiter:
    """One set of limits with those of its models and API keys, as far as this process holds them.

    scope says whose limits these are: a tenant's, or a provider's quota as far as the tenant may use it.
    """

    __slots__ = ("_buckets", "_keys", "_models", "_scope")

    def __init__(
        self,
        limits: Limits,
        *,
        share: float,
        now: float,
        keys: Iterable[ApiKey] = (),
        scope: Scope = TENANT,
    ) -> None:
        self._scope = scope
        self._buckets: Buckets | None = None
        self.reconfigure(limits, share=share, now=now, keys=keys)

    def admit(
        self,
        *,
        input_tokens: int,
        output_tokens: int,
        now: float,
        least_tokens: int | None = None,
        key: str = "",
        model: str = ANY_MODEL,
    ) -> Hold | NotAdmitted:
        """Charges one request and the input, and holds the output, in every bucket or in none.

        Both are estimates (of the body's size; max_tokens, or a quantile of what such calls used). least_tokens is what the
        call uses for certain, all of the estimate where nothing is said. A refusal names the limit with the longest wait,
        or the one that the call exceeds for certain however long it waits.
        """
        return self._bucket_set(key, model).admit(
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            least_tokens=input_tokens + output_tokens if least_tokens is None else least_tokens,
            now=now,
        )

    def is_refilling(self, *, now: float) -> bool:
        """Returns whether a bucket of all calls is not full: so for as much of the time as of the rate is used."""
        common = self._models[ANY_MODEL]
        return any(bucket.tat > now for bucket in common.requests + common.tokens)

    def view(self, *, now: float, key: str = "", model: str = ANY_MODEL) -> RateView:
        """Returns what is left for calls of this model with this key."""
        return self._bucket_set(key, model).view(now)

    def _bucket_set(self, key: str, model: str) -> BucketSet:
        models = self._keys.get(key, self._models) if self._keys else self._models
        buckets = models.get(model)
        return models[ANY_MODEL] if buckets is None else buckets

    def reconfigure(
        self, limits: Limits, *, share: float, now: float, keys: Iterable[ApiKey] = ()
    ) -> None:
        """Applies new limits; what was spent, owed and held stays so.

        share is the fraction of the limits that this process holds, above 0 and at most 1.
        """
        buckets = Buckets(self._buckets, share=share, burst_seconds=limits.burst_seconds, now=now)
        common = buckets.bucket_set(
            self._scope, "", requests=limits.requests_per_minute, tokens=limits.tokens_per_minute
        )
        self._models = {ANY_MODEL: common}
        for model in limits.models:
            own = buckets.bucket_set(
                MODEL,
                model.name,
                requests=model.requests_per_minute,
                tokens=model.tokens_per_minute,
            )
            self._models[model.name] = common.beside(own)
        self._keys: dict[str, dict[str, BucketSet]] = {}
        for key in keys:
            if key.requests_per_minute is None and key.tokens_per_minute is None:
                continue
            own = buckets.bucket_set(
                KEY, key.name, requests=key.requests_per_minute, tokens=key.tokens_per_minute
            )
            self._keys[key.name] = {name: found.beside(own) for name, found in self._models.items()}
        self._buckets = buckets


def quota_limits(quota: ProviderLimits) -> Limits:
    """Returns a provider's quota as limits, with the burst that keeps its worst minute."""
    return Limits(
        requests_per_minute=quota.requests_per_minute,
        tokens_per_minute=quota.tokens_per_minute,
        burst_seconds=QUOTA_BURST_SECONDS,
    )
