"""Reconciles a Tenant in this order: namespace, network policies, credentials, document, workload, status."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

from relay_contract import endpoints
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import (
    brake,
    namespace_ownership,
    outcome,
    tenant_conditions,
    tenant_status,
)
from relay_operator.decisions.outcome import Obstacle, Refused
from relay_operator.decisions.tenant_conditions import Interrupted, Provisioned, TenantOutcome
from relay_operator.decisions.tenant_status import TenantStatus
from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable
from relay_operator.manifests import composition, namespace, tenant, workload
from relay_operator.manifests.environment import Manifest, Platform
from relay_operator.names import Reason
from relay_operator.reconcile import restorations
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.failure_report import report_and_raise, report_status
from relay_operator.reconcile.publishing import route_room
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.publishing.tenant_certificate import TenantCertificate
from relay_operator.reconcile.publishing.tenant_keys import TenantKeys
from relay_operator.reconcile.upstream_access import Keys, UpstreamAccess
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue

_LOOK_AGAIN_SECONDS = 1.0
_NAMESPACE_SECONDS = 10.0
"""Namespaces of others are not watched: one that stands in the way is looked at again after this."""
_ON_ITS_WAY = frozenset({Reason.WAITING_FOR_PODS})
"""While a pod lacks the newest document it serves by the last one."""
_NOT_THERE = frozenset({403, 404})
"""The answers of the API server where the namespace or our RoleBinding in it is gone."""


class TenantReconciler:
    def __init__(
        self,
        *,
        api: ApiServer,
        watched_state: WatchedState,
        children: OwnedObjects,
        publisher: DocumentPublisher,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        access: UpstreamAccess,
        platform: Platform,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._watched_state = watched_state
        self._children = children
        self._publisher = publisher
        self._status = status
        self._announcer = announcer
        self._queue = queue
        self._access = access
        self._keys = TenantKeys(api=api, children=children, watched_state=watched_state)
        self._certificate = TenantCertificate(api=api, watched_state=watched_state)
        self._platform = platform
        self._clock = clock

    async def reconcile(self, name: str) -> None:
        """Brings everything the tenant owns to what its spec asks for, and writes its status."""
        now = self._clock()
        watched = self._watched_state.tenants.get(name)
        space = names.tenant_namespace(name)
        if watched is None:
            # the namespace is owned by the Tenant: the garbage collector takes it and all in it
            self._watched_state.forget(space)
            self._publisher.forget(space)
            self._children.forget(space)
            self._status.forget("Tenant", "", name)
            return
        if watched.is_being_deleted:
            await self._cut_off(watched, now)
            return
        await self._suspend_before_all_else(watched)
        try:
            if isinstance(watched.resource, Invalid):
                await self._keep_last_spec(watched, watched.resource.message, now)
            else:
                await self._own_and_provision(watched.body, watched.resource, now)
        finally:
            await self._announce_restored(watched.body, now)

    async def _keep_last_spec(self, watched: Watched[Tenant], why: str, now: float) -> None:
        """Keeps everything as the last valid spec asks for, and says why the newer one is not in force."""
        space = names.tenant_namespace(watched.name)
        refused = Refused(reason=Reason.INVALID_SPEC, message=why)
        try:
            publication = await self._publication(watched)
            if publication is not None and publication.spec_note:
                refused = await self._repair(_last_valid(publication, watched), refused, now)
            else:
                await self._repair_without_spec(watched)
                await self._publisher.distribute(space)
        except (ApiServerRefused, Unavailable) as error:
            is_shut_out = isinstance(error, ApiServerRefused) and error.status in _NOT_THERE
            if not is_shut_out or await self._repair_without_spec(watched):
                message = f"{why}; what is in force is not kept as it should be: {error}"
                told = replace(refused, message=message)
                await report_and_raise(error, self._write(watched.body, told, {}, now))
        await self._write(watched.body, self._with_what_is_in_force(refused, space), {}, now)

    async def _repair_without_spec(self, watched: Watched[Tenant]) -> bool:
        """Restores the operator's rights in the tenant's namespace, and what keeps its pods apart from others.

        No spec is needed for them. False without a namespace.
        """
        space, identity = names.tenant_namespace(watched.name), _identity(watched)
        existing = await self._api.get("Namespace", space)
        if existing is None or namespace_ownership.obstacle_of(existing, identity) is not None:
            return False
        self._children.distrust(space)
        await self._children.apply(namespace.namespace(identity))
        await self._children.apply(namespace.operator_binding(identity, self._platform))
        await self._apply_all(tenant.sealing_off(identity))
        return True

    async def _repair(self, spec: Tenant, refused: Refused, now: float) -> Refused:
        """Brings everything that the tenant owns to its last valid spec; adds what stands in the way."""
        obstacle = await self._own_namespace(spec)
        if obstacle is not None:
            self._look_again(spec, _NAMESPACE_SECONDS)
            return replace(refused, message=f"{refused.message}; {obstacle.message}")
        keys = await self._provision(spec, now)
        found = self._found(spec)
        if keys is None or found.acknowledged_pods < found.pods:
            self._look_again(spec, _LOOK_AGAIN_SECONDS)
        return refused

    async def _cut_off(self, watched: Watched[Tenant], now: float) -> None:
        """Takes the tenant's keys away at once, however long finalizers keep the object; nothing is repaired any more.

        Its routes are looked at as before. A namespace that goes takes the rest along, and refuses what is new.
        """
        space = names.tenant_namespace(watched.name)
        try:
            publication = await self._publication(watched)
            if publication is not None:
                cut = {"suspended": True, "keys": ()}
                publication.base = publication.base.model_copy(update=cut)
                await self._publisher.distribute(space)
        except ApiServerRefused as error:
            if error.status not in _NOT_THERE:
                raise
        metadata = watched.body["metadata"]
        found = outcome.of_deletion(metadata, "its API keys are refused and nothing is repaired")
        await self._write(watched.body, found, {}, now)

    async def report(self, name: str, obstacle: Obstacle) -> None:
        """Writes what ended a reconcile before it could tell."""
        watched = self._watched_state.tenants.get(name)
        if watched is None:
            return
        found: TenantOutcome = obstacle
        if not isinstance(watched.resource, Invalid):
            owned = self._watched_state.owned.get(names.tenant_namespace(name))
            found = self._interrupted(watched.body, watched.resource, obstacle, owned)
        await self._write(watched.body, found, {}, self._clock())

    async def _suspend_before_all_else(self, watched: Watched[Tenant]) -> None:
        """Refuses the tenant's calls if its spec says so, whatever else is broken: its spec, its keys, a child.

        What fails here is left to the rest of the reconcile, which reports it.
        """
        with suppress(ApiServerRefused, Conflict, Unavailable):
            publication = await self._publication(watched)
            if publication is None or publication.base.suspended:
                return
            if brake.suspends(_spec_as_written(watched.resource)):
                publication.base = publication.base.model_copy(update={"suspended": True})
                await self._publisher.distribute(publication.base.namespace)

    async def _publication(self, watched: Watched[Tenant]) -> Publication | None:
        """Returns the tenant's publication, after the operator's start from the document that is in force."""
        space = names.tenant_namespace(watched.name)
        publication = self._publisher.publication(space)
        if publication is not None and publication.tenant.metadata.uid == watched.uid:
            return publication
        configmap = await self._configmap(space)
        last = self._publisher.valid_specs.read(watched.body["metadata"], configmap)
        publication = self._publisher.resume(last or _identity(watched), _document(configmap))
        if publication is not None:
            if last is not None:
                publication.spec_note = self._publisher.valid_specs.note(last)
            self._queue_routes(publication)
        return publication

    def _with_what_is_in_force(self, refused: Refused, space: str) -> Refused:
        publication = self._publisher.publication(space)
        if publication is None or not any(
            pod.ready for pod in self._watched_state.relay_pods(space)
        ):
            return refused
        calls = "calls are refused, suspended" if publication.base.suspended else "calls are served"
        message = f"{refused.message}; the last valid spec stays in force, {calls}"
        return replace(refused, message=message)

    async def _own_and_provision(self, body: dict[str, Any], spec: Tenant, now: float) -> None:
        owned = None
        try:
            obstacle = await self._own_namespace(spec)
            if obstacle is None:
                owned = True
                keys = await self._provision(spec, now)
        except (ApiServerRefused, Unavailable) as error:
            if isinstance(error, ApiServerRefused) and error.status in _NOT_THERE:
                self._children.distrust(names.tenant_namespace(spec.metadata.name))
            interrupted = self._interrupted(body, spec, outcome.obstacle_of(error), owned)
            await report_and_raise(error, self._write(body, interrupted, {}, now))
        if obstacle is not None:
            self._look_again(spec, _NAMESPACE_SECONDS)
            await self._write(body, obstacle, {}, now)
        elif keys is None:
            self._look_again(spec, _LOOK_AGAIN_SECONDS)
        else:
            await self._report(body, spec, keys, now)

    def _interrupted(
        self, body: dict[str, Any], spec: Tenant, obstacle: Obstacle, owned: bool | None
    ) -> Interrupted:
        return Interrupted(
            obstacle=obstacle,
            was_ready=tenant_conditions.was_ready(
                body.get("status", {}), generation=spec.metadata.generation
            ),
            owned=owned,
            found=self._found(spec),
        )

    async def _own_namespace(self, spec: Tenant) -> Obstacle | None:
        """Creates the namespace, or checks that it carries this Tenant's UID. Never changes a namespace without it."""
        space = names.tenant_namespace(spec.metadata.name)
        existing = await self._api.get("Namespace", space)
        if existing is None:
            # and with it everything that was in it
            self._children.distrust(space)
        obstacle = namespace_ownership.obstacle_of(existing, spec)
        if self._watched_state.has_no_home(space) != (obstacle is not None):
            # only a tenant with a namespace has a part in its providers' quota
            for provider in self._watched_state.routes.mentioned_in(space):
                if self._watched_state.providers.get(provider) is not None:
                    self._queue.add(Key("Provider", "", provider))
        self._watched_state.owned[space] = obstacle is None
        if obstacle is None:
            await self._children.apply(namespace.namespace(spec))
            await self._children.apply(namespace.operator_binding(spec, self._platform))
        return obstacle

    async def _provision(self, spec: Tenant, now: float) -> Keys | None:
        """Applies everything inside the namespace; returns the providers' keys, and which of them are missing.

        None when a provider in use was not looked at since the operator's start: network policies without its address
        would cut the relay off from it. Its reconciler calls again.
        """
        space = names.tenant_namespace(spec.metadata.name)
        api_keys = await self._keys.read(spec)
        publication = self._publisher.publication(space)
        if publication is None or publication.tenant.metadata.uid != spec.metadata.uid:
            publication = await self._begin(spec, api_keys.values)
        self._rebase(publication, spec, api_keys.values)
        publication.stuck_keys = api_keys.obstacle
        await self._certificate.read(spec, publication, now)
        used = self._used_providers(publication, space)
        if self._watched_state.unresolved(used):
            return None
        upstreams = await self._access.addresses(publication, used)
        note = self._access.note(publication)
        await self._apply_all(tenant.isolation(spec, self._platform, upstreams.values(), note=note))
        keys = await self._access.keys(publication, upstreams, now)
        await self._keys.hand_over(spec, keys.values)
        keyless = keys.missing.keys() - keys.kept
        self._set_reachable(publication, frozenset(upstreams) - keyless, keys.missing_words())
        await self._publisher.distribute(space)
        await self._apply_all(tenant.relay(spec, self._platform))
        await self._publisher.acknowledged(space)
        await self._certificate.bring(publication, now)
        return keys

    async def _apply_all(self, manifests: Iterable[Manifest]) -> None:
        """Applies each; raises the first error after all were tried, so that none keeps another from being repaired."""
        errors: list[OperatorError] = []
        for manifest in manifests:
            try:
                await self._children.apply(manifest)
            except OperatorError as error:
                errors.append(error)
        if errors:
            raise errors[0]

    async def _begin(self, spec: Tenant, keys: dict[str, str]) -> Publication:
        stored = _document(await self._configmap(names.tenant_namespace(spec.metadata.name)))
        base = composition.tenant_part(spec, _digests(keys), replicas=spec.spec.relay.replicas)
        publication = self._publisher.begin(spec, base, stored)
        self._queue_routes(publication)
        return publication

    async def _configmap(self, space: str) -> Manifest | None:
        return await self._api.get("ConfigMap", names.DOCUMENT_CONFIGMAP, namespace=space)

    def _queue_routes(self, publication: Publication) -> None:
        space = publication.base.namespace
        # those in force include routes that were deleted while the operator was away
        for route in {*self._watched_state.routes.names(namespace=space), *publication.fragments}:
            self._queue.add(Key("RelayRoute", space, route))

    def _rebase(self, publication: Publication, spec: Tenant, keys: dict[str, str]) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        sharing = sum(pod.ready or pod.terminating for pod in self._watched_state.relay_pods(space))
        publication.tenant = spec
        publication.spec_note = self._publisher.valid_specs.note(spec)
        publication.base = composition.tenant_part(
            spec, _digests(keys), replicas=sharing or spec.spec.relay.replicas
        )
        self._publisher.refresh_providers(publication)
        if publication.without_room:
            # a Provider may need less now; this route looks for all of them whether they fit
            self._queue.add(Key("RelayRoute", space, min(publication.without_room)))

    def _used_providers(self, publication: Publication, space: str) -> set[str]:
        """Collects the providers of the routes in force, and those that specs name (before any weight)."""
        around = route_room.common(space, publication.reachable, self._watched_state)
        return publication.used_providers() | route_room.named_providers(
            publication, around, self._watched_state
        )

    def _set_reachable(
        self, publication: Publication, reachable: frozenset[str], missing_keys: Mapping[str, str]
    ) -> None:
        """Records which providers the relay can reach, and what others lack; requeues the routes that wait for them."""
        before, lacked = publication.reachable, publication.missing_keys
        publication.reachable, publication.missing_keys = reachable, missing_keys
        changed = before ^ reachable
        if lacked is not None:
            changed |= {
                name
                for name in lacked.keys() | missing_keys.keys()
                if lacked.get(name) != missing_keys.get(name)
            }
        space = publication.base.namespace
        for route in self._watched_state.routes.in_namespace(space):
            if lacked is None or not changed.isdisjoint(route.mentions):
                self._queue.add(Key("RelayRoute", space, route.name))

    async def _report(
        self,
        body: dict[str, Any],
        spec: Tenant,
        keys: Keys,
        now: float,
    ) -> None:
        space = names.tenant_namespace(spec.metadata.name)
        publication = self._publisher.publication(space)
        found = self._found(spec, keys)
        status = TenantStatus(
            namespace=space,
            endpoint=workload.endpoint(spec),
            replicas=found.wanted_pods,
            ready=found.ready_pods,
            acknowledged=found.acknowledged_pods,
            config_generation=publication.generation if publication is not None else 0,
        )
        if publication is not None:
            publication.reported_generation = publication.generation
        is_quiet = found.tls is None or found.tls.is_settled
        if not (found.available and found.acknowledged_pods == found.pods and is_quiet):
            self._look_again(spec, _LOOK_AGAIN_SECONDS)
        await self._write(body, found, tenant_status.to_status(status), now)

    def _found(self, spec: Tenant, keys: Keys = Keys()) -> Provisioned:  # noqa: B008 - frozen
        space = names.tenant_namespace(spec.metadata.name)
        pods = [pod for pod in self._watched_state.relay_pods(space) if not pod.terminating]
        acknowledged, _ = self._publisher.count_acknowledged(space)
        publication = self._publisher.publication(space)
        return Provisioned(
            wanted_pods=spec.spec.relay.replicas,
            ready_pods=sum(pod.ready for pod in pods),
            pods=len(pods),
            acknowledged_pods=acknowledged,
            missing_keys=keys.words(publication),
            stuck_keys=publication.stuck_keys if publication is not None else "",
            orphans=self._access.orphans(publication),
            outgrown=tuple(sorted(publication.outgrown)) if publication is not None else (),
            suspended=spec.spec.suspend,
            tls=self._certificate.found(publication, self._clock()),
            troubles=self._watched_state.troubles(space),
        )

    async def _write(
        self, body: dict[str, Any], found: TenantOutcome, fields: dict[str, Any], now: float
    ) -> None:
        await report_status(
            self._status,
            self._announcer,
            "Tenant",
            body,
            fields,
            tenant_conditions.conditions(found),
            on_its_way=_ON_ITS_WAY,
            now=now,
        )

    async def _announce_restored(self, body: dict[str, Any], now: float) -> None:
        restored = self._children.take_restored(names.tenant_namespace(body["metadata"]["name"]))
        was_provisioned = bool(body.get("status", {}).get("endpoint"))
        for move in restorations.moves(restored, was_provisioned=was_provisioned, now=now):
            await self._announcer.announce(body, kind="Tenant", action="Restore", move=move)

    def _look_again(self, spec: Tenant, seconds: float) -> None:
        self._queue.add_after(Key("Tenant", "", spec.metadata.name), seconds)


def _document(configmap: Manifest | None) -> str:
    return str((configmap or {}).get("data", {}).get(endpoints.DOCUMENT_KEY, ""))


def _identity(watched: Watched[Tenant]) -> Tenant:
    """Returns the Tenant as far as no spec is needed."""
    return Tenant.parse({"metadata": watched.body["metadata"], "spec": {}})


def _last_valid(publication: Publication, watched: Watched[Tenant]) -> Tenant:
    """Returns the Tenant as it last could be used; suspended also if that was asked for since."""
    last = publication.tenant
    suspended = publication.base.suspended or brake.suspends(_spec_as_written(watched.resource))
    spec = last.spec.model_copy(update={"suspend": last.spec.suspend or suspended})
    return last.model_copy(update={"spec": spec})


def _spec_as_written(tenant: Tenant | Invalid) -> Any:
    return tenant.spec if isinstance(tenant, Invalid) else {"suspend": tenant.spec.suspend}


def _digests(keys: dict[str, str]) -> dict[str, str]:
    return {name: composition.key_digest(key) for name, key in keys.items()}
