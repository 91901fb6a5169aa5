"""Tenants for tests of what is made of a spec."""

from typing import Any

from relay_operator.api.tenant import Tenant


def tenant_with_billing(**billing: Any) -> Tenant:
    """Returns a Tenant with nothing but billing in its spec."""
    metadata = {"name": "finance", "uid": "uid-finance"}
    return Tenant.parse({"metadata": metadata, "spec": {"billing": billing}})
