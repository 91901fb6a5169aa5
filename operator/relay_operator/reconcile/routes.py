"""Reconciles a RelayRoute: parse, gather, decide, apply, report."""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, assert_never

from relay_operator.api.equal_parts import equal_names
from relay_operator.api.relay_route import RelayRoute
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.packed import Packed
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.webhook.message import of_move
from relay_operator.cluster.webhook.sender import Webhook
from relay_operator.decisions import (
    brake,
    conditions,
    outcome,
    route_acceptance,
    route_conditions,
    route_status,
)
from relay_operator.decisions.analysis.scrapes import RouteKey
from relay_operator.decisions.canary.plans import objective_of, policy_of
from relay_operator.decisions.canary.run import EVIDENCE_SECONDS, Run
from relay_operator.decisions.canary.state import Phase, Plan
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.conditions import Condition
from relay_operator.decisions.ledger import cost_hold
from relay_operator.decisions.outcome import Obstacle, Refused, Waiting
from relay_operator.decisions.providers import capabilities
from relay_operator.decisions.providers.capabilities import Compared
from relay_operator.decisions.route_acceptance import Decided, RouteOutcome, Ruling, Surroundings
from relay_operator.decisions.route_status import InForce, Programmed, RouteStatus
from relay_operator.errors import ApiServerRefused, Overtaken, Unavailable
from relay_operator.manifests import composition
from relay_operator.names import ConditionType, Reason
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.failure_report import report_and_raise, report_status
from relay_operator.reconcile.fleet.pending_routes import PendingRoutes
from relay_operator.reconcile.fleet.unheard_pods import UnheardPods
from relay_operator.reconcile.ledger.route_costs import RouteCostNews
from relay_operator.reconcile.publishing import route_room
from relay_operator.reconcile.publishing.publication import Publication
from relay_operator.reconcile.upstreams import route_claims
from relay_operator.reconcile.upstreams.replacements import former_users
from relay_operator.reconcile.watched_objects import Invalid, Watched
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_ON_ITS_WAY = frozenset({Reason.WAITING_FOR_PODS, Reason.PROVISIONING})
"""While the route's last form serves: pods lack the newest document, or the key or address of a new provider."""
_LOOK_AGAIN_SECONDS = 1.0
_UNACKNOWLEDGED_SECONDS = 10.0
_CLAIMS_SECONDS = 0.25
_TENANT_SECONDS = 1.0
"""Until the tenant is reconciled for a new generation; routes that change together cost it one look."""


