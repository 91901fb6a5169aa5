"""Tells whether a Provider's quota holds what the platform has promised the Tenants that use it, by their own limits."""

from dataclasses import dataclass
from typing import Self

from relay_operator.api.provider import Limits
from relay_operator.api.tenant import Limits as TenantLimits

_RATES = (("requests", "requests_per_minute"), ("tokens", "tokens_per_minute"))


@dataclass(frozen=True, slots=True)
class Promised:
    """Adds up what Tenants may use by their own limits: requests and tokens a minute, of how many Tenants each, and of how many at all."""

    rates: tuple[int, int] = (0, 0)
    limited: tuple[int, int] = (0, 0)
    tenants: int = 0

    def plus(self, limits: TenantLimits) -> Self:
        """Returns the sum with one Tenant more."""
        return self._with(limits, 1)

    def minus(self, limits: TenantLimits) -> Self:
        """Returns the sum without one Tenant that is in it."""
        return self._with(limits, -1)

    def _with(self, limits: TenantLimits, sign: int) -> Self:
        own = (limits.requests_per_minute, limits.tokens_per_minute)
        requests, tokens = (sign * (rate or 0) for rate in own)
        by_requests, by_tokens = (sign * (rate is not None) for rate in own)
        return type(self)(
            (self.rates[0] + requests, self.rates[1] + tokens),
            (self.limited[0] + by_requests, self.limited[1] + by_tokens),
            self.tenants + sign,
        )


@dataclass(frozen=True, slots=True)
class Oversubscription:
    """Tells whether more is promised than there is, and the figures in words."""

    holds: bool
    message: str


def of_provider(limits: Limits, promised: Promised) -> Oversubscription | None:
    """Compares with a quota what Tenants may use by their own limits; None for a Provider without a quota.

    A Tenant without a limit is promised nothing: it gets its part by weight, whatever that is.
    """
    figures: list[str] = []
    exceeded = False
    for (noun, field), rate, limited in zip(_RATES, promised.rates, promised.limited, strict=True):
        quota = getattr(limits, field)
        if quota is None:
            continue
        exceeded |= rate > quota
        figures.append(
            f"{rate} of {quota} {noun} a minute are promised to {limited} of {promised.tenants} Tenants that use it"
        )
    if not figures:
        return None
    consequence = (
        "; each gets its part by weight, which may be less than its limit: raise the quota or lower the limits of Tenants"
        if exceeded
        else ""
    )
    return Oversubscription(exceeded, "; ".join(figures) + consequence)
