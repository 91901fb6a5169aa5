"""What an attempt's event moves: sides, signals, tokens and estimates."""

from typing import Any

import pytest
from tests.unit.relay.documents import CANARY, STABLE, document
from tests.unit.relay.memory import KeptLog

from relay.accounting import attempt_recorder
from relay.accounting.attempt_recorder import AttemptRecorder, sides
from relay.accounting.metrics import WorkerMetrics
from relay.accounting.slo_counters import SideCounters
from relay.accounting.token_estimates import CallEstimate
from relay.accounting.usage_event import FAILURES, Subject, UsageEvent
from relay.dialect.endpoints import Endpoint
from relay.dialect.reported_usage import Tokens
from relay.dialect.request_body import OutputBound
from relay.routing.routes import Target
from relay.routing.snapshot import RoutePlan, compile_snapshot
from relay_contract.document import LatencyObjective, Route

OBJECTIVES = (
    LatencyObjective(signal="FirstToken", max_milliseconds=1000),
    LatencyObjective(signal="Total", max_milliseconds=5000),
    LatencyObjective(signal="Overhead", max_milliseconds=10),
)


class Recording:
    """A recorder with one subject, which attempts at stable have."""

    def __init__(self) -> None:
        self.log = KeptLog()
        self.metrics = WorkerMetrics()
        self.recorder = AttemptRecorder(
            tenant="finance", tenant_uid="uid-1", metrics=self.metrics, log=self.log
        )
        route = Route(name="chat", stable=STABLE, objectives=OBJECTIVES)
        (self.plan,) = compile_snapshot(document(routes=(route,)), "").plans
        self.target = Target(self.plan.stable, "gpt-4.1")
        self.subject = self.subject_of(self.target, self.plan)

    def subject_of(self, target: Target, plan: RoutePlan) -> Subject:
        return self.recorder.subject(
            target,
            plan,
            endpoint=Endpoint.CHAT,
            key="production",
            model="gpt-4.1",
            model_label="gpt-4.1",
        )

    def estimate(self) -> CallEstimate:
        return self.recorder.estimator.estimate(
            "gpt-4.1", text_bytes=100, attachments=0, bound=OutputBound(tokens=None, choices=1)
        )

    def record(self, **changes: Any) -> SideCounters:
        fields: dict[str, Any] = {
            "call_id": "c",
            "attempt_id": "c-1",
            "request_id": "req_1",
            "upstream_request_id": None,
            "trace_id": "t",
            "attempt": 1,
            "status": 200,
            "outcome": "ok",
            "stream": False,
            "tokens": None,
            "charged_tokens": 0,
            "estimated": False,
            "unreadable": False,
            "client_gone": False,
            "latency_seconds": 0.5,
            "first_token_seconds": 0.25,
            "response_id": None,
            "estimate": self.estimate(),
            "first_byte_seconds": 0.2,
            "overhead_seconds": 0.001,
            "counted_slow": (),
            "probe": False,
        }
        self.recorder.record(UsageEvent(self.subject, **(fields | changes)))
        return self.subject.slo


@pytest.fixture
def recording() -> Recording:
    return Recording()


@pytest.mark.parametrize("outcome", sorted(FAILURES))
def test_a_failure_is_counted_against_its_side(recording: Recording, outcome: str) -> None:
    counted = recording.record(outcome=outcome, status=None, first_byte_seconds=0.0)
    assert (counted.finished, counted.failed, counted.throttled) == (1, 1, 0)
    assert counted.truncated == (outcome == "truncated")


def test_silence_after_the_head_is_an_answer_that_ended_early(recording: Recording) -> None:
    assert recording.record(outcome="timeout", first_byte_seconds=0.1).truncated == 1


def test_an_attempt_that_was_never_sent_counts_against_no_side(recording: Recording) -> None:
    counted = recording.record(outcome="no_key", status=None)
    assert (counted.finished, counted.failed) == (0, 0)
    assert recording.log.events == []
    assert recording.subject.series.outcomes == {"no_key": 1}


def test_each_signal_is_compared_with_its_objective(recording: Recording) -> None:
    counted = recording.record(first_token_seconds=1.5, latency_seconds=2.0, overhead_seconds=0.02)
    assert counted.timed == {"Overhead": 1, "FirstToken": 1, "Total": 1}
    assert counted.slow == {"Overhead": 1, "FirstToken": 1, "Total": 0}
    assert counted.overhead_seconds == 0.02


def test_a_caller_that_reads_slowly_makes_no_side_slow(recording: Recording) -> None:
    counted = recording.record(latency_seconds=60.0, paused_seconds=57.0)
    assert (counted.timed["Total"], counted.slow["Total"]) == (1, 0)
    counted = recording.record(latency_seconds=60.0, paused_seconds=50.0)
    assert (counted.timed["Total"], counted.slow["Total"]) == (2, 1)


def test_a_signal_that_was_counted_under_way_is_not_counted_again(recording: Recording) -> None:
    recording.recorder.slow(recording.subject, "FirstToken")
    counted = recording.record(first_token_seconds=9.0, counted_slow=("FirstToken",))
    assert (counted.timed["FirstToken"], counted.slow["FirstToken"]) == (1, 1)


def test_the_time_of_an_error_says_nothing_of_the_side(recording: Recording) -> None:
    counted = recording.record(status=500, outcome="failed", first_token_seconds=9.0)
    assert set(counted.timed.values()) == {0}


def test_only_reported_tokens_teach_the_estimator(recording: Recording) -> None:
    before = recording.estimate().output_tokens
    recording.record(tokens=Tokens(10, 5), estimated=True)
    assert recording.estimate().output_tokens == before
    assert recording.metrics.estimated["chat", "stable"] == 1
    recording.record(tokens=Tokens(10, 5))
    assert recording.estimate().output_tokens < before


def test_a_subject_names_its_tenant_and_is_used_again(recording: Recording) -> None:
    subject = recording.subject
    assert (subject.tenant, subject.tenant_uid) == ("finance", "uid-1")
    assert recording.subject_of(recording.target, recording.plan) is subject
    recording.recorder.forget_subjects()
    again = recording.subject_of(recording.target, recording.plan)
    assert again is not subject
    assert again.slo is subject.slo


def test_subjects_of_targets_that_never_come_again_are_bounded(
    recording: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempt_recorder, "REMEMBERED_SUBJECTS", 3)
    for number in range(3):
        recording.subject_of(Target(recording.plan.stable, f"m-{number}"), recording.plan)
    assert recording.subject_of(recording.target, recording.plan) is not recording.subject


def test_a_side_is_told_only_the_tokens_that_its_provider_reported(recording: Recording) -> None:
    recording.record(tokens=Tokens(1000, 500), estimated=True)
    counted = recording.record(tokens=Tokens(10, 5))
    assert (counted.reported, counted.tokens.input, counted.tokens.output) == (1, 10, 5)


def test_only_routes_with_a_canary_export_their_sides() -> None:
    routes = (
        Route(name="plain", stable=STABLE),
        Route(name="waiting", stable=STABLE, canary=CANARY),
        Route(name="shadowed", stable=STABLE, canary=CANARY, shadow_percent=1),
    )
    exported = sides(compile_snapshot(document(routes=routes), "").plans)
    assert [(route, label) for route, label, _ in exported] == [
        ("waiting", "stable"),
        ("waiting", "canary"),
        ("shadowed", "stable"),
        ("shadowed", "canary"),
        ("shadowed", "shadow"),
    ]
