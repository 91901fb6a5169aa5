"""Releases of namespaces that stay after their Tenants: retained ones, and those that were there before."""

from collections.abc import Iterator

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused
from relay_operator.manifests import namespace
from relay_operator.manifests.environment import Manifest


async def release(api: ApiServer, live: Manifest, tenant: Tenant) -> None:
    """Takes the operator's marks off the namespace, and leaves what the operator made in it to the garbage collector.

    What stays is what others put there, and under deletionPolicy Retain the tenant's API keys. Every step can be repeated.
    """
    space = live["metadata"]["name"]
    for kind, name in _what_goes(tenant):
        patch = {"metadata": {"ownerReferences": [namespace.owner(tenant)]}}
        try:
            await api.patch(kind, name, patch, namespace=space)
        except ApiServerRefused as error:
            if error.status != 404:
                raise
    await api.patch("Namespace", space, namespace.release(live, tenant))


def _what_goes(tenant: Tenant) -> Iterator[tuple[str, str]]:
    binding = ("RoleBinding", names.TENANT_ROLE_BINDING)
    yield from (child for child in names.watched_children() if child != binding)
    yield "Secret", names.UPSTREAM_SECRET
    if tenant.spec.deletion_policy == "Delete":
        yield "Secret", names.API_KEYS_SECRET
    # the last one: it is the right to write the others
    yield binding
