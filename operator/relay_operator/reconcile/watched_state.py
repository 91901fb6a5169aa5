"""The cluster as the watches last showed it: custom resources, parsed, and relay pods.

A hint for reconciling, never a reason to delete.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import InitVar, dataclass, field
from functools import partial
from typing import Any

from relay_contract import document
from relay_operator import names
from relay_operator.api.custom_resource import Metadata
from relay_operator.api.equal_parts import equal_names
from relay_operator.api.provider import Provider
from relay_operator.api.relay_route import RelayRoute, match_as_written
from relay_operator.api.shards import Shards
from relay_operator.api.tenant import Queue, Relay, Tenant, Tools
from relay_operator.api.tiers import Tiers
from relay_operator.api.tool_server import ToolServer
from relay_operator.cluster.relays import Pod
from relay_operator.decisions import brake, conditions, route_acceptance, tenant_status
from relay_operator.decisions.relay_pods import load_balancer, troubles
from relay_operator.decisions.rollouts.changes import is_flying
from relay_operator.decisions.rollouts.deployments import Rollout, rollout_of
from relay_operator.decisions.route_acceptance import Claimant
from relay_operator.manifests import composable, probe_targets
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.tools.tool_use import Offers
from relay_operator.reconcile.fleet.relay_directory import RelayDirectory
from relay_operator.reconcile.publishing.route_conflicts import Conflicts
from relay_operator.reconcile.tools.tool_offers import ToolOffers
from relay_operator.reconcile.upstreams import route_claims
from relay_operator.reconcile.upstreams.claims import Party, ProviderClaims
from relay_operator.reconcile.upstreams.openness import Openness
from relay_operator.reconcile.upstreams.shown_secrets import ShownSecrets
from relay_operator.reconcile.watched_objects import Body, Invalid, Watched, WatchedObjects
from relay_operator.reconcile.watched_pods import WatchedPods

_MOST_TROUBLES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteNews:
    """Consequences of a change of one route: routes whose conflict changed, providers that gain or lose a tenant."""

    routes: frozenset[str]
    providers: frozenset[str]


@dataclass(slots=True)
class _Matches:
    """The conflicts of a namespace as of a revision of its routes; untold are the routes whose conflict changed since
    somebody was told.
    """

    revision: int = -1
    conflicts: Conflicts = field(default_factory=Conflicts)
    untold: frozenset[str] = frozenset()


@dataclass(slots=True)
class WatchedState:
    """upstreams are kept by provider, once resolved.

    are_tenants_listed tells that every Tenant has been shown: one that is not known is none.
    shards tell which Tenants are this operator's: it knows all of the cluster, among whom Providers are divided, and acts for its own.
    claims tell who has a part in which provider. resolved are the providers that were looked at since the operator's start: what is missing in upstreams has no
    address for certain only then.
    """

    tiers: InitVar[Tiers | None] = None
    cluster_domain: InitVar[str] = "cluster.local"
    shards: Shards = field(default_factory=Shards)
    tenants: WatchedObjects[Tenant] = field(init=False)
    providers: WatchedObjects[Provider] = field(init=False)
    tool_servers: WatchedObjects[ToolServer] = field(init=False)
    routes: WatchedObjects[RelayRoute] = field(
        default_factory=lambda: WatchedObjects(composable.route, mentions=_named_providers)
    )
    pods: WatchedPods = field(default_factory=WatchedPods)
    upstreams: dict[str, Upstream] = field(default_factory=dict)
    resolved: set[str] = field(default_factory=set)
    shown_secrets: ShownSecrets = field(default_factory=ShownSecrets)
    claims: ProviderClaims = field(init=False)
    directory: RelayDirectory = field(init=False)
    are_tenants_listed: bool = False
    _owned: dict[str, bool] = field(default_factory=dict)
    openness: Openness = field(default_factory=Openness)
    tool_offers: ToolOffers = field(default_factory=ToolOffers)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    _flying: set[str] = field(default_factory=set)
    _queued_rollouts: dict[str, tuple[Any, str]] = field(default_factory=dict)
    _resolutions: int = 0
    _undeployed: dict[str, str] = field(default_factory=dict)
    _entries: dict[str, str] = field(default_factory=dict)
    _services: dict[str, Body] = field(default_factory=dict)
    _matches: dict[str, _Matches] = field(default_factory=dict)
    _by_age: dict[str, tuple[int, tuple[RelayRoute, ...]]] = field(default_factory=dict)

    def __post_init__(self, tiers: Tiers | None, cluster_domain: str) -> None:
        parse = partial(composable.tenant, tiers=tiers or Tiers())
        self.tenants = WatchedObjects(parse, labels_count=True)
        self.providers = WatchedObjects(partial(composable.provider, cluster_domain=cluster_domain))
        self.tool_servers = WatchedObjects(
            partial(composable.tool_server, cluster_domain=cluster_domain)
        )
        self.claims = ProviderClaims(party=self._party)
        self.directory = RelayDirectory(self)
        self.pods.changed = self.directory.note
        # whose a namespace is stands in the status of its Tenant too
        self.tenants.shown = lambda _, name: self.directory.note(names.tenant_namespace(name))
        self.tenants.changed = self._tenant_changed
        self.routes.changed = self._route_changed
        self.providers.changed = self._provider_changed

    def knows(self, kind: str, namespace: str, name: str) -> bool:
        """Tells whether the watch has shown this object and not its deletion."""
        match kind:
            case "Tenant":
                return self.tenants.get(name) is not None
            case "Provider":
                return self.providers.get(name) is not None
            case "ToolServer":
                return self.tool_servers.get(name) is not None
            case _:
                return self.routes.get(name, namespace=namespace) is not None

    def tenant_of_namespace(self, namespace: str) -> str | None:
        """Returns the tenant whose namespace this is by name; its reconciler checks whether it owns it."""
        name = namespace.removeprefix(names.NAMESPACE_PREFIX)
        return name if name != namespace and self.tenants.get(name) is not None else None

    def is_ours(self, tenant: str) -> bool:
        """Tells whether this operator acts for a Tenant; for one that is gone, or was never shown, every operator does.

        Who knows nothing of it finds nothing to do.
        """
        watched = self.tenants.get(tenant)
        return watched is None or self.shards.are_ours(watched.labels)

    def our_tenants(self) -> tuple[str, ...]:
        """Returns the Tenants that this operator acts for."""
        found = self.tenants.names()
        return tuple(filter(self.is_ours, found)) if self.shards.listed else found

    def is_our_namespace(self, namespace: str) -> bool:
        """Tells whether this operator acts for the routes of a namespace; those in nobody's are the main operator's."""
        if not self.shards.listed:
            return True
        tenant = self.tenant_of_namespace(namespace)
        return self.shards.is_main if tenant is None else self.is_ours(tenant)

    def is_others(self, namespace: str) -> bool:
        """Tells whether a namespace is of a Tenant that another operator acts for."""
        if not self.shards.listed:
            return False
        tenant = self.tenant_of_namespace(namespace)
        return tenant is not None and not self.is_ours(tenant)

    def leads(self, namespace: str) -> bool:
        """Tells whether the namespace belongs to a Tenant that this operator acts for."""
        return self.is_our_namespace(namespace) and self.owns(namespace)

    def owns(self, namespace: str) -> bool:
        """Tells whether the namespace belongs to a Tenant, before the first look as far as that Tenant's status says.

        A standby never looks; its answer decides of which relays Prometheus hears.
        """
        name = self.tenant_of_namespace(namespace)
        tenant = self.tenants.get(name) if name is not None else None
        if tenant is None:
            return False
        return self._is_owned(namespace, tenant)

    def _is_owned(self, namespace: str, tenant: Watched[Tenant]) -> bool:
        looked = self._owned.get(namespace)
        return _is_at_home(tenant) if looked is None else looked

    def looked_owned(self, namespace: str) -> bool | None:
        """Tells of a namespace, once the API server was asked, whether it is its Tenant's; None before."""
        return self._owned.get(namespace)

    def note_owned(self, namespace: str, owned: bool) -> bool:
        """Keeps what the API server says of a namespace; True when that is news."""
        is_news = self.owns(namespace) != owned
        self._owned[namespace] = owned
        self.claims.look_again(namespace)
        self.directory.note(namespace)
        return is_news

    def store_pod(self, body: Body) -> None:
        """Keeps a pod that a list or a watch shows, if it can be a relay pod."""
        self.pods.store(body, claimed=self.tenants)

    def forget(self, namespace: str) -> None:
        """Drops what is known of a namespace whose Tenant is gone."""
        self._owned.pop(namespace, None)
        self.claims.look_again(namespace)
        self.directory.note(namespace)
        self._undeployed.pop(namespace, None)
        self._entries.pop(namespace, None)
        self._services.pop(namespace, None)
        self._forget_rollout(namespace)
        self._queued_rollouts.pop(namespace, None)

    def leave(self, namespace: str) -> None:
        """Drops what this operator found out of a namespace that is another operator's from now on; what watches show stays."""
        self._owned.pop(namespace, None)
        self.claims.look_again(namespace)
        self.directory.note(namespace)

    def _forget_rollout(self, namespace: str) -> None:
        self.rollouts.pop(namespace, None)
        self._flying.discard(namespace)

    def take_in_child(self, body: Body, *, deleted: bool) -> bool:
        """Stores what a child's status tells of its tenant; True when that has changed."""
        match body["kind"]:
            case "Deployment":
                return self.take_in_deployment(body, deleted=deleted)
            case "Service":
                return self.take_in_service(body, deleted=deleted)
            case _:
                return False

    def take_in_found(self, body: Body) -> None:
        """Stores what a child tells that was read, if no watch has: what is shown of the children of no Tenant is dropped, and a
        watch of Tenants may be behind the others.
        """
        namespace = body["metadata"].get("namespace", "")
        if body["kind"] == "Deployment" and namespace not in self.rollouts:
            self.take_in_deployment(body, deleted=False)
        elif body["kind"] == "Service" and namespace not in self._services:
            self.take_in_service(body, deleted=False)

    def take_in_service(self, body: Body, *, deleted: bool) -> bool:
        """Stores the load balancer's address of a tenant's Service; True when that has changed."""
        namespace = body["metadata"]["namespace"]
        if deleted:
            self._services.pop(namespace, None)
        else:
            self._services[namespace] = probe_targets.of_service(body)
        address = "" if deleted else load_balancer.address_of(body)
        changed = self._entries.get(namespace, "") != address
        if address:
            self._entries[namespace] = address
        else:
            self._entries.pop(namespace, None)
        return changed

    def service(self, namespace: str) -> Body | None:
        """Returns what probes need of a tenant's Service, as the watch last showed it; None without one."""
        return self._services.get(namespace)

    def entry(self, namespace: str) -> str:
        """Returns the load balancer's address of a tenant's Service; empty without one."""
        return self._entries.get(namespace, "")

    def take_in_deployment(self, body: Body, *, deleted: bool) -> bool:
        """Stores how far a tenant's Deployment is, and why it cannot make its pods; True when that has changed."""
        namespace = body["metadata"]["namespace"]
        trouble = "" if deleted else troubles.of_deployment(body)
        if trouble:
            self._undeployed[namespace] = trouble
        else:
            self._undeployed.pop(namespace, None)
        if deleted:
            self._forget_rollout(namespace)
        else:
            self.store_deployment(body)
        rollout = self.rollouts.get(namespace)
        before, now = self._queued_rollouts.get(namespace), (rollout and rollout.news, trouble)
        self._queued_rollouts[namespace] = now
        return before != now

    def store_deployment(self, body: Body) -> None:
        """Keeps how far the rollout of a tenant's Deployment is."""
        namespace = body["metadata"]["namespace"]
        rollout = self.rollouts[namespace] = rollout_of(body)
        (self._flying.add if is_flying(rollout) else self._flying.discard)(namespace)

    def flying_tenants(self) -> set[str]:
        """Returns the tenants that a change of the platform has reached and that have not proved it yet."""
        return {namespace.removeprefix(names.NAMESPACE_PREFIX) for namespace in self._flying}

    def wanted_pods(self, namespace: str, relay: Relay) -> int:
        """Returns how many relay pods a tenant is to have: what its autoscaler said last, where it has one."""
        rollout = self.rollouts.get(namespace)
        if relay.autoscaling is None or rollout is None:
            return relay.fewest_pods
        return min(max(rollout.wanted, relay.fewest_pods), relay.most_pods)

    def present_resources(self, namespace: str) -> set[tuple[str, str, str]]:
        """Returns the compute resources of a tenant's pods, and of those that its Deployment may make again."""
        rollout = self.rollouts.get(namespace)
        return self.pods.resources(namespace) | set(rollout.resources if rollout else ())

    def troubles(self, namespace: str) -> tuple[str, ...]:
        """Returns why relay pods of a tenant are missing or not up, at most a few reasons."""
        undeployed = self._undeployed.get(namespace)
        found = ([undeployed] if undeployed else []) + [*self.pods.troubles(namespace)]
        return tuple(found[:_MOST_TROUBLES])

    def take_in_pod(self, body: Body, *, deleted: bool) -> bool:
        """Stores what an event shows of a pod; True when its tenant, which is known, must be queued."""
        changed = self.pods.take_in(body, deleted=deleted, claimed=self.tenants)
        return changed and self.tenant_of_namespace(body["metadata"]["namespace"]) is not None

    def usable_providers(self) -> dict[str, Provider]:
        """Returns the providers whose spec can be used and whose address is resolved."""
        valid = self.providers.valid()
        return {name: valid[name] for name in valid if name in self.upstreams}

    def unusable_providers(self, providers: Iterable[str]) -> dict[str, str]:
        """Says of those of the providers that cannot be used why: what their conditions say, for who may not read them."""
        usable = self.usable_providers()
        found = {}
        for name in providers:
            watched = self.providers.get(name)
            if watched is None or name in usable:
                continue
            if isinstance(watched.resource, Invalid):
                found[name] = watched.resource.message
            else:
                found[name] = _why_not_ready(watched.body) or "its address is not known yet"
        return found

    def why_not_ready(self, tenant: str) -> str:
        """Returns what the Tenant says of itself, for who may not read it."""
        watched = self.tenants.get(tenant)
        if watched is not None and isinstance(watched.resource, Invalid):
            return watched.resource.message
        told = _why_not_ready(watched.body) if watched is not None else ""
        return told or "the operator is creating it"

    def unresolved(self, providers: Iterable[str]) -> set[str]:
        """Finds those of the providers that exist and were not looked at since the operator's start."""
        return {name for name in providers if self.providers.get(name) is not None} - self.resolved

    @property
    def provider_revisions(self) -> tuple[int, ...]:
        """Returns numbers that change with what `usable_providers` and `unresolved` say."""
        return (
            self.providers.revision(""),
            len(self.resolved),
            len(self.upstreams),
            self._resolutions,
        )

    def resolve(self, provider: str, upstream: Upstream | None) -> None:
        """Keeps the address of a provider that was looked at, None where it has none."""
        self.resolved.add(provider)
        if upstream is None:
            self.upstreams.pop(provider, None)
        else:
            self.upstreams[provider] = upstream
        self._resolutions += 1

    def unresolve(self, provider: str) -> None:
        """Drops what is known of a provider that is gone."""
        self.resolved.discard(provider)
        self.upstreams.pop(provider, None)
        self._resolutions += 1

    def parsed_route(self, namespace: str, name: str) -> RelayRoute | None:
        """Returns a route, None without one that could be parsed and is not being deleted."""
        watched = self.routes.get(name, namespace=namespace)
        if watched is None or watched.is_being_deleted or isinstance(watched.resource, Invalid):
            return None
        return watched.resource

    def parsed_routes(self, namespace: str) -> dict[str, RelayRoute]:
        """Returns the namespace's routes that could be parsed and are not being deleted."""
        routes = self.routes.valid(namespace=namespace)
        for name in self.routes.being_deleted(namespace=namespace):
            routes.pop(name, None)
        return routes

    def relay_pods(self, namespace: str) -> tuple[Pod, ...]:
        """Returns the relay pods of a tenant that have an address."""
        return self.pods.addressable(namespace)

    def tenants_using(self, provider: str) -> set[str]:
        """Returns the tenants that have a part in the provider: it is open to them, and a route of theirs claims it.

        A tenant that is suspended or being deleted, or whose namespace is another's or is being deleted, has none.
        """
        return set(self.claims.weights(provider))

    def note_in_force(self, namespace: str, providers: Iterable[str]) -> None:
        """Keeps which providers the document of a namespace names: what they become concerns its tenant."""
        self.claims.note_in_force(namespace, providers)

    def tenants_concerned(self, provider: str) -> set[str]:
        """Returns the tenants with a route that names the provider, or with a route in force that goes to it."""
        naming = self.routes.namespaces_mentioning(provider)
        spaces = {*naming, *self.claims.in_force_in(provider)}
        return {one for one in map(self.tenant_of_namespace, spaces) if one is not None}

    def tenants_shut_out(self, provider: str) -> set[str]:
        """Returns the tenants concerned that may have nothing of the provider (any more)."""
        concerned = self.tenants_concerned(provider)
        return {tenant for tenant in concerned if not self.is_open(provider, tenant)}

    def is_open(self, provider: str, tenant: str) -> bool:
        """Tells whether a tenant may have anything of a provider. One that is gone says nothing."""
        return self.openness.is_open(provider, self.labels(tenant))

    def labels(self, tenant: str) -> Mapping[str, str]:
        """Returns the labels of a Tenant."""
        watched = self.tenants.get(tenant)
        return watched.labels if watched is not None else {}

    def _party(self, namespace: str) -> Party | None:
        name = self.tenant_of_namespace(namespace)
        watched = self.tenants.get(name) if name is not None else None
        if watched is None or watched.is_being_deleted:
            return None
        if not self._is_owned(namespace, watched) or _is_suspended(watched):
            return None
        tenant = watched.name
        return Party(
            tenant=tenant,
            weight=self._weight(tenant),
            may_use=lambda provider: self.is_open(provider, tenant),
            limits=None if isinstance(watched.resource, Invalid) else watched.resource.spec.limits,
        )

    def offers_to(self, tenant: str, tools: Tools | None) -> Offers:
        """Returns what the servers offer a tenant that exist and that its grants name."""
        if tools is None:
            return {}
        named = (one.server for one in tools.grants)
        return self.tool_offers.to(
            tenant, (name for name in named if self.tool_servers.get(name) is not None)
        )

    def _tenant_changed(self, _: str, name: str) -> None:
        self.claims.look_again(names.tenant_namespace(name))
        watched = self.tenants.get(name)
        if watched is None:
            self.tool_offers.note_grants(name, None)
        elif not isinstance(watched.resource, Invalid):
            # of a spec that is refused, the grants in force stay
            self.tool_offers.note_grants(name, watched.resource.spec.tools)

    def _provider_changed(self, _: str, name: str) -> None:
        self.openness.take_in(name, self.providers.get(name))
        for tenant in self.tenants_concerned(name):
            self.claims.look_again(names.tenant_namespace(tenant))

    def _route_changed(self, namespace: str, name: str) -> None:
        """Takes in what status says of a route that is new to this life of the operator; later its reconciler decides."""
        watched = self.routes.get(name, namespace=namespace)
        if watched is not None and not self.claims.knows(namespace, name):
            self.claims.put(namespace, name, route_claims.told(watched))

    def conflicts(self, namespace: str) -> Mapping[str, str]:
        """Returns the routes that lose to an older one, and to which."""
        return self._settled(namespace).conflicts.losers

    def _settled(self, namespace: str) -> _Matches:
        """Brings the conflicts of a namespace up to date, at the cost of the routes that changed."""
        matches = self._matches.setdefault(namespace, _Matches())
        revision = self.routes.revision(namespace)
        if matches.revision == revision:
            return matches
        changed = self.routes.changed_since(namespace, matches.revision)
        if changed is None:
            known = matches.conflicts.known()
            changed = {*self.routes.names(namespace=namespace), *known}
        claimants = {name: self._claimant(namespace, name) for name in changed}
        matches.untold = equal_names(matches.untold | matches.conflicts.update(claimants))
        matches.revision = revision
        return matches

    def _claimant(self, namespace: str, name: str) -> Claimant | None:
        """Returns a route as far as it takes calls from others; None where it takes none.

        One whose spec cannot be used goes on serving as it did before, if it ever has.
        """
        watched = self.routes.get(name, namespace=namespace)
        if watched is None or watched.is_being_deleted:
            return None
        if not isinstance(watched.resource, Invalid):
            return route_acceptance.claimant(watched.resource.metadata, watched.resource.spec.match)
        match = match_as_written(watched.resource.spec)
        if match is None or not watched.status.get("inForce"):
            return None
        return route_acceptance.claimant(_metadata_of(watched), match)

    def outranked(self, namespace: str, in_force: Iterable[document.Route]) -> Collection[str]:
        """Returns those of the routes in force that match what an older one in force does, whatever their specs ask for by now."""
        claimants = {}
        for route in in_force:
            watched = self.routes.get(route.name, namespace=namespace)
            if watched is not None:
                claimants[route.name] = route_acceptance.claimant(
                    _metadata_of(watched), route.match
                )
        return route_acceptance.conflicts(claimants)

    def routes_by_age(self, namespace: str) -> tuple[RelayRoute, ...]:
        """Returns the namespace's routes that could be parsed, the oldest first; sorted once for each change of one."""
        revision = self.routes.revision(namespace)
        known = self._by_age.get(namespace)
        if known is None or known[0] != revision:
            routes = self.parsed_routes(namespace).values()
            ordered = sorted(routes, key=lambda route: route_acceptance.age(route.metadata))
            known = self._by_age[namespace] = revision, tuple(ordered)
        return known[1]

    def take_in_route(self, body: Body, *, deleted: bool) -> RouteNews | None:
        """Stores what an event shows of a route; None when nothing has to follow from it."""
        is_news = self.routes.take_in(body, deleted=deleted)
        namespace = body["metadata"]["namespace"]
        turned = self._follow_another(namespace, body["metadata"]["name"])
        if not is_news:
            return RouteNews(routes=frozenset(), providers=turned) if turned else None
        matches = self._settled(namespace)
        news = RouteNews(
            routes=matches.untold,
            providers=self.routes.take_turned(namespace) | turned,
        )
        matches.untold = equal_names(())
        if not self.routes.revision(namespace):
            del self._matches[namespace]
            self._by_age.pop(namespace, None)
        return news

    def _follow_another(self, namespace: str, name: str) -> frozenset[str]:
        """Takes in what status says of a route that another operator decides on; returns the Providers that are to be divided anew."""
        if self.is_our_namespace(namespace):
            return frozenset()
        watched = self.routes.get(name, namespace=namespace)
        if watched is None:
            return frozenset(self.claims.drop(namespace, name))
        return frozenset(self.claims.put(namespace, name, route_claims.told(watched)))

    def provider_share(self, provider: str, tenant: str) -> float:
        """Returns the tenant's share of a provider's quota, by weight among those that route to it; 0 to 1."""
        return self.claims.share(provider, tenant, weight=self._weight(tenant))

    def _weight(self, tenant: str) -> int:
        """Returns the weight of a tenant; of one whose newest spec is refused, that of the spec in force."""
        watched = self.tenants.get(tenant)
        if watched is None:
            return Queue().weight
        if isinstance(watched.resource, Invalid):
            return tenant_status.weight_in_force(watched.status) or Queue().weight
        return watched.resource.spec.queue.weight


