"""Calls of both sides of a route as Prometheus shows them: scrapes of several pods, seen tick by tick.

Calls arrive by a Poisson process and fail independently, but for bursts and incidents. Each pod is scraped on its own phase,
with jitter and now and then a scrape missing. A seed gives the same stream on every machine.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from relay_operator.decisions.analysis.increments import Increments, SideIncrements

_JITTER_SECONDS: Final = 0.03
_MISSING: Final = 0.005
_VISIBLE_SECONDS: Final = 0.06


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """Failures that come together, each burst within some seconds, at random times or every so many seconds."""

    every_seconds: float
    at_random: bool = False
    failures: int = 10
    within_seconds: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """Calls of one side: per second, the share that fails, and other shares between moments."""

    per_second: float
    failing: float = 0.0
    levels: tuple[tuple[float, float, float], ...] = ()
    bursts: Bursts | None = None

    def failing_between(self, begin: float, end: float) -> float:
        """Returns the mean share that fails."""
        total = self.failing * (end - begin)
        for start, stop, failing in self.levels:
            overlap = min(end, stop) - max(begin, start)
            if overlap > 0:
                total += (failing - self.failing) * overlap
        return total / (end - begin)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two sides for some time. onset is when the canary's fault begins; before it every rollback is false."""

    name: str
    canary: Calls
    stable: Calls
    seconds: float
    onset: float = 0.0
    tick_seconds: float = 0.5
    scrape_seconds: float = 2.0
    pods: int = 3


@dataclass(frozen=True, slots=True)
class Seen:
    """What became visible at a tick: the newest sample time, and how many failed and began on each side."""

    at: float
    now: float
    failed: int
    began: int
    stable_failed: int
    stable_began: int


@dataclass(frozen=True, slots=True)
class _Scrape:
    visible: float
    at: float
    failed: int
    began: int
    stable_failed: int
    stable_began: int


def stream(case: Case, seed: int) -> Iterator[Seen]:
    """Yields the ticks that bring something."""
    scrapes = sorted(_scrapes(case, Random(f"{case.name}/{seed}")), key=lambda one: one.visible)
    index, now, tick = 0, 0.0, 0
    while (at := tick * case.tick_seconds) < case.seconds:
        tick += 1
        failed = began = stable_failed = stable_began = 0
        first = index
        while index < len(scrapes) and scrapes[index].visible <= at:
            one = scrapes[index]
            index += 1
            failed += one.failed
            began += one.began
            stable_failed += one.stable_failed
            stable_began += one.stable_began
            now = max(now, one.at)
        if index > first:
            yield Seen(at, now, failed, began, stable_failed, stable_began)


def increments(seen: Seen, *, seconds: float, pods: int) -> Increments:
    """Returns a tick as the evidence tells it, of attempts that end as soon as they begin."""
    return Increments(
        now=1.0 + seen.now,
        seconds=seconds,
        canary=_side(seen.failed, seen.began),
        stable=_side(seen.stable_failed, seen.stable_began),
        fresh_pods=pods,
        expected_pods=pods,
    )


def _side(failed: int, began: int) -> SideIncrements:
    return SideIncrements(started=began, finished=began, failed=failed)


def _scrapes(case: Case, random: Random) -> Iterator[_Scrape]:
    bursts = [_burst_times(side, case, random) for side in (case.canary, case.stable)]
    for pod in range(case.pods):
        due, last = random.random() * case.scrape_seconds, 0.0
        # each failure of a burst is counted by one pod
        own = [[at for counted_by, at in times if counted_by == pod] for times in bursts]
        used = [0, 0]
        while due < case.seconds:
            at = due + random.gauss(0, _JITTER_SECONDS)
            due += case.scrape_seconds
            if random.random() < _MISSING or at <= last:
                continue
            counts: list[int] = []
            for index, side in enumerate((case.canary, case.stable)):
                failing = side.failing_between(last, at)
                mean = side.per_second / case.pods * (at - last)
                failed = poisson(mean * failing, random)
                began = failed + poisson(mean * (1 - failing), random)
                while used[index] < len(own[index]) and own[index][used[index]] <= at:
                    used[index] += 1
                    failed, began = failed + 1, began + 1
                counts += (failed, began)
            last = at
            yield _Scrape(at + _VISIBLE_SECONDS, at, *counts)


def _burst_times(side: Calls, case: Case, random: Random) -> list[tuple[int, float]]:
    """Returns the failures of bursts in order: pod and moment."""
    bursts = side.bursts
    if bursts is None:
        return []
    times: list[tuple[int, float]] = []
    at = random.random() * bursts.every_seconds
    while at < case.seconds:
        times += [
            (random.randrange(case.pods), at + random.random() * bursts.within_seconds)
            for _ in range(bursts.failures)
        ]
        at += (
            random.expovariate(1 / bursts.every_seconds)
            if bursts.at_random
            else bursts.every_seconds
        )
    return sorted(times, key=lambda one: one[1])


def poisson(mean: float, random: Random) -> int:
    """Returns a Poisson number; by the normal distribution where the mean is large."""
    if mean <= 0:
        return 0
    if mean > 20:
        return max(0, round(random.gauss(mean, math.sqrt(mean))))
    left, probability, count = random.random(), math.exp(-mean), 0
    while left > probability and count < 200:
        left -= probability
        count += 1
        probability *= mean / count
    return count
