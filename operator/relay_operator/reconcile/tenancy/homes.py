"""Homes of tenants: the namespace of each, and the operator's rights in it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.decisions import conditions, namespace_ownership
from relay_operator.decisions.namespace_ownership import Claim
from relay_operator.decisions.outcome import Obstacle
from relay_operator.errors import ApiServerRefused, OperatorError
from relay_operator.manifests import namespace
from relay_operator.manifests.environment import Manifest, Platform
from relay_operator.reconcile.keys.secret_versions import RECENT_SECONDS, SecretVersions
from relay_operator.reconcile.publishing.signed_notes import SignedNotes
from relay_operator.reconcile.tenancy import releases
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_NOT_THERE = frozenset({403, 404})


class Homes:
    """Creates, adopts, repairs and releases namespaces. One that is not the Tenant's is never changed."""

    def __init__(
        self,
        *,
        api: ApiServer,
        children: OwnedObjects,
        watched_state: WatchedState,
        queue: WorkQueue,
        versions: SecretVersions,
        platform: Platform,
        signing_key: Ed25519PrivateKey,
    ) -> None:
        self._api = api
        self._versions = versions
        self._children = children
        self._watched_state = watched_state
        self._queue = queue
        self._platform = platform
        self._stamps = SignedNotes(signing_key, purpose="namespace")
        self._uids: dict[str, tuple[str, str]] = {}
        self._adopted: set[str] = set()
        self._cleared: dict[str, tuple[str, str]] = {}
        self._owned_at: dict[str, tuple[tuple[str, int], float]] = {}

    def status_fields(self, body: Manifest) -> dict[str, Any]:
        """Returns what a Tenant's status says of its namespace, which proves from then on that it is the Tenant's."""
        uid = self._anchor(body)
        return {"namespaceUID": uid} if uid else {}

    def is_adopted(self, tenant: Tenant) -> bool:
        """Tells whether the namespace, as it was last looked at, was there before its Tenant."""
        return tenant.metadata.name in self._adopted

    async def own(self, body: Manifest, spec: Tenant) -> Obstacle | None:
        """Creates the namespace, or checks that it is this Tenant's or may be adopted, with nothing of a former one in it."""
        if self._was_owned_lately(spec):
            return None
        space = names.tenant_namespace(spec.metadata.name)
        existing = await self._api.get("Namespace", space)
        if existing is None:
            # and with it everything that was in it
            self._children.distrust(space)
            self._versions.forget(space)
        claim = await self._claim(body, spec, existing)
        obstacle = namespace_ownership.obstacle_of(existing, claim)
        if obstacle is None:
            obstacle = await self._remains(spec, existing, releases.children_of_former)
        if obstacle is None:
            await self._bring_about(claim, existing)
            # with the rights that this has brought
            obstacle = await self._remains(spec, existing, releases.secrets_of_former)
        if obstacle is None and existing is not None:
            self._cleared[spec.metadata.name] = spec.metadata.uid, existing["metadata"]["uid"]
        # once: each change of it has the Tenant looked at again at once
        self._note_ownership(space, is_owned=obstacle is None)
        if obstacle is None:
            now = asyncio.get_running_loop().time()
            self._owned_at[spec.metadata.name] = _asked(spec), now
        return obstacle

    def _was_owned_lately(self, spec: Tenant) -> bool:
        """Tells whether a look has found the namespace as it is to be, and nothing has changed that since."""
        asked, at = self._owned_at.get(spec.metadata.name, (None, 0.0))
        is_recent = asyncio.get_running_loop().time() - at < RECENT_SECONDS
        space = names.tenant_namespace(spec.metadata.name)
        ours = ("Namespace", "", space), ("RoleBinding", space, names.TENANT_ROLE_BINDING)
        is_same = is_recent and asked == _asked(spec)
        # of a namespace that goes, a Secret may be shown first
        is_as_read = is_same and self._versions.are_as_read(space)
        return is_as_read and all(map(self._children.is_as_left, ours))

    async def repair(self, body: Manifest, tenant: Tenant) -> bool:
        """Restores a namespace that is there and the operator's rights in it. False without one of this Tenant's."""
        existing = await self.owned(body, tenant)
        space = names.tenant_namespace(tenant.metadata.name)
        self._note_ownership(space, is_owned=existing is not None)
        if existing is None:
            return False
        self._children.distrust(space)
        await self._bring_about(await self._claim(body, tenant, existing), existing)
        return True

    async def owned(self, body: Manifest, tenant: Tenant) -> Manifest | None:
        """Reads the namespace; None unless it is this Tenant's and is not being deleted."""
        existing = await self._api.get("Namespace", names.tenant_namespace(tenant.metadata.name))
        if existing is None or "deletionTimestamp" in existing["metadata"]:
            return None
        claim = await self._claim(body, tenant, existing)
        return existing if namespace_ownership.is_owned(existing, claim) else None

    def forget(self, name: str) -> None:
        """Drops what is known of the namespace of a Tenant that is gone."""
        self._uids.pop(name, None)
        self._adopted.discard(name)
        self._cleared.pop(name, None)
        self._owned_at.pop(name, None)

    async def _remains(
        self,
        tenant: Tenant,
        existing: Manifest | None,
        look: Callable[[ApiServer, Tenant], Awaitable[list[str]]],
    ) -> Obstacle | None:
        """Looks for what the garbage collector would take from under the Tenant: API keys that it had handed out, pods."""
        name = tenant.metadata.name
        if existing is None or not namespace_ownership.is_adopted(existing, tenant):
            # one that the operator created went with its Tenant
            return None
        if self._cleared.get(name) == (tenant.metadata.uid, existing["metadata"]["uid"]):
            return None
        found = await look(self._api, tenant)
        if not found:
            return None
        self._children.distrust(existing["metadata"]["name"])
        return namespace_ownership.of_remains(existing["metadata"]["name"], found)

    async def _bring_about(self, claim: Claim, existing: Manifest | None) -> None:
        tenant = claim.tenant
        is_adopted = namespace_ownership.is_adopted(existing, tenant)
        (self._adopted.add if is_adopted else self._adopted.discard)(tenant.metadata.name)
        stamp = self._stamp(claim, existing)
        is_offered = namespace_ownership.is_offered(existing, tenant)
        manifest = namespace.namespace(tenant, is_offered=is_offered, stamp=stamp)
        if existing is None:
            existing = await self._create(manifest)
        self._uids[tenant.metadata.name] = (tenant.metadata.uid, existing["metadata"]["uid"])
        await self._children.apply(manifest)
        await self._children.apply(namespace.operator_binding(tenant, self._platform))

    async def _create(self, manifest: Manifest) -> Manifest:
        """Never applies: that would take over a namespace that somebody creates at the same time."""
        space = manifest["metadata"]["name"]
        created = await self._api.create(manifest)
        self._children.note_created(("Namespace", "", space))
        applied = await self._api.patch("Namespace", space, namespace.as_applied(created))
        self._children.take_in(applied)
        return applied

    def _stamp(self, claim: Claim, existing: Manifest | None) -> str:
        """Returns the signature for a namespace that is to be created; the one that it has, if it is ours."""
        uid, space = claim.tenant.metadata.uid, names.tenant_namespace(claim.tenant.metadata.name)
        if existing is None:
            return self._stamps.sign(uid, _stamped(space, claim.anchor))
        found = _stamp_on(existing)
        return found if self._stamps.read(uid, found) is not None else ""

    async def _claim(self, body: Manifest, tenant: Tenant, existing: Manifest | None) -> Claim:
        anchor, platform = self._anchor(body), self._platform
        told = conditions.find(body.get("status") or {}, names.ConditionType.NAMESPACE_READY)
        claim = Claim(
            tenant=tenant,
            anchor=anchor,
            was_owned=told.get("status") == "True",
            is_stamped=existing is not None and self._is_stamped(existing, tenant, anchor),
            reserved=frozenset(
                (platform.operator_namespace, platform.prometheus_namespace, platform.dns_namespace)
            ),
        )
        may_adopt = existing is not None and tenant.spec.namespace_policy == "Adopt"
        if existing is None or not may_adopt or namespace_ownership.is_owned(existing, claim):
            return claim
        return replace(claim, strangers=await self._strangers(tenant))

    def _anchor(self, body: Manifest) -> str:
        """Returns the UID of the namespace that is the Tenant's, as far as this life or its status knows one."""
        uid, known = self._uids.get(body["metadata"]["name"], ("", ""))
        if uid == body["metadata"]["uid"]:
            return known
        return str((body.get("status") or {}).get("namespaceUID", ""))

    async def _strangers(self, tenant: Tenant) -> tuple[str, ...]:
        """Lists what others have in a namespace that would open it, or that the tenant's policies would cut off."""
        space, ours = names.tenant_namespace(tenant.metadata.name), set(names.watched_children())
        found = []
        for kind in ("Pod", "NetworkPolicy"):
            for one in await self._api.list_metadata(kind, namespace=space):
                labels = names.relay_selector(tenant.metadata.name).items()
                is_relay = kind == "Pod" and labels <= (one.get("labels") or {}).items()
                if not is_relay and (kind, one["name"]) not in ours:
                    found.append(f"{kind} {one['name']}")
        return tuple(found)

    def _is_stamped(self, existing: Manifest, tenant: Tenant, anchor: str) -> bool:
        text = self._stamps.read(tenant.metadata.uid, _stamp_on(existing))
        return text == _stamped(existing["metadata"]["name"], anchor)

    def _note_ownership(self, space: str, *, is_owned: bool) -> None:
        if not is_owned:
            self._owned_at.pop(space.removeprefix(names.NAMESPACE_PREFIX), None)
        if self._watched_state.note_owned(space, is_owned):
            # only a tenant with a namespace has a part in its providers' quota
            for provider in self._watched_state.routes.mentioned_in(space):
                if self._watched_state.providers.get(provider) is not None:
                    self._queue.add(Key("Provider", "", provider))


def is_shut_out(error: OperatorError) -> bool:
    """Tells whether the API server answered as it does where the namespace or our RoleBinding in it is gone."""
    return isinstance(error, ApiServerRefused) and error.status in _NOT_THERE


def _asked(spec: Tenant) -> tuple[str, int]:
    return spec.metadata.uid, spec.metadata.generation


def _stamp_on(existing: Manifest) -> str:
    return str((existing["metadata"].get("annotations") or {}).get(names.ANNOTATION_STAMP, ""))


def _stamped(space: str, anchor: str) -> str:
    # with the one before it, so that a copy of an earlier signature is worth nothing
    return f"{space} after {anchor or 'none'}"
