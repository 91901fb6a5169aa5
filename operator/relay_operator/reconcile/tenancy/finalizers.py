"""The operator's finalizer on Tenants: it orders the end of a Tenant, and nothing else waits for it."""

from relay_operator import names
from relay_operator.cluster.api_server import ApiServer
from relay_operator.errors import Conflict
from relay_operator.manifests.environment import Manifest

_ROUNDS = 4
"""Somebody else may write between our read and our write."""


async def ensure(api: ApiServer, body: Manifest) -> Manifest | None:
    """Sets the finalizer on a Tenant that is not being deleted, unless it is there.

    Returns the Tenant as it is then, if nobody else has changed it since it was as in body.
    """
    return await _bring(api, body, is_wanted=True)


async def remove(api: ApiServer, body: Manifest) -> None:
    """Removes the finalizer, and leaves those of others."""
    await _bring(api, body, is_wanted=False)


async def _bring(api: ApiServer, body: Manifest, *, is_wanted: bool) -> Manifest | None:
    """Raises Conflict where others write all the time. A Tenant of another UID is left alone."""
    name, uid = body["metadata"]["name"], body["metadata"]["uid"]
    live: Manifest | None = body
    for _ in range(_ROUNDS):
        if live is None or live["metadata"]["uid"] != uid:
            return None
        metadata = live["metadata"]
        found = list(metadata.get("finalizers") or ())
        if (names.FINALIZER in found) == is_wanted:
            return None
        if is_wanted and "deletionTimestamp" in metadata:
            # the API server takes no new one
            return None
        wanted = (
            [*found, names.FINALIZER]
            if is_wanted
            else [one for one in found if one != names.FINALIZER]
        )
        version = metadata["resourceVersion"]
        patch = {"metadata": {"resourceVersion": version, "finalizers": wanted}}
        try:
            changed = await api.patch("Tenant", name, patch)
            return changed if live is body else None
        except Conflict:
            live = await api.get("Tenant", name)
    raise Conflict(f"Tenant {name} was changed by others during each of {_ROUNDS} writes")
