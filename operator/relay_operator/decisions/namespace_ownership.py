"""Ownership of a tenant's namespace. A namespace of somebody else is never touched."""

from collections.abc import Mapping
from typing import Any

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.names import Reason


def obstacle_of(existing: Mapping[str, Any] | None, tenant: Tenant) -> Obstacle | None:
    """Checks the namespace as the API server has it (None when there is none); None when it is the tenant's or free."""
    if existing is None:
        return None
    metadata = existing["metadata"]
    name = metadata["name"]
    if "deletionTimestamp" in metadata:
        message = f"namespace {name} is still being deleted"
        return Waiting(reason=Reason.NAMESPACE_TERMINATING, message=message)
    if not _carries(metadata, tenant.metadata.uid):
        message = (
            f"namespace {name} exists and is not this Tenant's; remove it or choose another name"
        )
        return Refused(reason=Reason.NAMESPACE_CONFLICT, message=message)
    return None


def _carries(metadata: Mapping[str, Any], uid: str) -> bool:
    """Tells whether the annotation or an owner names the Tenant's UID: either is restored by the other if somebody edits it."""
    owners = metadata.get("ownerReferences") or ()
    noted = (metadata.get("annotations") or {}).get(names.ANNOTATION_TENANT_UID)
    return uid == noted or any(owner.get("uid") == uid for owner in owners)
