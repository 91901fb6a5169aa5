"""Counters after known traffic are exact, and the number of series is bounded."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.blackbox.measured import COUNTS, Measured, exactly
from tests.blackbox.relays import CHAT, Metrics, Relay, chat_body
from tests.blackbox.tenant import KEY, MODEL, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import request_bytes

from relay_contract.document import LatencyObjective

GOOD, BROKEN = 7, 3


@pytest.fixture
def measured(relay: Relay, platform: Platform) -> Measured:
    return Measured(relay, platform)


def test_the_series_of_both_sides_exist_before_any_traffic(measured: Measured) -> None:
    series = measured.relay.slo().series("relay_slo_attempts_started_total")
    sides = {(labels["side"], labels["fingerprint"]) for labels in series}
    assert sides == {
        ("stable", measured.stable.fingerprint),
        ("canary", measured.canary.fingerprint),
    }


def test_a_route_without_a_canary_exports_no_sides(relay: Relay, platform: Platform) -> None:
    measured = Measured(relay, platform, canary=None)
    measured.relay.chat()
    served = {"route": measured.route.name, "outcome": "ok"}
    eventually(
        lambda: relay.metrics().total("relay_upstream_attempts_total", **served),
        lambda seen: seen == 1,
        what="an answered attempt",
    )
    names = {name for name, _ in relay.slo().samples()}
    assert not {name for name in names if name.startswith("relay_slo_")}
    # what the side counted meanwhile is there as soon as somebody judges it
    route = measured.route.model_copy(update={"canary": measured.canary})
    relay.push(platform.document(routes=[route]))
    assert measured.counts() == exactly(started=1, finished=1)


def test_good_and_failed_attempts_are_counted_exactly(measured: Measured, stable: Upstream) -> None:
    stable.behave(error_first=BROKEN, error_status=500)
    for _ in range(GOOD + BROKEN):
        measured.relay.chat()
    measured.settled(GOOD + BROKEN)
    assert measured.counts() == exactly(
        started=GOOD + BROKEN, finished=GOOD + BROKEN, failed=BROKEN
    )
    assert measured.counts("canary") == exactly()


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ({"fault": "reset"}, {"failed": 1}),
        ({"fault": "no_answer"}, {"failed": 1}),
        ({"fault": "not_http"}, {"failed": 1}),
        ({"api_key": "another"}, {"failed": 1}),
        ({"error_percent": 100, "error_status": 503}, {"failed": 1}),
        ({"error_percent": 100, "error_status": 429}, {"throttled": 1}),
        ({"error_percent": 100, "error_status": 400}, {"refused": 1}),
        ({"error_percent": 100, "error_status": 404}, {"failed": 1}),
        ({"fault": "die"}, {"failed": 1, "truncated": 1}),
        ({"fault": "long_content_length"}, {"failed": 1, "truncated": 1}),
    ],
    ids=["reset", "silence", "no-http", "own-401", "503", "429", "400", "404", "cut", "short"],
)
def test_each_failure_counts_under_its_own_outcome(
    measured: Measured, stable: Upstream, behaviour: dict[str, Any], expected: dict[str, int]
) -> None:
    stable.behave(**behaviour)
    measured.relay.chat()
    measured.settled(1)
    assert measured.counts() == exactly(started=1, finished=1, **expected)


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ({"fault": "die"}, {"failed": 1, "truncated": 1}),
        ({"fault": "error_event"}, {"failed": 1}),
        ({"fault": "garbage"}, {"failed": 1}),
        ({"hold_after_events": 2}, {"failed": 1, "truncated": 1}),
        ({}, {}),
    ],
    ids=["dies", "error-event", "garbage", "stalls", "good"],
)
def test_a_stream_that_ends_early_counts_as_failed_despite_its_200(
    measured: Measured, stable: Upstream, behaviour: dict[str, Any], expected: dict[str, int]
) -> None:
    stable.behave(**behaviour)
    measured.relay.chat(stream=True)
    measured.settled(1)
    assert measured.counts() == exactly(started=1, finished=1, **expected)


def test_a_call_that_its_client_gave_up_is_cancelled_and_not_finished(
    measured: Measured, stable: Upstream
) -> None:
    stable.behave(hold_after_events=0)
    with measured.relay.wire() as wire:
        headers = {"authorization": f"Bearer {KEY}"}
        wire.send(request_bytes("POST", CHAT, headers, chat_body()))
        eventually(stable.stats, lambda stats: stats["held"] == 1, what="the held answer")
        assert measured.slo("attempts_under_way") == 1
        assert measured.counts() == exactly(started=1)
    eventually(
        measured.counts, exactly(started=1, cancelled=1).__eq__, what="one cancelled attempt"
    )
    assert measured.slo("attempts_under_way") == 0
    stable.reset()
    measured.relay.chat(stream=True)
    measured.settled(1)
    assert measured.counts() == exactly(started=2, cancelled=1, finished=1)


def test_the_sides_of_a_route_are_counted_separately(
    relay: Relay, platform: Platform, canary: Upstream
) -> None:
    measured = Measured(relay, platform, canary_percent=100)
    canary.behave(error_first=1, error_status=500)
    for _ in range(4):
        relay.chat()
    measured.settled(4, of="canary")
    assert measured.counts("canary") == exactly(started=4, finished=4, failed=1)
    assert measured.counts("stable") == exactly()


def test_the_relay_counts_attempts_slower_than_the_objective(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    objectives = (
        LatencyObjective(signal="FirstToken", max_milliseconds=100),
        LatencyObjective(signal="Total", max_milliseconds=10_000),
    )
    measured = Measured(relay, platform, objectives=objectives)
    stable.behave(first_token_ms=200)
    relay.chat(stream=True)
    stable.behave(first_token_ms=0)
    for _ in range(3):
        relay.chat(stream=True)
    measured.settled(4)
    assert measured.slo("attempts_timed_total", signal="FirstToken") == 4
    assert measured.slo("attempts_slow_total", signal="FirstToken") == 1
    assert measured.slo("attempts_timed_total", signal="Total") == 4
    assert measured.slo("attempts_slow_total", signal="Total") == 0


def test_an_attempt_without_an_answer_counts_as_slow_while_it_runs(
    patient_relay: Relay, platform: Platform, stable: Upstream
) -> None:
    """A canary that accepts calls and hangs must break its SLO before the call times out after minutes."""
    objectives = (LatencyObjective(signal="FirstToken", max_milliseconds=100),)
    measured = Measured(patient_relay, platform, objectives=objectives)
    stable.behave(first_token_ms=4000)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(patient_relay.chat, stream=True)
        eventually(
            lambda: measured.slo("attempts_slow_total", signal="FirstToken"),
            lambda slow: slow == 1,
            what="a slow attempt",
        )
        assert measured.slo("attempts_finished_total") == 0
        assert answer.result().status == 200
    measured.settled(1)
    assert measured.slo("attempts_timed_total", signal="FirstToken") == 1
    assert measured.slo("attempts_slow_total", signal="FirstToken") == 1


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
def test_tokens_are_counted_as_reported(measured: Measured, stable: Upstream, stream: bool) -> None:
    stable.behave(prompt_tokens=100, cached_tokens=40, completion_tokens=5, reasoning_tokens=7)
    for _ in range(3):
        measured.relay.chat(stream=stream)
    measured.settled(3)
    kinds = ("input", "output", "cached", "reasoning")
    expected = {"input": 300, "output": 36, "cached": 120, "reasoning": 21}
    assert {kind: measured.slo("tokens_total", kind=kind) for kind in kinds} == expected
    metrics = measured.relay.metrics()
    labels = {"route": measured.route.name, "side": "stable", "provider": "stable"}
    assert {
        kind: metrics.total("relay_tokens_total", kind=kind, **labels) for kind in kinds
    } == expected


def test_only_what_the_provider_reported_is_told_of_its_side(
    measured: Measured, stable: Upstream
) -> None:
    stable.behave(prompt_tokens=100, completion_tokens=5)
    measured.relay.chat()
    stable.behave(report_usage=False)
    measured.relay.chat()
    measured.settled(2)
    assert measured.slo("attempts_reported_total") == 1
    assert measured.slo("tokens_total", kind="input") == 100
    assert measured.slo("tokens_total", kind="output") == 5


def test_tokens_of_responses_are_counted_too(measured: Measured, stable: Upstream) -> None:
    stable.behave(prompt_tokens=10, completion_tokens=4)
    for body in (
        b'{"model":"gpt-4.1","input":"x"}',
        b'{"model":"gpt-4.1","input":"x","stream":true}',
    ):
        assert measured.relay.ask("POST", "/v1/responses", body=body).status == 200
    measured.settled(2)
    assert measured.slo("tokens_total", kind="input") == 20
    assert measured.slo("tokens_total", kind="output") == 8


def test_counters_of_a_fingerprint_are_kept_over_a_new_document(
    measured: Measured, platform: Platform
) -> None:
    measured.relay.chat()
    measured.settled(1)
    measured.relay.push(platform.document(routes=[measured.route]))
    measured.relay.chat()
    measured.settled(2)


def test_requests_are_counted_by_endpoint_model_and_status(relay: Relay) -> None:
    before = relay.metrics()
    for _ in range(4):
        relay.chat()
    relay.chat(key=None)
    relay.chat(model="absent")
    after = eventually(
        relay.metrics,
        lambda seen: risen(before, seen) == 6,
        what="six more requests",
    )

    def more(**labels: str) -> float:
        return risen(before, after, **labels)

    assert more(endpoint="chat.completions", model=MODEL, status="200") == 4
    assert more(status="401") == 1
    assert more(status="404") == 1
    rejected = after.total("relay_rejections_total") - before.total("relay_rejections_total")
    assert rejected == 2


def risen(before: Metrics, after: Metrics, **labels: str) -> float:
    name = "relay_requests_total"
    return after.total(name, **labels) - before.total(name, **labels)


def test_unknown_models_share_one_series(relay: Relay) -> None:
    before = len(relay.metrics().samples())
    for number in range(50):
        relay.chat(model=f"made-up-{number}")
        relay.ask("GET", f"/made-up/{number}")
    metrics = relay.metrics()
    assert not any("made-up" in str(labels) for _, labels in metrics.samples())
    assert len(metrics.samples()) - before < 40


def test_durations_are_histograms_in_seconds(relay: Relay, stable: Upstream) -> None:
    def spent(metrics: Metrics) -> tuple[float, float]:
        name = "relay_request_duration_seconds"
        return metrics.total(f"{name}_sum"), metrics.total(f"{name}_count")

    before = spent(relay.metrics())
    stable.behave(latency_ms=200)
    relay.chat()
    after = eventually(
        lambda: spent(relay.metrics()), lambda seen: seen[1] == before[1] + 1, what="one more"
    )
    assert 0.2 <= after[0] - before[0] < 5


def test_the_metrics_page_has_the_generation_and_the_start_time(
    relay: Relay, platform: Platform
) -> None:
    document = platform.document()
    relay.push(document)
    for page in (relay.metrics(), relay.slo()):
        assert page.total("relay_document_generation") == document.generation
        assert page.total("process_start_time_seconds") > 1_600_000_000


def test_every_metric_has_help_and_a_type(relay: Relay) -> None:
    relay.chat()
    for path in ("/metrics", "/metrics/slo"):
        answer = relay.admin("GET", path)
        assert (answer.header("content-type") or "").startswith("text/plain")
        lines = answer.body.decode().splitlines()
        named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        helped = {line.split()[2] for line in lines if line.startswith("# HELP")}
        assert named == helped
        assert named


def test_each_attempt_writes_one_usage_line(measured: Measured, stable: Upstream) -> None:
    stable.behave(prompt_tokens=11, completion_tokens=2)
    measured.relay.chat(headers={"x-request-id": "usage-line-1"})
    measured.settled(1)
    output = eventually(
        measured.relay.output, lambda text: "usage-line-1" in text, what="the usage line"
    )
    lines = [line for line in output.splitlines() if "usage-line-1" in line and '"usage"' in line]
    assert len(lines) == 1
    assert '"input":11' in lines[0].replace(" ", "")


PROMISED = {
    "/metrics": {
        "relay_requests_total": {"endpoint", "model", "status"},
        "relay_request_duration_seconds_count": {"endpoint", "model"},
        "relay_overhead_seconds_count": set(),
        "relay_time_to_first_token_seconds_count": {"route", "side"},
        "relay_queue_wait_seconds_count": set(),
        "relay_in_flight": set(),
        "relay_queue_depth": set(),
        "relay_tokens_total": {"route", "side", "provider", "model", "kind"},
        "relay_rejections_total": {"reason"},
        "relay_upstream_attempts_total": {"route", "side", "provider", "outcome"},
        "relay_document_generation": set(),
        "process_start_time_seconds": set(),
    },
    "/metrics/slo": {
        **{
            f"relay_slo_attempts_{what}_total": {"tenant_uid", "route", "side", "fingerprint"}
            for what in (*COUNTS, "reported")
        },
        "relay_slo_attempts_under_way": {"tenant_uid", "route", "side", "fingerprint"},
        "relay_slo_attempts_slow_total": {"tenant_uid", "route", "side", "fingerprint", "signal"},
        "relay_slo_attempts_timed_total": {"tenant_uid", "route", "side", "fingerprint", "signal"},
        "relay_slo_tokens_total": {"tenant_uid", "route", "side", "fingerprint", "kind"},
        "relay_slo_overhead_seconds_total": {"tenant_uid", "route", "side", "fingerprint"},
        "relay_slo_breaker_open": {"tenant_uid", "route", "fingerprint"},
        "relay_slo_breaker_trips_total": {"tenant_uid", "route", "fingerprint"},
        "relay_document_generation": set(),
        "process_start_time_seconds": set(),
    },
}
"""Series that the control plane queries and dashboards show; a renamed series or label would break them unnoticed."""


@pytest.mark.parametrize("path", PROMISED)
def test_the_documented_series_exist_with_their_labels(measured: Measured, path: str) -> None:
    measured.relay.chat(stream=True)
    measured.relay.chat(model="absent")
    measured.settled(1)
    metrics = measured.relay.metrics(path)
    found = {
        name: {frozenset(labels) for labels in metrics.series(name)} for name in PROMISED[path]
    }
    assert found == {name: {frozenset(labels)} for name, labels in PROMISED[path].items()}


def test_overhead_is_the_relays_own_time_without_the_providers(
    measured: Measured, stable: Upstream
) -> None:
    stable.behave(latency_ms=900)
    measured.relay.chat()
    measured.settled(1)
    assert 0 < measured.slo("overhead_seconds_total") < 0.9
