"""Relay pods with traffic: attempts that start, take their time, and end as they end. Deterministic for a seed."""

import heapq
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.unit.relay_operator.relay_counters import RelayCounters, SideName

Share = Callable[[float], float]
"""A probability at a moment of the run, in seconds."""


def always(share: float) -> Share:
    """Returns a probability that stays."""
    return lambda _: share


NEVER = always(0.0)


@dataclass(slots=True)
class Side:
    """Traffic of one side of a route at one pod: attempts a second, and how they end.

    An attempt lasts mean_seconds on average (exponentially), a slow one counts as slow by Total; a caller leaves after
    patience_seconds, which cancels the attempt.
    """

    name: SideName
    rate: float
    failed: Share = NEVER
    throttled: Share = NEVER
    slow: Share = NEVER
    hangs: Share = NEVER
    mean_seconds: float = 0.0
    patience_seconds: float = 600.0


@dataclass(slots=True)
class Pod:
    """A relay pod. truth counts what it really did, over all its processes."""

    name: str
    sides: tuple[Side, ...]
    random: Random
    namespace: str = "relay-finance"
    counters: RelayCounters = field(init=False)
    truth: dict[SideName, Counter[str]] = field(init=False)
    _events: list[tuple[float, int, str, Side]] = field(default_factory=list)
    _number: int = 0

    def __post_init__(self) -> None:
        self.counters = RelayCounters(self.name, self.namespace, start_time=1.0)
        self.truth = {side.name: Counter() for side in self.sides}
        for side in self.sides:
            self.counters.count(side.name)
            self._arrive_after(0.0, side)

    def advance(self, until: float) -> None:
        """Lets everything happen that does until this moment of the run."""
        while self._events and self._events[0][0] <= until:
            at, _, what, side = heapq.heappop(self._events)
            if what == "arrival":
                self._arrive_after(at, side)
                self._count(side, started=1)
                self._begin(at, side)
            else:
                self._end(side, what, at)

    def restart(self, at: float) -> None:
        """Ends the process with all it had under way, and begins another."""
        self.advance(at)
        self._events = [event for event in self._events if event[2] == "arrival"]
        heapq.heapify(self._events)
        self.counters.restart(start_time=1.0 + at)

    def _arrive_after(self, at: float, side: Side) -> None:
        if side.rate > 0:
            self._put(at + self.random.expovariate(side.rate), "arrival", side)

    def _begin(self, at: float, side: Side) -> None:
        seconds = self.random.expovariate(1 / side.mean_seconds) if side.mean_seconds else 0.0
        if self.random.random() < side.hangs(at):
            seconds = float("inf")
        if seconds > side.patience_seconds:
            self._put(at + side.patience_seconds, "cancelled", side)
            return
        drawn = self.random.random()
        failed, throttled = side.failed(at), side.throttled(at)
        what = (
            "failed"
            if drawn < failed
            else "throttled"
            if drawn < failed + throttled
            else "answered"
        )
        self._put(at + seconds, what, side)

    def _end(self, side: Side, what: str, at: float) -> None:
        if what == "cancelled":
            self._count(side, cancelled=1)
            return
        figures = {"finished": 1, what: 1} if what != "answered" else {"finished": 1}
        if what == "answered":
            slow = self.random.random() < side.slow(at)
            figures |= {"timed/Total": 1, "slow/Total": int(slow)}
            figures |= {"reported": 1, "input_tokens": 100, "output_tokens": 20}
        self._count(side, **figures)

    def _count(self, side: Side, **figures: int) -> None:
        self.truth[side.name].update(figures)
        counts = self.counters.sides[side.name]
        for name, value in figures.items():
            counts[name] = counts.get(name, 0.0) + value

    def _put(self, at: float, what: str, side: Side) -> None:
        self._number += 1
        heapq.heappush(self._events, (at, self._number, what, side))
