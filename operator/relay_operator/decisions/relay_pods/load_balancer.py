"""The load balancer before a tenant's relay pods, as the Service's status tells of it."""

from collections.abc import Mapping
from typing import Any


def address_of(service: Mapping[str, Any]) -> str:
    """Returns the name or the address at which the load balancer takes calls; empty before it has one."""
    if (service.get("spec") or {}).get("type") != "LoadBalancer":
        return ""
    told = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    found = (one.get("hostname") or one.get("ip") for one in told)
    return next((str(one) for one in found if one), "")
