"""Whom a Provider is open to: tenants that its `allowedTenants` selects, and of those with a residency the ones of its region.

Decided before a tenant gets anything of a Provider: a part of its quota, its key, a way through the network policy.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from relay_operator.api.provider import LabelRequirement, TenantSelector, Terms

LABEL_RESIDENCY = "residency"
"""Of a Tenant: its calls go to Providers of this region alone, or of one that begins with it and a dash."""


def terms_of(spec: Any) -> Terms | None:
    """Returns whom a Provider is open to where the rest of its spec cannot be used; None where that cannot be told."""
    try:
        return Terms.model_validate(spec)
    except ValidationError:
        return None


def selects(selector: TenantSelector, labels: Mapping[str, str]) -> bool:
    """Tells whether a label selector selects these labels, as Kubernetes does."""
    return all(labels.get(name) == value for name, value in selector.match_labels.items()) and all(
        _holds(one, labels) for one in selector.match_expressions
    )


def _holds(requirement: LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            return value in requirement.values
        case "NotIn":
            # as in Kubernetes: what has no such label is not in the set
            return value not in requirement.values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None


def is_allowed(terms: Terms, labels: Mapping[str, str]) -> bool:
    """Tells whether `allowedTenants` selects a Tenant with these labels; without it everybody is."""
    return terms.allowed_tenants is None or selects(terms.allowed_tenants, labels)


def is_near(terms: Terms, labels: Mapping[str, str]) -> bool:
    """Tells whether the Provider is in the region that a Tenant with these labels may not leave."""
    residency = labels.get(LABEL_RESIDENCY, "")
    region = terms.region or ""
    return not residency or region == residency or region.startswith(f"{residency}-")


def is_open(terms: Terms | None, labels: Mapping[str, str]) -> bool:
    """Tells whether a Tenant with these labels may have anything of the Provider."""
    return terms is not None and is_allowed(terms, labels) and is_near(terms, labels)


def words_of_distance(provider: str, terms: Terms, labels: Mapping[str, str]) -> str:
    """Says why the Provider is out of the Tenant's region."""
    residency = labels.get(LABEL_RESIDENCY, "")
    where = f"is in region {terms.region}" if terms.region else "names no region"
    return (
        f"Provider {provider} {where}, and this Tenant has the label {LABEL_RESIDENCY}={residency}: "
        f"it may use Providers of region {residency} or {residency}-... alone; choose one of those"
    )
