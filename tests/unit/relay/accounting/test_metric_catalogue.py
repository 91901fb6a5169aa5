"""Names and labels that the control plane and dashboards rely on."""

from relay.accounting.metric_catalogue import FAMILIES

SLO = {
    "relay_slo_attempts_started_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_finished_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_failed_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_truncated_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_throttled_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_refused_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_cancelled_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_reported_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_under_way": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_attempts_slow_total": ("tenant_uid", "route", "side", "fingerprint", "signal"),
    "relay_slo_attempts_timed_total": ("tenant_uid", "route", "side", "fingerprint", "signal"),
    "relay_slo_tokens_total": ("tenant_uid", "route", "side", "fingerprint", "kind"),
    "relay_slo_overhead_seconds_total": ("tenant_uid", "route", "side", "fingerprint"),
    "relay_slo_shadow_total": ("tenant_uid", "route", "fingerprint", "pair", "outcome"),
    "relay_slo_breaker_open": ("tenant_uid", "route", "fingerprint"),
    "relay_slo_breaker_trips_total": ("tenant_uid", "route", "fingerprint"),
    "relay_slo_breaker_failed_probes": ("tenant_uid", "route", "fingerprint"),
}


def test_the_slo_page_is_what_the_control_plane_reads() -> None:
    assert {family.name: family.labels for family in FAMILIES if family.page == "slo"} == SLO
