"""The status of a Provider, both ways, but for its conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """Base URL, None while the spec cannot be read, and the number of tenants with a route that names the provider.

    lending and borrowing are the numbers of those that lend of their part of the quota, and that have more than theirs.
    """

    url: str | None
    tenants: int
    lending: int = 0
    borrowing: int = 0


def to_status(status: ProviderStatus) -> dict[str, Any]:
    """Lays the status out as the custom resource has it. A field of None is removed."""
    return {
        "url": status.url,
        "tenants": status.tenants,
        "tenantsLending": status.lending or None,
        "tenantsBorrowing": status.borrowing or None,
    }


def from_status(status: Mapping[str, Any]) -> ProviderStatus | None:
    """Reads a status; None before the first one was written."""
    if "tenants" not in status:
        return None
    return ProviderStatus(
        url=status.get("url"),
        tenants=int(status["tenants"]),
        lending=int(status.get("tenantsLending") or 0),
        borrowing=int(status.get("tenantsBorrowing") or 0),
    )
