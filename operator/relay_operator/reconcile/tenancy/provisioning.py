"""Provisions everything in a tenant's namespace: network policies, keys, document, workload, in this order."""

from collections.abc import Iterable, Mapping
from contextlib import suppress

from relay_operator import names
from relay_operator.api.equal_parts import equal_names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable
from relay_operator.manifests import capacity, tenant, workload
from relay_operator.manifests.environment import Manifest, Platform
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.isolation.withheld_keys import withhold
from relay_operator.reconcile.keys.tenant_api_keys import TenantApiKeys
from relay_operator.reconcile.keys.withdrawal import KeyWithdrawal
from relay_operator.reconcile.ledger.relay_tokens import RelayTokens
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.publishing.tenant_certificate import TenantCertificate
from relay_operator.reconcile.publishing.tenant_keys import TenantKeys
from relay_operator.reconcile.tenancy.image_pull import ImagePull
from relay_operator.reconcile.tenancy.rollouts import Rollouts
from relay_operator.reconcile.tenancy.tenant_publications import TenantPublications
from relay_operator.reconcile.upstream_access import Keys, UpstreamAccess
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, WorkQueue


class Provisioning:
    def __init__(
        self,
        *,
        children: OwnedObjects,
        publications: TenantPublications,
        publisher: DocumentPublisher,
        watched_state: WatchedState,
        queue: WorkQueue,
        access: UpstreamAccess,
        api_keys: TenantApiKeys,
        withdrawal: KeyWithdrawal,
        keys: TenantKeys,
        certificate: TenantCertificate,
        isolation: IsolationRecords,
        image_pull: ImagePull,
        relay_tokens: RelayTokens,
        rollouts: Rollouts,
        platform: Platform,
    ) -> None:
        self._children = children
        self._publications = publications
        self._publisher = publisher
        self._watched_state = watched_state
        self._queue = queue
        self._access = access
        self._api_keys = api_keys
        self._withdrawal = withdrawal
        self._keys = keys
        self._certificate = certificate
        self._isolation = isolation
        self._image_pull = image_pull
        self._relay_tokens = relay_tokens
        self._rollouts = rollouts
        self._platform = platform

    async def provision(self, spec: Tenant, now: float) -> Keys | None:
        """Applies everything inside the namespace; returns the providers' keys, and which of them are missing.

        None when a provider in use was not looked at since the operator's start: network policies without its address
        would cut the relay off from it. Its reconciler calls again.
        """
        space = names.tenant_namespace(spec.metadata.name)
        self._isolation.note_pods(space, self._watched_state.relay_pods(space))
        began = self._withdrawal.begin_to_read()
        api_keys = await self._api_keys.read(spec, self._publisher.publication(space))
        publication = await self._publications.rebased(spec, api_keys.digests)
        publication.api_keys = api_keys
        self._withdrawal.hold_to_newest(publication, began)
        await self._withdrawal.withdraw_missing(publication)
        await self._close(publication)
        await self._certificate.read(spec, publication, now)
        used = self._used_providers(publication)
        if self._watched_state.unresolved(used) or self._tool_servers_are_unread(spec):
            return None
        present = self._watched_state.present_resources(space)
        routes = self._watched_state.routes.count_in(space)
        await self._apply_all(tenant.bounds(spec, present, routes=routes))
        upstreams = await self._access.addresses(publication, used)
        note = self._access.note(publication)
        self._access.find_tool_servers(publication)
        if await self._apply_all(
            tenant.isolation(spec, self._platform, publication.opened, note=note)
        ):
            self._isolation.probe_anew(space)
        if publication.callers_went:
            # the policy comes first: who was taken away would only come back
            publication.renew_connections()
        keys = withhold(
            await self._access.keys(publication, upstreams, now),
            self._isolation.withholding(space, has_keys=await self._has_keys(publication)),
        )
        again = await self._keys.hand_over(spec, keys.values, now)
        if again:
            self._queue.add_after(Key("Tenant", "", spec.metadata.name), again)
        if keys.unread is not None:
            raise keys.unread
        keyless = (keys.missing.keys() - keys.kept) | keys.withheld.keys()
        self._set_reachable(
            publication, equal_names(upstreams.keys() - keyless), keys.missing_words()
        )
        await self._publisher.distribute(space)
        await self._image_pull.bring(spec)
        await self._relay_tokens.bring(spec)
        await self._serve(spec)
        if self._rollouts.is_everywhere(spec.metadata.name):
            # pods that were made with them still need them: for another pull of their image, to deliver what they have booked
            await self._image_pull.take_back(spec)
            await self._relay_tokens.take_back(spec)
        await self._publisher.acknowledged(space)
        await self._api_keys.rotate(spec, publication)
        await self._certificate.bring(publication, now)
        return keys

    def forget(self, space: str) -> None:
        """Forgets a tenant that is gone."""
        self._keys.forget(space)

    def _tool_servers_are_unread(self, spec: Tenant) -> bool:
        """Tells whether a tool server that the tenant is granted was not looked at since the operator's start, as above."""
        return any(
            offer is None
            for offer in self._watched_state.offers_to(spec.metadata.name, spec.spec.tools).values()
        )

    async def _has_keys(self, publication: Publication) -> bool:
        """Tells whether keys of providers were handed out already, which routes alone do not: a Provider may need none."""
        space = publication.base.namespace
        is_asked = self._isolation.of(space).is_open
        return is_asked and await self._keys.are_handed_over(space)

    async def _serve(self, spec: Tenant) -> None:
        """Applies what serves the traffic; the number of pods is left to an autoscaler, or to nobody but the spec."""
        autoscaler = capacity.autoscaler(spec)
        if autoscaler is None:
            # one that is still there would undo the number that follows
            space = names.tenant_namespace(spec.metadata.name)
            await self._children.remove("HorizontalPodAutoscaler", space, names.RELAY)
        deployment = await self._rollouts.deployment(spec)
        try:
            await self._apply_all(
                tenant.relay(spec, deployment), fewest_pods=spec.spec.relay.fewest_pods
            )
        except OperatorError as error:
            self._rollouts.note_unwritten(spec.metadata.name, str(error))
            raise
        self._rollouts.note_written(spec.metadata.name)
        if autoscaler is not None:
            await self._children.apply(autoscaler)

    async def seal_off(self, identity: Tenant) -> None:
        """Restores what keeps the tenant's pods apart from others; no spec is needed for it."""
        await self._apply_all(tenant.sealing_off(identity))

    async def _apply_all(self, manifests: Iterable[Manifest], *, fewest_pods: int = 0) -> bool:
        """Applies each; tells whether one took a write. A Deployment is made with that many pods, where it does not say.

        Raises the first error after all were tried, so that none keeps another from being repaired.
        """
        errors: list[OperatorError] = []
        wrote = False
        for manifest in manifests:
            try:
                first = workload.as_made(manifest, fewest_pods)
                wrote |= await self._children.apply(manifest, first=first)
            except OperatorError as error:
                errors.append(error)
        if errors:
            raise errors[0]
        return wrote

    def _used_providers(self, publication: Publication) -> set[str]:
        """Collects the providers of the routes in force, and those that others claim (before any weight), without those that
        are not open to the tenant.
        """
        claimed = self._watched_state.claims.claimed_in(publication.base.namespace)
        tenant = publication.tenant.metadata.name
        return {
            provider
            for provider in publication.used_providers() | claimed
            if self._watched_state.is_open(provider, tenant)
        }

    async def _close(self, publication: Publication) -> None:
        """Tells the relays first of what is taken away: a clear refusal comes before calls without a key or a way.

        What fails here is left to the rest of the reconcile, which reports it.
        """
        if publication.contents.takes_away:
            with suppress(ApiServerRefused, Conflict, Unavailable):
                await self._publisher.distribute(publication.base.namespace)

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
