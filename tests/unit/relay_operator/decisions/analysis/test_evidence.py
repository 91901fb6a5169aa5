"""From samples to what a tick brings: whole scrapes of known pods only, on Prometheus' own clock."""

import pytest
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.analysis.increments import Increments
from relay_operator.decisions.analysis.scrapes import (
    FIGURES,
    INDEX,
    Series,
    Subject,
    identity_of,
)

KEY = ("relay-finance", "chat")
STABLE, CANARY = ("chat", "stable", "aaaaaaaaaaaa"), ("chat", "canary", "bbbbbbbbbbbb")
SUBJECT = Subject(
    stable="aaaaaaaaaaaa", canary="bbbbbbbbbbbb", signals=frozenset({"Total"}), tokens=True
)
PODS = ("relay-1", "relay-2")
START = 1_780_000_000.0
"""When the first scrape was made, on Prometheus' clock; the operator's begins at 0."""


class Watched:
    """Evidence about one route of two pods, scraped every 2 s, and the operator's clock."""

    def __init__(self) -> None:
        self.evidence = Evidence(scrape_seconds=2)
        self.evidence.follow({KEY: SUBJECT})
        self.pods = {name: RelayCounters(name) for name in PODS}
        self.at = 0.0
        for pod in self.pods.values():
            pod.count(STABLE)
            pod.count(CANARY)

    def scrape(self, *pods: str, seconds: float = 2.0, clock: float = START) -> list[Series]:
        """Lets time pass and scrapes these pods, or all; returns the samples."""
        self.at += seconds
        names = pods or PODS
        return [one for name in names for one in self.pods[name].scraped(clock + self.at)]

    def tick(self, *answers: list[Series]) -> Increments:
        """Takes the answers in and ticks."""
        for series in answers:
            self.evidence.take(series, at=self.at)
        return self.evidence.increments(KEY, expected=PODS, at=self.at)


@pytest.fixture
def watched() -> Watched:
    watched = Watched()
    watched.tick(watched.scrape())
    return watched


def test_counts_of_both_sides_add_up_over_the_pods(watched: Watched) -> None:
    for pod in watched.pods.values():
        pod.count(CANARY, finished=40, failed=4, throttled=3, refused=2, truncated=1)
        pod.count(STABLE, finished=100, reported=7, input_tokens=70, output_tokens=21)
    found = watched.tick(watched.scrape())
    canary, stable = found.canary, found.stable
    assert (canary.started, canary.finished, canary.failed) == (80, 80, 8)
    assert (canary.throttled, canary.refused, canary.truncated) == (6, 4, 2)
    assert (stable.finished, stable.failed) == (200, 0)
    assert (stable.reported, stable.input_tokens, stable.output_tokens) == (14, 140, 42)
    assert (found.fresh_pods, found.expected_pods) == (2, 2)


def test_what_other_routes_ask_for_is_no_counter_of_this_one(watched: Watched) -> None:
    """The answer has more than this route needs while another one is followed, and no more afterwards."""
    errors_only = Subject(stable="aaaaaaaaaaaa", canary="bbbbbbbbbbbb")
    watched.evidence.follow({KEY: errors_only})
    for pod in watched.pods.values():
        own = {"slow/FirstToken": 2, "timed/FirstToken": 9, "reported": 9, "output_tokens": 90}
        pod.count(CANARY, finished=10, **own)
        pod.count(STABLE, finished=10, **own)
    watched.tick(watched.scrape())
    columns = {
        INDEX[name] for name in ("slow/FirstToken", "timed/FirstToken", "reported", "output_tokens")
    }
    for _ in range(2):
        for pod in watched.pods.values():
            pod.count(CANARY, finished=40, failed=4)
        answer = [one for one in watched.scrape() if one.identity.column not in columns]
        found = watched.tick(answer)
        assert (found.canary.finished, found.canary.failed, found.fresh_pods) == (80, 8, 2)


