"""A pod's counters from scrape to scrape: restarts, gaps, falls, replicas, and figures that cannot be."""

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_operator.decisions.analysis.pod_counters import PodCounters, impossibility
from relay_operator.decisions.analysis.scrapes import COUNTERS, FIGURES, INDEX, Figures, Scrape

FINISHED, FAILED = INDEX["finished"], INDEX["failed"]


def figures(**counts: float) -> Figures:
    values: Figures = [0.0] * len(FIGURES)
    for name, value in counts.items():
        values[INDEX[name]] = value
    values[INDEX["started"]] = max(counts.get("started", 0.0), counts.get("finished", 0.0))
    return values


def scrape(at: float, *, start: float = 1.0, **canary: float) -> Scrape:
    return Scrape(at, start, figures(), figures(**canary), None)


def counted(pod: PodCounters, *scrapes: Scrape) -> list[tuple[float, float] | None]:
    """Finished and failed of the canary that each scrape adds; None where it adds nothing certain."""
    found: list[tuple[float, float] | None] = []
    for one in scrapes:
        increases = pod.take(one, seen_at=0.0)
        found.append(increases and (increases[1][FINISHED], increases[1][FAILED]))
    return found


@pytest.fixture
def pod() -> PodCounters:
    return PodCounters(longest_seconds=6)


def test_what_was_counted_between_two_scrapes_is_their_difference(pod: PodCounters) -> None:
    assert counted(pod, scrape(10, finished=5), scrape(12, finished=9, failed=1)) == [None, (4, 1)]


def test_over_a_restart_only_the_new_process_counts(pod: PodCounters) -> None:
    scrapes = (scrape(10, finished=50), scrape(12, start=11, finished=3, failed=2))
    assert counted(pod, *scrapes) == [None, (3, 2)]


def test_a_process_that_counted_more_than_the_last_is_known_by_its_start(pod: PodCounters) -> None:
    scrapes = (scrape(10, finished=5), scrape(12, start=11, finished=9))
    assert counted(pod, *scrapes) == [None, (9, 0)]


def test_a_gap_of_more_than_three_scrapes_is_dropped(pod: PodCounters) -> None:
    scrapes = (
        scrape(10),
        scrape(16, finished=4),
        scrape(22.5, finished=90),
        scrape(24, finished=91),
    )
    assert counted(pod, *scrapes) == [None, (4, 0), None, (1, 0)]


def test_a_gap_with_a_restart_in_it_is_dropped_too(pod: PodCounters) -> None:
    scrapes = (scrape(10), scrape(30, start=20, finished=90), scrape(32, start=20, finished=91))
    assert counted(pod, *scrapes) == [None, None, (1, 0)]


def test_a_counter_that_falls_without_a_restart_adds_nothing_and_inflates_no_share(
    pod: PodCounters,
) -> None:
    scrapes = (
        scrape(10, finished=100, failed=10),
        # finished fell, failed rose: a share of the two would be anything
        scrape(12, finished=95, failed=12),
        scrape(14, finished=120, failed=12),
    )
    assert counted(pod, *scrapes) == [None, None, (20, 2)]
    assert pod.at == 14


def test_a_fall_that_stays_costs_what_was_counted_meanwhile_and_no_more(pod: PodCounters) -> None:
    low = [scrape(12.0 + 2 * n, finished=90.0 + 4 * n) for n in range(6)]
    found = counted(pod, scrape(10, finished=100), *low)
    # 90, 94 and 98 prove nothing; when 100 is passed too much time has
    assert found == [None, None, None, None, None, (4, 0), (4, 0)]


def test_a_pod_whose_counters_fell_is_heard_all_the_same(pod: PodCounters) -> None:
    counted(pod, scrape(10, finished=100), scrape(12, finished=95))
    assert pod.at == 12


def test_the_scrape_of_an_older_process_is_no_restart(pod: PodCounters) -> None:
    scrapes = (
        scrape(10, start=9, finished=5),
        scrape(11, start=1, finished=500),
        scrape(12, start=9, finished=6),
    )
    assert counted(pod, *scrapes) == [None, None, (1, 0)]


def test_scrapes_out_of_order_are_ignored(pod: PodCounters) -> None:
    scrapes = (scrape(10), scrape(12, finished=4), scrape(11, finished=2), scrape(12, finished=4))
    assert counted(pod, *scrapes) == [None, (4, 0), None, None]


@pytest.mark.parametrize(
    ("canary", "words"),
    [
        ({"finished": 1, "failed": 2}, "more failed, throttled and refused than finished"),
        ({"finished": 2, "failed": 1, "throttled": 1, "refused": 1}, "than finished"),
        ({"finished": 3, "started": 1, "cancelled": 1}, "more finished and cancelled than started"),
        ({"finished": 3, "failed": 1, "truncated": 2}, "more truncated than failed"),
        ({"finished": 3, "slow/Total": 2, "timed/Total": 1}, "more slow than timed (Total)"),
        ({"finished": 1, "timed/FirstToken": 2}, "more timed (FirstToken) than started"),
    ],
    ids=str,
)
def test_figures_that_cannot_be_are_said_to_be(canary: dict[str, float], words: str) -> None:
    of_canary = scrape(10, **canary)
    assert words in impossibility(of_canary)
    of_stable = Scrape(10, 1, of_canary.canary, of_canary.stable, None)
    assert impossibility(of_stable).endswith("stable")
    assert impossibility(scrape(10, finished=9, failed=3, throttled=3, refused=3)) == ""


