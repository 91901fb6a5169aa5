"""Makes one round of probes for a tenant: its relay pods and the operator connect to the same targets at the same time."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from relay_contract.endpoints import TRAFFIC_PORT
from relay_contract.isolation_probe import Outcome, ProbeAnswer, Target, TargetKind
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.isolation.finding import Finding, PodSight, Sight, judge
from relay_operator.errors import Unavailable
from relay_operator.manifests import probe_targets, reach
from relay_operator.manifests.environment import Upstream
from relay_operator.manifests.probe_targets import Aim, Around, Neighbour
from relay_operator.reconcile.watched_state import WatchedState

logger = logging.getLogger(__name__)

MOST_PODS = 4
"""Of a tenant, in one round; others have their turn in the next."""
_NEIGHBOURS = 2


class Connections(Protocol):
    """The ways into the network (cluster/probing)."""

    async def ask(self, pod: Pod, tenant_uid: str, targets: tuple[Target, ...]) -> ProbeAnswer: ...

    async def connect(self, address: str, port: int) -> tuple[Outcome, float]: ...

    def arrived_at_decoy(self, address: str) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """Holds where the operator itself is, and the address and port that every pod is told for the API server.

    cluster_cidrs are the addresses that the platform has named as the cluster's own.
    """

    namespace: str
    addresses: tuple[str, ...]
    api_server: tuple[str, int] | None
    cluster_cidrs: tuple[str, ...] = ()


class Prober:
    def __init__(
        self,
        *,
        connections: Connections,
        watched_state: WatchedState,
        operator: Operator,
    ) -> None:
        self._connections = connections
        self._watched_state = watched_state
        self._operator = operator

    async def probe(
        self, tenant: Tenant, pods: Sequence[Pod], upstreams: Sequence[Upstream]
    ) -> Finding:
        """Judges the tenant's isolation from these pods. upstreams are those that its network policy opens the way to."""
        space = names.tenant_namespace(tenant.metadata.name)
        around = Around(
            decoys=self._operator.addresses,
            api_server=self._operator.api_server,
            neighbours=self._neighbours(space),
            cluster_cidrs=self._operator.cluster_cidrs,
        )
        sights = [self._look(tenant, pod, around, upstreams) for pod in pods]
        return judge(await asyncio.gather(*sights), namespace=space)

    def _neighbours(self, space: str) -> list[Neighbour]:
        """Chooses relay pods of other tenants, others each time."""
        chosen = self._watched_state.directory.draw(_NEIGHBOURS, but=space)
        return [
            Neighbour(
                namespace=pod.namespace,
                address=pod.ip,
                host_address=pod.host_ip,
                service=self._watched_state.service(pod.namespace),
            )
            for pod in chosen
        ]

    async def _look(
        self, tenant: Tenant, pod: Pod, around: Around, upstreams: Sequence[Upstream]
    ) -> PodSight:
        aims = probe_targets.aims(around, upstreams, own_host_address=pod.host_ip)
        asked = self._ask(pod, tenant.metadata.uid, tuple(aim.target for aim in aims))
        reached = asyncio.gather(
            *(self._connections.connect(aim.target.address, aim.target.port) for aim in aims)
        )
        outside = self._connections.connect(pod.ip, TRAFFIC_PORT)
        answer, own, (from_outside, _) = await asyncio.gather(asked, reached, outside)
        if isinstance(answer, Unavailable):
            is_seen = from_outside is Outcome.CONNECTED and not self._is_let_in(tenant)
            return PodSight(
                pod=pod.name,
                problem=str(answer),
                from_outside=from_outside if is_seen else None,
            )
        return PodSight(
            pod=pod.name,
            targets=tuple(
                self._sight(pod, aim, outcome, mine)
                for aim, outcome, mine in zip(aims, answer.outcomes, own, strict=True)
            ),
            from_outside=None if self._is_let_in(tenant) else from_outside,
            serving=answer.serving,
        )

    async def _ask(
        self, pod: Pod, uid: str, targets: tuple[Target, ...]
    ) -> ProbeAnswer | Unavailable:
        try:
            return await self._connections.ask(pod, uid, targets)
        except Unavailable as error:
            return error
        except Exception as error:  # whatever one pod tells counts for its own tenant alone
            logger.exception("isolation probe of a pod failed", extra={"pod": pod.name})
            return Unavailable(f"its answer could not be read ({type(error).__name__})")

    def _sight(self, pod: Pod, aim: Aim, told: Outcome, mine: tuple[Outcome, float]) -> Sight:
        outcome, seconds = mine
        if aim.target.kind is TargetKind.DECOY and self._connections.arrived_at_decoy(pod.ip):
            # whatever the pod says
            told = Outcome.CONNECTED
        return Sight(
            kind=aim.target.kind,
            place=aim.place,
            relay=told,
            operator_seconds=seconds if outcome is Outcome.CONNECTED else None,
            permitted=aim.permitted,
        )

    def _is_let_in(self, tenant: Tenant) -> bool:
        return reach.lets_in(tenant, self._operator.addresses, namespace=self._operator.namespace)