def test_each_increase_is_told_once(watched: Watched) -> None:
    watched.pods["relay-1"].count(CANARY, finished=40)
    assert watched.tick(watched.scrape()).canary.finished == 40
    again = watched.tick()
    assert (again.canary.finished, again.seconds) == (0, 0)
    assert watched.tick(watched.scrape()).canary.finished == 0


def test_time_is_that_of_the_samples(watched: Watched) -> None:
    found = watched.tick(watched.scrape(seconds=2.5))
    assert (found.now, found.seconds) == (START + 4.5, 2.5)


@pytest.mark.parametrize("ahead", [-3600.0, -5.0, 5.0, 3600.0])
def test_a_prometheus_behind_or_ahead_changes_nothing(ahead: float) -> None:
    watched = Watched()
    told = []
    for _ in range(4):
        watched.pods["relay-1"].count(CANARY, finished=10)
        found = watched.tick(watched.scrape(clock=START + ahead))
        told.append((found.canary.finished, found.seconds, found.fresh_pods))
    assert told == [(0, 0, 2), (10, 2, 2), (10, 2, 2), (10, 2, 2)]


def test_the_first_tick_of_a_life_counts_nothing_however_much_it_reads() -> None:
    watched = Watched()
    answers = []
    for _ in range(3):
        watched.pods["relay-1"].count(CANARY, finished=40, failed=40)
        answers.append(watched.scrape())
    first = watched.tick(*answers)
    assert (first.canary.finished, first.canary.failed, first.seconds) == (0, 0, 0)
    assert watched.tick(watched.scrape()).canary.finished == 0


def test_attempts_under_way_are_a_level(watched: Watched) -> None:
    for pod in watched.pods.values():
        pod.count(CANARY, started=5)
    assert watched.tick(watched.scrape()).canary.under_way == 10
    assert watched.tick(watched.scrape()).canary.under_way == 10


def test_latency_is_counted_by_signal(watched: Watched) -> None:
    watched.pods["relay-1"].count(CANARY, finished=30, **{"slow/Total": 3, "timed/Total": 30})
    assert watched.tick(watched.scrape()).canary.slow["Total"] == (3, 30)


def test_a_silent_pod_is_not_counted_as_reporting(watched: Watched) -> None:
    fresh = [watched.tick(watched.scrape("relay-2")).fresh_pods for _ in range(4)]
    assert fresh == [2, 2, 2, 1]


def test_a_prometheus_that_scrapes_nothing_any_more_leaves_no_pod_fresh(watched: Watched) -> None:
    watched.at += 6
    assert watched.tick().fresh_pods == 2
    watched.at += 0.5
    assert watched.tick().fresh_pods == 0


def test_only_pods_that_serve_are_asked_for(watched: Watched) -> None:
    series = watched.scrape()
    watched.evidence.take(series, at=watched.at)
    found = watched.evidence.increments(KEY, expected=["relay-2", "relay-3"], at=watched.at)
    assert (found.fresh_pods, found.expected_pods) == (1, 2)


def test_breakers_count_while_fresh_and_on_serving_pods(watched: Watched) -> None:
    for name in PODS:
        watched.pods[name].breakers["chat", "bbbbbbbbbbbb"] = 1
        watched.pods[name].breakers["chat", "cccccccccccc"] = 1
    series = watched.scrape()
    watched.evidence.take(series, at=watched.at)
    found = watched.evidence.increments(KEY, expected=["relay-1"], at=watched.at)
    assert found.tripped_pods == 1
    watched.at += 7
    assert watched.tick().tripped_pods == 0


