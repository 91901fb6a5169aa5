"""Releases of namespaces that stay after their Tenants: retained ones, and those that were there before.

What the operator made in them is left to the garbage collector, for which a later Tenant of the name waits.
"""

from collections.abc import Iterator
from typing import Final

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import ApiServerRefused, Conflict
from relay_operator.manifests import namespace
from relay_operator.manifests.environment import Manifest

_ROUNDS: Final = 5
_SECRETS = (
    names.UPSTREAM_SECRET,
    names.IMAGE_PULL_SECRET,
    names.LEDGER_SECRET,
    names.API_KEYS_SECRET,
)


async def release(api: ApiServer, tenant: Tenant) -> None:
    """Takes the operator's marks off the namespace, and leaves what the operator made in it to the garbage collector.

    What stays is what others put there, and under deletionPolicy Retain the tenant's API keys. Every step can be repeated.
    """
    # marks go last, so that what is refused can be tried again
    await hand_over(api, tenant)
    space = names.tenant_namespace(tenant.metadata.name)
    live = await api.get("Namespace", space)
    if live is not None:
        await api.patch("Namespace", space, namespace.release(live, tenant))


async def hand_over(api: ApiServer, tenant: Tenant) -> None:
    """Has the garbage collector take what the operator made in the namespace when the Tenant goes, and not before.

    Raises the first refusal after all were tried.
    """
    if tenant.spec.deletion_policy == "Retain":
        await _keep_api_keys(api, tenant)
    space = names.tenant_namespace(tenant.metadata.name)
    refusals: list[ApiServerRefused] = []
    for kind, name in _what_goes(tenant):
        try:
            await _hand_over(api, kind, name, space, [namespace.owner(tenant)])
        except ApiServerRefused as error:
            if error.status != 404:
                refusals.append(error)
    if refusals:
        raise refusals[0]


async def _hand_over(
    api: ApiServer, kind: str, name: str, space: str, owners: list[Manifest]
) -> None:
    """Makes the Tenant the owner of one object, as it is now.

    Late and without looking, it would have the garbage collector take what a Tenant of the same name was given since.
    """
    for rounds_left in reversed(range(_ROUNDS)):
        live = await api.get(kind, name, namespace=space)
        if live is None or live["metadata"].get("ownerReferences") == owners:
            return
        version = live["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "ownerReferences": owners}}
        try:
            await api.patch(kind, name, patch, namespace=space)
            return
        except Conflict:
            # a controller tells of what becomes of it, mostly
            if not rounds_left:
                raise


async def children_of_former(api: ApiServer, tenant: Tenant) -> list[str]:
    """Lists what the operator made for a former Tenant of the name and is still there, but for Secrets."""
    space, made = names.tenant_namespace(tenant.metadata.name), names.watched_children()
    return [
        f"{kind} {metadata['name']}"
        for kind in dict.fromkeys(kind for kind, _ in made)
        for metadata in await api.list_metadata(kind, namespace=space)
        if (kind, metadata["name"]) in made and _is_of_former(metadata, tenant)
    ]


async def secrets_of_former(api: ApiServer, tenant: Tenant) -> list[str]:
    """Lists the Secrets of a former Tenant of the name that are still there, for whom may read them."""
    space, found = names.tenant_namespace(tenant.metadata.name), []
    for name in _SECRETS:
        secret = await api.get("Secret", name, namespace=space)
        if secret is not None and _is_of_former(secret["metadata"], tenant):
            found.append(f"Secret {name}")
    return found


def _is_of_former(metadata: Manifest, tenant: Tenant) -> bool:
    return any(
        one.get("kind") == "Tenant"
        and one.get("name") == tenant.metadata.name
        and one.get("uid") != tenant.metadata.uid
        for one in metadata.get("ownerReferences") or ()
    )


def _what_goes(tenant: Tenant) -> Iterator[tuple[str, str]]:
    binding = ("RoleBinding", names.TENANT_ROLE_BINDING)
    yield from (child for child in names.watched_children() if child != binding)
    yield "Secret", names.UPSTREAM_SECRET
    yield "Secret", names.IMAGE_PULL_SECRET
    yield "Secret", names.LEDGER_SECRET
    if tenant.spec.deletion_policy == "Delete":
        yield "Secret", names.API_KEYS_SECRET
    # the last one: it is the right to write the others
    yield binding


async def _keep_api_keys(api: ApiServer, tenant: Tenant) -> None:
    """Takes the Tenant off the API keys as their owner, which it became by a release under another policy."""
    space = names.tenant_namespace(tenant.metadata.name)
    secret = await api.get("Secret", names.API_KEYS_SECRET, namespace=space)
    owners = (secret or {}).get("metadata", {}).get("ownerReferences") or ()
    kept = [one for one in owners if one["uid"] != tenant.metadata.uid]
    if secret is not None and len(kept) < len(owners):
        version = secret["metadata"]["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "ownerReferences": kept}}
        await api.patch("Secret", names.API_KEYS_SECRET, patch, namespace=space)
