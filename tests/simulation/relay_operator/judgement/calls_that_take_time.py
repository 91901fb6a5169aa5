"""Calls that take time, as the counters of both sides show them: begun, finished, left by their clients, and under way."""

import heapq
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Final

from relay_operator.decisions.analysis.increments import Increments, SideIncrements

Seconds = Callable[[Random], float]
"""Draws how long a call takes."""
JOB_CALLS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """Calls of one side: per second, in batches of so many at once, how long each takes, and when its client leaves.

    From hangs_at on no call ends by itself, also of those that are under way. Beside them comes a job now and then: calls that
    begin at once, at random about every so many seconds, and take long.
    """

    per_second: float
    seconds: Seconds
    batch: int = 1
    patience: float = math.inf
    hangs_at: float = math.inf
    jobs_every: float = math.inf
    job_seconds: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Two sides for some time, scraped every two seconds. rests are (begin, end) without calls."""

    name: str
    canary: Lane
    stable: Lane
    seconds: float = 3600.0
    rests: tuple[tuple[float, float], ...] = ()


def quick(mean: float) -> Seconds:
    """Calls of one kind."""
    return lambda random: random.expovariate(1 / mean)


def heavy_tailed(median: float, sigma: float = 1.5) -> Seconds:
    """Answers of very different lengths."""
    return lambda random: median * math.exp(random.gauss(0, sigma))


def mixed(mean: float, long: float, share: float) -> Seconds:
    """Quick calls, and a share of long ones, such as those of a model that reasons."""
    return lambda random: (
        long * (0.5 + random.random()) if random.random() < share else random.expovariate(1 / mean)
    )


def constant(seconds: float) -> Seconds:
    """Calls that all take as long."""
    return lambda _: seconds


def ticks(case: Case, seed: int) -> Iterator[Increments]:
    """Yields what each scrape shows."""
    random = Random(f"{case.name}/{seed}")
    sides = [_Counted(lane, case.rests, random) for lane in (case.canary, case.stable)]
    at = 0.0
    while at < case.seconds:
        at += 2.0
        canary, stable = (side.until(at) for side in sides)
        yield Increments(
            now=1e9 + at, seconds=2.0, canary=canary, stable=stable, fresh_pods=1, expected_pods=1
        )


class _Counted:
    def __init__(self, lane: Lane, rests: tuple[tuple[float, float], ...], random: Random) -> None:
        self._lane, self._rests, self._random = lane, rests, random
        self._ends: list[tuple[float, bool]] = []
        self._next = self._gap()
        self._next_job = self._pause()

    def _gap(self) -> float:
        return self._random.expovariate(self._lane.per_second / self._lane.batch)

    def _pause(self) -> float:
        every = self._lane.jobs_every
        return self._random.expovariate(1 / every) if every < math.inf else math.inf

    def until(self, at: float) -> SideIncrements:
        started = finished = cancelled = 0
        while self._next_job <= at:
            lane = self._lane
            started += JOB_CALLS
            ends = self._next_job + lane.job_seconds
            for _ in range(JOB_CALLS):
                heapq.heappush(self._ends, (ends + self._random.random(), False))
            self._next_job += self._pause()
        while self._next <= at:
            if not any(begin <= self._next < end for begin, end in self._rests):
                for _ in range(self._lane.batch):
                    started += 1
                    heapq.heappush(self._ends, self._end_of(self._next))
            self._next += self._gap()
        while self._ends and self._ends[0][0] <= at:
            _, was_left = heapq.heappop(self._ends)
            cancelled, finished = cancelled + was_left, finished + (not was_left)
        return SideIncrements(
            started=started, finished=finished, cancelled=cancelled, under_way=len(self._ends)
        )

    def _end_of(self, begun: float) -> tuple[float, bool]:
        lane = self._lane
        ends = begun + lane.seconds(self._random)
        if ends >= lane.hangs_at:
            ends = math.inf
        return min((ends, False), (begun + lane.patience, True))