def test_another_upstream_begins_anew(watched: Watched) -> None:
    other = Subject(stable="aaaaaaaaaaaa", canary="cccccccccccc")
    watched.pods["relay-1"].count(CANARY, finished=40)
    watched.pods["relay-1"].count(("chat", "canary", "cccccccccccc"), finished=500)
    watched.evidence.follow({KEY: other})
    assert watched.tick(watched.scrape()).canary.finished == 0
    watched.pods["relay-1"].count(("chat", "canary", "cccccccccccc"), finished=3)
    assert watched.tick(watched.scrape()).canary.finished == 3


def test_a_run_that_ended_is_forgotten(watched: Watched) -> None:
    watched.evidence.follow({})
    assert watched.evidence.question({"relay-finance": PODS}, at=watched.at) is None
    with pytest.raises(KeyError):
        watched.tick(watched.scrape())


def test_a_pod_that_is_gone_is_forgotten_and_what_it_counted_is_not(watched: Watched) -> None:
    watched.pods["relay-1"].count(CANARY, finished=40)
    watched.evidence.take(watched.scrape(), at=watched.at)
    watched.evidence.question({"relay-finance": ["relay-2"]}, at=watched.at)
    found = watched.evidence.increments(KEY, expected=["relay-2"], at=watched.at)
    assert (found.canary.finished, found.fresh_pods) == (40, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"route": "other"},
        {"fingerprint": "cccccccccccc"},
        {"side": "shadow"},
        {"side": "fallback"},
        {"signal": "other"},
        {"kind": "other"},
        {"__name__": "relay_slo_attempts_other_total"},
    ],
    ids=str,
)
def test_series_about_something_else_are_not_mixed_in(
    watched: Watched, change: dict[str, str]
) -> None:
    pod = watched.pods["relay-1"]
    pod.count(CANARY, finished=40)
    series = watched.scrape()
    strange = [
        Series(
            identity_of(("relay-finance", "relay-1"), labels | change), [(START + 4, value + 1000)]
        )
        for labels, value in pod.page()
        if "side" in labels
    ]
    found = watched.tick(strange + series)
    assert (found.canary.finished, found.stable.finished) == (40, 0)


def test_two_targets_that_say_different_things_of_one_moment_are_no_news(watched: Watched) -> None:
    watched.pods["relay-1"].count(CANARY, finished=40)
    series = watched.scrape()
    forged = RelayCounters("relay-1")
    forged.count(STABLE)
    forged.count(CANARY, finished=4000, failed=4000)
    answer = series + forged.scraped(START + watched.at)
    assert watched.tick(answer).canary.finished == 0
    assert watched.tick(answer[::-1]).canary.finished == 0
    assert watched.tick(watched.scrape()).canary.finished == 40


@pytest.mark.parametrize("missing", ["finished", "failed", "started", "slow", "timed"])
def test_a_scrape_that_is_not_whole_is_no_news(watched: Watched, missing: str) -> None:
    watched.pods["relay-1"].count(CANARY, finished=40, failed=4)
    whole = watched.scrape()
    columns = [INDEX[name] for name in FIGURES if name.partition("/")[0] == missing]
    part = [
        one for one in whole if one.identity.side != "canary" or one.identity.column not in columns
    ]
    assert len(part) < len(whole)
    assert watched.tick(part).canary.failed == 0
    assert watched.tick(whole).canary.failed == 4


def test_relays_that_do_not_export_everything_yet_are_understood(watched: Watched) -> None:
    watched.pods["relay-1"].count(CANARY, finished=40, failed=4)
    new = (INDEX["under_way"], INDEX["reported"])
    series = [one for one in watched.scrape() if one.identity.column not in new]
    found = watched.tick(series)
    assert (found.canary.finished, found.canary.under_way, found.canary.reported) == (40, 0, 0)


