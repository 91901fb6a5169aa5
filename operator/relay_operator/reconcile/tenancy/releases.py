"""Releases of namespaces that stay after their Tenants: retained ones, and those that were there before."""

from collections.abc import Iterator

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused
from relay_operator.manifests import namespace


async def release(api: ApiServer, tenant: Tenant) -> None:
    """Takes the operator's marks off the namespace, and leaves what the operator made in it to the garbage collector.

    What stays is what others put there, and under deletionPolicy Retain the tenant's API keys. Every step can be repeated;
    raises the first refusal after all were tried.
    """
    space = names.tenant_namespace(tenant.metadata.name)
    refusals: list[ApiServerRefused] = []
    for kind, name in _what_goes(tenant):
        patch = {"metadata": {"ownerReferences": [namespace.owner(tenant)]}}
        try:
            await api.patch(kind, name, patch, namespace=space)
        except ApiServerRefused as error:
            if error.status != 404:
                refusals.append(error)
    if refusals:
        # with its marks, so that the rest can be tried again
        raise refusals[0]
    live = await api.get("Namespace", space)
    if live is not None:
        await api.patch("Namespace", space, namespace.release(live, tenant))


def _what_goes(tenant: Tenant) -> Iterator[tuple[str, str]]:
    binding = ("RoleBinding", names.TENANT_ROLE_BINDING)
    yield from (child for child in names.watched_children() if child != binding)
    yield "Secret", names.UPSTREAM_SECRET
    if tenant.spec.deletion_policy == "Delete":
        yield "Secret", names.API_KEYS_SECRET
    # the last one: it is the right to write the others
    yield binding
