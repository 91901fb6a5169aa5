"""The status of a Tenant, both ways, but for its conditions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from relay_operator.api.durations import duration_text
from relay_operator.api.tenant import Tenant

COUNTS: Final = "relay"
"""The field of status with the numbers of pods."""

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


def effective(tenant: Tenant) -> dict[str, Any]:
    """Lays out the values that are in force: those of the spec, with what its tier supplies; None removes a former one."""
    spec = tenant.spec
    values = spec.model_dump(mode="json", by_alias=True, include={"relay", "queue", "limits"})
    relay, limits = values["relay"], values["limits"]
    if relay["autoscaling"] is not None:
        relay["replicas"] = None
    relay["resources"] = {
        kind: {name: amounts.get(name) for name in ("cpu", "memory")}
        for kind, amounts in relay["resources"].items()
    }
    values["queue"]["maxWait"] = duration_text(spec.queue.max_wait)
    limits["models"] = [_set_fields(model) for model in limits["models"]] or None
    return {
        "tier": spec.tier or None,
        "fromTier": list(tenant.origin.from_tier) or None,
        **values,
    }


def weight_in_force(status: Mapping[str, Any]) -> int | None:
    """Returns the weight of the last spec that could be used, as status tells it; None before there was one."""
    queue = (status.get("effective") or {}).get("queue") or {}
    weight = queue.get("weight")
    return int(weight) if weight else None


def _set_fields(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


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
