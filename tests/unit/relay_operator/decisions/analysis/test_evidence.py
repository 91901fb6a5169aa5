"""From Prometheus samples to windows: by the scraper's labels, fresh, and safe against restarts."""

from relay_operator.decisions.analysis.evidence import Evidence, Series
from relay_operator.decisions.analysis.verdict import Window

STABLE, CANARY = "aaaaaaaaaaaa", "bbbbbbbbbbbb"
PODS = frozenset({"pod-1", "pod-2"})


def a_series(
    metric: str,
    *samples: tuple[float, float],
    pod: str = "pod-1",
    fingerprint: str = CANARY,
    **labels: str,
) -> Series:
    identity = {
        "namespace": "relay-finance",
        "pod_uid": pod,
        "route": "chat",
        "fingerprint": fingerprint,
    }
    return Series(labels={"__name__": metric, **identity, **labels}, samples=samples)


def finished(
    *samples: tuple[float, float], pod: str = "pod-1", fingerprint: str = CANARY
) -> Series:
    return a_series("relay_slo_attempts_finished_total", *samples, pod=pod, fingerprint=fingerprint)


def failed(*samples: tuple[float, float], pod: str = "pod-1", fingerprint: str = CANARY) -> Series:
    return a_series("relay_slo_attempts_failed_total", *samples, pod=pod, fingerprint=fingerprint)


def started(at: float, value: float, *, pod: str = "pod-1") -> Series:
    return a_series("process_start_time_seconds", (at, value), pod=pod)


def window(
    evidence: Evidence, *, now: float, since: float = 0.0, namespace: str = "relay-finance"
) -> Window:
    return evidence.window(
        namespace=namespace,
        route="chat",
        stable=STABLE,
        canary=CANARY,
        expected_pods=PODS,
        since=since,
        now=now,
    )


def test_sides_are_summed_over_pods() -> None:
    evidence = Evidence(stale_seconds=6)
    for pod in PODS:
        evidence.observe([finished((10, 0), (12, 40), pod=pod), failed((10, 0), (12, 4), pod=pod)])
    evidence.observe([finished((10, 0), (12, 100), fingerprint=STABLE)])
    found = window(evidence, now=13)
    assert (found.canary.finished, found.canary.failed, found.stable.finished) == (80, 8, 100)
    assert (found.pods, found.expected_pods) == (2, 2)


def test_quota_and_refusals_are_counted_and_no_part_exceeds_the_whole() -> None:
    evidence = Evidence(stale_seconds=6)
    parts = {"failed": 4, "throttled": 5, "refused": 60}
    evidence.observe(
        [
            a_series(f"relay_slo_attempts_{name}_total", (10, 0), (12, n))
            for name, n in parts.items()
        ]
    )
    evidence.observe([finished((10, 0), (12, 40))])
    side = window(evidence, now=13).canary
    assert (side.finished, side.failed, side.throttled, side.refused) == (40, 4, 5, 31)


def test_only_what_happened_since_the_moment_counts() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 0), (12, 40), (14, 45))])
    assert window(evidence, now=14, since=12).canary.finished == 5


def test_a_silent_pod_is_not_counted_as_reporting() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 1), pod="pod-1"), finished((20, 1), pod="pod-2")])
    assert window(evidence, now=20).pods == 1


def test_a_pod_that_does_not_serve_any_more_is_not_asked_for() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((20, 1), pod=pod) for pod in ("pod-1", "pod-2", "pod-3")])
    assert window(evidence, now=20).pods == 2


def test_a_restarted_relay_does_not_count_backwards() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([started(10, 1.0), finished((10, 100))])
    evidence.observe([started(12, 11.0), finished((12, 3))])
    assert window(evidence, now=12).canary.finished == 3


def test_another_namespaces_series_is_never_mixed_in() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 0), (12, 40))])
    assert window(evidence, now=12, namespace="relay-marketing").canary.finished == 0


