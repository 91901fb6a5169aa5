"""The document that is built for one tenant, and what is known of the pods that run it."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relay_contract.document import (
    Acknowledgement,
    Document,
    Provider,
    ProviderLimits,
    Route,
    ServedCertificate,
    TenantDocument,
)
from relay_contract.tools.tool_server import ToolServer
from relay_operator.api.equal_parts import with_equal_fields
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.packed import Packed
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.decisions.api_keys.withdrawal import without_next
from relay_operator.decisions.relay_pods.certificate import SecretCertificate
from relay_operator.manifests.document_text import Texts
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.ledger import spending
from relay_operator.manifests.tools.tool_use import Granted, ToolUse, without_held
from relay_operator.reconcile.pod_pushes import PodPushes
from relay_operator.reconcile.publishing.contents import Contents
from relay_operator.reconcile.publishing.demand import Demand
from relay_operator.reconcile.publishing.pace import Pace

Weight = tuple[str, int]
"""A canary's fingerprint, empty without a canary, and its percent."""


@dataclass(slots=True)
class Publication:
    """The document that is built for one tenant, and which pods have acknowledged it.

    contents are the last good routes, with the weights in force, and their Providers; reachable are the providers
    whose network policy and key are in place, upstreams the addresses that the policy opens the way to (None until
    those of an earlier life of the operator are read). composed_base is the tenant's part in the newest composition
    of this life of the operator, reported_generation is the one that the Tenant's status tells; changed_in keeps, by
    route, its newest form with the generation that brought it (0 when an earlier life of the operator did).
    envelope is the newest document, sealed, which with a Provider of hundreds of models is a hundred KiB;
    stored_document is the one that was written into the ConfigMap last, stored_weights are those that stand there.
    without_room are the routes for which the document had no room when they were last looked at, certificate the one
    in the Secret that the tenant names for TLS, told_since the pods that have told what they serve since that
    changed, refused_by those that refused a document that asked for preflights, as a relay of an earlier version does,
    asked_for_preflights tells whether the newest composition did, missing_keys says of providers what their key lacks (None until keys were read), api_keys what the last
    look at the tenant's own keys found, spec_note is the last
    valid spec as the ConfigMap is to hold it, empty while it is not known (tenant is then nobody's wish), newest_note
    the one that it becomes with the next composition, outgrown the Providers whose models are not those of their spec for the same reason. callers_went tells that the spec takes
    callers away that a network policy in force may still let in. certain is the document that each pod certainly has in
    force; lowered is the newest composition where that only took weight away, because the lead was not certain;
    taken_over are the routes of which pods had less weight in force than this life of the operator knew. not_to_exceed are the
    parts of Providers' quotas that an earlier life of the operator gave, by Provider, while others may have more than their own.
    tools is what the tenant's grants come to, composed_servers are the tool servers of the newest composition,
    tool_upstreams their addresses as the network policy opens the way to them.
    """

    tenant: Tenant
    base: TenantDocument
    contents: Contents
    generation: int = 0
    document: Document | None = None
    composed_base: TenantDocument | None = None
    envelope: Packed = field(default_factory=Packed)
    digest: str = ""
    acknowledged: dict[tuple[str, int], Acknowledgement] = field(default_factory=dict)
    reachable: frozenset[str] = frozenset()
    upstreams: dict[str, Upstream] | None = None
    written_generation: int = 0
    reported_generation: int = 0
    changed_in: dict[str, tuple[Route, int]] = field(default_factory=dict)
    stored_document: Document | None = None
    stored_weights: dict[str, Weight] = field(default_factory=dict)
    without_room: frozenset[str] = frozenset()
    certificate: SecretCertificate | None = None
    told_since: set[tuple[str, int]] = field(default_factory=set)
    refused_by: frozenset[tuple[str, int]] = frozenset()
    asked_for_preflights: bool = True
    missing_keys: Mapping[str, str] | None = None
    api_keys: ApiKeys = field(default_factory=ApiKeys)
    spec_note: str = ""
    newest_note: str = ""
    outgrown: frozenset[str] = frozenset()
    demand: Demand = field(default_factory=Demand)
    texts: Texts = field(default_factory=Texts)
    pace: Pace = field(default_factory=Pace)
    write_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    pushes: PodPushes = field(default_factory=PodPushes)
    callers_went: bool = False
    certain: dict[tuple[str, int], Document] = field(default_factory=dict)
    lowered: Document | None = None
    taken_over: frozenset[str] = frozenset()
    not_to_exceed: dict[str, ProviderLimits] = field(default_factory=dict)
    tools: Granted = field(default_factory=Granted)
    composed_servers: tuple[ToolServer, ...] = ()
    tool_upstreams: tuple[Upstream, ...] = ()

    @property
    def sealed(self) -> str:
        """The newest document as it is pushed and stored, unpacked at each call; empty before the first."""
        return self.envelope.text()

    def renew_connections(self) -> None:
        """Lets relays close the connections that were made before the present policy."""
        self.base = self.base.model_copy(update={"renewals": self.base.renewals + 1})
        self.callers_went = False

    def settle_spec_note(self) -> None:
        """Lets the ConfigMap hold the newest valid spec, unless callers that it takes away may still be let in.

        The next life of the operator finds out by the earlier one that their connections have to be closed.
        """
        if not self.callers_went or not self.spec_note:
            self.spec_note = self.newest_note

    def note_change(self, name: str) -> None:
        """Keeps the generation that brings the newest form of a route."""
        route = self.fragments.get(name)
        if route is None:
            self.changed_in.pop(name, None)
        elif self.changed_in.get(name, (None, 0))[0] != route:
            self.changed_in[name] = route, self.generation

    def route_generation(self, route: str) -> int:
        """Returns the generation that brought the newest form of a route; 0 when this life of the operator did not."""
        return self.changed_in[route][1] if route in self.changed_in else 0

    def weight_is_stored(self, route: str) -> bool:
        """Tells whether the weight in force is in the ConfigMap, where the next life of the operator finds it."""
        fragment = self.fragments.get(route)
        return fragment is None or self.stored_weights.get(route) == weight(fragment)

    @property
    def fragments(self) -> Mapping[str, Route]:
        """The routes of contents."""
        return self.contents.fragments

    @property
    def providers(self) -> Mapping[str, Provider]:
        """The Providers of contents."""
        return self.contents.providers

    @property
    def opened(self) -> tuple[Upstream, ...]:
        """Everything that the tenant's network policy opens the way to."""
        return (*(self.upstreams or {}).values(), *self.tool_upstreams)

    def used_providers(self) -> set[str]:
        """Returns the providers that the routes in force can send to."""
        return self.contents.used_providers()

    def pause_seconds(self) -> float:
        """Returns how long what changed has to wait until it is composed; 0 when it may be at once."""
        now = asyncio.get_running_loop().time()
        return self.pace.wait_seconds(now, takes_away=self.contents.takes_away)

    def has_acknowledged(self, pod: Pod) -> bool:
        """Tells whether the pod runs the newest document and holds every provider key it needs."""
        answer = self.acknowledged.get((pod.uid, pod.incarnation))
        return answer is not None and answer.digest == self.digest and not answer.missing_keys

    def note_acknowledged(
        self, pod: Pod, answer: Acknowledgement, document: Document | None
    ) -> None:
        """Takes in that the pod has this document in force."""
        key = pod.uid, pod.incarnation
        # its parts are what a tenant's pod tells: they push nothing out that others share
        self.acknowledged[key] = with_equal_fields(answer)
        self.told_since.add(key)
        if document is not None:
            self.certain[key] = document

    def runs_newest(self, pod: Pod) -> bool:
        """Tells whether the pod runs the newest document, with every provider key or without."""
        answer = self.acknowledged.get((pod.uid, pod.incarnation))
        return answer is not None and answer.digest == self.digest

    def may_ask_for_preflights(self, pods: Iterable[Pod]) -> bool:
        """Tells whether no pod that stays would refuse a document because of them, and with it every other change."""
        return not any(
            (pod.uid, pod.incarnation) in self.refused_by for pod in pods if not pod.terminating
        )

    def without_preflights(self) -> list[Route]:
        """Returns the routes with no canary that is to be probed."""
        return [
            route if route.preflight is None else route.model_copy(update={"preflight": None})
            for route in self.fragments.values()
        ]

    def for_earlier_relays(self) -> TenantDocument:
        """Returns the tenant's part with no key that is only to come, resources granted by their URIs alone, and plain prices."""
        changed = {
            "keys": without_next(self.base.keys),
            "tools": without_held(self.base.tools),
            "spending": spending.for_earlier_relays(self.base.spending),
        }
        is_other = any(getattr(self.base, name) != value for name, value in changed.items())
        return self.base.model_copy(update=changed) if is_other else self.base

    def providers_for_earlier_relays(self) -> dict[str, Provider]:
        """Returns the Providers with no word on answers whose caller has left."""
        return {
            name: one if one.drain is None else one.model_copy(update={"drain": None})
            for name, one in self.providers.items()
        }

    @property
    def tools_in_force(self) -> ToolUse:
        """What the newest document has of tools."""
        if self.document is None:
            return ToolUse()
        return ToolUse(
            manifest=self.document.tenant.tools, servers=self.document.catalogue.tool_servers
        )

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


def weights(document: Document) -> dict[str, Weight]:
    """Returns the weight of each route's canary."""
    return {route.name: weight(route) for route in document.tenant.routes}


def weight(route: Route) -> Weight:
    """Returns the weight of a route's canary."""
    return route.canary.fingerprint if route.canary else "", route.canary_percent
