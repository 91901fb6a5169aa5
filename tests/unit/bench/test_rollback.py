"""The bench of rollbacks: its figures, the scrape that proves a breach, and what the operator is shown of each run."""

import json
from urllib.parse import urlencode

import pytest
from bench.rollback import figures, responder, story
from bench.rollback.responder import Responder, Target
from bench.rollback.scene import PERIOD_SECONDS, Run
from tests.unit.relay_operator.relay_counters import RelayCounters

from relay_operator.cluster.prometheus.answers import Reader
from relay_operator.cluster.prometheus.query import Labels, range_query
from relay_operator.decisions.analysis.evidence import Evidence, Question
from relay_operator.decisions.analysis.scrapes import Subject
from relay_operator.decisions.analysis.verdict import Objective, Outcome
from relay_operator.decisions.judgement.route_judge import RouteJudge

KEY = ("relay-pods-1", "chat-000")
SUBJECT = Subject(stable="5" * 12, canary="c" * 12)
OBJECTIVE = Objective(
    window_seconds=600, min_requests=50, max_error_percent=story.MAX_ERROR_PERCENT
)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 25.0), (0.99, 50.0), (0.0, 1.0), (1.0, 50.0), (0.02, 1.0)]
)
def test_a_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    assert figures.quantile([float(one) for one in range(50, 0, -1)], share) == expected


def test_the_p99_of_three_bursts_of_a_hundred_leaves_out_three_runs() -> None:
    assert figures.quantile([float(one) for one in range(1, 301)], 0.99) == 297.0


def test_a_row_compares_with_what_other_operators_took() -> None:
    run = Run(pods=3, route="chat-000", asked=0.1, arrived={"a": 0.2, "b": 0.29}, missing=0)
    assert figures.row("3", [run]).startswith(
        "| 3 | 1 | 0.290 / 0.290 | 0.290 to 0.290 | 0.100 / 0.100 | 20.0 / 26.2 |"
    )
    assert figures.milliseconds("_3_pods", [run]) == "p50_ms_3_pods=290 p99_ms_3_pods=290"


@pytest.mark.parametrize(
    ("arrived", "missing", "problem"),
    [
        ({"a": 0.2}, 0, ""),
        ({"a": 0.2}, 1, "1 of 2 relay pods still send calls to the canary"),
        ({"a": -0.1, "b": 0.2}, 0, "the canary lost its calls before its breach was visible"),
    ],
)
def test_a_run_that_is_no_rollback_says_why(
    arrived: dict[str, float], missing: int, problem: str
) -> None:
    assert Run(pods=2, route="chat", asked=0.1, arrived=arrived, missing=missing).problem == problem


def test_one_scrape_alone_proves_the_breach() -> None:
    index, before, evidence = story.proving_step(PERIOD_SECONDS)
    found, needed = (float(one) for one in evidence.split(" of "))
    assert story.STORY.steps[index][1] > 0
    assert float(before.split(" of ")[0]) < needed - 1
    assert found > needed + 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in a list of one, that the responder reads."""
    now = [1_780_000_000.0]
    monkeypatch.setattr(responder, "clock", lambda: now[0])
    return now


def _responder() -> Responder:
    counters = RelayCounters(pod="", namespace="")
    for side in ("stable", "canary"):
        counters.count(("", side, ""))
    counters.breakers["", ""] = 0
    target = Target(
        namespace=KEY[0],
        pod="relay-1",
        phase=0.0,
        tells=True,
        routes={KEY[1]: (SUBJECT.stable, SUBJECT.canary)},
    )
    return Responder(
        targets=[target],
        templates=[labels for labels, _ in counters.page()],
        story=story.STORY,
        period=PERIOD_SECONDS,
    )


class Watching:
    """The operator's evidence and judge over what a responder shows."""

    def __init__(self, shown: Responder, clock: list[float]) -> None:
        self._shown, self._clock = shown, clock
        self._reader = Reader(Labels())
        self.begin()

    def begin(self) -> None:
        """Begins a run of the canary."""
        self._evidence = Evidence(scrape_seconds=2.0)
        self._evidence.follow({KEY: SUBJECT})
        self._judge = RouteJudge(OBJECTIVE)

    def breached_at(self, seconds: float) -> float | None:
        """Looks twice a second for so long; returns when the canary was in breach."""
        end = self._clock[0] + seconds
        while self._clock[0] < end:
            self._clock[0] += 0.5
            pods = {(KEY[0], "relay-1"): 0.0}
            question = Question(
                pods=pods,
                routes=frozenset({KEY[1]}),
                signals=frozenset(),
                tokens=False,
                seconds=8,
            )
            form = urlencode({"query": range_query(question, Labels())})
            answer = self._shown.answer(form)
            assert json.loads(answer)["status"] == "success"
            self._evidence.take(self._reader.read(answer, pods), at=self._clock[0])
            increments = self._evidence.increments(
                KEY, expected=frozenset({"relay-1"}), at=self._clock[0]
            )
            if self._judge.judge(increments).outcome is Outcome.BREACHED:
                return self._clock[0]
        return None


@pytest.mark.parametrize("idle_seconds", [3.0, 60.0, 200.0])
def test_a_canary_breaches_with_the_sample_that_the_witness_waits_for(
    clock: list[float], idle_seconds: float
) -> None:
    """However long it had its weight, and no calls, before."""
    shown = _responder()
    watching = Watching(shown, clock)
    assert watching.breached_at(idle_seconds) is None
    proof, *_ = story.proving_step(PERIOD_SECONDS)
    first = shown.begin(KEY, scrapes_ahead=2)
    visible = shown.visible_at(KEY[0], first + proof)
    breached = watching.breached_at(60)
    assert breached is not None
    assert 0 <= breached - visible <= 0.5


def test_a_canary_that_comes_back_is_shown_nothing_of_its_last_run(clock: list[float]) -> None:
    shown = _responder()
    watching = Watching(shown, clock)
    watching.breached_at(3)
    shown.begin(KEY, scrapes_ahead=2)
    assert watching.breached_at(60) is not None
    shown.end(KEY)
    watching.begin()
    assert watching.breached_at(60) is None
