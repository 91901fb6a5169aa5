"""Series about every tenant and route, made of what is known when Prometheus asks: one state, and no counter that could be behind it.

Lines of what is as it was at the last scrape are kept, so that a scrape of a fleet costs what has changed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.registry import Collector

from relay_operator import names
from relay_operator.api.relay_route import RelayRoute
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.metrics.written_metric import KeptLines, Lines, WrittenMetric, line
from relay_operator.decisions import conditions, tenant_status, timestamps
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.decisions.isolation.record import Record
from relay_operator.names import ConditionType, Reason
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.metrics import route_families
from relay_operator.reconcile.watched_objects import Watched
from relay_operator.reconcile.watched_state import WatchedState

_READY: Final = "relay_operator_tenant_ready"
_PODS: Final = "relay_operator_tenant_relay_pods"
_PROGRAMMED: Final = "relay_operator_tenant_relay_pods_programmed"
_DUE: Final = "relay_operator_api_key_rotation_due_timestamp_seconds"
_UNTIL: Final = "relay_operator_api_key_previous_until_timestamp_seconds"
_ISOLATED: Final = "relay_operator_tenant_isolated"
_PROBED: Final = "relay_operator_tenant_isolation_probed_timestamp_seconds"
_ROLLOUTS: Final = "relay_operator_rollout_tenants"
_TENANT: Final = ("namespace", "tenant")
_KEY: Final = (*_TENANT, "key")
_SHAPES: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    _READY: ("1 while the condition Ready of the Tenant is True.", _TENANT),
    _PODS: ("Relay pods that the Tenant asks for.", _TENANT),
    _PROGRAMMED: ("Relay pods that are ready and run the newest configuration.", _TENANT),
    _ROLLOUTS: (
        "Tenants that wait for a change of the platform, whose relay pods are being rolled, or whose new ones do not come up.",
        ("state",),
    ),
    _DUE: (
        "When the current API key of this name is due to be rotated; absent without a schedule.",
        _KEY,
    ),
    _UNTIL: (
        "Until when the API key before the current one is accepted; absent without one.",
        _KEY,
    ),
    _ISOLATED: (
        "1 while the tenant is shown to be kept apart, 0 while it is shown not to be; absent while that is unknown.",
        _TENANT,
    ),
    _PROBED: (
        "When a probe last judged the tenant's isolation; absent before the first in this life of the operator.",
        _TENANT,
    ),
    **{route_families.PREFIX + name: shape for name, shape in route_families.SHAPES.items()},
}
"""Help and labels of each metric."""
_OF_ROUTES: Final = frozenset(route_families.PREFIX + name for name in route_families.SHAPES)
_OF_TENANTS: Final = _SHAPES.keys() - _OF_ROUTES
_AT_ONCE: Final = 250
"""Objects that are gone through between two turns of everything else."""
_ROLLOUT_STATES = {
    "waiting": (Reason.AWAITING_TURN, Reason.WAVE_STOPPED),
    "rolling": (Reason.ROLLING_OUT,),
    "stuck": (Reason.ROLLOUT_STUCK,),
}


class StateCollector(Collector):
    """Reads memory alone. Labels are names of objects, so the API server bounds how many series there are."""

    def __init__(
        self,
        *,
        watched_state: WatchedState,
        canaries: CanaryRuns,
        isolation: IsolationRecords,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._watched_state = watched_state
        self._canaries = canaries
        self._isolation = isolation
        self._leads = leads
        self._tenants: KeptLines[str] = KeptLines(_OF_TENANTS)
        self._routes: KeptLines[tuple[str, str]] = KeptLines(_OF_ROUTES)

    def describe(self) -> Iterable[Metric]:
        """Names no metric beforehand, so that registering computes nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Computes the series of this moment; a standby has none, so that sums over all operators count once.

        An operator that is a shard has those of its own Tenants.
        """
        if not self._leads():
            self._tenants.clear()
            self._routes.clear()
            return
        rollouts: list[str] = []
        steps = self._steps(rollouts)
        lines: dict[str, Iterable[str]] = {
            name: kept.values()
            for table in (self._tenants.of_metric, self._routes.of_metric)
            for name, kept in table.items()
        }
        lines[_ROLLOUTS] = rollouts
        for name, shape in _SHAPES.items():
            yield WrittenMetric(name, *shape, lines=lines[name], steps=steps)

    def _steps(self, rollouts: list[str]) -> Iterator[None]:
        """Brings the lines of all objects up to date, some at a time, and counts the rollouts."""
        yield from self._take_in_tenants()
        yield from self._take_in_routes()
        found = Counter(self._tenants.of_metric[_ROLLOUTS].values())
        rollouts += (
            line(_ROLLOUTS, {"state": state}, sum(found[reason.value] for reason in reasons))
            for state, reasons in _ROLLOUT_STATES.items()
        )

    def _take_in_tenants(self) -> Iterator[None]:
        seen: set[str] = set()
        kept, state = self._tenants, self._watched_state
        for number, name in enumerate(state.our_tenants()):
            if not number % _AT_ONCE:
                yield
            watched = state.tenants.get(name)
            if watched is None:
                continue
            seen.add(name)
            record = self._isolation.of_tenant(watched)
            if not kept.are_made_of(name, (watched, record)):
                kept.put(name, (watched, record), _of_tenant(watched, record))
        kept.drop(lambda name: state.tenants.get(name) is None or not state.is_ours(name), but=seen)

    def _take_in_routes(self) -> Iterator[None]:
        seen: set[tuple[str, str]] = set()
        kept = self._routes
        for number, (namespace, watched) in enumerate(self._our_routes()):
            if not number % _AT_ONCE:
                yield
            key = namespace, watched.name
            seen.add(key)
            run = self._canaries.runs.get(key)
            parts = route_families.made_of(watched, run)
            if not kept.are_made_of(key, parts):
                kept.put(key, parts, _of_route(namespace, watched, run))
        kept.drop(self._is_gone, but=seen)

    def _is_gone(self, route: tuple[str, str]) -> bool:
        """Tells whether there is no such route any more that is to be told of."""
        namespace, name = route
        is_known = self._watched_state.routes.get(name, namespace=namespace) is not None
        return not (is_known and self._watched_state.is_our_namespace(namespace))

    def _our_routes(self) -> Iterator[tuple[str, Watched[RelayRoute]]]:
        routes = self._watched_state.routes
        for namespace in routes.namespaces():
            if self._watched_state.is_our_namespace(namespace):
                for watched in routes.in_namespace(namespace):
                    yield namespace, watched


def _of_route(namespace: str, watched: Watched[RelayRoute], run: Run | None) -> Lines:
    return route_families.lines_of(namespace, watched.name, watched.status, run)


def _of_tenant(watched: Watched[Tenant], record: Record) -> Lines:
    """Writes the lines about a Tenant, and in place of one the reason by which it counts among rollouts."""
    status, namespace = watched.status, names.tenant_namespace(watched.name)
    labels = {"namespace": namespace, "tenant": watched.name}
    values = {_READY: float(_holds(status, ConditionType.READY))}
    told = tenant_status.from_status(status)
    if told is not None:
        values[_PODS] = told.replicas
        values[_PROGRAMMED] = min(told.ready, told.acknowledged)
    if record.finding.holds is not None:
        values[_ISOLATED] = float(record.finding.holds)
    if record.proven_at:
        values[_PROBED] = record.proven_at
    lines = {name: line(name, labels, value) for name, value in values.items()}
    lines[_ROLLOUTS] = str(conditions.find(status, ConditionType.ROLLED_OUT).get("reason"))
    for told_key in status.get("keys") or ():
        for name, field in ((_DUE, "rotatesAt"), (_UNTIL, "previousUntil")):
            if field in told_key:
                at = timestamps.from_text(told_key[field])
                written = line(name, {**labels, "key": told_key["name"]}, at)
                lines[name] = lines.get(name, "") + written
    return lines


def _holds(status: Mapping[str, Any], wanted: ConditionType) -> bool:
    return any(
        one.get("type") == wanted and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
