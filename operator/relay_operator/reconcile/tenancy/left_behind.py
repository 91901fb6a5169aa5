"""Clears what an operator that was uninstalled left: its finalizers on Tenants, without which their deletion would never end."""

from collections.abc import AsyncIterator

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.decisions import namespace_ownership
from relay_operator.errors import OperatorError
from relay_operator.manifests.environment import Manifest
from relay_operator.reconcile.tenancy import finalizers, releases


async def release(api: ApiServer, wanted: frozenset[str] = frozenset()) -> AsyncIterator[str]:
    """Removes the finalizer from the wanted Tenants, or from all; yields what was done, one line a Tenant.

    Raises OperatorError before anything is done when one of those that are wanted does not exist.

    A namespace that is to stay is released first; that of a Tenant that is not being deleted keeps the operator's marks, and
    what the operator made in it goes with the Tenant. No key is refused by this: the relay pods go with the namespace, or
    with their Deployment.
    """
    listed = await api.list_metadata("Tenant")
    if lacking := sorted(wanted - {one["name"] for one in listed}):
        raise OperatorError(f"there is no Tenant {', '.join(lacking)}")
    for metadata in listed:
        name = metadata["name"]
        if (wanted and name not in wanted) or names.FINALIZER not in metadata.get("finalizers", ()):
            continue
        body = await api.get("Tenant", name)
        if body is None or body["metadata"]["uid"] != metadata["uid"]:
            continue
        stays = await _release_namespace(api, body)
        await finalizers.remove(api, body)
        space = names.tenant_namespace(name)
        told = "" if stays is None else f"; namespace {space} stays{stays}"
        yield f"tenant {name}: released{told}"


async def _release_namespace(api: ApiServer, body: Manifest) -> str | None:
    """Says until when a namespace that is to stay keeps its relay, None of one that goes.

    Only one that status calls the Tenant's is touched.
    """
    policies = namespace_ownership.policies_as_written(body.get("spec"))
    tenant = Tenant.parse({"metadata": body["metadata"], "spec": policies})
    live = await api.get("Namespace", names.tenant_namespace(tenant.metadata.name))
    owned = (body.get("status") or {}).get("namespaceUID")
    if live is None or "deletionTimestamp" in live["metadata"] or live["metadata"]["uid"] != owned:
        return None
    if not (tenant.spec.keeps_namespace or namespace_ownership.is_adopted(live, tenant)):
        return None
    if "deletionTimestamp" not in body["metadata"]:
        # nobody will act when it is deleted, but for the garbage collector
        await releases.hand_over(api, tenant)
        return " when it is deleted, and the relay in it goes"
    await releases.release(api, tenant)
    return ""
