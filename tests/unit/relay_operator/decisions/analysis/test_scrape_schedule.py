"""When the next scrape of a pod is looked for: with the first tick that can read it, and seldom in vain."""

import random
from dataclasses import dataclass, field

import pytest

from relay_operator.decisions.analysis.scrape_schedule import ScrapeSchedule
from relay_operator.decisions.analysis.scrapes import PodName

START = 1_780_000_000.0
"""The operator's clock begins at 0 then, on Prometheus' clock."""
TICK_SECONDS, DELAY_SECONDS = 0.5, 0.05
"""A sample can be read so long after its time."""


@dataclass(slots=True)
class Watched:
    """Pods that Prometheus scrapes, each at its own moment, and an operator whose ticks are late by up to two milliseconds."""

    moments: dict[PodName, float]
    period: float = 2.0
    is_away: bool = False
    dead: frozenset[PodName] = frozenset()
    late: dict[PodName, float] = field(default_factory=dict)
    """Of pods that take long to be scraped, by how much later their samples can be read."""
    schedule: ScrapeSchedule = field(init=False)
    asked: int = 0
    read: dict[PodName, dict[int, float]] = field(default_factory=dict)
    """Of each pod, at which tick each of its scrapes was read."""
    _late: random.Random = field(default_factory=lambda: random.Random(1))

    def __post_init__(self) -> None:
        self.schedule = ScrapeSchedule(scrape_seconds=self.period)

    def newest(self, pod: PodName, at: float) -> int:
        """Returns the number of the newest scrape that can be read."""
        delay = DELAY_SECONDS + self.late.get(pod, 0.0)
        return int((at - delay - self.moments[pod]) // self.period)

    def tick(self, due: float) -> None:
        at = due + self._late.uniform(0, 0.002)
        pods = self.schedule.ask(self.moments, at=at, most=1000)
        self.asked += len(pods)
        if self.is_away:
            return
        for pod in pods:
            scrape = self.newest(pod, at)
            if scrape >= 0 and (pod not in self.dead or pod not in self.read):
                self.read.setdefault(pod, {}).setdefault(scrape, at)
                stamp = START + self.moments[pod] + scrape * self.period
                self.schedule.read(pod, stamp, at=at)
        self.schedule.answered(at=at)

    def run(self, begin: float, seconds: float) -> None:
        for number in range(int(seconds / TICK_SECONDS)):
            self.tick(begin + number * TICK_SECONDS)

    def longest_wait(self, pod: PodName, *, first: int) -> float:
        """Returns for how long a scrape was there before it was read, at most, from one on."""
        return max(
            at - (self.moments[pod] + scrape * self.period + DELAY_SECONDS)
            for scrape, at in self.read[pod].items()
            if scrape >= first
        )


def pods_at(*moments: float) -> dict[PodName, float]:
    return {("relay-finance", f"relay-{number}"): one for number, one in enumerate(moments)}


@pytest.mark.parametrize("period", [1.0, 2.0])
@pytest.mark.parametrize("milliseconds", range(0, 2000, 200))
def test_a_schedule_that_begins_late_reads_with_the_first_tick_that_can(
    milliseconds: int, period: float
) -> None:
    watched = Watched(pods_at(0.0), period=period)
    watched.run(10 + milliseconds / 1000, 60)
    [pod] = watched.moments
    scrapes = sorted(watched.read[pod])
    assert scrapes == list(range(scrapes[0], scrapes[-1] + 1))
    assert watched.longest_wait(pod, first=scrapes[0] + 4) < TICK_SECONDS + 0.01
    # some looks in vain, until it is known when one finds something
    assert watched.asked <= len(scrapes) + 5


def test_canaries_that_are_all_scraped_at_once_are_read_at_once() -> None:
    watched = Watched(pods_at(*[0.0] * 100))
    watched.run(11.4, 60)
    for pod in watched.moments:
        assert watched.longest_wait(pod, first=10) < TICK_SECONDS + 0.01
    assert watched.asked <= 100 * (30 + 5)


def test_pods_that_are_scraped_at_any_time_cost_few_looks_in_vain() -> None:
    watched = Watched(pods_at(*(0.02 * number for number in range(100))))
    watched.run(11.4, 300)
    assert watched.asked <= 1.05 * 100 * 150


def test_a_prometheus_that_is_away_teaches_nothing() -> None:
    watched = Watched(pods_at(0.0))
    watched.tick(11.9)
    known = repr(watched.schedule._too_early)
    watched.is_away = True
    watched.run(12.4, 10)
    assert repr(watched.schedule._too_early) == known


def test_a_pod_that_is_never_scraped_again_keeps_no_other_waiting() -> None:
    watched = Watched(pods_at(0.0, 0.0))
    dead, pod = watched.moments
    watched.dead = frozenset({dead})
    watched.run(11.9, 300)
    assert len(watched.read[dead]) == 1
    assert watched.longest_wait(pod, first=10) < TICK_SECONDS + 0.01


@pytest.mark.parametrize("late", [0.3, 0.9, 1.7])
def test_pods_whose_samples_come_late_keep_no_other_waiting(late: float) -> None:
    watched = Watched(pods_at(0.0, 0.0, 0.4, 1.1))
    pod, *slow = watched.moments
    watched.late = dict.fromkeys(slow, late)
    watched.run(11.9, 300)
    assert watched.longest_wait(pod, first=10) < TICK_SECONDS + 0.01


def test_more_pods_than_one_answer_holds_are_asked_for_in_turn() -> None:
    schedule = ScrapeSchedule(scrape_seconds=2)
    pods = [("relay-finance", f"relay-{number}") for number in range(10)]
    dead = pods[:6]
    for at in range(1, 21):
        for pod in schedule.ask(pods, at=float(at), most=4):
            if pod not in dead:
                schedule.read(pod, START + at, at=float(at))
    # six that are never heard take no turn away from those that are
    late = [at - schedule._asked[pod] for pod in pods]
    assert max(late) <= 3


def test_pods_that_are_gone_take_no_room() -> None:
    schedule = ScrapeSchedule(scrape_seconds=2)
    for number in range(100):
        pod = ("relay-finance", f"relay-{number}")
        schedule.ask([pod], at=1.0, most=10)
        schedule.read(pod, START, at=1.0)
        schedule.keep([pod])
    assert (len(schedule._newest), len(schedule._asked)) == (1, 1)
