"""A quota is compared with what the limits of Tenants promise."""

from collections.abc import Iterable

from relay_operator.api.provider import Limits
from relay_operator.api.tenant import Limits as TenantLimits
from relay_operator.decisions.providers.oversubscription import (
    Oversubscription,
    Promised,
    of_provider,
)


def told(limits: Limits, tenants: Iterable[TenantLimits]) -> Oversubscription | None:
    """Returns what is told of these Tenants, and of one more that came and went."""
    promised = Promised().plus(TenantLimits(requests_per_minute=7, tokens_per_minute=7))
    for one in tenants:
        promised = promised.plus(one)
    return of_provider(
        limits, promised.minus(TenantLimits(requests_per_minute=7, tokens_per_minute=7))
    )


def test_limits_that_add_up_to_more_than_the_quota_are_told() -> None:
    quota = Limits(requests_per_minute=100, tokens_per_minute=1000)
    two = [TenantLimits(requests_per_minute=60, tokens_per_minute=500)] * 2
    found = told(quota, [*two, TenantLimits()])
    assert found is not None
    assert found.holds
    assert found.message.startswith(
        "120 of 100 requests a minute are promised to 2 of 3 Tenants that use it; "
        "1000 of 1000 tokens a minute are promised to 2 of 3 Tenants that use it; each gets"
    )


def test_limits_within_the_quota_and_tenants_without_any_are_no_promise_too_many() -> None:
    found = told(
        Limits(requests_per_minute=100), [TenantLimits(), TenantLimits(requests_per_minute=100)]
    )
    assert found is not None
    assert not found.holds
    assert (
        found.message == "100 of 100 requests a minute are promised to 1 of 2 Tenants that use it"
    )
    nobody = told(Limits(tokens_per_minute=5), [])
    assert nobody is not None
    assert not nobody.holds


def test_a_provider_without_a_quota_promises_nothing() -> None:
    assert told(Limits(), [TenantLimits(requests_per_minute=1)]) is None