def test_figures_that_cannot_be_are_no_evidence_and_their_pod_is_named(watched: Watched) -> None:
    watched.pods["relay-2"].count(CANARY, started=10, finished=40)
    watched.pods["relay-1"].count(CANARY, finished=7)
    found = watched.tick(watched.scrape())
    assert (found.canary.finished, found.fresh_pods) == (7, 1)
    why = watched.evidence.impossible(KEY)
    assert (
        why
        == "relay pod relay-2 reports more finished and cancelled than started attempts of canary"
    )
    watched.pods["relay-2"].restart(start_time=2000.0)
    found = watched.tick(watched.scrape())
    assert (found.fresh_pods, watched.evidence.impossible(KEY)) == (2, "")


def asked(watched: Watched) -> set[str]:
    question = watched.evidence.question({"relay-finance": PODS}, at=watched.at)
    return set() if question is None else {pod for _, pod in question.pods}


def test_a_pod_is_asked_for_when_its_next_scrape_is_due(watched: Watched) -> None:
    assert asked(watched) == set()
    watched.at += 1.5
    # the last one may have been there for long before anybody looked
    assert asked(watched) == set(PODS)
    watched.tick([])
    assert asked(watched) == set()
    watched.at += 0.5
    assert asked(watched) == set(PODS)
    watched.tick(watched.scrape("relay-1", seconds=0))
    assert asked(watched) == {"relay-2"}


def test_a_question_names_what_is_known_and_what_is_judged(watched: Watched) -> None:
    watched.at += 2
    question = watched.evidence.question({"relay-finance": PODS}, at=watched.at)
    assert question is not None
    assert question.pods == {("relay-finance", name): START + 2 for name in PODS}
    assert question.routes == {"chat"}
    assert question.seconds == 8
    assert question.signals == {"Total"}
    watched.at += 60
    question = watched.evidence.question({"relay-finance": PODS}, at=watched.at)
    assert question is not None
    # its clock may have been set back
    assert set(question.pods.values()) == {0.0}
    assert question.seconds == 20


def test_a_clock_that_is_set_back_costs_some_scrapes_and_counts_nothing_twice(
    watched: Watched,
) -> None:
    back = START - 300
    counted = 0.0
    for _ in range(10):
        watched.pods["relay-1"].count(CANARY, finished=10)
        found = watched.tick(watched.scrape(clock=back))
        counted += found.canary.finished
        assert found.seconds <= 2
    assert 0 < counted < 100
    assert found.fresh_pods == 2
    assert found.canary.finished == 10


def test_a_clock_that_is_set_ahead_costs_a_scrape(watched: Watched) -> None:
    counted = []
    for _ in range(3):
        watched.pods["relay-1"].count(CANARY, finished=10)
        counted.append(watched.tick(watched.scrape(clock=START + 300)).canary.finished)
    assert counted == [0, 10, 10]


# -- looks that may find something --------------------------------------------------------------------------------------


def is_due(watched: Watched, *expected: str) -> bool:
    return watched.evidence.is_due(KEY, expected=expected or PODS, at=watched.at)


def take(watched: Watched, answer: list[Series]) -> None:
    watched.evidence.take(answer, at=watched.at)


def test_good_calls_wait_until_each_pod_was_scraped_once_more(watched: Watched) -> None:
    for pod in watched.pods.values():
        pod.count(CANARY, finished=40)
        pod.count(STABLE, finished=40, failed=4)
    take(watched, watched.scrape("relay-1", seconds=0.6))
    assert not is_due(watched)
    take(watched, watched.scrape("relay-2", seconds=0.6))
    assert not is_due(watched)
    watched.at += 0.8
    assert is_due(watched)
    found = watched.tick()
    assert (found.canary.finished, found.stable.failed) == (80, 8)
    assert not is_due(watched)


@pytest.mark.parametrize(
    "bad",
    [
        {"finished": 1.0, "failed": 1.0},
        {"finished": 1.0, "refused": 1.0},
        {"finished": 1.0, "throttled": 1.0},
        {"cancelled": 1.0},
        {"finished": 1.0, "timed/Total": 1.0, "slow/Total": 1.0},
    ],
    ids=lambda bad: max(bad),
)
def test_what_speaks_against_the_canary_is_looked_at_at_once(
    watched: Watched, bad: dict[str, float]
) -> None:
    watched.pods["relay-1"].count(CANARY, **bad)
    take(watched, watched.scrape("relay-1", seconds=0.5))
    assert is_due(watched)
    watched.tick()
    assert not is_due(watched)


