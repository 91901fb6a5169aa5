"""Evidence from Prometheus of the routes that are followed, tick by tick.

Time is Prometheus' own: only differences of sample times count, and the newest sample is now. The operator's clock tells
only how long nothing new has been read.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from operator import add
from typing import Final

from relay_contract.document import SIGNALS, Signal
from relay_operator.decisions.analysis.increments import Increments, SideIncrements
from relay_operator.decisions.analysis.pod_counters import Increases, PodCounters
from relay_operator.decisions.analysis.scrape_schedule import ScrapeSchedule
from relay_operator.decisions.analysis.scrapes import (
    ATTEMPTS,
    COUNTERS,
    INDEX,
    TELLING,
    Assembly,
    PodName,
    RouteKey,
    Scrape,
    Series,
    Subject,
)

LOST_SCRAPES = 3
"""Over so many scrapes and longer, what happened in between is not known, and a pod is silent."""
_LOOKED_BACK_SCRAPES = LOST_SCRAPES + 1
_MISSED_SCRAPES = 2
_SEARCHED_SCRAPES = 10
"""For pods that have not been heard: what is in front of Prometheus may take its time before a sample can be read."""
_DUE: Final = 0.9
"""Of the time between two scrapes: ticks do not come to the millisecond."""
_MOST_PODS = 1000
"""Asked for together. With more of them due the rest comes with the next tick, and nothing of it is lost for three."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A question to Prometheus: of these pods what is newer than the time given for each, about these routes.

    seconds is how far to look back.
    """

    pods: Mapping[PodName, float]
    routes: frozenset[str]
    signals: frozenset[Signal]
    tokens: bool
    seconds: float


@dataclass(slots=True)
class _Counted:
    """What both sides counted until a scrape."""

    until: float = 0.0
    stable: Increases = field(default_factory=lambda: [0.0] * COUNTERS)
    canary: Increases = field(default_factory=lambda: [0.0] * COUNTERS)


@dataclass(slots=True)
class _Followed:
    """One route: its pods, and what they counted that no tick has had yet. told is the time that the last tick had.

    telling tells whether anything of it speaks against the canary; before is what was counted before that. looked_at is when
    the last tick took it, expected the pods that served then.
    """

    subject: Subject
    pods: dict[str, PodCounters] = field(default_factory=dict)
    told: float = 0.0
    moved: bool = False
    telling: bool = False
    counted: _Counted = field(default_factory=_Counted)
    before: _Counted | None = None
    looked_at: float = float("-inf")
    expected: Collection[str] = frozenset()

    @property
    def now(self) -> float:
        """Returns the time of the newest scrape, 0 before the first."""
        return max((pod.at for pod in self.pods.values()), default=0.0)

    def take(self, pod: PodCounters, scrapes: Iterable[Scrape], *, seen_at: float) -> None:
        """Adds what a pod counted from scrape to scrape."""
        said = pod.open, pod.impossible
        for scrape in scrapes:
            counted = pod.take(scrape, seen_at=seen_at)
            if counted is not None:
                self._add(scrape.at, *counted)
        self.telling |= said != (pod.open, pod.impossible)

    def _add(self, at: float, stable: Increases, canary: Increases) -> None:
        if not self.telling and any(map(canary.__getitem__, TELLING)):
            self.telling = True
            if self.moved:
                self.before, self.counted = self.counted, _Counted()
        counted = self.counted
        counted.until = max(counted.until, at)
        counted.stable = list(map(add, counted.stable, stable))
        counted.canary = list(map(add, counted.canary, canary))
        self.moved = True

    def forget_counts(self) -> None:
        """Begins to count anew."""
        self.moved = self.telling = False
        self.counted, self.before = _Counted(), None


class Evidence:
    """Counters of the routes that are followed, by route and pod; of each its last scrape only."""

    def __init__(self, *, scrape_seconds: float) -> None:
        self._scrape_seconds = scrape_seconds
        self._longest_seconds = LOST_SCRAPES * scrape_seconds
        self._schedule = ScrapeSchedule(scrape_seconds=scrape_seconds)
        self._routes: dict[RouteKey, _Followed] = {}

    @property
    def longest_seconds(self) -> float:
        """Returns after how long without a scrape it is not known what happened meanwhile."""
        return self._longest_seconds

    def follow(self, subjects: Mapping[RouteKey, Subject]) -> None:
        """Follows these routes and forgets all others. Another upstream on a side begins anew."""
        for key in self._routes.keys() - subjects.keys():
            del self._routes[key]
        for key, subject in subjects.items():
            followed = self._routes.get(key)
            if followed is None or followed.subject != subject:
                self._routes[key] = _Followed(subject)

    def question(self, pods: Mapping[str, Collection[str]], *, at: float) -> Question | None:
        """Returns what to ask for now, of the pods whose next scrape can be there; None if there are none.

        pods are the names of the relay pods of each namespace.
        """
        by_namespace: dict[str, list[_Followed]] = {}
        for (namespace, _), followed in self._routes.items():
            by_namespace.setdefault(namespace, []).append(followed)
        known = [(namespace, pod) for namespace in by_namespace for pod in pods.get(namespace, ())]
        self._forget_but(pods)
        self._schedule.keep(known)
        due = self._schedule.ask(known, at=at, most=_MOST_PODS)
        if not due:
            return None
        asked = {namespace for namespace, _ in due}
        subjects = [one.subject for space in asked for one in by_namespace[space]]
        since = {pod: self._since(by_namespace[pod[0]], pod[1], at) for pod in due}
        scrapes = _LOOKED_BACK_SCRAPES if all(since.values()) else _SEARCHED_SCRAPES
        return Question(
            pods=since,
            routes=frozenset(route for space, route in self._routes if space in asked),
            signals=frozenset(signal for subject in subjects for signal in subject.signals),
            tokens=any(subject.tokens for subject in subjects),
            seconds=scrapes * self._scrape_seconds,
        )

    def take(self, series: Iterable[Series], *, at: float) -> None:
        """Takes in an answer, asked for at this moment of the operator's clock."""
        assembly = Assembly({key: followed.subject for key, followed in self._routes.items()})
        assembly.add(series)
        for key, pod, scrapes in assembly.scrapes():
            self._schedule.read(pod, scrapes[-1].at, at=at)
            followed = self._routes[key]
            counters = followed.pods.get(pod[1])
            is_new = counters is None
            if counters is None:
                counters = followed.pods[pod[1]] = PodCounters(
                    longest_seconds=self._longest_seconds
                )
            if scrapes[-1].at < counters.at and at - counters.seen_at > self._longest_seconds:
                counters.step_back(scrapes[-1], seen_at=at)
                self._schedule.forget(pod)
            followed.take(counters, scrapes, seen_at=at)
            if is_new:
                # of a former run, perhaps, as all that was counted before
                counters.open = False
        self._schedule.answered(at=at)

    def is_due(self, key: RouteKey, *, expected: Collection[str], at: float) -> bool:
        """Tells whether a look at the route may find another verdict than the last one.

        Good calls wait until each pod has been scraped once more: most looks would cost what they cost for nothing.
        """
        followed = self._routes[key]
        waited = at - followed.looked_at >= _DUE * self._scrape_seconds
        return waited or followed.telling or followed.expected != expected

    def look_again(self, key: RouteKey) -> None:
        """Has the route looked at with the next tick."""
        followed = self._routes.get(key)
        if followed is not None:
            followed.looked_at = float("-inf")

    def before_trouble(
        self, key: RouteKey, *, expected: Collection[str], at: float
    ) -> Increments | None:
        """Returns what was counted before anything that speaks against the canary, if both were since the last tick.

        It is judged before what followed: what had time to come one by one is no burst.
        """
        followed = self._routes[key]
        before, counted, told = followed.before, followed.counted, followed.told
        if before is None or not told:
            return None
        followed.counted = before
        found = self._increments(followed, before.until, expected=expected, at=at)
        followed.counted, followed.told = counted, max(told, before.until)
        followed.before = None
        return found

    def increments(self, key: RouteKey, *, expected: Collection[str], at: float) -> Increments:
        """Returns what was counted since the last tick. expected are the names of the pods that serve."""
        followed = self._routes[key]
        followed.looked_at, followed.expected = at, expected
        before, counted = followed.before, followed.counted
        if before is not None:
            counted.stable = list(map(add, counted.stable, before.stable))
            counted.canary = list(map(add, counted.canary, before.canary))
        now, moved = followed.now, followed.moved
        if not followed.told:
            # what was counted before the first tick of this life may have been told by the last
            followed.forget_counts()
        increments = self._increments(followed, now, expected=expected, at=at)
        followed.told, followed.telling = now, False
        if moved:
            followed.forget_counts()
        return increments

    def _increments(
        self, followed: _Followed, now: float, *, expected: Collection[str], at: float
    ) -> Increments:
        moved, counted = followed.moved, followed.counted
        fresh = [(name, pod) for name, pod in followed.pods.items() if self._is_fresh(pod, now, at)]
        serving = [pod for name, pod in fresh if name in expected]
        under_way = [pod.under_way() for _, pod in fresh]
        return Increments(
            now=now,
            seconds=max(now - followed.told, 0.0) if moved else 0.0,
            stable=_side(counted.stable if moved else None, sum(level for level, _ in under_way)),
            canary=_side(counted.canary if moved else None, sum(level for _, level in under_way)),
            fresh_pods=len(serving),
            expected_pods=len(expected),
            tripped_pods=sum(pod.open for pod in serving),
            moved=moved,
        )

    def impossible(self, key: RouteKey) -> str:
        """Names a pod whose figures of the route cannot be, and why; nothing if all can."""
        for name, pod in sorted(self._routes[key].pods.items()):
            if pod.impossible:
                return f"relay pod {name} reports {pod.impossible}"
        return ""

    def _is_fresh(self, pod: PodCounters, now: float, at: float) -> bool:
        return (
            not pod.impossible
            and pod.at > 0
            and now - pod.at <= self._longest_seconds
            and at - pod.seen_at <= self._longest_seconds
        )

    def _since(self, routes: Iterable[_Followed], pod: str, at: float) -> float:
        """Returns what is known of a pod; nothing if a scrape of it was missed: then it is searched for.

        Its samples may take longer to be read, or its clock may have been set back.
        """
        known = [one.pods[pod] for one in routes if pod in one.pods]
        missed = _MISSED_SCRAPES * self._scrape_seconds
        if not known or any(at - one.seen_at > missed for one in known):
            return 0.0
        return min(one.at for one in known)

    def _forget_but(self, pods: Mapping[str, Collection[str]]) -> None:
        """Forgets the pods that are gone; what they counted stays counted."""
        for (namespace, _), followed in self._routes.items():
            there = pods.get(namespace, ())
            for name in [name for name in followed.pods if name not in there]:
                del followed.pods[name]


def _side(counted: Increases | None, under_way: float) -> SideIncrements:
    if counted is None:
        return SideIncrements(under_way=under_way)
    slow = {
        signal: (counted[INDEX[f"slow/{signal}"]], counted[INDEX[f"timed/{signal}"]])
        for signal in SIGNALS
    }
    attempts = {name: counted[INDEX[name]] for name in (*ATTEMPTS, "reported")}
    tokens = {name: counted[INDEX[name]] for name in ("input_tokens", "output_tokens")}
    return SideIncrements(slow=slow, under_way=under_way, **attempts, **tokens)