class RouteReconciler:
    def __init__(
        self,
        *,
        watched_state: WatchedState,
        canaries: CanaryRuns,
        publisher: DocumentPublisher,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
        clock: Callable[[], float],
        webhook: Webhook | None = None,
        cost_news: RouteCostNews | None = None,
    ) -> None:
        self._watched_state = watched_state
        self._canaries = canaries
        self._publisher = publisher
        self._status = status
        self._announcer = announcer
        self._queue = queue
        self._clock = clock
        self._webhook = webhook
        self._cost_news = cost_news or RouteCostNews(has_ledger=False)
        self._recalled = False
        self._unheard = UnheardPods()
        self._pending = PendingRoutes()
        self._resumed: dict[RouteKey, Packed] = {}
        """The statuses from which canaries go on that are not written yet."""

    async def reconcile(self, namespace: str, name: str) -> None:
        """Brings the route and its canary's weight into force, and writes its status."""
        now = self._clock()
        watched = self._watched_state.routes.get(name, namespace=namespace)
        publication = self._publisher.publication(namespace)
        if watched is None:
            self.leave(namespace, name)
            self._follow_claims(namespace, self._watched_state.claims.drop(namespace, name))
            await self._remove(namespace, name, publication)
        elif watched.is_being_deleted:
            self._canaries.forget((namespace, name))
            self._follow_claims(namespace, self._watched_state.claims.put(namespace, name, ()))
            if await self._remove(namespace, name, publication):
                found = outcome.of_deletion(watched.metadata, "the route takes no calls")
                await self._write_outcome(watched.body, found, now)
        elif publication is None:
            await self._report_without_tenant(watched.body, namespace, now)
        else:
            await self._bring_into_force(watched, publication, now)

    def leave(self, namespace: str, name: str) -> None:
        """Forgets a route that is gone, or whose Tenant is another operator's: its canary goes on there from its status."""
        self._canaries.forget((namespace, name))
        self._status.forget("RelayRoute", namespace, name)
        self._unheard.forget(("RelayRoute", namespace, name))
        self._pending.forget((namespace, name))
        self._resumed.pop((namespace, name), None)

    def recall(self) -> None:
        """Takes in, once, all canaries that the former leader began or put in line: before anything else is done.

        A Tenant that comes later has others' times in its routes' statuses.
        """
        if self._recalled:
            return
        self._recalled = True
        now, routes = self._clock(), self._watched_state.routes
        for namespace in filter(self._watched_state.is_our_namespace, routes.namespaces()):
            for one in routes.in_namespace(namespace):
                key = (namespace, one.name)
                self._canaries.recall(key, one.status, now=now)

    def _follow_claims(self, namespace: str, turned: Iterable[str]) -> None:
        """Queues the Providers whose quota is to be divided anew, and the tenant, whose keys and ways out they are.

        What a route claims need not exist any more.
        """
        for provider in turned:
            if provider in self._watched_state.providers:
                # of claims that follow each other it tells once: what it tells takes a look at all its tenants
                self._queue.add_after(Key("Provider", "", provider), _CLAIMS_SECONDS)
            tenant = self._watched_state.tenant_of_namespace(namespace)
            if tenant is not None:
                self._queue.add_after(Key("Tenant", "", tenant), _TENANT_SECONDS)

    def _claim(
        self, watched: Watched[RelayRoute], publication: Publication, ruling: Ruling
    ) -> None:
        """Keeps which Providers the tenant has a part in because of this route."""
        in_force = publication.fragments.get(watched.name)
        claimed = route_claims.ruled(watched.resource, ruling.outcome, in_force)
        space = publication.base.namespace
        self._follow_claims(space, self._watched_state.claims.put(space, watched.name, claimed))

    def _queue_whose_turn_it_is(self) -> None:
        for key in self._canaries.budget.taken_news():
            self._queue.add(Key("RelayRoute", *key))

    async def _remove(self, namespace: str, name: str, publication: Publication | None) -> bool:
        """Takes the route out of the document; False when that has to wait a moment for others that were before it."""
        if publication is None:
            return True
        self._queue_whose_turn_it_is()
        publication.without_room = equal_names(publication.without_room - {name})
        publication.contents.drop(name)
        # an earlier try may have taken it out and failed to store that
        known = (
            publication.contents.unpublished,
            publication.stored_weights,
            publication.changed_in,
        )
        if not any(name in kept for kept in known):
            return True
        self._queue_fitting(publication)
        pause = self._publisher.pause_seconds(publication, name)
        if pause:
            self._queue.add_after(Key("RelayRoute", namespace, name), pause)
            return False
        await self._publisher.distribute(namespace, at_once=False)
        return True

    async def _report_without_tenant(
        self, body: dict[str, Any], namespace: str, now: float
    ) -> None:
        tenant = self._watched_state.tenant_of_namespace(namespace)
        found: RouteOutcome
        if tenant is None:
            self._canaries.abandon((namespace, body["metadata"]["name"]), now=now)
            message = (
                f"namespace {namespace} belongs to no Tenant; "
                "create the route in relay-NAME, the namespace of its Tenant"
            )
            found = Refused(reason=Reason.NOT_A_TENANT_NAMESPACE, message=message)
        else:
            if _is_told(body):
                # the operator has just started: what status says was true when it stopped. Who begins the tenant's
                # publication queues its routes
                return
            self._look_again(body, _LOOK_AGAIN_SECONDS)
            message = f"waiting for the relay of Tenant {tenant}: {self._watched_state.why_not_ready(tenant)}"
            found = Waiting(reason=Reason.PROVISIONING, message=message)
        await self._write_outcome(body, found, now)

    async def report(self, namespace: str, name: str, obstacle: Obstacle) -> None:
        """Writes what ended a reconcile before it could tell."""
        watched = self._watched_state.routes.get(name, namespace=namespace)
        if watched is None:
            return
        publication = self._publisher.publication(namespace)
        run = self._canaries.runs.get((namespace, name))
        in_use = run is not None and run.standing is not None and not run.plan.held
        if publication is None or run is None or not in_use or isinstance(obstacle, Refused):
            await self._write_outcome(watched.body, obstacle, self._clock())
            return
        found, now = route_acceptance.decided(run), self._clock()
        await self._report(watched.body, publication, found, now, obstacle=obstacle)

    async def _write_outcome(self, body: dict[str, Any], found: RouteOutcome, now: float) -> None:
        nothing = Programmed(generation=0, pods=0, acknowledged=0)
        await self._write(body, {}, route_conditions.conditions(found, nothing), now)

    async def _write(
        self, body: dict[str, Any], fields: dict[str, Any], wanted: list[Condition], now: float
    ) -> None:
        key = body["metadata"]["namespace"], body["metadata"]["name"]
        try:
            if await report_status(
                self._status,
                self._announcer,
                "RelayRoute",
                body,
                fields,
                wanted,
                on_its_way=_ON_ITS_WAY,
                now=now,
            ):
                self._resumed.pop(key, None)
        except Overtaken:
            self._go_on_anew(key, now)
            raise
        except Unavailable:
            # the next status that is shown may be this one
            self._resumed.pop(key, None)
            raise

    async def _bring_into_force(
        self, watched: Watched[RelayRoute], publication: Publication, now: float
    ) -> None:
        body = watched.body
        namespace = body["metadata"]["namespace"]
        ruling = self._rule(watched, publication, now)
        self._queue_fitting(publication)
        self._queue_whose_turn_it_is()
        if ruling is not None:
            self._claim(watched, publication, ruling)
            self._arrange(body, publication, ruling, now)
        if ruling is None or _is_premature(body, publication, ruling.outcome):
            what = "unread" if ruling is None else "premature"
            self._look_again(body, self._pause_of_pending(body, what), _urgency_at_start(body))
            if not publication.weight_is_stored(watched.name):
                await self._publisher.distribute(namespace, at_once=False)
            return
        if not _waits_for_pods(ruling):
            self._pending.forget((namespace, watched.name))
        pause = self._publisher.pause_seconds(publication, watched.name)
        if pause:
            # together with whatever else changes until then
            self._look_again(body, pause)
            return
        try:
            await self._publisher.distribute(namespace, at_once=False)
            await self._report(body, publication, ruling.outcome, now)
        except (ApiServerRefused, Unavailable) as error:
            obstacle = outcome.obstacle_of(error)
            report = self._report(body, publication, ruling.outcome, now, obstacle=obstacle)
            await report_and_raise(error, report)

    def _rule(
        self, watched: Watched[RelayRoute], publication: Publication, now: float
    ) -> Ruling | None:
        """Decides and puts the outcome in force; without waiting, so that no older decision can overtake.

        A spec that is not in force takes weight away all the same. None when a provider's address is still to be read
        after the operator's start.
        """
        route, key = watched.resource, (publication.base.namespace, watched.name)
        self._go_on_from_newest(key, watched, now)
        publication.without_room = equal_names(publication.without_room - {watched.name})
        lower = self._publisher.taken_over(*key)
        if lower is not None:
            self._canaries.obey_lower(key, lower, now=now)
        if isinstance(route, Invalid):
            refused = Refused(reason=Reason.INVALID_SPEC, message=route.message)
            return self._held(watched, publication, refused, now)
        unread = self._watched_state.unresolved(
            side.provider for side in route_acceptance.sides(route)
        )
        if unread:
            why = f"the operator has not read yet where provider {', '.join(sorted(unread))} is"
            self._hold(watched, publication, why, now)
            return None
        around = self._gather(route, publication)
        around = replace(around, shortage=self._shortage(route, publication, around))
        told = route
        if key not in self._canaries.runs:
            # a run goes on from what status tells of it
            told = route.model_copy(update={"status": watched.status})
        ruling = route_acceptance.rule(told, around, self._canaries, now=now)
        if ruling.weight_percent is None and not isinstance(ruling.outcome, Decided):
            return self._held(watched, publication, ruling.outcome, now)
        self._apply(route, around, publication, ruling)
        return ruling

    def _go_on_from_newest(self, key: RouteKey, watched: Watched[RelayRoute], now: float) -> None:
        """Keeps from which status a canary goes on, and begins anew where that was not the last one of another operator."""
        resumed, shown = self._resumed.get(key), watched.packed
        # what is packed at another time may be packed otherwise
        if resumed is not None and resumed != shown and resumed.text() != shown.text():
            self._go_on_anew(key, now)
        if key not in self._canaries.runs:
            self._resumed[key] = shown

    def _go_on_anew(self, key: RouteKey, now: float) -> None:
        """Forgets a canary that goes on from a status which another operator has overtaken: the next look reads the newest one."""
        self._canaries.abandon(key, now=now)
        self._status.forget("RelayRoute", *key)
        self._resumed.pop(key, None)

    def _held(
        self,
        watched: Watched[RelayRoute],
        publication: Publication,
        obstacle: Obstacle,
        now: float,
    ) -> Ruling:
        self._hold(watched, publication, obstacle.message, now)
        in_force = publication.fragments.get(watched.name)
        return Ruling(outcome=route_acceptance.with_what_is_in_force(obstacle, in_force))

    def _hold(
        self, watched: Watched[RelayRoute], publication: Publication, why: str, now: float
    ) -> None:
        """Lets the canary in force fall, but not rise, and lose its copies, under a spec that is not in force."""
        in_force = publication.fragments.get(watched.name)
        route, key = watched.resource, (publication.base.namespace, watched.name)
        if in_force is None or in_force.canary is None:
            self._canaries.step_aside(key, now=now)
            return
        spec = route.spec if isinstance(route, Invalid) else route.spec.model_dump(by_alias=True)
        known = self._canaries.runs.get(key)
        before = known.plan.percent if known is not None else 0
        tenant = publication.tenant.metadata.name
        is_open = self._watched_state.is_open(in_force.canary.provider, tenant)
        copies = is_open and brake.allows_copies(spec, in_force, percent_before=before)
        run = self._canaries.hold(
            key,
            status=watched.status,
            objective=None if isinstance(route, Invalid) else objective_of(route),
            in_force=in_force,
            percent=brake.allowed_percent(spec, in_force) if is_open else 0,
            policy=Plan(freezes_on_breach=brake.freezes(spec))
            if isinstance(route, Invalid)
            else policy_of(route),
            why=why,
            now=now,
        )
        self._canaries.decide(key, now=now)
        weight_percent = min(run.state.weight_percent, in_force.canary_percent)
        self._publisher.set_weight(
            *key,
            weight_percent,
            preflight=run.preflight_token,
            copies=copies and run.copies_calls,
        )

    def _gather(self, route: RelayRoute, publication: Publication) -> Surroundings:
        namespace = route.metadata.namespace
        pods = self._watched_state.relay_pods(namespace)
        canary = route.spec.canary
        lacking = canary is not None and publication.lacks_key(canary.provider, pods)
        return replace(
            route_room.common(namespace, publication.reachable, self._watched_state),
            keyless=frozenset({canary.provider} if canary is not None and lacking else ()),
            in_force=publication.fragments.get(route.metadata.name),
            stored=self._publisher.weight_is_stored(namespace, route.metadata.name),
            missing_keys=publication.missing_keys or {},
            unusable=self._watched_state.unusable_providers(
                side.provider for side in route_acceptance.sides(route)
            ),
            replaced={
                side.provider: users
                for side in route_acceptance.sides(route)
                if (users := former_users(publication, side.provider, self._watched_state))
            },
        )

    def _shortage(self, route: RelayRoute, publication: Publication, around: Surroundings) -> str:
        """Says why the route does not fit into the document; empty where it does, or is refused anyway."""
        if route_acceptance.refusal_of(route, around) is not None:
            return ""
        served = route_acceptance.as_served(route, around)
        fragment = composition.route_part(served, around.usable, canary_percent=0)
        found = route_room.shortage(fragment, publication, around, self._watched_state)
        if found:
            publication.without_room |= {fragment.name}
        return found

    def _queue_fitting(self, publication: Publication) -> None:
        """Queues the routes that were refused for want of room, and for which there is some now."""
        if not publication.without_room:
            return
        namespace = publication.base.namespace
        fitting = route_room.fitting(
            publication,
            route_room.common(namespace, publication.reachable, self._watched_state),
            self._watched_state,
        )
        for name in fitting:
            self._queue.add(Key("RelayRoute", namespace, name))

    def _apply(
        self, route: RelayRoute, around: Surroundings, publication: Publication, ruling: Ruling
    ) -> None:
        served = route_acceptance.as_served(route, around)
        fragment = composition.route_part(
            served,
            around.usable,
            canary_percent=ruling.weight_percent or 0,
            preflight=ruling.preflight,
            copies=ruling.copies,
        )
        named = {side.provider for side in route_acceptance.sides(served)}
        self._publisher.refresh_providers(publication, named)
        publication.contents.put(fragment)
        if around.replaced:
            # what a Provider is now takes its place with network access and key, once no route keeps what it was
            self._queue.add(Key("Tenant", "", publication.tenant.metadata.name), Urgency.URGENT)

    def _arrange(
        self, body: dict[str, Any], publication: Publication, ruling: Ruling, decided_at: float
    ) -> None:
        """Queues what has to follow the outcome."""
        match ruling.outcome:
            case Waiting() if ruling.weight_percent is None:
                # network policy first: the tenant's reconciler applies it and the keys, and calls again
                self._queue.add(Key("Tenant", "", publication.tenant.metadata.name), Urgency.URGENT)
            case Waiting():
                self._look_again(body, self._pause_of_pending(body, "key"))
            case Decided(decision=decision, measured=measured, pending=pending):
                told_anew = measured or decision.state.phase is Phase.SHADOWING
                waits = [EVIDENCE_SECONDS] if told_anew else []
                waits += [self._pause_of_pending(body, "key")] if pending else []
                # it may be due by now, and nothing has been done about that
                waits += [decision.due - decided_at] if decision.due > decided_at else []
                if waits:
                    self._look_again(body, min(waits))
            case Refused():
                pass
            case _:
                assert_never(ruling.outcome)

    async def _report(
        self,
        body: dict[str, Any],
        publication: Publication,
        found: RouteOutcome,
        now: float,
        *,
        obstacle: Obstacle | None = None,
    ) -> None:
        namespace, name = body["metadata"]["namespace"], body["metadata"]["name"]
        acknowledged, pods = (
            await self._publisher.acknowledged(namespace)
            if obstacle is None
            else self._publisher.count_acknowledged(namespace)
        )
        programmed = Programmed(
            generation=_generation(body, publication), pods=pods, acknowledged=acknowledged
        )
        is_unheard = self._is_unheard(body, programmed)
        if is_unheard or name in publication.taken_over:
            self._look_again(body, _LOOK_AGAIN_SECONDS)
        if is_unheard:
            return
        if acknowledged < pods:
            # who acknowledges late is told of (late_pushes.py)
            self._look_again(body, _UNACKNOWLEDGED_SECONDS)
        self._queue_unreported(publication)
        run = self._canaries.runs.get((namespace, name))
        if run is not None:
            # the SLO loop may have moved the canary meanwhile
            run.tell(now)
            if isinstance(found, Decided):
                found = route_acceptance.decided(run)
        status = RouteStatus(
            programmed=programmed,
            progress=run.progress if run else None,
            in_force=route_status.in_force(publication.fragments.get(name)),
            coming=found.decision.coming if isinstance(found, Decided) else "",
            next_at=found.decision.earliest if isinstance(found, Decided) else 0.0,
        )
        wanted = route_conditions.conditions(
            found,
            programmed,
            obstacle=obstacle,
            compared=self._compared(namespace, name),
            cost=cost_hold.within_cost(run.cost)
            if run is not None and run.has_cost_limit
            else None,
        )
        if isinstance(found, Waiting):
            # for as long as Ready stays true meanwhile
            self._look_again(body, _LOOK_AGAIN_SECONDS)
        fields = route_status.to_status(status) | self._cost_news.of(namespace, name)
        await self._write(body, fields, wanted, now)
        if run is not None:
            await self._announce(body, run, status.in_force)

    def _queue_unreported(self, publication: Publication) -> None:
        """Queues the tenant, whose status names the document's generation."""
        if publication.generation != publication.reported_generation:
            tenant = publication.tenant.metadata.name
            self._queue.add_after(Key("Tenant", "", tenant), _TENANT_SECONDS)

    def _is_unheard(self, body: dict[str, Any], programmed: Programmed) -> bool:
        """Tells whether status has told already that all pods took this document, and that is only to be heard from them anew."""
        key = ("RelayRoute", body["metadata"]["namespace"], body["metadata"]["name"])
        told = route_status.from_status(self._status.told("RelayRoute", body)).programmed
        is_as_told = programmed.acknowledged < programmed.pods and told == replace(
            programmed, acknowledged=programmed.pods
        )
        are_asked = self._publisher.are_first_asked(key[1])
        return self._unheard.are_awaited(key, is_as_told=is_as_told, are_asked=are_asked)

    def _compared(self, namespace: str, name: str) -> Compared | None:
        route = self._watched_state.parsed_route(namespace, name)
        if route is None or route.spec.canary is None:
            return None
        return capabilities.compare(route, self._watched_state.usable_providers())

    async def _announce(self, body: dict[str, Any], run: Run, in_force: InForce | None) -> None:
        """Tells the moves as Events and to the webhook, after status holds them: what a restart reads there it tells again."""
        while run.unannounced:
            move, *rest = run.unannounced
            run.unannounced = tuple(rest)
            if self._webhook is not None:
                self._webhook.tell(of_move(body["metadata"], move, run=run, in_force=in_force))
            await self._announcer.announce(body, kind="RelayRoute", action="Move", move=move)

    def _pause_of_pending(self, body: dict[str, Any], what: str) -> float:
        metadata = body["metadata"]
        now = asyncio.get_running_loop().time()
        return self._pending.pause_seconds((metadata["namespace"], metadata["name"]), what, now=now)

    def _look_again(
        self, body: dict[str, Any], seconds: float, urgency: Urgency = Urgency.NORMAL
    ) -> None:
        metadata = body["metadata"]
        key = Key("RelayRoute", metadata["namespace"], metadata["name"])
        self._queue.add_after(key, seconds, urgency)


