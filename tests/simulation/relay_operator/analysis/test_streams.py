"""Evidence from whole streams, through the real adapter: what Prometheus and pods may do to it, and what it must not."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from tests.simulation.relay_operator.analysis.simulated_pods import Pod, Side, always
from tests.simulation.relay_operator.analysis.simulated_prometheus import (
    Scraping,
    SimulatedPrometheus,
)
from tests.simulation.relay_operator.analysis.ticking import CANARY_SIDE, STABLE_SIDE, Ticking

from relay_operator.decisions.analysis.increments import Increments, SideIncrements

FIGURES = ("started", "finished", "failed", "cancelled", "throttled", "reported", "output_tokens")
SEEDS = range(12)
NEVER_MISSING = Scraping(missing=0.0)


@contextmanager
def a_run(seed: int, *replicas: Scraping, pods: int = 3, **traffic: Any) -> Iterator[Ticking]:
    """Yields the reading of pods with some traffic on both sides."""
    random = Random(seed)
    some: dict[str, Any] = {"failed": always(0.05), "throttled": always(0.02), "mean_seconds": 1.5}
    made = [
        Pod(
            f"relay-{number}",
            (
                Side(STABLE_SIDE, rate=6.0, **(some | traffic)),
                Side(CANARY_SIDE, rate=1.5, **(some | traffic)),
            ),
            Random(random.random()),
        )
        for number in range(pods)
    ]
    ticking = Ticking(SimulatedPrometheus(made, *replicas, seed=seed))
    try:
        yield ticking
    finally:
        ticking.close()


def add(total: Counter[str], side: SideIncrements) -> None:
    for name in FIGURES:
        total[name] += round(getattr(side, name))
    slow, timed = side.slow.get("Total", (0.0, 0.0))
    total["slow/Total"] += round(slow)
    total["timed/Total"] += round(timed)


def told(ticking: Ticking, until: float, **more: Any) -> tuple[Counter[str], list[Increments]]:
    """Returns what was counted of the canary, and every tick."""
    total: Counter[str] = Counter()
    ticks = [found for _, found in ticking.ticks(until, **more)]
    for found in ticks:
        add(total, found.canary)
    return total, ticks


def truth(ticking: Ticking) -> Counter[str]:
    found: Counter[str] = Counter()
    for pod in ticking.prometheus.pods:
        found.update(pod.truth[CANARY_SIDE])
    return found


def scraped(ticking: Ticking) -> float:
    """What the canary had started by the newest scrape of each pod that the evidence knows."""
    [replica] = ticking.prometheus.replicas
    return sum(
        replica.scraped(pod, stamp, "relay_slo_attempts_started_total", side="canary")
        for pod, stamp in ticking.known().items()
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_where_nothing_is_lost_exactly_what_happened_is_told(seed: int) -> None:
    with a_run(seed, NEVER_MISSING) as ticking:
        told(ticking, 10.0)
        for _ in range(5):
            before = scraped(ticking)
            total, _ = told(ticking, ticking.prometheus.now + 15)
            assert total["started"] == scraped(ticking) - before
            assert total["started"] > 0


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    "replicas",
    [
        (Scraping(missing=0.2),),
        (Scraping(start_times_missing=0.3),),
        (NEVER_MISSING, NEVER_MISSING),
        (Scraping(), Scraping(clock=0.7), Scraping(clock=-1.1)),
        (Scraping(), Scraping(clock=45.0)),
        (Scraping(late_seconds=1.5), Scraping(late_seconds=0.01)),
    ],
    ids=["gaps", "start times", "two replicas", "clocks", "a minute ahead", "late"],
)
def test_never_more_is_told_than_happened(seed: int, replicas: tuple[Scraping, ...]) -> None:
    with a_run(seed, *replicas) as ticking:
        total: Counter[str] = Counter()
        random = Random(seed)
        while ticking.prometheus.now < 120:
            event = random.choice(["tick"] * 6 + ["pod", "operator", "silence"])
            if event == "pod":
                random.choice(ticking.prometheus.pods).restart(ticking.prometheus.now)
            elif event == "operator":
                # another operator takes longer to start than replicas differ
                ticking.prometheus.advance(ticking.prometheus.now + 5)
                ticking.restart()
            ticking.prometheus.problem = 503 if event == "silence" else 0
            more, _ = told(ticking, ticking.prometheus.now + random.choice([0.5, 3.0, 8.0]))
            total.update(more)
        happened = truth(ticking)
        assert all(total[name] <= happened[name] for name in total), (total, happened)
        assert total["finished"] > 0


@pytest.mark.parametrize("clock", [-3600.0, -300.0, -5.0, 5.0, 300.0, 3600.0])
def test_a_clock_that_is_off_changes_nothing(clock: float) -> None:
    def seen(off: float) -> list[tuple[float, float, int]]:
        with a_run(1, Scraping(clock=off)) as ticking:
            _, ticks = told(ticking, 60.0)
            return [(one.canary.finished, round(one.seconds, 2), one.fresh_pods) for one in ticks]

    assert seen(clock) == seen(0.0)


def test_a_breach_is_seen_in_the_tick_after_its_scrape_can_be_read() -> None:
    with a_run(3, NEVER_MISSING, pods=1, failed=lambda at: float(at >= 20)) as ticking:
        told(ticking, 20.0)
        found = next(at for at, one in ticking.ticks(40.0) if one.canary.failed > 0)
        # a scrape, its way, a tick, and the time that an attempt takes
        assert found <= 20 + 2.1 + 0.06 + 0.5 + 3


@pytest.mark.parametrize("late", [0.5, 3.0, 9.0, 14.0])
def test_samples_that_can_be_read_late_are_read_all_the_same(late: float) -> None:
    with a_run(9, Scraping(missing=0.0, late_seconds=late)) as ticking:
        told(ticking, 30.0)
        before = scraped(ticking)
        total, ticks = told(ticking, 90.0)
        assert total["started"] == scraped(ticking) - before
        assert total["started"] > 150
        assert sum(one.fresh_pods == 3 for one in ticks) > 0.95 * len(ticks)


def test_three_of_four_ticks_ask_nothing() -> None:
    with a_run(4, NEVER_MISSING, pods=1) as ticking:
        told(ticking, 20.0)
        before = ticking.prometheus.queries
        _, ticks = told(ticking, 120.0)
        asked = ticking.prometheus.queries - before
        scrapes = sum(one.seconds > 0 for one in ticks)
        assert scrapes >= 48
        assert asked <= scrapes * 1.3


def test_attempts_that_hang_are_under_way_and_not_finished() -> None:
    with a_run(5, NEVER_MISSING, hangs=always(1.0)) as ticking:
        total, ticks = told(ticking, 60.0)
        assert total["started"] > 100
        assert total["finished"] == 0
        levels = [one.canary.under_way for one in ticks if one.canary.under_way]
        assert levels == sorted(levels)
        assert levels[-1] >= total["started"]


def test_callers_who_leave_do_not_make_a_hang_look_finished() -> None:
    with a_run(6, NEVER_MISSING, hangs=always(1.0), patience_seconds=5.0) as ticking:
        total, ticks = told(ticking, 60.0)
        assert total["finished"] == 0
        assert total["cancelled"] > 100
        assert 0 < ticks[-1].canary.under_way < 60


def test_another_life_of_the_operator_counts_nothing_again() -> None:
    with a_run(7, NEVER_MISSING) as ticking:
        first, _ = told(ticking, 30.0)
        for until in range(31, 60):
            ticking.restart()
            more, _ = told(ticking, float(until))
            first.update(more)
        happened = truth(ticking)
        assert all(first[name] <= happened[name] for name in first)


def test_a_pod_that_restarts_loses_at_most_what_no_scrape_saw() -> None:
    with a_run(8, NEVER_MISSING, mean_seconds=0.0) as ticking:
        total, _ = told(ticking, 10.0)
        lost = 0.0
        for _ in range(5):
            pod = ticking.prometheus.pods[0]
            pod.restart(ticking.prometheus.now)
            lost += 1.5 * 2.5 * 4
            more, _ = told(ticking, ticking.prometheus.now + 10)
            total.update(more)
        happened = truth(ticking)
        assert happened["started"] - total["started"] <= lost + 3 * 1.5 * 5
        assert total["started"] <= happened["started"]
