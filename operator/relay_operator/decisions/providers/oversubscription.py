"""Tells whether a Provider's quota holds what the platform has promised the Tenants that use it, by their own limits."""

from collections.abc import Iterable
from dataclasses import dataclass

from relay_operator.api.provider import Limits
from relay_operator.api.tenant import Limits as TenantLimits

_RATES = (("requests", "requests_per_minute"), ("tokens", "tokens_per_minute"))


@dataclass(frozen=True, slots=True)
class Oversubscription:
    """Tells whether more is promised than there is, and the figures in words."""

    holds: bool
    message: str


def of_provider(limits: Limits, promised: Iterable[TenantLimits]) -> Oversubscription | None:
    """Adds up what Tenants may use by their own limits; None for a Provider without a quota.

    A Tenant without a limit is promised nothing: it gets its part by weight, whatever that is.
    """
    tenants = tuple(promised)
    figures: list[str] = []
    exceeded = False
    for noun, field in _RATES:
        quota = getattr(limits, field)
        if quota is None:
            continue
        own = [rate for one in tenants if (rate := getattr(one, field)) is not None]
        exceeded |= sum(own) > quota
        figures.append(
            f"{sum(own)} of {quota} {noun} a minute are promised to {len(own)} of {len(tenants)} Tenants that use it"
        )
    if not figures:
        return None
    consequence = (
        "; each gets its part by weight, which may be less than its limit: raise the quota or lower the limits of Tenants"
        if exceeded
        else ""
    )
    return Oversubscription(exceeded, "; ".join(figures) + consequence)
