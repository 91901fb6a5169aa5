"""The status of a Provider, both ways, but for its conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderStatus:
    """Base URL, None while the spec cannot be read, and the number of tenants with a route that names the provider."""

    url: str | None
    tenants: int


def to_status(status: ProviderStatus) -> dict[str, Any]:
    """Lays the status out as the custom resource has it. A field of None is removed."""
    return {"url": status.url, "tenants": status.tenants}


def from_status(status: Mapping[str, Any]) -> ProviderStatus | None:
    """Reads a status; None before the first one was written."""
    if "tenants" not in status:
        return None
    return ProviderStatus(url=status.get("url"), tenants=int(status["tenants"]))
