"""Prometheus samples, turned into counts per side of each route. Keyed on the labels that the scraper sets: a relay's
own labels prove nothing.
"""

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

from relay_contract.document import SIGNALS
from relay_operator.decisions.analysis.counters import CounterHistory
from relay_operator.decisions.analysis.verdict import SideCounts, Window

_FINISHED = "relay_slo_attempts_finished_total"
_FAILED = "relay_slo_attempts_failed_total"
_THROTTLED = "relay_slo_attempts_throttled_total"
_REFUSED = "relay_slo_attempts_refused_total"
_SLOW = "relay_slo_attempts_slow_total"
_TIMED = "relay_slo_attempts_timed_total"
_BREAKER = "relay_slo_breaker_failed_probes"
"""An open breaker alone may come from a burst; one whose probe failed does not."""
_START_TIME = "process_start_time_seconds"
_SHADOW = "shadow"
"""Copies of calls, counted under the canary's fingerprint; no user saw their answers."""

_SIDES = frozenset({"", "stable", "canary", "fallback"})
_SIGNALS = frozenset({"", *SIGNALS})

_KEEP_SECONDS = 3600.0
"""Samples older than this are dropped; the schema bounds a route's window to minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Raw samples of one time series: labels as the scraper wrote them, (seconds since the epoch, value) pairs."""

    labels: dict[str, str]
    samples: tuple[tuple[float, float], ...]

    @property
    def name(self) -> str:
        return self.labels.get("__name__", "")


@dataclass(frozen=True, slots=True)
class SeriesKey:
    """One counter of one pod. signal is empty but for latency counters.

    An upstream that was stable and is canary now has a series for each; both count for its fingerprint.
    """

    metric: str
    namespace: str
    pod_uid: str
    route: str
    fingerprint: str
    side: str
    signal: str


@dataclass(slots=True)
class Evidence:
    """Histories of all counters of all active relays."""

    stale_seconds: float
    _histories: dict[SeriesKey, CounterHistory] = field(default_factory=dict)
    _breakers: dict[tuple[str, str, str, str], tuple[float, float]] = field(default_factory=dict)

    def observe(self, series: Iterable[Series]) -> None:
        """Adds the series of one fetch. A counter's incarnation is its process's start time, read in the same fetch."""
        series = tuple(series)
        starts = {_pod(one): one.samples[-1][1] for one in series if one.name == _START_TIME}
        for one in series:
            if one.name == _START_TIME or one.labels.get("side") == _SHADOW:
                continue
            if one.name == _BREAKER:
                self._breakers[_route(one)] = one.samples[-1]
                continue
            history = self._histories.setdefault(
                _series_key(one), CounterHistory(keep_seconds=_KEEP_SECONDS)
            )
            for at, value in one.samples:
                history.observe(at, value, incarnation=starts.get(_pod(one), 0.0))

    def observe_known(
        self,
        series: Iterable[Series],
        *,
        pods: Container[tuple[str, str]],
        routes: Mapping[tuple[str, str], Container[str]],
    ) -> None:
        """Adds those series of one fetch that can be about a canary; the labels of others would fill the memory.

        pods are namespace and UID of every relay pod; routes has the fingerprints that count for each route, by
        namespace and name.
        """
        self.observe(
            one
            for one in series
            if _pod(one) in pods and (one.name == _START_TIME or _is_about(one, routes))
        )

    def forget_before(self, moment: float) -> None:
        """Drops the series without a sample since the moment."""
        self._histories = {
            key: history for key, history in self._histories.items() if history.newest >= moment
        }
        self._breakers = {
            key: sample for key, sample in self._breakers.items() if sample[0] >= moment
        }

    def window(
        self,
        *,
        namespace: str,
        route: str,
        stable: str,
        canary: str,
        expected_pods: frozenset[str],
        since: float,
        now: float,
    ) -> Window:
        """Counts both sides since a moment. expected_pods are the UIDs of the pods that serve."""
        keys = [key for key in self._histories if key.namespace == namespace and key.route == route]
        fresh = {
            key.pod_uid
            for key in keys
            if key.fingerprint == canary and now - self._histories[key].newest <= self.stale_seconds
        }
        return Window(
            stable=self._side(keys, stable, since),
            canary=self._side(keys, canary, since),
            pods=len(fresh & expected_pods),
            expected_pods=len(expected_pods),
            tripped_pods=self._tripped(namespace, route, canary, expected_pods, now),
        )

    def finished_since(
        self, *, namespace: str, route: str, fingerprint: str, moment: float
    ) -> float:
        """Counts the attempts finished after the moment, all pods together."""
        return sum(
            history.increase_since(moment)
            for key, history in self._histories.items()
            if (key.metric, key.namespace, key.route, key.fingerprint)
            == (_FINISHED, namespace, route, fingerprint)
        )

    def _side(self, keys: Iterable[SeriesKey], fingerprint: str, since: float) -> SideCounts:
        totals: dict[tuple[str, str], float] = {}
        for key in keys:
            if key.fingerprint == fingerprint:
                slot = (key.metric, key.signal)
                totals[slot] = totals.get(slot, 0.0) + self._histories[key].increase_since(since)
        # a part is never more than its whole, whatever a pod says
        slow = {
            signal: (min(totals.get((_SLOW, signal), 0.0), timed), timed)
            for signal in SIGNALS
            if (timed := totals.get((_TIMED, signal))) is not None
        }
        finished = totals.get((_FINISHED, ""), 0.0)
        failed, throttled, refused = _parts(
            [totals.get((name, ""), 0.0) for name in (_FAILED, _THROTTLED, _REFUSED)], finished
        )
        return SideCounts(
            finished=finished, failed=failed, throttled=throttled, refused=refused, slow=slow
        )

    def _tripped(
        self, namespace: str, route: str, canary: str, pods: frozenset[str], now: float
    ) -> int:
        return sum(
            (space, name, fingerprint) == (namespace, route, canary)
            and pod in pods
            and value > 0
            and now - at <= self.stale_seconds
            for (space, pod, name, fingerprint), (at, value) in self._breakers.items()
        )


def _parts(parts: list[float], whole: float) -> list[float]:
    """Returns the parts, none of them and not all together more than the whole."""
    found = []
    for part in parts:
        found.append(min(part, whole))
        whole -= found[-1]
    return found


def _is_about(series: Series, routes: Mapping[tuple[str, str], Container[str]]) -> bool:
    namespace, _, route, fingerprint = _route(series)
    return (
        fingerprint in routes.get((namespace, route), ())
        and series.labels.get("side", "") in _SIDES
        and series.labels.get("signal", "") in _SIGNALS
    )


def _series_key(series: Series) -> SeriesKey:
    namespace, pod_uid, route, fingerprint = _route(series)
    return SeriesKey(
        series.name,
        namespace,
        pod_uid,
        route,
        fingerprint,
        series.labels.get("side", ""),
        series.labels.get("signal", ""),
    )


def _route(series: Series) -> tuple[str, str, str, str]:
    labels = series.labels
    return *_pod(series), labels.get("route", ""), labels.get("fingerprint", "")


def _pod(series: Series) -> tuple[str, str]:
    return series.labels.get("namespace", ""), series.labels.get("pod_uid", "")