def test_other_pods_a_breaker_and_figures_that_cannot_be_are_looked_at_at_once(
    watched: Watched,
) -> None:
    assert not is_due(watched)
    assert is_due(watched, "relay-1")
    watched.pods["relay-1"].breakers["chat", CANARY[2]] = 1
    take(watched, watched.scrape("relay-1", seconds=0.5))
    assert is_due(watched)
    assert watched.tick().tripped_pods == 1
    take(watched, watched.scrape("relay-1", seconds=0.5))
    assert not is_due(watched)
    watched.pods["relay-2"].count(STABLE, finished=-1000, started=0)
    take(watched, watched.scrape("relay-2", seconds=0.5))
    watched.tick()
    watched.evidence.look_again(KEY)
    assert is_due(watched)


def test_what_came_before_anything_bad_is_told_apart_and_once(watched: Watched) -> None:
    def before() -> Increments | None:
        return watched.evidence.before_trouble(KEY, expected=PODS, at=watched.at)

    watched.pods["relay-1"].count(CANARY, finished=40)
    take(watched, watched.scrape("relay-1", seconds=0.5))
    assert before() is None
    watched.pods["relay-2"].count(CANARY, finished=10, failed=9)
    watched.pods["relay-2"].count(STABLE, finished=5)
    take(watched, watched.scrape("relay-2", seconds=0.75))
    good, found = before(), watched.tick()
    assert good is not None
    assert (good.canary.finished, good.canary.failed, good.seconds) == (40, 0, 0.5)
    assert (found.canary.finished, found.canary.failed, found.seconds) == (10, 9, 0.75)
    assert (good.stable.finished, found.stable.finished) == (0, 5)
    assert before() is None
    # taken together by who does not ask
    watched.pods["relay-1"].count(CANARY, finished=40)
    take(watched, watched.scrape("relay-1", seconds=0.5))
    watched.pods["relay-2"].count(CANARY, finished=10, failed=9)
    take(watched, watched.scrape("relay-2", seconds=0.5))
    both = watched.tick()
    assert (both.canary.finished, both.canary.failed, both.seconds) == (50, 9, 1.0)


def test_nothing_of_before_the_first_tick_is_told(watched: Watched) -> None:
    fresh = Watched()
    fresh.evidence.take(fresh.scrape("relay-1"), at=fresh.at)
    fresh.pods["relay-1"].count(CANARY, finished=40)
    take(fresh, fresh.scrape("relay-1", seconds=0.5))
    fresh.pods["relay-1"].count(CANARY, finished=10, failed=9)
    take(fresh, fresh.scrape("relay-1", seconds=0.5))
    assert fresh.evidence.before_trouble(KEY, expected=PODS, at=fresh.at) is None
    assert fresh.tick().canary.finished == 0
    assert fresh.evidence.before_trouble(KEY, expected=PODS, at=fresh.at) is None
    assert fresh.tick().canary.finished == 0


def test_a_breaker_of_before_the_run_says_nothing_of_it(watched: Watched) -> None:
    for pod in watched.pods.values():
        pod.breakers["chat", CANARY[2]] = 1
    watched.tick(watched.scrape())
    # rolled back, and tried again: the newest scrapes are of before
    watched.evidence.follow({})
    stale = watched.scrape()
    watched.evidence.follow({KEY: SUBJECT})
    assert watched.tick(stale).tripped_pods == 0
    assert watched.tick().tripped_pods == 0
    watched.pods["relay-1"].breakers.clear()
    assert watched.tick(watched.scrape()).tripped_pods == 1
