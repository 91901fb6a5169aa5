"""Counters of shadow copies from scrape to scrape: what is certain counts, once."""

from typing import Any

import pytest
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.cluster.prometheus.query import Labels, range_query
from relay_operator.decisions.analysis.scrapes import Series, copied
from relay_operator.decisions.analysis.shadow_evidence import ShadowEvidence, ShadowQuestion

KEY = ("relay-finance", "chat")
CANARY = "bbbbbbbbbbbb"
NAME = ("chat", CANARY)
PODS = {"relay-finance": frozenset({"relay-1", "relay-2"})}


class Watched:
    """One route that is followed, and the pages of two pods."""

    def __init__(self) -> None:
        self.evidence = ShadowEvidence(scrape_seconds=2.0)
        self.evidence.follow({KEY: CANARY})
        self.pods = {name: RelayCounters(name) for name in PODS["relay-finance"]}
        for pod in self.pods.values():
            pod.copy(NAME)
        self.now = 1000.0
        # by how much Prometheus' clock was set back
        self.back = 0.0

    def scrape(self, seconds: float = 2.0, *, drop: Any = None) -> None:
        self.now += seconds
        series: list[Series] = [
            one
            for pod in self.pods.values()
            for one in pod.scraped(self.now - self.back)
            if not drop or not drop(one)
        ]
        self.evidence.take(series, at=self.now)

    def taken(self) -> dict[str, float]:
        found = self.evidence.taken(KEY)
        return {name: value for name, value in (found or ({}, 0))[0].items() if value}


@pytest.fixture
def watched() -> Watched:
    found = Watched()
    found.pods["relay-1"].copy(NAME, match=100)
    found.scrape()
    assert found.taken() == {}
    return found


def test_what_pods_count_after_the_first_scrape_is_added_up(watched: Watched) -> None:
    watched.pods["relay-1"].copy(NAME, match=3, failed=1)
    watched.pods["relay-2"].copy(NAME, match=2)
    watched.pods["relay-2"].copy(NAME, pair="stable", tokens=1)
    watched.scrape()
    assert watched.taken() == {
        copied("canary", "match"): 5,
        copied("canary", "failed"): 1,
        copied("stable", "tokens"): 1,
    }
    assert watched.taken() == {}


def test_a_restart_counts_the_new_process_alone(watched: Watched) -> None:
    watched.pods["relay-1"].restart(2000.0)
    watched.pods["relay-1"].copy(NAME, match=4)
    watched.scrape()
    assert watched.taken() == {copied("canary", "match"): 4}


def test_a_counter_that_falls_without_a_restart_is_no_news(watched: Watched) -> None:
    watched.pods["relay-1"].copies[NAME] = {copied("canary", "match"): 50.0}
    watched.scrape()
    assert watched.taken() == {}
    watched.pods["relay-1"].copies[NAME] = {copied("canary", "match"): 103.0}
    watched.scrape()
    assert watched.taken() == {copied("canary", "match"): 3}


def test_a_long_gap_is_dropped_and_part_of_a_scrape_is_none(watched: Watched) -> None:
    watched.pods["relay-1"].copy(NAME, match=7)
    watched.scrape(seconds=7.0)
    assert watched.taken() == {}
    watched.pods["relay-1"].copy(NAME, match=2, failed=1)
    watched.scrape(drop=lambda one: one.identity.side == copied("canary", "match"))
    assert watched.taken() == {}
    watched.scrape()
    assert watched.taken() == {copied("canary", "match"): 2, copied("canary", "failed"): 1}


def test_copies_of_another_canary_and_of_other_pairs_are_none_of_the_routes(
    watched: Watched,
) -> None:
    watched.pods["relay-1"].copy(("chat", "cccccccccccc"), match=9)
    watched.pods["relay-1"].copy(("other", CANARY), match=9)
    watched.scrape()
    assert watched.taken() == {}


def test_the_question_is_about_followed_routes_and_known_pods_alone() -> None:
    evidence = ShadowEvidence(scrape_seconds=2.0)
    assert evidence.question(PODS, at=0.0) is None
    evidence.follow({KEY: CANARY})
    question = evidence.question(PODS, at=0.0)
    assert question is not None
    assert question.routes == {"chat"}
    assert set(question.pods) == {("relay-finance", "relay-1"), ("relay-finance", "relay-2")}
    evidence.follow({})
    assert evidence.question(PODS, at=9.0) is None


def test_the_query_asks_for_copies_by_the_scrapers_labels() -> None:
    question = ShadowQuestion(
        pods={("relay-finance", "relay-1"): 0.0}, routes=frozenset({"chat"}), seconds=20.0
    )
    assert range_query(question, Labels()) == (
        '{__name__=~"relay_slo_shadow_total|process_start_time_seconds",job="relays-slo",'
        'namespace=~"relay-finance",pod=~"relay-1",route=~"|chat"}[20s]'
    )


@pytest.mark.parametrize("of", ["prometheus", "pod"])
def test_after_a_clock_was_set_back_copies_are_counted_again(watched: Watched, of: str) -> None:
    watched.back = 500.0 if of == "prometheus" else 0.0
    if of == "pod":
        watched.pods["relay-1"].restart(400.0)
    counted = 0.0
    for _ in range(10):
        watched.pods["relay-1"].copy(NAME, match=3)
        watched.scrape()
        counted += watched.taken().get(copied("canary", "match"), 0.0)
    assert 3 * 4 <= counted <= 3 * 7


def test_a_prometheus_that_was_away_counts_nothing_twice(watched: Watched) -> None:
    old = [one for pod in watched.pods.values() for one in pod.scraped(watched.now)]
    watched.pods["relay-1"].copy(NAME, match=3)
    watched.scrape(seconds=2.0)
    assert watched.taken() == {copied("canary", "match"): 3}
    watched.now += 60
    new = [one for pod in watched.pods.values() for one in pod.scraped(watched.now)]
    watched.evidence.take([*old, *new], at=watched.now)
    assert watched.taken() == {}
