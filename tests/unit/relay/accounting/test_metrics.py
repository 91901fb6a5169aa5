"""The names others rely on, and text a Prometheus can read."""

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.accounting.metric_catalogue import FAMILIES
from relay.accounting.metrics import (
    Report,
    WorkerMetrics,
    merge,
    received,
    render,
    without_gauges,
)

SLO = {
    "relay_slo_attempts_started_total": ("route", "side", "fingerprint"),
    "relay_slo_attempts_finished_total": ("route", "side", "fingerprint"),
    "relay_slo_attempts_failed_total": ("route", "side", "fingerprint"),
    "relay_slo_attempts_truncated_total": ("route", "side", "fingerprint"),
    "relay_slo_attempts_throttled_total": ("route", "side", "fingerprint"),
    "relay_slo_attempts_slow_total": ("route", "side", "fingerprint", "signal"),
    "relay_slo_attempts_timed_total": ("route", "side", "fingerprint", "signal"),
    "relay_slo_tokens_total": ("route", "side", "fingerprint", "kind"),
    "relay_slo_overhead_seconds_total": ("route", "side", "fingerprint"),
    "relay_slo_breaker_open": ("route", "fingerprint"),
    "relay_slo_breaker_trips_total": ("route", "fingerprint"),
}
SIDE = ("chat", "canary", "bbbbbbbbbbbb")


def test_the_slo_page_is_what_the_control_plane_reads() -> None:
    assert {family.name: family.labels for family in FAMILIES if family.page == "slo"} == SLO


def test_a_sides_series_stand_at_zero_before_any_call() -> None:
    text = render(merge([WorkerMetrics().report(sides=[SIDE])]), "slo")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    started = families["relay_slo_attempts_started"].samples[0]
    assert (started.labels["fingerprint"], started.value) == ("bbbbbbbbbbbb", 0)
    signals = {s.labels["signal"] for s in families["relay_slo_attempts_slow"].samples}
    assert signals == {"Overhead", "FirstToken", "Total"}


def test_counts_survive_a_side_that_leaves_and_returns() -> None:
    metrics = WorkerMetrics()
    metrics.side(*SIDE).started += 3
    assert "relay_slo_attempts_started_total" not in metrics.report(sides=[])
    assert metrics.report(sides=[SIDE])["relay_slo_attempts_started_total"] == [(SIDE, 3)]


def over_the_link(report: Report) -> Report:
    """As it arrives at the supervisor."""
    return received(orjson.loads(orjson.dumps(report)))


def test_workers_add_up_and_text_is_what_prometheus_reads() -> None:
    reports = []
    for number in (1, 2):
        metrics = WorkerMetrics()
        calls = metrics.calls("chat", 'odd"model\\')
        for _ in range(number):
            calls.answered(200)
        for seconds in (0.003, 0.03, 1000.0):
            calls.duration.observe(seconds)
        reports.append(over_the_link(metrics.report(sides=[])))
    text = render(merge(reports), "metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = families["relay_requests"].samples[0]
    assert (requests.labels["model"], requests.value) == ('odd"model\\', 3)
    duration = families["relay_request_duration_seconds"].samples
    counts = {s.labels["le"]: s.value for s in duration if s.name.endswith("_bucket")}
    assert (counts["0.005"], counts["0.025"], counts["0.05"], counts["+Inf"]) == (2, 2, 4, 6)
    total = next(s.value for s in duration if s.name.endswith("_sum"))
    assert total == pytest.approx(2000.066)


def test_every_family_renders() -> None:
    empty = render({}, "metrics") + render({}, "slo")
    assert {f"# TYPE {family.name} {family.kind}" for family in FAMILIES} <= set(empty.splitlines())


def test_the_breaker_gauge_is_the_worst_of_the_workers() -> None:
    name = ("chat", "bbbbbbbbbbbb")
    reports: list[Report] = [{"relay_slo_breaker_open": [(name, value)]} for value in (0, 1)]
    assert merge(reports)["relay_slo_breaker_open"][name] == 1


def test_a_dead_workers_counters_count_on_and_its_gauges_do_not() -> None:
    report: Report = {"relay_in_flight": [((), 3)], "relay_requests_total": [(("a", "b", "c"), 2)]}
    assert set(without_gauges(report)) == {"relay_requests_total"}
