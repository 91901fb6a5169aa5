"""The counters that the control plane judges a canary by."""

from prometheus_client.parser import text_string_to_metric_families

from relay.accounting.metric_report import Report, merge, render, without_gauges
from relay.accounting.slo_counters import SloCounters

SIDE = ("chat", "canary", "bbbbbbbbbbbb")


def reported(counters: SloCounters, *sides: tuple[str, str, str]) -> Report:
    report: Report = {}
    counters.report(report, sides or [SIDE])
    return report


def test_a_sides_series_stand_at_zero_before_any_call() -> None:
    text = render(merge([reported(SloCounters("uid-1"))]), "slo")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    started = families["relay_slo_attempts_started"].samples[0]
    assert started.labels == {
        "tenant_uid": "uid-1",
        "route": "chat",
        "side": "canary",
        "fingerprint": "bbbbbbbbbbbb",
    }
    assert started.value == 0
    signals = {s.labels["signal"] for s in families["relay_slo_attempts_slow"].samples}
    assert signals == {"Overhead", "FirstToken", "Total"}


def test_counts_survive_a_side_that_leaves_and_returns() -> None:
    counters = SloCounters("uid-1")
    counters.side(*SIDE).started += 3
    other = ("chat", "stable", "aaaaaaaaaaaa")
    assert reported(counters, other)["relay_slo_attempts_started_total"] == [(("uid-1", *other), 0)]
    assert reported(counters)["relay_slo_attempts_started_total"] == [(("uid-1", *SIDE), 3)]


def test_attempts_are_under_way_until_they_end_and_leave_with_their_worker() -> None:
    counters = SloCounters("uid-1")
    side = counters.side(*SIDE)
    side.started, side.finished, side.cancelled = 7, 3, 1
    name, labels = "relay_slo_attempts_under_way", ("uid-1", *SIDE)
    report = reported(counters)
    assert dict(report[name]) == {labels: 3}
    assert name not in without_gauges(report)


def test_tenants_are_counted_apart() -> None:
    report: Report = {}
    for uid, started in (("uid-1", 1), ("uid-2", 2)):
        counters = SloCounters(uid)
        counters.side(*SIDE).started += started
        counters.report(report, [SIDE])
    series = dict(report["relay_slo_attempts_started_total"])
    assert series == {("uid-1", *SIDE): 1, ("uid-2", *SIDE): 2}
