"""Composes each tenant's document, seals it, pushes it to every relay pod and stores it in the ConfigMap."""

import asyncio
import logging
from collections.abc import Callable, Iterable
from functools import partial

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import seal
from relay_contract.document import Document, ProviderLimits, Route, TenantDocument
from relay_operator import names
from relay_operator.api.equal_parts import equal_names, with_equal_fields, with_equal_parts
from relay_operator.api.provider import Provider
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.packed import Packer
from relay_operator.cluster.relays import Pod, PushAnswer, Relays
from relay_operator.errors import DocumentRefused, NotLeading, Unavailable
from relay_operator.manifests import composition, credentials
from relay_operator.manifests.tools.tool_use import Granted
from relay_operator.reconcile.late_pushes import LatePushes
from relay_operator.reconcile.pod_pushes import PodPushes, Push
from relay_operator.reconcile.publishing import lowering, route_room
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.publishing.leadership import Alone, Lead, Leadership
from relay_operator.reconcile.publishing.publication import Publication, weights
from relay_operator.reconcile.publishing.signed_notes import SignedNotes
from relay_operator.reconcile.publishing.valid_spec import ValidSpecs
from relay_operator.reconcile.upstreams.replacements import is_held
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_DOCUMENT = "document"
"""What packs documents alike."""
_MOST_ROUNDS = 3
"""A pod may know a newer generation than we do (we lost our memory after a push); one round catches up."""
_PATIENCE_SECONDS = 0.25
"""A reconcile waits this long for a push, which goes on without it: a relay answers within milliseconds."""


