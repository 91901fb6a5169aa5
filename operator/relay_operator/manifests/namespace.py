"""A tenant's namespace, the operator's rights in it, and the relay's ServiceAccount."""

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.manifests.environment import Manifest, Platform


def namespace(tenant: Tenant) -> Manifest:
    """Returns the namespace, which carries the Tenant's UID and is owned by it: deleting the Tenant deletes it."""
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": names.tenant_namespace(tenant.metadata.name),
            "labels": {
                **names.standard_labels(tenant.metadata.name, component="tenant"),
                "pod-security.kubernetes.io/enforce": "restricted",
                "pod-security.kubernetes.io/enforce-version": "latest",
            },
            "annotations": {names.ANNOTATION_TENANT_UID: tenant.metadata.uid},
            "ownerReferences": [
                {
                    "apiVersion": names.API_VERSION,
                    "kind": "Tenant",
                    "name": tenant.metadata.name,
                    "uid": tenant.metadata.uid,
                    "controller": True,
                    "blockOwnerDeletion": False,
                }
            ],
        },
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
