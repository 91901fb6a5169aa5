"""Reports of several workers as one page that a Prometheus can read."""

import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.accounting.metric_catalogue import FAMILIES
from relay.accounting.metric_report import Report, merge, received, render, without_gauges
from relay.accounting.metrics import WorkerMetrics


def over_the_link(report: Report) -> Report:
    """As it arrives at the supervisor."""
    return received(orjson.loads(orjson.dumps(report)))


def test_workers_add_up_and_text_is_what_prometheus_reads() -> None:
    reports = []
    for _ in range(2):
        metrics = WorkerMetrics()
        calls = metrics.calls("chat", 'odd"model\\')
        for seconds in (0.003, 0.03, 1000.0):
            calls.answered(200, seconds)
        reports.append(over_the_link(metrics.report()))
    text = render(merge(reports), "metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    requests = families["relay_requests"].samples[0]
    assert (requests.labels["model"], requests.value) == ('odd"model\\', 6)
    duration = families["relay_request_duration_seconds"].samples
    counts = {s.labels["le"]: s.value for s in duration if s.name.endswith("_bucket")}
    assert (counts["0.005"], counts["0.025"], counts["0.05"], counts["+Inf"]) == (2, 2, 4, 6)
    total = next(s.value for s in duration if s.name.endswith("_sum"))
    assert total == pytest.approx(2000.066)


def test_every_family_renders() -> None:
    empty = render({}, "metrics") + render({}, "slo")
    assert {f"# TYPE {family.name} {family.kind}" for family in FAMILIES} <= set(empty.splitlines())


def test_the_breaker_gauge_is_the_worst_of_the_workers() -> None:
    name = ("uid-1", "chat", "bbbbbbbbbbbb")
    reports: list[Report] = [{"relay_slo_breaker_open": [(name, value)]} for value in (0, 1)]
    assert merge(reports)["relay_slo_breaker_open"][name] == 1


def test_a_dead_workers_counters_count_on_and_its_gauges_do_not() -> None:
    report: Report = {"relay_in_flight": [((), 3)], "relay_requests_total": [(("a", "b", "c"), 2)]}
    assert set(without_gauges(report)) == {"relay_requests_total"}


def test_the_last_use_of_a_key_is_that_of_any_worker_also_of_one_that_has_ended() -> None:
    name = "relay_api_key_last_used_timestamp_seconds"
    key = ("production", "previous")
    ended = without_gauges({name: [(key, 1200)]})
    assert merge([ended, {name: [(key, 0)]}, {name: [(key, 900)]}])[name][key] == 1200
