"""Tenant: the namespace, the wall, the credentials, the document, the relay - in this order - and how it is."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import tenant_conditions
from relay_operator.decisions.tenant_conditions import Findings
from relay_operator.errors import ApiServerRefused, InvalidSpec
from relay_operator.manifests import composition, namespace, tenant, workload
from relay_operator.manifests import credentials as credential_manifests
from relay_operator.manifests.environment import Platform, Upstream
from relay_operator.names import Reason
from relay_operator.reconcile.document_publisher import DocumentPublisher, Publication
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_BINDING_TRIES = 10
_BINDING_SECONDS = 0.1
_LOOK_AGAIN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NamespaceOwnership:
    """Whether the namespace is ours; reason says why not."""

    reason: Reason | None = None
    message: str = ""


class TenantReconciler:
    def __init__(
        self,
        *,
        api: ApiServer,
        world: WatchedState,
        children: OwnedObjects,
        programmer: DocumentPublisher,
        status: StatusWriter,
        queue: WorkQueue,
        platform: Platform,
    ) -> None:
        self._api = api
        self._world = world
        self._children = children
        self._programmer = programmer
        self._status = status
        self._queue = queue
        self._platform = platform

    async def reconcile(self, name: str) -> None:
        """Everything the tenant owns is as it should be, or its status says what is in the way."""
        body = self._world.tenants.get(name)
        space = names.tenant_namespace(name)
        if body is None or "deletionTimestamp" in body["metadata"]:
            # the namespace is owned by the Tenant: the garbage collector takes it and all in it
            self._programmer.forget(space)
            self._children.forget(space)
            return
        try:
            spec = Tenant.parse(body)
        except InvalidSpec as error:
            await self._write(body, Findings(refusal=Reason.INVALID_SPEC, message=str(error)), {})
            return
        claim = await self._claim(spec)
        if claim.reason is not None:
            await self._write(body, Findings(refusal=claim.reason, message=claim.message), {})
            self._queue.add_after(Key("Tenant", "", name), 10 * _LOOK_AGAIN_SECONDS)
            return
        await self._provision(body, spec)

    async def _claim(self, spec: Tenant) -> NamespaceOwnership:
        """The namespace is made, or found to be ours by its stamp. A stranger's is never touched."""
        space = names.tenant_namespace(spec.metadata.name)
        existing = await self._api.get("Namespace", space)
        if existing is not None:
            metadata = existing["metadata"]
            if "deletionTimestamp" in metadata:
                return NamespaceOwnership(
                    Reason.NAMESPACE_TERMINATING, f"namespace {space} is still being deleted"
                )
            if (
                metadata.get("annotations", {}).get(names.ANNOTATION_TENANT_UID)
                != spec.metadata.uid
            ):
                message = f"namespace {space} exists and is not this Tenant's; remove it or choose another name"
                return NamespaceOwnership(Reason.NAMESPACE_CONFLICT, message)
        await self._children.apply(namespace.namespace(spec))
        await self._children.apply(namespace.operator_binding(spec, self._platform))
        return NamespaceOwnership()

    async def _provision(self, body: dict[str, Any], spec: Tenant) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        keys = await self._with_fresh_binding(spec)
        program = self._programmer.program(space)
        if program is None or program.tenant.metadata.uid != spec.metadata.uid:
            program = await self._begin(spec, keys)
        self._rebase(program, spec, keys)
        upstreams = self._upstreams(program, space)
        for manifest in tenant.wall(spec, self._platform, upstreams):
            await self._children.apply(manifest)
        missing = await self._upstream_keys(spec, [upstream.provider for upstream in upstreams])
        self._open(
            program, space, frozenset(upstream.provider for upstream in upstreams) - missing.keys()
        )
        await self._programmer.distribute(space)
        for manifest in tenant.relay(spec, self._platform):
            await self._children.apply(manifest)
        await self._report(body, spec, program, missing)

    async def _with_fresh_binding(self, spec: Tenant) -> dict[str, str]:
        """The tenant's keys. The authorizer learns of a new RoleBinding a moment after it was written."""
        for attempt in range(_BINDING_TRIES):
            try:
                return await key_secrets.tenant_keys(self._api, spec)
            except ApiServerRefused as error:
                if error.status != 403 or attempt == _BINDING_TRIES - 1:
                    raise
                await asyncio.sleep(_BINDING_SECONDS)
        raise AssertionError("unreachable")

    async def _begin(self, spec: Tenant, keys: dict[str, str]) -> Publication:
        space = names.tenant_namespace(spec.metadata.name)
        stored = await self._api.get("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=space)
        sealed = (stored or {}).get("data", {}).get(endpoints.DOCUMENT_KEY, "")
        base = composition.tenant_part(spec, _digests(keys), replicas=spec.spec.relay.replicas)
        program = self._programmer.begin(spec, base, sealed)
        for route in self._world.routes.get(space, {}):
            self._queue.add(Key("RelayRoute", space, route))
        return program

    def _rebase(self, program: Publication, spec: Tenant, keys: dict[str, str]) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        sharing = sum(pod.ready or pod.terminating for pod in self._world.relay_pods(space))
        program.tenant = spec
        program.base = composition.tenant_part(
            spec, _digests(keys), replicas=sharing or spec.spec.relay.replicas
        )
        usable = self._world.usable_providers()
        used = {
            side.provider
            for route in program.fragments.values()
            for side in composition.sides(route)
        }
        tenant = spec.metadata.name
        parts = {
            name: composition.provider_part(
                usable[name], share=self._world.provider_share(name, tenant)
            )
            for name in used
            if name in usable
        }
        self._programmer.set_providers(program, parts)

    def _upstreams(self, program: Publication, space: str) -> list[Upstream]:
        """Where the relay may go: what its routes in force use, and what the routes' specs name (before any weight)."""
        used = {
            side.provider
            for route in program.fragments.values()
            for side in composition.sides(route)
        }
        for route in self._world.parsed_routes(space).values():
            canary = [route.spec.canary] if route.spec.canary else []
            used |= {side.provider for side in (route.spec.stable, *canary, *route.spec.fallback)}
        return [
            self._world.upstreams[name] for name in sorted(used) if name in self._world.upstreams
        ]

    async def _upstream_keys(self, spec: Tenant, providers: list[str]) -> dict[str, str]:
        usable = self._world.usable_providers()
        wanted = [usable[name] for name in providers if name in usable]
        keys, missing = await key_secrets.provider_keys(
            self._api, wanted, namespace=self._platform.operator_namespace
        )
        if await self._children.apply(credential_manifests.upstream_keys(spec, keys)):
            await self._nudge(spec, composition.key_digest(repr(sorted(keys.items())))[:12])
        return missing

    async def _nudge(self, spec: Tenant, mark: str) -> None:
        """A changed pod annotation makes the kubelet refresh the pod's mounts now, not within its next minute."""
        space = names.tenant_namespace(spec.metadata.name)
        patch = {"metadata": {"annotations": {names.ANNOTATION_NUDGE: mark}}}
        for pod in self._world.relay_pods(space):
            try:
                await self._api.patch("Pod", pod.name, patch, namespace=space)
            except ApiServerRefused as error:
                if error.status != 404:
                    raise

    def _open(self, program: Publication, space: str, reachable: frozenset[str]) -> None:
        """Routes that waited for the way to open are looked at again."""
        if program.reachable == reachable:
            return
        program.reachable = reachable
        for route in self._world.routes.get(space, {}):
            self._queue.add(Key("RelayRoute", space, route))

    async def _report(
        self, body: dict[str, Any], spec: Tenant, program: Publication, missing: dict[str, str]
    ) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        pods = [pod for pod in self._world.relay_pods(space) if not pod.terminating]
        acknowledged, _ = await self._programmer.acknowledged(space)
        wanted = spec.spec.relay.replicas
        ready = sum(pod.ready for pod in pods)
        fields = {
            "namespace": space,
            "endpoint": workload.endpoint(spec),
            "relay": {
                "summary": f"{min(ready, acknowledged)}/{wanted}",
                "replicas": wanted,
                "ready": ready,
                "configGeneration": program.generation,
                "acknowledged": acknowledged,
                "limitsScope": "PerReplicaShare",
            },
        }
        findings = Findings(
            wanted_pods=wanted,
            ready_pods=ready,
            pods=len(pods),
            acknowledged_pods=acknowledged,
            missing_keys=tuple(missing.values()),
            suspended=spec.spec.suspend,
        )
        if ready < wanted or acknowledged < len(pods):
            self._queue.add_after(Key("Tenant", "", spec.metadata.name), _LOOK_AGAIN_SECONDS)
        await self._write(body, findings, fields)

    async def _write(
        self, body: dict[str, Any], findings: Findings, fields: dict[str, Any]
    ) -> None:
        wanted = tenant_conditions.conditions(findings)
        await self._status.write("Tenant", body, fields, wanted, now=time.time())


def _digests(keys: dict[str, str]) -> dict[str, str]:
    return {name: composition.key_digest(key) for name, key in keys.items()}