def test_an_impossible_scrape_is_neither_heard_nor_counted(pod: PodCounters) -> None:
    scrapes = (scrape(10), scrape(12, finished=3, failed=347), scrape(14, finished=5, failed=1))
    assert counted(pod, *scrapes) == [None, None, (5, 1)]
    assert pod.impossible == ""


# -- any life of a pod, as any replicas of Prometheus show it --------------------------------------------------------

SCRAPE_SECONDS = 2.0


@st.composite
def lives(draw: st.DrawFn, *, set_back: bool = False) -> list[tuple[float, float, int, int]]:
    """Moments of a pod's life in order: time, start of its process, and what that has finished and failed.

    With set_back its clock is set back at some of its starts.
    """
    back = 0.0
    at, start, finished, failed = 1000.0, 1.0, draw(st.integers(0, 50)), 0
    moments = [(at, start, finished, failed)]
    for _ in range(draw(st.integers(1, 25))):
        at += draw(st.sampled_from([0.5, 1.0, 2.0, 2.0, 2.0, 7.0, 30.0]))
        if draw(st.integers(0, 6)) == 0:
            back += draw(st.sampled_from([0.0, 300.0])) if set_back else 0.0
            start, finished, failed = at - 0.25 - back, 0, 0
        bad, good = draw(st.integers(0, 5)), draw(st.integers(0, 5))
        finished, failed = finished + bad + good, failed + bad
        moments.append((at, start, finished, failed))
    return moments


def true_increase(moments: list[tuple[float, float, int, int]]) -> Counter[str]:
    total: Counter[str] = Counter()
    for (_, start, finished, failed), (_, next_start, *after) in pairwise(moments):
        base = (finished, failed) if start == next_start else (0, 0)
        total.update(finished=after[0] - base[0], failed=after[1] - base[1])
    return total


@given(st.data())
def test_no_replicas_gaps_and_restarts_add_more_than_there_was(data: st.DataObject) -> None:
    moments = data.draw(lives(set_back=True))
    truth = true_increase(moments)
    # each replica has a clock of its own, misses scrapes, and answers whenever it is asked
    clocks = data.draw(
        st.lists(st.sampled_from([0.0, 0.3, -0.7, 5.0, -40.0]), min_size=1, max_size=3)
    )
    pod = PodCounters(longest_seconds=3 * SCRAPE_SECONDS)
    got: Counter[str] = Counter()
    for at, start, finished, failed in moments:
        seen = [
            scrape(at + clock, start=start, finished=finished, failed=failed) for clock in clocks
        ]
        late = data.draw(st.lists(st.sampled_from(moments), max_size=2))
        seen += [
            scrape(a + clocks[-1], start=s, finished=f, failed=b) for a, s, f, b in late if a < at
        ]
        for one in data.draw(st.permutations(seen)):
            if data.draw(st.integers(0, 4)) == 0:
                continue
            if one.at < pod.at and at - pod.seen_at > 6:
                pod.step_back(one, seen_at=at)
            increases = pod.take(one, seen_at=at)
            if increases is not None:
                assert all(value >= 0 for value in increases[1])
                got.update(finished=int(increases[1][FINISHED]), failed=int(increases[1][FAILED]))
    assert got["finished"] <= truth["finished"]
    assert got["failed"] <= truth["failed"]


@given(lives())
def test_where_nothing_is_lost_exactly_what_there_was_is_counted(
    moments: list[tuple[float, float, int, int]],
) -> None:
    close = [(1000.0 + 2 * n, *rest) for n, (_, *rest) in enumerate(moments)]
    pod = PodCounters(longest_seconds=3 * SCRAPE_SECONDS)
    got: Counter[str] = Counter()
    for at, start, finished, failed in close:
        increases = pod.take(scrape(at, start=start, finished=finished, failed=failed), seen_at=at)
        if increases is not None:
            assert len(increases[0]) == COUNTERS
            got.update(finished=int(increases[1][FINISHED]), failed=int(increases[1][FAILED]))
    truth = true_increase(moments)
    assert (got["finished"], got["failed"]) == (truth["finished"], truth["failed"])


def test_a_process_that_began_by_a_clock_that_was_set_back_is_counted_after_a_gap(
    pod: PodCounters,
) -> None:
    scrapes = [
        scrape(10, start=9000, finished=5),
        *(scrape(10.0 + 2 * n, start=400, finished=10.0 * n, failed=n) for n in range(1, 7)),
        # and began once more by that clock
        *(scrape(22.0 + 2 * n, start=700, finished=3.0 * n) for n in range(1, 6)),
    ]
    found = counted(pod, *scrapes)
    assert found[:7] == [None, None, None, None, None, (10, 1), (10, 1)]
    assert found[7:] == [None, None, None, None, (3, 0)]


def test_a_process_that_was_heard_before_is_counted_twice_by_nobody(pod: PodCounters) -> None:
    scrapes = (
        scrape(10, start=9, finished=50),
        scrape(12, start=9, finished=60),
        # a replica that is behind, after the other fell silent
        scrape(20, start=1, finished=500),
        scrape(22, start=1, finished=510),
        scrape(24, start=9, finished=40),
        scrape(32, start=9, finished=55),
        scrape(34, start=9, finished=70),
        scrape(42, start=9, finished=80),
        scrape(44, start=9, finished=90),
    )
    found = [one[0] for one in counted(pod, *scrapes) if one is not None]
    assert sum(found) <= 10 + 10 + 30
