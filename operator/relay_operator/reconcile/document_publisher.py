"""Composes each tenant's document, seals it, pushes it to every relay pod and stores it in the ConfigMap."""

import asyncio
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_contract import seal
from relay_contract.document import (
    Acknowledgement,
    Document,
    Provider,
    Route,
    ServedCertificate,
    TenantDocument,
    canonical_payload,
)
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.relays import Pod, PushAnswer, Relays
from relay_operator.decisions.relay_pods.certificate import SecretCertificate
from relay_operator.errors import Unavailable
from relay_operator.manifests import composition, credentials
from relay_operator.manifests.environment import Upstream
from relay_operator.reconcile.pod_pushes import PodPushes
from relay_operator.reconcile.publishing import route_room
from relay_operator.reconcile.publishing.route_room import Contents, Sizes
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

_MOST_ROUNDS = 3
"""A pod may know a newer generation than we do (we lost our memory after a push); one round catches up."""
_PATIENCE_SECONDS = 0.25
"""A reconcile waits this long for a push, which goes on without it: a relay answers within milliseconds."""

Weight = tuple[str, int]
"""A canary's fingerprint, empty without a canary, and its percent."""


@dataclass(slots=True)
class Publication:
    """The document that is built for one tenant, and which pods have acknowledged it.

    fragments are the last good ones, with the weights in force; reachable are the providers whose network policy and
    key are in place, upstreams the addresses that the policy opens the way to (None until those of an earlier life of
    the operator are read). reported_generation is the one that the Tenant's status tells; changed_in keeps, by route,
    its newest form with the generation that brought it (0 when an earlier life of the operator did). stored_weights
    are those of the document in the ConfigMap. without_room are the routes for which the document had no room when they
    were last looked at, certificate the one in the Secret that the tenant names for TLS, told_since
    the pods that have told what they serve since that changed, missing_keys says of providers what their key lacks
    (None until keys were read),
    outgrown the Providers whose models are not those of their spec for the same reason.
    """

    tenant: Tenant
    base: TenantDocument
    fragments: dict[str, Route] = field(default_factory=dict)
    providers: dict[str, Provider] = field(default_factory=dict)
    generation: int = 0
    document: Document | None = None
    sealed: str = ""
    digest: str = ""
    acknowledged: dict[tuple[str, int], Acknowledgement] = field(default_factory=dict)
    reachable: frozenset[str] = frozenset()
    upstreams: dict[str, Upstream] | None = None
    written_generation: int = 0
    reported_generation: int = 0
    changed_in: dict[str, tuple[Route, int]] = field(default_factory=dict)
    stored_weights: dict[str, Weight] = field(default_factory=dict)
    without_room: set[str] = field(default_factory=set)
    certificate: SecretCertificate | None = None
    told_since: set[tuple[str, int]] = field(default_factory=set)
    missing_keys: Mapping[str, str] | None = None
    outgrown: set[str] = field(default_factory=set)
    sizes: Sizes = field(default_factory=Sizes)
    write_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pushes: PodPushes = field(default_factory=PodPushes)

    def route_generation(self, route: str) -> int:
        """Returns the generation that brought the newest form of a route; 0 when this life of the operator did not."""
        return self.changed_in[route][1] if route in self.changed_in else 0

    def weight_is_stored(self, route: str) -> bool:
        """Tells whether the weight in force is in the ConfigMap, where the next life of the operator finds it."""
        fragment = self.fragments.get(route)
        return fragment is None or self.stored_weights.get(route) == _weight(fragment)

    @property
    def contents(self) -> Contents:
        """Returns what takes room in the document."""
        return Contents(self.base.namespace, self.fragments, self.providers, self.sizes)

    def used_providers(self) -> set[str]:
        """Returns the providers that the routes in force can send to."""
        return {
            side.provider for route in self.fragments.values() for side in composition.sides(route)
        }

    def has_acknowledged(self, pod: Pod) -> bool:
        """Tells whether the pod runs the newest document and holds every provider key it needs."""
        answer = self.acknowledged.get((pod.uid, pod.incarnation))
        return answer is not None and answer.digest == self.digest and not answer.missing_keys

    def served_certificate(self, pod: Pod) -> ServedCertificate | None:
        """Returns what the pod said of the certificate that it serves; None while it has said nothing."""
        answer = self.acknowledged.get((pod.uid, pod.incarnation))
        return answer.tls if answer is not None else None

    def is_behind(self, pod: Pod) -> bool:
        """Tells whether the pod has to be pushed to: it has not acknowledged, or may serve another certificate by now."""
        if not self.has_acknowledged(pod):
            return True
        if self.certificate is None:
            return False
        if not self.certificate.digest:
            # nothing to bring: it is enough to know what the pod goes on with
            return (pod.uid, pod.incarnation) not in self.told_since
        served = self.served_certificate(pod)
        return served is None or served.digest != self.certificate.digest

    def lacks_key(self, provider: str, pods: Iterable[Pod]) -> bool:
        """Tells whether a pod has not yet acknowledged that it holds this provider's key."""
        answers = [self.acknowledged.get((pod.uid, pod.incarnation)) for pod in pods if pod.ready]
        known = (
            {listed.name for listed in self.document.catalogue.providers}
            if self.document
            else set()
        )
        return provider not in known or any(
            answer is None or provider in answer.missing_keys for answer in answers
        )


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
    ) -> None:
        self._relays = relays
        self._children = children
        self._watched_state = watched_state
        self._signing_key = signing_key
        self._publications: dict[str, Publication] = {}

    def publication(self, namespace: str) -> Publication | None:
        return self._publications.get(namespace)

    def weight_is_stored(self, namespace: str, route: str) -> bool:
        """Tells whether a weight in force would survive the operator."""
        publication = self._publications.get(namespace)
        return publication is None or publication.weight_is_stored(route)

    def begin(self, tenant: Tenant, base: TenantDocument, stored: str) -> Publication:
        """Starts from what the ConfigMap holds, so that generation and last good fragments outlive the operator."""
        publication = Publication(tenant=tenant, base=base)
        found = self._unsealed(tenant, stored)
        if found is not None:
            known, digest = found
            publication.fragments = {route.name: route for route in known.tenant.routes}
            publication.changed_in = {route.name: (route, 0) for route in known.tenant.routes}
            publication.stored_weights = _weights(known)
            publication.providers = {
                provider.name: provider for provider in known.catalogue.providers
            }
            publication.generation = publication.written_generation = known.generation
            publication.document, publication.sealed, publication.digest = known, stored, digest
            # what is in force was reachable when it came into force
            publication.reachable = frozenset(publication.providers)
        namespace = names.tenant_namespace(tenant.metadata.name)
        self._publications[namespace] = publication
        self._watched_state.note_in_force(namespace, publication.providers)
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
        return (known, digest) if known.tenant.uid == tenant.metadata.uid else None

    def forget(self, namespace: str) -> None:
        self._publications.pop(namespace, None)
        self._watched_state.note_in_force(namespace, ())

    def set_weight(self, namespace: str, route: str, percent: int) -> None:
        """Changes one weight in memory; distribute() publishes it."""
        publication = self._publications.get(namespace)
        if publication is not None and route in publication.fragments:
            fragment = publication.fragments[route]
            publication.fragments[route] = fragment.model_copy(update={"canary_percent": percent})

    def refresh_providers(self, publication: Publication, named: Iterable[str] = ()) -> None:
        """Composes the parts, with the tenant's share, of the named providers and of those in use.

        A provider that cannot be used any more stays as it last was while a route uses it. One that has become too large
        stays too, but for its limits and key: what the others have in force comes first.
        """
        usable = self._watched_state.usable_providers()
        tenant = publication.tenant.metadata.name
        used = publication.used_providers()
        publication.outgrown &= used
        for name in sorted(used | set(named)):
            if name not in usable:
                continue
            share = self._watched_state.provider_share(name, tenant)
            part = composition.provider_part(usable[name], share=share)
            publication.outgrown.discard(name)
            if name in used and route_room.grown_too_large(part, publication.contents):
                publication.outgrown.add(name)
                taken = {"limits": part.limits, "auth": part.auth}
                part = publication.providers[name].model_copy(update=taken)
            publication.providers[name] = part

    def count_acknowledged(self, namespace: str) -> tuple[int, int]:
        """Counts the tenant's relay pods that run the newest document, and all that are not terminating."""
        pods = [pod for pod in self._watched_state.relay_pods(namespace) if not pod.terminating]
        publication = self._publications.get(namespace)
        if publication is None:
            return 0, len(pods)
        return sum(publication.has_acknowledged(pod) for pod in pods), len(pods)

    async def acknowledged(self, namespace: str) -> tuple[int, int]:
        """Counts as count_acknowledged does, after one more distribution when a pod runs an older document.

        Somebody else may have composed a newer one a moment ago: its pushes are waited for, so that a status never
        tells of a gap that closes by itself within milliseconds.
        """
        acknowledged, pods = self.count_acknowledged(namespace)
        if acknowledged < pods:
            await self.distribute(namespace)
        return self.count_acknowledged(namespace)

    async def distribute(self, namespace: str) -> None:
        """Pushes the newest composition to every pod and stores it in the ConfigMap.

        Pods that do not answer are left for the next call (and for the kubelet's refresh of the mount); the
        ConfigMap write may raise Unavailable, Conflict or ApiServerRefused after all pushes have been tried.
        """
        publication = self._publications.get(namespace)
        if publication is None:
            return
        self._compose(publication)
        writing: asyncio.Task[None] | None = None
        if publication.written_generation < publication.generation:
            writing = asyncio.create_task(self._write(publication))
        await self._push_all(publication)
        if writing is not None:
            await writing
        # also when nothing is new: somebody may have edited the ConfigMap
        await self._write(publication)

    def _compose(self, publication: Publication) -> None:
        composed = composition.whole_document(
            publication.base,
            publication.fragments.values(),
            publication.providers,
            generation=max(publication.generation, 1),
        )
        if composed == publication.document:
            return
        publication.generation += 1
        for gone in publication.changed_in.keys() - publication.fragments.keys():
            del publication.changed_in[gone]
        for name, route in publication.fragments.items():
            if publication.changed_in.get(name, (None, 0))[0] != route:
                publication.changed_in[name] = (route, publication.generation)
        self._watched_state.note_in_force(
            names.tenant_namespace(publication.tenant.metadata.name),
            (provider.name for provider in composed.catalogue.providers),
        )
        publication.document = composed.model_copy(update={"generation": publication.generation})
        publication.sealed = seal.seal(publication.document, self._signing_key)
        publication.digest = seal.payload_digest(canonical_payload(publication.document))

    async def _push_all(self, publication: Publication) -> None:
        """Sees to it that every pod that is behind is being pushed to, and waits a moment for the answers."""
        namespace = names.tenant_namespace(publication.tenant.metadata.name)
        pods = self._watched_state.relay_pods(namespace)
        alive = {(pod.uid, pod.incarnation) for pod in pods}
        for gone in publication.acknowledged.keys() - alive:
            del publication.acknowledged[gone]
            publication.told_since.discard(gone)
        publication.pushes.forget_all_but(pods)
        behind = [pod for pod in pods if publication.is_behind(pod)]
        await publication.pushes.wait_for(
            behind,
            lambda pod: self._bring_up_to_date(publication, pod),
            patience_seconds=_PATIENCE_SECONDS,
        )

    async def _bring_up_to_date(self, publication: Publication, pod: Pod) -> bool:
        """Pushes until the pod runs the newest document, also one that is composed meanwhile; False when that failed."""
        for _ in range(_MOST_ROUNDS):
            digest, generation = publication.digest, publication.generation
            try:
                answer = await self._relays.push(pod, publication.sealed)
            except Unavailable as error:
                # a pod that is only starting does not answer yet
                level = logging.WARNING if pod.ready else logging.DEBUG
                logger.log(
                    level, "document not acknowledged", extra={"pod": pod.name, "why": str(error)}
                )
                return False
            if answer.acknowledgement.digest == digest:
                publication.acknowledged[(pod.uid, pod.incarnation)] = answer.acknowledgement
                publication.told_since.add((pod.uid, pod.incarnation))
            elif publication.generation == generation and not self._overtake(publication, answer):
                return False
            if publication.digest == digest:
                return True
        return False

    def _overtake(self, publication: Publication, answer: PushAnswer) -> bool:
        """Composes anew above a document that a lost life of ours has published; False when the pod shows none.

        A pod is believed what our signature on the document that it keeps shows, and nothing else.
        """
        try:
            kept, _ = seal.unseal(answer.kept, [self._signing_key.public_key()])
        except seal.DocumentRejected:
            return False
        if (
            kept.tenant.uid != publication.tenant.metadata.uid
            or kept.generation < publication.generation
        ):
            return False
        publication.generation, publication.document = kept.generation, None
        self._compose(publication)
        return True

    async def _write(self, publication: Publication) -> None:
        async with publication.write_lock:
            generation, sealed = publication.generation, publication.sealed
            document = publication.document
            await self._children.apply(credentials.document_configmap(publication.tenant, sealed))
            publication.written_generation = generation
            if document is not None:
                publication.stored_weights = _weights(document)


def _weights(document: Document) -> dict[str, Weight]:
    return {route.name: _weight(route) for route in document.tenant.routes}


def _weight(route: Route) -> Weight:
    return route.canary.fingerprint if route.canary else "", route.canary_percent
