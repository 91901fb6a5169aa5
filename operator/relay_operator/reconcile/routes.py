"""RelayRoute: parse, gather, decide, bring out, report."""

import time
from typing import Any

from relay_contract import document
from relay_operator import names
from relay_operator.api.relay_route import RelayRoute
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions import route_conditions
from relay_operator.decisions.canary_runs import CanaryRuns, Run
from relay_operator.decisions.conditions import timestamp
from relay_operator.errors import InvalidSpec
from relay_operator.manifests import composition
from relay_operator.manifests.composition import RouteNotAccepted
from relay_operator.names import Reason
from relay_operator.reconcile.document_publisher import DocumentPublisher, Publication
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Key, Urgency, WorkQueue

_LOOK_AGAIN_SECONDS = 1.0
_KEY_SECONDS = 0.25
_EVIDENCE_SECONDS = 30.0
"""Evidence is written at most this often, and on a change of verdict."""


class RouteReconciler:
    def __init__(
        self,
        *,
        world: WatchedState,
        canaries: CanaryRuns,
        programmer: DocumentPublisher,
        status: StatusWriter,
        announcer: EventRecorder,
        queue: WorkQueue,
    ) -> None:
        self._world = world
        self._canaries = canaries
        self._programmer = programmer
        self._status = status
        self._announcer = announcer
        self._queue = queue

    async def reconcile(self, namespace: str, name: str) -> None:
        """The route's weight is in force and its status says so."""
        body = self._world.routes.get(namespace, {}).get(name)
        program = self._programmer.program(namespace)
        if body is None:
            await self._removed(namespace, name, program)
            return
        if program is None:
            await self._without_tenant(body, namespace)
            return
        refusal = self._refresh(body, program)
        await self._programmer.distribute(namespace)
        await self._report(body, program, refusal)
        run = self._canaries.runs.get((namespace, name))
        if run is not None and run.is_measured:
            self._queue.add_after(Key("RelayRoute", namespace, name), _EVIDENCE_SECONDS)

    async def _removed(self, namespace: str, name: str, program: Publication | None) -> None:
        self._canaries.forget((namespace, name))
        if program is not None and program.fragments.pop(name, None) is not None:
            await self._programmer.distribute(namespace)

    async def _without_tenant(self, body: dict[str, Any], namespace: str) -> None:
        tenant = self._world.tenant_of_namespace(namespace)
        if tenant is not None:
            # its relay is still being set up; the tenant's reconciler calls again
            self._queue.add_after(
                Key("RelayRoute", namespace, body["metadata"]["name"]), _LOOK_AGAIN_SECONDS
            )
        message = f"namespace {namespace} belongs to no Tenant yet; a route lives in its tenant's namespace"
        refusal = RouteNotAccepted(reason=Reason.NOT_A_TENANT_NAMESPACE, message=message)
        wanted = route_conditions.refused(refusal.reason, refusal.message, final=tenant is None)
        await self._status.write("RelayRoute", body, {}, wanted, now=time.time())

    def _refresh(self, body: dict[str, Any], program: Publication) -> RouteNotAccepted | None:
        """Decides and puts the fragment in force; without waiting, so no older decision can overtake."""
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        providers = self._world.usable_providers()
        fragment = self._fragment(body, providers)
        if isinstance(fragment, RouteNotAccepted):
            return fragment
        named = {side.provider for side in composition.sides(fragment)}
        closed = named - program.reachable
        if closed:
            # the wall first: the tenant's reconciler opens the way, brings the keys and calls again
            self._queue.add(Key("Tenant", "", program.tenant.metadata.name), Urgency.URGENT)
            message = f"opening the way to {', '.join(sorted(closed))}; the Tenant tells if its key is missing"
            return RouteNotAccepted(reason=Reason.PROVISIONING, message=message)
        tenant = program.tenant.metadata.name
        parts = {
            name: composition.provider_part(
                providers[name], share=self._world.provider_share(name, tenant)
            )
            for name in named
        }
        self._programmer.set_providers(program, parts)
        in_force = program.fragments.get(key[1])
        route = RelayRoute.parse(body)
        run = self._canaries.accept(route, providers, in_force=in_force, now=time.time())
        waiting = self._awaits_key(program, run, fragment)
        if not waiting:
            self._canaries.decide(key, now=time.time())
        weight = run.state.weight_percent if fragment.canary and not waiting else 0
        program.fragments[key[1]] = fragment.model_copy(update={"canary_percent": weight})
        if not waiting:
            return None
        self._queue.add_after(Key("RelayRoute", *key), _KEY_SECONDS)
        message = "waiting for every relay pod to hold the key of the canary's provider"
        return RouteNotAccepted(reason=Reason.PROVISIONING, message=message)

    def _awaits_key(self, program: Publication, run: Run, fragment: document.Route) -> bool:
        """Whether a canary is about to start that some pod could only fail (ADR 5)."""
        if fragment.canary is None or run.state.fingerprint == run.plan.fingerprint:
            return False
        namespace = names.tenant_namespace(program.tenant.metadata.name)
        return program.lacks_key(fragment.canary.provider, self._world.relay_pods(namespace))

    def _fragment(
        self, body: dict[str, Any], providers: dict[str, Any]
    ) -> document.Route | RouteNotAccepted:
        metadata = body["metadata"]
        try:
            route = RelayRoute.parse(body)
        except InvalidSpec as error:
            return RouteNotAccepted(reason=Reason.INVALID_SPEC, message=str(error))
        older = composition.conflicts(
            self._world.parsed_routes(metadata["namespace"]).values()
        ).get(metadata["name"])
        if older is not None:
            message = f"route {older} already matches the same calls; the older route keeps them"
            return RouteNotAccepted(reason=Reason.CONFLICTED, message=message)
        return composition.route_part(route, providers, canary_percent=0)

    async def _report(
        self, body: dict[str, Any], program: Publication, refusal: RouteNotAccepted | None
    ) -> None:
        metadata = body["metadata"]
        key = (metadata["namespace"], metadata["name"])
        run = self._canaries.runs.get(key)
        acknowledged, pods = await self._programmer.acknowledged(key[0])
        fields: dict[str, Any] = {
            "programmed": {
                "generation": program.generation,
                "pods": pods,
                "acknowledged": acknowledged,
            }
        }
        if refusal is not None or run is None or run.last is None:
            found = refusal or RouteNotAccepted(
                reason=Reason.PROVISIONING, message="not decided yet"
            )
            final = found.reason is not Reason.PROVISIONING
            wanted = route_conditions.refused(found.reason, found.message, final=final)
        else:
            fields |= _fields(run)
            wanted = route_conditions.accepted(
                run.last,
                run.verdict,
                measured=run.is_measured,
                pods=pods,
                acknowledged=acknowledged,
            )
            await self._announce(body, run)
        if acknowledged < pods:
            self._queue.add_after(Key("RelayRoute", *key), _LOOK_AGAIN_SECONDS)
        await self._status.write("RelayRoute", body, fields, wanted, now=time.time())

    async def _announce(self, body: dict[str, Any], run: Run) -> None:
        pending, run.unannounced = run.unannounced, []
        for decision in pending:
            await self._announcer.announce(
                body,
                kind="RelayRoute",
                action="Move",
                reason=decision.reason,
                message=decision.message,
                level="Warning" if decision.reason is Reason.SLO_BREACH else "Normal",
            )


def _fields(run: Run) -> dict[str, Any]:
    state = run.state
    fields: dict[str, Any] = {
        "phase": state.phase.value,
        "weights": {
            "stablePercent": 100 - state.weight_percent,
            "canaryPercent": state.weight_percent,
        },
        "canaryFingerprint": state.fingerprint,
        "step": {"index": state.step_index, "startedAt": timestamp(state.step_started_at)},
        "analysis": None,
        "history": run.history,
    }
    if run.measured_at:
        fields["analysis"] = {
            "verdict": run.verdict.outcome.value,
            "reason": run.verdict.reason.value,
            "message": run.verdict.message,
            "measuredAt": timestamp(run.measured_at),
        }
    return fields