def test_latency_counts_by_signal() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe(
        [
            a_series("relay_slo_attempts_slow_total", (10, 0), (12, 3), signal="Total"),
            a_series("relay_slo_attempts_timed_total", (10, 0), (12, 30), signal="Total"),
        ]
    )
    assert window(evidence, now=12).canary.slow == {"Total": (3, 30)}


def test_tripped_breakers_count_while_fresh_and_on_serving_pods() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe(
        [
            a_series("relay_slo_breaker_failed_probes", (10, 1), pod=pod)
            for pod in ("pod-1", "pod-3")
        ]
    )
    assert window(evidence, now=12).tripped_pods == 1
    assert window(evidence, now=20).tripped_pods == 0


def test_series_long_silent_are_forgotten() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 0), (12, 40))])
    evidence.forget_before(13)
    assert window(evidence, now=13).canary.finished == 0


def test_requests_of_a_step_are_counted_over_all_pods() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 0), (12, 40), pod=pod) for pod in PODS])
    assert (
        evidence.finished_since(
            namespace="relay-finance", route="chat", fingerprint=CANARY, moment=11
        )
        == 80
    )


def test_an_upstream_that_was_stable_and_is_canary_now_counts_on_both_series() -> None:
    evidence = Evidence(stale_seconds=6)
    metric = "relay_slo_attempts_finished_total"
    for at, stable, canary in ((10, 900, 0), (12, 905, 40)):
        evidence.observe(
            [
                a_series(metric, (at, stable), side="stable"),
                a_series(metric, (at, canary), side="canary"),
            ]
        )
    assert window(evidence, now=12).canary.finished == 45


def test_shadow_copies_are_no_evidence_about_the_canary() -> None:
    evidence = Evidence(stale_seconds=6)
    metric = "relay_slo_attempts_finished_total"
    evidence.observe([finished((10, 0), (12, 40))])
    evidence.observe([a_series(metric, (10, 0), (12, 500), side="shadow")])
    assert window(evidence, now=12).canary.finished == 40


ABOUT_CHAT = {("relay-finance", "chat"): {STABLE, CANARY}}


def test_a_strangers_series_are_neither_evidence_nor_kept() -> None:
    evidence = Evidence(stale_seconds=6)
    metric = "relay_slo_attempts_finished_total"
    strange = [
        a_series(metric, (10, 0), (12, 40), pod="stranger"),
        a_series(metric, (10, 0), (12, 40), fingerprint="cccccccccccc"),
        a_series(metric, (10, 0), (12, 40), side="other"),
        a_series(metric, (10, 0), (12, 40), signal="other"),
        a_series(metric, (10, 0), (12, 40), namespace="relay-legal"),
        *(a_series(metric, (12, 40), route=f"r{number}") for number in range(1000)),
        *(a_series("relay_slo_breaker_open", (12, 1), route=f"r{n}") for n in range(1000)),
    ]
    pods = {("relay-finance", pod) for pod in PODS}
    evidence.observe_known(strange, pods=pods, routes=ABOUT_CHAT)
    found = window(evidence, now=13)
    assert (found.canary.finished, found.tripped_pods) == (0, 0)
    assert (len(evidence._histories), len(evidence._breakers)) == (0, 0)
    evidence.observe_known([finished((10, 0), (12, 40))], pods=pods, routes=ABOUT_CHAT)
    assert window(evidence, now=13).canary.finished == 40


def test_a_part_is_never_more_than_its_whole() -> None:
    evidence = Evidence(stale_seconds=6)
    evidence.observe([finished((10, 0), (12, 40)), failed((10, 0), (12, 4000))])
    for metric, value in (("slow", 500.0), ("timed", 5.0)):
        name = f"relay_slo_attempts_{metric}_total"
        evidence.observe([a_series(name, (10, 0), (12, value), signal="Total")])
    found = window(evidence, now=13).canary
    assert (found.finished, found.failed, found.slow) == (40, 40, {"Total": (5, 5)})
