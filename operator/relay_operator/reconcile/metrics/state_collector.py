"""Series about every tenant and route, computed when Prometheus asks: one state, and no counter that could be behind it."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.decisions import conditions, tenant_status, timestamps
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.names import ConditionType, Reason
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.metrics.route_families import RouteFamilies
from relay_operator.reconcile.watched_objects import Watched
from relay_operator.reconcile.watched_state import WatchedState

_TENANT = ("namespace", "tenant")
_KEY = (*_TENANT, "key")
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

    def describe(self) -> Iterable[Metric]:
        """Names no metric beforehand, so that registering computes nothing."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Computes the series of this moment; a standby has none, so that sums over all operators count once.

        An operator that is a shard has those of its own Tenants.
        """
        if not self._leads():
            return
        yield from self._tenants()
        yield self._rollouts()
        yield from self._keys()
        yield from self._isolations()
        yield from self._routes()

    def _tenants(self) -> Iterable[Metric]:
        ready = _gauge(
            "relay_operator_tenant_ready",
            "1 while the condition Ready of the Tenant is True.",
            _TENANT,
        )
        pods = _gauge(
            "relay_operator_tenant_relay_pods", "Relay pods that the Tenant asks for.", _TENANT
        )
        programmed = _gauge(
            "relay_operator_tenant_relay_pods_programmed",
            "Relay pods that are ready and run the newest configuration.",
            _TENANT,
        )
        for watched in self._our_tenants():
            status = watched.body["status"]
            labels = [names.tenant_namespace(watched.name), watched.name]
            ready.add_metric(labels, float(_holds(status, ConditionType.READY)))
            told = tenant_status.from_status(status)
            if told is not None:
                pods.add_metric(labels, told.replicas)
                programmed.add_metric(labels, min(told.ready, told.acknowledged))
        return ready, pods, programmed

    def _our_tenants(self) -> Iterable[Watched[Tenant]]:
        known = map(self._watched_state.tenants.get, self._watched_state.our_tenants())
        return filter(None, known)

    def _rollouts(self) -> Metric:
        family = _gauge(
            "relay_operator_rollout_tenants",
            "Tenants that wait for a change of the platform, whose relay pods are being rolled, or whose new ones do not come up.",
            ("state",),
        )
        found = Counter(
            conditions.find(watched.body["status"], ConditionType.ROLLED_OUT).get("reason")
            for watched in self._our_tenants()
        )
        for state, reasons in _ROLLOUT_STATES.items():
            family.add_metric([state], sum(found[reason.value] for reason in reasons))
        return family

    def _keys(self) -> Iterable[Metric]:
        due = _gauge(
            "relay_operator_api_key_rotation_due_timestamp_seconds",
            "When the current API key of this name is due to be rotated; absent without a schedule.",
            _KEY,
        )
        until = _gauge(
            "relay_operator_api_key_previous_until_timestamp_seconds",
            "Until when the API key before the current one is accepted; absent without one.",
            _KEY,
        )
        for watched in self._our_tenants():
            for told in watched.body["status"].get("keys") or ():
                labels = [names.tenant_namespace(watched.name), watched.name, told["name"]]
                for family, field in ((due, "rotatesAt"), (until, "previousUntil")):
                    if field in told:
                        family.add_metric(labels, timestamps.from_text(told[field]))
        return due, until

    def _isolations(self) -> Iterable[Metric]:
        isolated = _gauge(
            "relay_operator_tenant_isolated",
            "1 while the tenant is shown to be kept apart, 0 while it is shown not to be; absent while that is unknown.",
            _TENANT,
        )
        probed = _gauge(
            "relay_operator_tenant_isolation_probed_timestamp_seconds",
            "When a probe last judged the tenant's isolation; absent before the first in this life of the operator.",
            _TENANT,
        )
        for name in self._watched_state.our_tenants():
            namespace = names.tenant_namespace(name)
            record = self._isolation.of(namespace)
            if record.finding.holds is not None:
                isolated.add_metric([namespace, name], float(record.finding.holds))
            if record.proven_at:
                probed.add_metric([namespace, name], record.proven_at)
        return isolated, probed

    def _routes(self) -> Iterable[Metric]:
        families = RouteFamilies()
        routes = self._watched_state.routes
        for namespace in filter(self._watched_state.is_our_namespace, routes.namespaces()):
            for watched in routes.in_namespace(namespace):
                labels = [namespace, watched.name]
                families.add(
                    labels,
                    watched.body["status"],
                    self._canaries.runs.get((namespace, watched.name)),
                )
        return families.all()


def _gauge(name: str, help_: str, labels: tuple[str, ...]) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, help_, labels=labels)


def _holds(status: Mapping[str, Any], wanted: ConditionType) -> bool:
    return any(
        one.get("type") == wanted and one.get("status") == "True"
        for one in status.get("conditions") or ()
    )