def _is_suspended(tenant: Watched[Tenant]) -> bool:
    """Tells whether the tenant is to make no calls: others have its parts meanwhile."""
    resource = tenant.resource
    return brake.suspends(resource.spec) if isinstance(resource, Invalid) else resource.spec.suspend


def _metadata_of(route: Watched[RelayRoute]) -> Metadata:
    if not isinstance(route.resource, Invalid):
        return route.resource.metadata
    created = {"creationTimestamp": route.resource.created_at}
    return Metadata.model_validate(route.metadata | created)


def _is_at_home(tenant: Watched[Tenant]) -> bool:
    """Tells whether the Tenant owned its namespace as far as its status says; it may be about a spec that cannot be used."""
    status = tenant.status
    told = conditions.find(status, names.ConditionType.NAMESPACE_READY).get("status")
    return told == "True" or (told != "False" and bool(status.get("endpoint")))


def _why_not_ready(body: Body) -> str:
    ready = conditions.find(body["status"], names.ConditionType.READY)
    return str(ready.get("message", "")) if ready.get("status") == "False" else ""


def _named_providers(route: Body) -> Iterator[str]:
    """Yields the providers that a route's spec names, on any side, also where the spec cannot be used."""
    spec = route.get("spec")
    if not isinstance(spec, Mapping):
        return
    fallback = spec.get("fallback")
    sides = [spec.get("stable"), spec.get("canary")]
    sides += fallback if isinstance(fallback, list | tuple) else []
    for side in sides:
        if isinstance(side, Mapping) and isinstance(side.get("provider"), str):
            yield side["provider"]
