"""Ownership of a tenant's namespace. A namespace of somebody else is never touched.

Everything on a namespace can be written, and copied, by whoever may write namespaces. So a namespace is its Tenant's if
the Tenant's status, which the operator alone writes, names its UID; before that, if the operator's signature on it shows
that the operator created it; or if the platform lets the Tenant adopt it, which it says on both of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.names import Reason

_MOST_NAMED = 3
_REMAINING = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining")
"""Conditions of a namespace that is being deleted. Source: Kubernetes API reference, NamespaceStatus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A Tenant's claim to its namespace.

    anchor is the UID of the namespace that the Tenant's status names, empty before the first. was_owned tells whether the
    status calls a namespace the Tenant's, without its UID, as earlier versions of the operator wrote it. is_stamped tells
    whether the namespace has the operator's signature for the next one that it creates for this Tenant. strangers are
    objects of others in the namespace that would open it, or that its policies would cut off.
    """

    tenant: Tenant
    anchor: str = ""
    was_owned: bool = False
    is_stamped: bool = False
    reserved: frozenset[str] = field(default_factory=frozenset)
    strangers: tuple[str, ...] = ()


def obstacle_of(existing: Mapping[str, Any] | None, claim: Claim) -> Obstacle | None:
    """Checks the namespace as the API server has it (None when there is none); None when it is the tenant's or free."""
    space = names.tenant_namespace(claim.tenant.metadata.name)
    if space in claim.reserved:
        message = (
            f"namespace {space} belongs to the platform itself: the operator, Prometheus or DNS runs in it; "
            "choose another name"
        )
        return Refused(reason=Reason.NAMESPACE_CONFLICT, message=message)
    if existing is None:
        return _missing(space, claim)
    if "deletionTimestamp" in existing["metadata"]:
        return _terminating(existing)
    if is_owned(existing, claim):
        return None
    if claim.tenant.spec.namespace_policy != "Adopt":
        return _foreign(space, claim)
    return _not_adoptable(existing, claim)


def of_remains(space: str, found: Sequence[str]) -> Obstacle:
    """Tells of objects of a former Tenant of the name in a namespace that may be adopted."""
    message = (
        f"namespace {space} still has what belonged to the former Tenant of this name "
        f"({_named(found)}), which Kubernetes is deleting; nothing of it is inherited. If it stays, "
        "look at the finalizers on these objects, and whether the garbage collector runs"
    )
    return Waiting(reason=Reason.NAMESPACE_TERMINATING, message=message)


def is_owned(existing: Mapping[str, Any], claim: Claim) -> bool:
    """Tells whether the namespace is the Tenant's already, whatever others have written on it since."""
    metadata = existing["metadata"]
    if claim.anchor:
        return metadata["uid"] == claim.anchor or claim.is_stamped
    return claim.is_stamped or (claim.was_owned and _carries(metadata, claim.tenant.metadata.uid))


def is_adopted(existing: Mapping[str, Any] | None, tenant: Tenant) -> bool:
    """Tells whether a namespace was there before its Tenant, so that it stays when the Tenant goes."""
    return tenant.spec.namespace_policy == "Adopt" or is_offered(existing, tenant)


def is_offered(existing: Mapping[str, Any] | None, tenant: Tenant) -> bool:
    """Tells whether the platform's annotation on the namespace gives it to the Tenant."""
    annotations = (existing or {}).get("metadata", {}).get("annotations") or {}
    return bool(annotations.get(names.ANNOTATION_TENANT) == tenant.metadata.name)


def policies_as_written(spec: Any) -> dict[str, str]:
    """Returns what a spec says of the namespace and its end, also one that is refused for something else."""
    written = spec if isinstance(spec, Mapping) else {}
    legal = {"namespacePolicy": ("Create", "Adopt"), "deletionPolicy": ("Delete", "Retain")}
    return {name: written[name] for name, values in legal.items() if written.get(name) in values}


