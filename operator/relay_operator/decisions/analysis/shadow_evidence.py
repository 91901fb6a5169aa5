"""What Prometheus shows of shadow copies: how they compared, of the routes that wait for that before any weight.

Counters are followed as those of the sides are (`evidence.py`): by sample times alone, from whole scrapes of known pods; a
restart is known by its start time, what fell is no news, and what lies behind a long gap is dropped. After a clock was set back,
of Prometheus or of a pod, counting goes on from what is heard then.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from relay_contract.shadow import OUTCOMES, PAIRS
from relay_operator.decisions.analysis.evidence import LOST_SCRAPES
from relay_operator.decisions.analysis.scrape_schedule import ScrapeSchedule
from relay_operator.decisions.analysis.scrapes import (
    COPIED,
    STARTED,
    PodName,
    RouteKey,
    Series,
    copied,
)

_NEEDED: Final = frozenset(copied(pair, outcome) for pair in PAIRS for outcome in OUTCOMES)
_LOOKED_BACK_SCRAPES: Final = 10
_MISSED_SCRAPES: Final = 2
_MOST_PODS: Final = 1000

Counts = dict[str, float]
"""Copies by pair and outcome (`copied`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowQuestion:
    """What to ask Prometheus for: the copies of these routes that these pods counted, newer than the time given for each."""

    pods: Mapping[PodName, float]
    routes: frozenset[str]
    seconds: float


@dataclass(slots=True)
class _Pod:
    """The newest scrape of one pod about one route, and when it was read, on the operator's own clock."""

    at: float = 0.0
    seen_at: float = 0.0
    start: float = 0.0
    counts: Counts | None = None


@dataclass(slots=True)
class _Followed:
    """One route: its pods, and what they counted that nobody has taken yet, over so many seconds. told is the last time taken."""

    fingerprint: str
    pods: dict[str, _Pod] = field(default_factory=dict)
    counted: Counts = field(default_factory=dict)
    told: float = 0.0


class ShadowEvidence:
    """Follows the copies of some routes."""

    def __init__(self, *, scrape_seconds: float) -> None:
        self._scrape_seconds = scrape_seconds
        self._schedule = ScrapeSchedule(scrape_seconds=scrape_seconds)
        self._routes: dict[RouteKey, _Followed] = {}

    def follow(self, canaries: Mapping[RouteKey, str]) -> None:
        """Follows these routes, with the fingerprints of their canaries, and forgets all others."""
        for key in self._routes.keys() - canaries.keys():
            del self._routes[key]
        for key, fingerprint in canaries.items():
            known = self._routes.get(key)
            if known is None or known.fingerprint != fingerprint:
                self._routes[key] = _Followed(fingerprint)

    def question(self, pods: Mapping[str, Collection[str]], *, at: float) -> ShadowQuestion | None:
        """Returns what to ask for now, of the pods whose next scrape can be there; None if there are none."""
        spaces = {namespace for namespace, _ in self._routes}
        known = [(namespace, pod) for namespace in spaces for pod in pods.get(namespace, ())]
        self._schedule.keep(known)
        due = self._schedule.ask(known, at=at, most=_MOST_PODS)
        for (namespace, _), followed in self._routes.items():
            for gone in followed.pods.keys() - set(pods.get(namespace, ())):
                del followed.pods[gone]
        if not due:
            return None
        asked = {namespace for namespace, _ in due}
        return ShadowQuestion(
            pods={pod: self._since(pod, at) for pod in due},
            routes=frozenset(route for namespace, route in self._routes if namespace in asked),
            seconds=_LOOKED_BACK_SCRAPES * self._scrape_seconds,
        )

    def take(self, series: Iterable[Series], *, at: float) -> None:
        """Takes in an answer, asked for at this moment of the operator's clock."""
        starts: dict[PodName, dict[float, float]] = {}
        found: dict[tuple[PodName, RouteKey], dict[float, Counts]] = {}
        for (pod, key, side, fingerprint, column), samples in series:
            followed = self._routes.get(key)
            if column == STARTED:
                starts.setdefault(pod, {}).update(samples)
            elif column == COPIED and followed and followed.fingerprint == fingerprint:
                scrapes = found.setdefault((pod, key), {})
                for when, value in samples:
                    scrapes.setdefault(when, {})[side] = value
        for (pod, key), scrapes in found.items():
            began = starts.get(pod, {})
            whole = [
                (when, began[when], scrapes[when])
                for when in sorted(scrapes.keys() & began.keys())
                if scrapes[when].keys() >= _NEEDED
            ]
            if whole:
                self._take_scrapes(self._routes[key], pod, whole, at)
        self._schedule.answered(at=at)

    def _take_scrapes(
        self,
        followed: _Followed,
        name: PodName,
        scrapes: Sequence[tuple[float, float, Counts]],
        at: float,
    ) -> None:
        pod = followed.pods.setdefault(name[1], _Pod())
        newest, start, _ = scrapes[-1]
        is_silent = at - pod.seen_at > LOST_SCRAPES * self._scrape_seconds
        if pod.counts is not None and is_silent and (newest < pod.at or start < pod.start):
            # a clock was set back: what lies between is lost
            pod.at = min(pod.at, newest)
            pod.start, pod.counts = start, None
            self._schedule.forget(name)
        for when, started, counts in scrapes:
            self._schedule.read(name, when, at=at)
            if self._count(followed, pod, when, started, counts):
                pod.seen_at = at

    def taken(self, key: RouteKey) -> tuple[Counts, float] | None:
        """Returns what was counted since the last time, and in how many seconds; None while no scrape is known."""
        followed = self._routes[key]
        now = max((pod.at for pod in followed.pods.values()), default=0.0)
        if not now:
            return None
        seconds = max(now - followed.told, 0.0) if followed.told else 0.0
        followed.told = now
        counted, followed.counted = followed.counted, {}
        return counted, seconds

    def _count(
        self, followed: _Followed, pod: _Pod, when: float, start: float, counts: Counts
    ) -> bool:
        """Adds what one pod counted since its last scrape, where that is certain; returns False where the scrape is no news."""
        if when <= pod.at or start < pod.start:
            return False
        former, restarted = pod.counts, start > pod.start
        if (
            former is not None
            and not restarted
            and any(counts[one] < former[one] for one in _NEEDED)
        ):
            return False
        lost = when - pod.at > LOST_SCRAPES * self._scrape_seconds
        pod.at, pod.start, pod.counts = when, start, {one: counts[one] for one in _NEEDED}
        if former is None or lost:
            return True
        for one in _NEEDED:
            more = counts[one] - (0.0 if restarted else former[one])
            followed.counted[one] = followed.counted.get(one, 0.0) + more
        return True

    def _since(self, pod: PodName, at: float) -> float:
        """Returns what is known of a pod; nothing if a scrape of it was missed: its clock, or Prometheus', may have been set back."""
        known = [
            one.pods[pod[1]]
            for (namespace, _), one in self._routes.items()
            if namespace == pod[0] and pod[1] in one.pods
        ]
        missed = _MISSED_SCRAPES * self._scrape_seconds
        if any(at - one.seen_at > missed for one in known):
            return 0.0
        return min((one.at for one in known), default=0.0)