class DocumentPublisher:
    """Keeps one Publication a tenant namespace. Composition is synchronous and from memory alone, so the newest
    decision always wins, whoever calls.
    """

    def __init__(
        self,
        *,
        relays: Relays,
        children: OwnedObjects,
        watched_state: WatchedState,
        signing_key: Ed25519PrivateKey,
        lead: Lead | None = None,
        late: LatePushes | None = None,
    ) -> None:
        self._leadership = Leadership(lead or Alone(), signing_key)
        self._late = late
        self._relays = relays
        self._children = children
        self._watched_state = watched_state
        self._signing_key = signing_key
        self.valid_specs = ValidSpecs(signing_key)
        self.template_notes = SignedNotes(signing_key, purpose="pod template")
        self._packer = Packer()
        self._publications: dict[str, Publication] = {}
        self.holds_quota: Callable[[str], bool] = lambda _: False
        """Tells whether nobody may have more of a Provider's quota yet than what an earlier life of the operator gave."""

    def publication(self, namespace: str) -> Publication | None:
        return self._publications.get(namespace)

    def weight_is_stored(self, namespace: str, route: str) -> bool:
        """Tells whether a weight in force would survive the operator, and the next one could be stored."""
        publication = self._publications.get(namespace)
        if publication is None:
            return True
        return self._leadership.leads and publication.weight_is_stored(route)

    def taken_over(self, namespace: str, route: str) -> Route | None:
        """Returns, once, a route of which relays had less weight in force than this life of the operator knew."""
        publication = self._publications.get(namespace)
        if publication is None or route not in publication.taken_over:
            return None
        publication.taken_over = equal_names(publication.taken_over - {route})
        return publication.fragments.get(route)

    def begin(self, tenant: Tenant, base: TenantDocument, stored: str) -> Publication:
        """Starts from what the ConfigMap holds, so that generation and last good fragments outlive the operator."""
        space = names.tenant_namespace(tenant.metadata.name)
        pushes = PodPushes(partial(self._push_ended, space))
        publication = Publication(tenant=tenant, base=base, contents=Contents(space), pushes=pushes)
        found = self._unsealed(tenant, stored)
        if found is not None:
            known, digest = found
            publication.contents = Contents(space, known.tenant.routes, known.catalogue.providers)
            publication.changed_in = {route.name: (route, 0) for route in known.tenant.routes}
            publication.stored_weights = weights(known)
            publication.generation = publication.written_generation = known.generation
            publication.document, publication.digest = known, digest
            publication.envelope = self._packer.pack_text(stored, kind=_DOCUMENT)
            publication.tools = Granted(use=publication.tools_in_force)
            publication.not_to_exceed = {
                one.name: one.limits
                for one in known.catalogue.providers
                if one.limits != ProviderLimits()
            }
            # what is in force was reachable when it came into force
            publication.reachable = equal_names(publication.providers)
        self._publications[space] = publication
        self._watched_state.note_in_force(space, publication.providers)
        return publication

    def resume(self, tenant: Tenant, stored: str) -> Publication | None:
        """Starts from what the ConfigMap holds alone: for a tenant whose spec or keys are not known yet.

        None without a document of this tenant.
        """
        found = self._unsealed(tenant, stored)
        return None if found is None else self.begin(tenant, found[0].tenant, stored)

    def _unsealed(self, tenant: Tenant, stored: str) -> tuple[Document, str] | None:
        try:
            known, digest = seal.unseal(stored, [self._signing_key.public_key()])
        except seal.DocumentRejected:
            return None
        if known.tenant.uid != tenant.metadata.uid:
            return None
        self._leadership.meet(known)
        return _lean(known), digest

    def forget(self, namespace: str) -> None:
        self._publications.pop(namespace, None)
        self._watched_state.note_in_force(namespace, ())

    def set_weight(
        self,
        namespace: str,
        route: str,
        percent: int,
        *,
        preflight: str | None = None,
        copies: bool = True,
    ) -> None:
        """Changes in memory the weight of a canary and whether it is to be probed; distribute() publishes it.

        Without copies no call is copied to it any more; with them it stays as it was.
        """
        publication = self._publications.get(namespace)
        if publication is not None and route in publication.fragments:
            fragment = publication.fragments[route]
            changed = fragment.model_copy(
                update={
                    "canary_percent": percent,
                    "preflight": preflight if fragment.canary is not None else None,
                    "shadow_percent": fragment.shadow_percent if copies else 0,
                }
            )
            publication.contents.put(changed)

    def refresh_providers(
        self, publication: Publication, named: Iterable[str] | None = None
    ) -> None:
        """Composes the parts, with the tenant's share, of the named providers, or of all those in use.

        A provider that cannot be used any more stays as it last was while a route uses it. One that has become too large
        stays too, but for its limits and key: what the others have in force comes first. One that was made again as another
        upstream stays what it was while a route has not moved. Of one that is not open to the tenant any more nothing stays.
        """
        usable = self._watched_state.usable_providers()
        tenant, contents = publication.tenant.metadata.name, publication.contents
        if named is None:
            named = contents.used_providers()
            publication.outgrown = equal_names(publication.outgrown & named)
        for name in sorted(named):
            if not self._watched_state.is_open(name, tenant):
                self._close(name, contents)
                continue
            if name not in usable or is_held(publication, name, self._watched_state):
                continue
            share = self._watched_state.provider_share(name, tenant)
            part = contents.part(usable[name], share=share)
            if name in publication.not_to_exceed and self.holds_quota(name):
                limits = self.limits_of(publication, usable[name], share=share)
                part = part.model_copy(update={"limits": limits})
            publication.outgrown = equal_names(publication.outgrown - {name})
            if contents.uses(name) and route_room.grown_too_large(part, contents):
                publication.outgrown |= {name}
                taken = {"limits": part.limits, "auth": part.auth}
                part = publication.providers[name].model_copy(update=taken)
            contents.put_provider(part)

    def limits_of(
        self, publication: Publication, provider: Provider, *, share: float
    ) -> ProviderLimits:
        """Returns the part of a quota that the document is to have: no more than what an earlier life gave, while that counts."""
        limits = composition.provider_limits(provider, share=share)
        most = publication.not_to_exceed.get(provider.metadata.name)
        if most is None or not self.holds_quota(provider.metadata.name):
            return limits
        return composition.lower_limits(limits, most)

    def close_providers(self, publication: Publication) -> bool:
        """Closes in memory the providers in use that are not open to the tenant (any more); True when one was open before."""
        tenant, contents, closed = publication.tenant.metadata.name, publication.contents, False
        for name in sorted(contents.used_providers()):
            if not self._watched_state.is_open(name, tenant):
                closed |= self._close(name, contents)
        return closed

    @staticmethod
    def _close(name: str, contents: Contents) -> bool:
        known = contents.providers.get(name)
        if known is None or known.closed:
            return False
        contents.put_provider(composition.closed_part(known))
        return True

    def count_acknowledged(self, namespace: str) -> tuple[int, int]:
        """Counts the tenant's relay pods that run the newest document, and all that are not terminating."""
        pods = [pod for pod in self._watched_state.relay_pods(namespace) if not pod.terminating]
        publication = self._publications.get(namespace)
        if publication is None:
            return 0, len(pods)
        return sum(publication.has_acknowledged(pod) for pod in pods), len(pods)

    def are_first_asked(self, namespace: str) -> bool:
        """Tells whether a pod of the tenant is still to answer the first push of this life of the operator, or to fail."""
        publication = self._publications.get(namespace)
        if publication is None:
            return False
        pods = [pod for pod in self._watched_state.relay_pods(namespace) if not pod.terminating]
        behind = (pod for pod in pods if not publication.has_acknowledged(pod))
        return publication.pushes.await_first(behind)

    async def acknowledged(self, namespace: str) -> tuple[int, int]:
        """Counts as count_acknowledged does, after one more distribution when a pod runs an older document.

        Somebody else may have composed a newer one a moment ago: its pushes are waited for, so that a status never
        tells of a gap that closes by itself within milliseconds.
        """
        acknowledged, pods = self.count_acknowledged(namespace)
        if acknowledged < pods:
            await self.distribute(namespace, at_once=False)
        return self.count_acknowledged(namespace)

    def pause_seconds(self, publication: Publication, route: str) -> float:
        """Returns how long the newest form of a route, and of its Providers, has to wait for the next composition.

        0 once they are in one.
        """
        contents = publication.contents
        is_composed = route not in contents.unpublished and not contents.providers_changed
        return 0.0 if is_composed else publication.pause_seconds()

    async def distribute(self, namespace: str, *, at_once: bool = True) -> None:
        """Pushes the newest composition to every pod and stores it in the ConfigMap.

        What changed is composed before: at once, or if the pace of this tenant's documents allows one now.
        Pods that do not answer are left for the next call (and for the kubelet's refresh of the mount); the
        ConfigMap write may raise Unavailable, Conflict or ApiServerRefused after all pushes have been tried.
        """
        publication = self._publications.get(namespace)
        if publication is None:
            return
        if at_once or not publication.pause_seconds():
            self._compose(publication)
        writing: asyncio.Task[None] | None = None
        if publication.written_generation < publication.generation:
            writing = asyncio.create_task(self._write(publication))
        await self._push_all(publication)
        if writing is not None:
            await writing
        # also when nothing is new: somebody may have edited the ConfigMap
        await self._write(publication)

    def push(self, namespace: str) -> None:
        """Starts to push the newest composition to every pod, and waits for nothing; distribute() stores it."""
        publication = self._publications.get(namespace)
        if publication is not None:
            self._compose(publication)
            publication.pushes.start(*self._behind(publication))

    def push_again(self, namespace: str) -> None:
        """Starts to push what was composed last to every pod that lacks it."""
        publication = self._publications.get(namespace)
        if publication is not None:
            publication.pushes.start(*self._behind(publication))

    def _push_ended(self, namespace: str, again_at: float | None) -> None:
        if self._late is None or namespace not in self._publications:
            return
        if again_at is None:
            self._late.note_late(namespace)
        else:
            self._late.note(namespace, again_at)

    def _compose(self, publication: Publication) -> None:
        """Composes and seals the document anew if anything of it changed; what is noted of the spec goes with it.

        Without a certain lead it only takes weight away.
        """
        if not self._leadership.leads:
            self._compose_lower(publication)
            return
        publication.settle_spec_note()
        document, contents = publication.document, publication.contents
        pods = self._watched_state.relay_pods(publication.base.namespace)
        asks = publication.may_ask_for_preflights(pods)
        is_another = document is None or publication.composed_base != publication.base
        is_another = is_another or publication.lowered is not None
        is_another = is_another or publication.composed_servers != publication.tools.use.servers
        if not is_another and asks == publication.asked_for_preflights and not contents.is_changed:
            return
        composed = composition.whole_document(
            publication.base if asks else publication.for_earlier_relays(),
            publication.fragments.values() if asks else publication.without_preflights(),
            publication.providers if asks else publication.providers_for_earlier_relays(),
            generation=max(publication.generation, 1),
            epoch=document.epoch if document and asks else 0,
            tool_servers=publication.tools.use.servers,
            last=self._watched_state.outranked(
                publication.base.namespace, publication.fragments.values()
            ),
        )
        changed = contents.unpublished.copy()
        contents.note_published()
        publication.composed_base, publication.lowered = publication.base, None
        publication.composed_servers = publication.tools.use.servers
        publication.asked_for_preflights = asks
        if composed == document:
            return
        self._watched_state.note_in_force(
            publication.base.namespace, (one.name for one in composed.catalogue.providers)
        )
        # what an earlier version of a relay does not know would keep it from taking any change
        self._seal(publication, composed, epoch=self._leadership.epoch if asks else 0)
        for name in changed:
            publication.note_change(name)

    def _compose_lower(self, publication: Publication) -> None:
        lower = lowering.lowered(publication)
        if lower is not None:
            self._seal(publication, lower, epoch=self._leadership.epoch if lower.epoch else 0)
            publication.lowered = publication.document
            for route in lower.tenant.routes:
                known = publication.changed_in.get(route.name)
                if known is None or known[0].canary_percent != route.canary_percent:
                    publication.changed_in[route.name] = route, publication.generation

    def _seal(self, publication: Publication, composed: Document, *, epoch: int) -> None:
        publication.generation += 1
        composed = composed.model_copy(
            update={"generation": publication.generation, "epoch": epoch}
        )
        payload = publication.texts.payload(composed)
        publication.document = _lean(composed)
        sealed = seal.seal_payload(payload, self._signing_key)
        publication.envelope = self._packer.pack_text(sealed, kind=_DOCUMENT)
        publication.digest = seal.payload_digest(payload)
        publication.pace.spend(len(sealed), asyncio.get_running_loop().time())

    async def _push_all(self, publication: Publication) -> None:
        """Sees to it that every pod that is behind is being pushed to, and waits a moment for the answers."""
        await publication.pushes.wait_for(
            *self._behind(publication), patience_seconds=_PATIENCE_SECONDS
        )

    def _behind(self, publication: Publication) -> tuple[list[Pod], Push]:
        """Returns the pods to push to, and how; forgets those that are gone."""
        namespace = names.tenant_namespace(publication.tenant.metadata.name)
        pods = self._watched_state.relay_pods(namespace)
        alive = {(pod.uid, pod.incarnation) for pod in pods}
        for gone in publication.acknowledged.keys() - alive:
            del publication.acknowledged[gone]
            publication.told_since.discard(gone)
            publication.certain.pop(gone, None)
        publication.refused_by = publication.refused_by and publication.refused_by & alive
        publication.pushes.forget_all_but(pods)
        behind = [pod for pod in pods if publication.is_behind(pod)]
        return behind, lambda pod: self._bring_up_to_date(publication, pod)

    async def _bring_up_to_date(self, publication: Publication, pod: Pod) -> bool:
        """Pushes until the pod runs the newest document, also one that is composed meanwhile; False when that failed."""
        for _ in range(_MOST_ROUNDS):
            if self._watched_state.is_others(publication.base.namespace):
                # told of a later leader, this one would go beyond its number, with a document of before
                return False
            is_up_to_date = await self._push_once(publication, pod)
            if is_up_to_date is not None:
                return is_up_to_date
        return False

    async def _push_once(self, publication: Publication, pod: Pod) -> bool | None:
        """Pushes the newest document; tells whether the pod runs it, and None where there is a newer one by now."""
        digest, generation = publication.digest, publication.generation
        document, lowers = publication.document, self._is_brake(publication, pod)
        try:
            answer = await self._relays.push(
                pod, publication.sealed, leader=self._leadership.shown(), lowers=lowers
            )
        except Unavailable as error:
            if document is not None:
                self._note_failure(publication, pod, document, error)
            if isinstance(error, DocumentRefused) and publication.digest != digest:
                return None
            # a pod that is only starting does not answer yet
            level = logging.WARNING if pod.ready else logging.DEBUG
            logger.log(
                level, "document not acknowledged", extra={"pod": pod.name, "why": str(error)}
            )
            return False
        self._leadership.hear_of(answer.leader)
        if answer.acknowledgement.digest == digest:
            publication.note_acknowledged(pod, answer.acknowledgement, document)
        elif publication.generation == generation and not self._overtake(publication, pod, answer):
            return False
        return True if publication.digest == digest else None

    def _is_brake(self, publication: Publication, pod: Pod) -> bool:
        """Tells whether the newest document has to be pushed without a certain lead, and only takes weight away from what the pod has."""
        if self._leadership.leads or publication.document is None:
            return False
        certain = publication.certain.get((pod.uid, pod.incarnation))
        return certain is not None and lowering.only_lowers(certain, publication.document)

    def _note_failure(
        self, publication: Publication, pod: Pod, pushed: Document, error: Unavailable
    ) -> None:
        key = pod.uid, pod.incarnation
        certain = publication.certain.get(key)
        has_left = not isinstance(error, NotLeading)
        if has_left and certain is not None and not lowering.only_lowers(certain, pushed):
            # it may have come into force or not
            del publication.certain[key]
        if isinstance(error, DocumentRefused):
            self._note_refusal(publication, pod)

    def _note_refusal(self, publication: Publication, pod: Pod) -> None:
        """Composes without preflights, next keys, what resources are held to, prices that are not plain, answers that are read on and the
        leader's number, until the pod has gone, where it may be them that it does not know.
        """
        if publication.asked_for_preflights:
            publication.refused_by |= {(pod.uid, pod.incarnation)}
            self._compose(publication)

    def _overtake(self, publication: Publication, pod: Pod, answer: PushAnswer) -> bool:
        """Composes anew above a document that a lost life of ours has published; False when the pod shows none.

        A pod is believed what our signature on the document that it keeps shows, and nothing else.
        """
        try:
            kept, _ = seal.unseal(answer.kept, [self._signing_key.public_key()])
        except seal.DocumentRejected:
            return False
        if kept.tenant.uid != publication.tenant.metadata.uid:
            return False
        self._leadership.meet(kept)
        publication.certain.pop((pod.uid, pod.incarnation), None)
        if kept.generation < publication.generation or not self._leadership.leads:
            return False
        for lower in lowering.taken_over(publication, kept):
            publication.contents.put(lower)
            publication.taken_over |= {lower.name}
        publication.generation, publication.document = kept.generation, None
        self._compose(publication)
        return True

    async def _write(self, publication: Publication) -> None:
        async with publication.write_lock:
            generation, sealed = publication.generation, publication.sealed
            document = publication.document
            await self._children.apply(
                credentials.document_configmap(
                    publication.tenant, sealed, spec_note=publication.spec_note
                )
            )
            publication.written_generation = generation
            if document is not None and document is not publication.stored_document:
                publication.stored_document = document
                publication.stored_weights = weights(document)


def _lean(document: Document) -> Document:
    """Returns the same document, with one object for what others have as well."""
    with_equal_parts(document.tenant)
    with_equal_parts(document.catalogue)
    return with_equal_fields(document)