def _missing(space: str, claim: Claim) -> Obstacle | None:
    if claim.tenant.spec.namespace_policy != "Adopt":
        return None
    message = (
        f"there is no namespace {space}, and spec.namespacePolicy is Adopt: create it with the annotation "
        f"{names.ANNOTATION_TENANT}: {claim.tenant.metadata.name} and the label "
        f"{names.POD_SECURITY_ENFORCE}: {names.POD_SECURITY_LEVEL}, or set namespacePolicy to Create"
    )
    return Waiting(reason=Reason.NAMESPACE_MISSING, message=message)


def _terminating(existing: Mapping[str, Any]) -> Obstacle:
    metadata = existing["metadata"]
    told = (existing.get("status") or {}).get("conditions") or ()
    holders = [
        str(one.get("message", ""))
        for one in told
        if one.get("type") in _REMAINING and one.get("status") == "True"
    ]
    message = f"namespace {metadata['name']} is still being deleted"
    if holders:
        message += (
            f", since {metadata['deletionTimestamp']}: {' '.join(holders)}; "
            "it goes when whoever set these finalizers removes them"
        )
    return Waiting(reason=Reason.NAMESPACE_TERMINATING, message=message)


def _foreign(space: str, claim: Claim) -> Obstacle:
    name = claim.tenant.metadata.name
    message = (
        f"namespace {space} exists and is not this Tenant's; remove it or choose another name. If it is meant for this "
        f"Tenant, let the Tenant adopt it: set spec.namespacePolicy to Adopt, and kubectl annotate --overwrite namespace {space} "
        f"{names.ANNOTATION_TENANT}={name}"
    )
    return Refused(reason=Reason.NAMESPACE_CONFLICT, message=message)


def _not_adoptable(existing: Mapping[str, Any], claim: Claim) -> Obstacle | None:
    lacking = list(_lacking(existing["metadata"], claim))
    if not lacking:
        return None
    space = existing["metadata"]["name"]
    message = f"namespace {space} cannot be adopted: {'; '.join(lacking)}"
    return Refused(reason=Reason.NAMESPACE_CONFLICT, message=message)


def _lacking(metadata: Mapping[str, Any], claim: Claim) -> Iterator[str]:
    """Yields what keeps a namespace from being adopted, each with what to do."""
    space, name, uid = metadata["name"], claim.tenant.metadata.name, metadata["uid"]
    if (metadata.get("annotations") or {}).get(names.ANNOTATION_TENANT) != name:
        yield (
            f"it is not annotated for this Tenant (kubectl annotate --overwrite namespace {space} "
            f"{names.ANNOTATION_TENANT}={name})"
        )
    if (metadata.get("labels") or {}).get(names.POD_SECURITY_ENFORCE) != names.POD_SECURITY_LEVEL:
        yield (
            f"its pod security is not restricted (kubectl label --overwrite namespace {space} "
            f"{names.POD_SECURITY_ENFORCE}={names.POD_SECURITY_LEVEL})"
        )
    owners = [
        f"{one.get('kind')} {one.get('name')}"
        for one in metadata.get("ownerReferences") or ()
        if one.get("uid") != claim.tenant.metadata.uid
    ]
    if owners:
        yield (
            f"{', '.join(owners[:_MOST_NAMED])} owns it, and it would go with its owner: remove metadata.ownerReferences"
        )
    if claim.strangers:
        yield (
            f"objects of others are in it ({_named(claim.strangers)}), and a relay's namespace holds nothing but the "
            "relay: remove them"
        )
    if claim.anchor and claim.tenant.metadata.annotations.get(names.ANNOTATION_ADOPT) != uid:
        yield (
            f"this Tenant had another namespace before (UID {claim.anchor}), so that the Tenant has to name this one too "
            f"(kubectl annotate --overwrite tenant {name} {names.ANNOTATION_ADOPT}={uid})"
        )


def _named(objects: Sequence[str]) -> str:
    """Lists the first few."""
    return ", ".join(objects[:_MOST_NAMED]) + (", ..." if len(objects) > _MOST_NAMED else "")


def _carries(metadata: Mapping[str, Any], uid: str) -> bool:
    owners = metadata.get("ownerReferences") or ()
    noted = (metadata.get("annotations") or {}).get(names.ANNOTATION_TENANT_UID)
    return uid == noted or any(owner.get("uid") == uid for owner in owners)
