"""A tenant's namespace, the operator's rights in it, and the relay's ServiceAccount."""

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.manifests.environment import Manifest, Platform

_POD_SECURITY = {
    names.POD_SECURITY_ENFORCE: names.POD_SECURITY_LEVEL,
    f"{names.POD_SECURITY_ENFORCE}-version": "latest",
}


def namespace(tenant: Tenant, *, is_offered: bool = False, stamp: str = "") -> Manifest:
    """Returns the namespace, which carries the Tenant's UID. stamp is kept as an annotation.

    It is owned by the Tenant, so that deleting the Tenant deletes it; but for one that was adopted or is to be retained.
    """
    annotations = {names.ANNOTATION_TENANT_UID: tenant.metadata.uid}
    if is_offered:
        annotations[names.ANNOTATION_TENANT] = tenant.metadata.name
    if stamp:
        annotations[names.ANNOTATION_STAMP] = stamp
    stays = is_offered or tenant.spec.keeps_namespace
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.tenant_namespace(tenant.metadata.name),
            "labels": {
                **names.standard_labels(tenant.metadata.name, component="tenant"),
                **_POD_SECURITY,
            },
            "annotations": annotations,
        }
        | ({} if stays else {"ownerReferences": [owner(tenant)]}),
    }


def as_applied(created: Manifest) -> Manifest:
    """Returns the merge patch by which the fields that we created count as applied, so that a later apply can remove them.

    Source: Kubernetes documentation "Server-Side Apply", transferring ownership.
    """
    metadata = created["metadata"]
    applied = [{**entry, "operation": "Apply"} for entry in metadata["managedFields"]]
    return {"metadata": {"resourceVersion": metadata["resourceVersion"], "managedFields": applied}}


def release(live: Manifest, tenant: Tenant) -> Manifest:
    """Returns the merge patch that takes our marks off a namespace that stays after its Tenant; pod security stays."""
    metadata = live["metadata"]
    owners = metadata.get("ownerReferences") or ()
    labels = names.standard_labels(tenant.metadata.name, component="tenant")
    marks = (names.ANNOTATION_TENANT_UID, names.ANNOTATION_STAMP)
    return {
        "metadata": {
            "resourceVersion": metadata["resourceVersion"],
            "labels": dict.fromkeys(labels),
            "annotations": dict.fromkeys(marks),
            "ownerReferences": [one for one in owners if one["uid"] != tenant.metadata.uid],
        }
    }


def owner(tenant: Tenant) -> Manifest:
    """Returns the reference by which the garbage collector removes an object after its Tenant."""
    return {
        "apiVersion": names.API_VERSION,
        "kind": "Tenant",
        "name": tenant.metadata.name,
        "uid": tenant.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def operator_binding(tenant: Tenant, platform: Platform) -> Manifest:
    """Lets the operator write in this namespace; elsewhere it may only read."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": metadata(tenant, names.TENANT_ROLE_BINDING),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": platform.tenant_cluster_role,
        },
        "subjects": [
            {
                "kind": "ServiceAccount",
                "name": platform.service_account,
                "namespace": platform.operator_namespace,
            }
        ],
    }


def service_account(tenant: Tenant) -> Manifest:
    """Returns a ServiceAccount without API credentials."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(tenant, names.RELAY),
        "automountServiceAccountToken": False,
    }


def metadata(tenant: Tenant, name: str) -> Manifest:
    """Returns the metadata of one of the tenant's objects."""
    return {
        "name": name,
        "namespace": names.tenant_namespace(tenant.metadata.name),
        "labels": names.standard_labels(tenant.metadata.name),
    }