def _waits_for_pods(ruling: Ruling) -> bool:
    """Tells whether the route waits for what relay pods are brought."""
    match ruling.outcome:
        case Waiting():
            return ruling.weight_percent is not None
        case Decided(pending=pending):
            return pending
        case _:
            return False


def _urgency_at_start(body: dict[str, Any]) -> Urgency:
    """Returns how urgent what a route waits for is at the operator's start: a canary waits before all that is at rest."""
    return Urgency.URGENT if route_status.is_on_trial(body["status"]) else Urgency.NORMAL


def _is_premature(body: dict[str, Any], publication: Publication, found: RouteOutcome) -> bool:
    """Tells whether an outcome is another than before only because the tenant was not looked at since the operator's start.

    What status says was true when the operator stopped; the tenant's reconcile queues what changes.
    """
    if publication.missing_keys is not None or not _is_told(body):
        return False
    accepted = conditions.find(body["status"], ConditionType.ACCEPTED).get("status")
    return isinstance(found, Waiting) or (isinstance(found, Decided) and accepted == "False")


def _is_told(body: dict[str, Any]) -> bool:
    """Tells whether status is about the present spec already."""
    observed = body.get("status", {}).get("observedGeneration")
    return bool(observed == body["metadata"].get("generation", 1))


def _generation(body: dict[str, Any], publication: Publication) -> int:
    """Returns the generation of the document that brought the route's newest form, in this life or an earlier one."""
    told = route_status.from_status(body.get("status", {})).programmed
    return (
        publication.route_generation(body["metadata"]["name"])
        or (told.generation if told is not None else 0)
        or publication.generation
    )
