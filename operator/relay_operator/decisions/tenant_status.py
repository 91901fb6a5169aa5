"""The status of a Tenant, both ways, but for its conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LimitsScope = Literal["PerReplicaShare"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStatus:
    """Address of the tenant's relay, and counts of its pods.

    replicas is what the spec asks for, acknowledged counts the pods that run the document of config_generation.
    """

    namespace: str
    endpoint: str
    replicas: int
    ready: int
    acknowledged: int
    config_generation: int
    limits_scope: LimitsScope = "PerReplicaShare"


def to_status(status: TenantStatus) -> dict[str, Any]:
    """Lays the status out as the custom resource has it."""
    return {
        "namespace": status.namespace,
        "endpoint": status.endpoint,
        "relay": {
            "summary": f"{status.ready}/{status.replicas}",
            "replicas": status.replicas,
            "ready": status.ready,
            "configGeneration": status.config_generation,
            "acknowledged": status.acknowledged,
            "limitsScope": status.limits_scope,
        },
    }


def from_status(status: Mapping[str, Any]) -> TenantStatus | None:
    """Reads a status; None before the tenant was first provisioned."""
    relay = status.get("relay")
    if not relay:
        return None
    return TenantStatus(
        namespace=str(status["namespace"]),
        endpoint=str(status["endpoint"]),
        replicas=int(relay["replicas"]),
        ready=int(relay["ready"]),
        acknowledged=int(relay["acknowledged"]),
        config_generation=int(relay["configGeneration"]),
    )
