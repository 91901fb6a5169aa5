"""A tenant's namespace, who may work in it, and the relay's identity."""

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.manifests.environment import Manifest, Platform


def namespace(tenant: Tenant) -> Manifest:
    """The namespace, stamped with the tenant's incarnation and owned by it: deleting the Tenant deletes it."""
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
    """Lets the operator work in this namespace; everywhere else it may only look."""
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
    """The relay's identity: none. It has no API credentials."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(tenant, names.RELAY),
        "automountServiceAccountToken": False,
    }


def metadata(tenant: Tenant, name: str) -> Manifest:
    """Metadata of one of the tenant's objects."""
    return {
        "name": name,
        "namespace": names.tenant_namespace(tenant.metadata.name),
        "labels": names.standard_labels(tenant.metadata.name),
    }
