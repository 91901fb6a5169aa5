"""Homes of tenants: the namespace of each, and the operator's rights in it."""

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.decisions import namespace_ownership
from relay_operator.decisions.outcome import Obstacle
from relay_operator.errors import ApiServerRefused, OperatorError
from relay_operator.manifests import namespace
from relay_operator.manifests.environment import Platform
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_NOT_THERE = frozenset({403, 404})


class Homes:
    def __init__(
        self,
        *,
        api: ApiServer,
        children: OwnedObjects,
        watched_state: WatchedState,
        queue: WorkQueue,
        platform: Platform,
    ) -> None:
        self._api = api
        self._children = children
        self._watched_state = watched_state
        self._queue = queue
        self._platform = platform

    async def own(self, spec: Tenant) -> Obstacle | None:
        """Creates the namespace, or checks that it carries this Tenant's UID. Never changes a namespace without it."""
        space = names.tenant_namespace(spec.metadata.name)
        existing = await self._api.get("Namespace", space)
        if existing is None:
            # and with it everything that was in it
            self._children.distrust(space)
        obstacle = namespace_ownership.obstacle_of(existing, spec)
        if self._watched_state.note_owned(space, obstacle is None):
            # only a tenant with a namespace has a part in its providers' quota
            for provider in self._watched_state.routes.mentioned_in(space):
                if self._watched_state.providers.get(provider) is not None:
                    self._queue.add(Key("Provider", "", provider))
        if obstacle is None:
            await self._restore_rights(spec)
        return obstacle

    async def repair(self, tenant: Tenant) -> bool:
        """Restores a namespace that is there and the operator's rights in it. False without one of this Tenant's."""
        space = names.tenant_namespace(tenant.metadata.name)
        existing = await self._api.get("Namespace", space)
        if existing is None or namespace_ownership.obstacle_of(existing, tenant) is not None:
            return False
        self._children.distrust(space)
        await self._restore_rights(tenant)
        return True

    async def _restore_rights(self, tenant: Tenant) -> None:
        await self._children.apply(namespace.namespace(tenant))
        await self._children.apply(namespace.operator_binding(tenant, self._platform))


def is_shut_out(error: OperatorError) -> bool:
    """Tells whether the API server answered as it does where the namespace or our RoleBinding in it is gone."""
    return isinstance(error, ApiServerRefused) and error.status in _NOT_THERE
