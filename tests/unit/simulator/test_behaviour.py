"""Behaviour changes field by field, refuses invalid values by name, and draws from the given distributions."""

import random
import statistics

import pytest
from tests.simulator.behaviour import Behaviour, BehaviourRejected, Fault
from tests.simulator.quota import Quota
from tests.simulator.settings import Settings


def test_a_partial_change_keeps_the_other_fields() -> None:
    changed = Behaviour(latency_ms=5).updated_from_json(b'{"error_percent": 2.5}')
    assert (changed.latency_ms, changed.error_percent) == (5, 2.5)


@pytest.mark.parametrize(
    ("patch", "named"),
    [
        (b'{"latency": 5}', "latency"),
        (b'{"error_percent": 101}', "error_percent"),
        (b'{"fault": "explode"}', "fault"),
        (b"[]", "object"),
        (b"{", "JSON"),
    ],
)
def test_a_refused_change_names_what_is_wrong(patch: bytes, named: str) -> None:
    with pytest.raises(BehaviourRejected, match=named):
        Behaviour().updated_from_json(patch)


def test_a_fixed_latency_never_varies() -> None:
    behaviour, chance = Behaviour(latency_ms=20), random.Random(1)
    assert {behaviour.latency_seconds(chance) for _ in range(10)} == {0.02}


def test_a_lognormal_latency_has_the_median_it_was_given() -> None:
    behaviour, chance = Behaviour(latency_ms=20, latency_sigma=0.5), random.Random(1)
    draws = [behaviour.latency_seconds(chance) for _ in range(4000)]
    assert statistics.median(draws) == pytest.approx(0.02, rel=0.05)
    assert max(draws) > 0.05


def test_a_fault_hits_its_share_of_the_calls() -> None:
    behaviour, chance = Behaviour(fault=Fault.RESET, fault_percent=25), random.Random(1)
    hit = sum(behaviour.drawn_fault(chance) is Fault.RESET for _ in range(4000))
    assert 900 < hit < 1100


def test_a_fault_without_a_percentage_hits_every_call() -> None:
    behaviour, chance = Behaviour(fault=Fault.RESET), random.Random(1)
    assert all(behaviour.drawn_fault(chance) is Fault.RESET for _ in range(100))


def test_a_quota_lets_one_burst_through_and_then_its_rate() -> None:
    quota = Quota(requests_per_minute=60, burst=2, now=0.0)
    assert [quota.take(0.0), quota.take(0.0)] == [0.0, 0.0]
    assert quota.take(0.0) == pytest.approx(1.0)
    assert quota.take(0.5) == pytest.approx(0.5)
    assert quota.take(1.0) == 0.0


def test_a_quota_reports_what_is_left_and_when_it_is_whole_again() -> None:
    quota = Quota(requests_per_minute=120, burst=4, now=0.0)
    quota.take(0.0)
    assert quota.remaining(0.0) == 3
    assert quota.reset_seconds(0.0) == pytest.approx(0.5)
    assert quota.remaining(10.0) == 4


def test_settings_carry_the_behaviour_of_flags_and_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SIMULATOR_LATENCY_MS", "30")
    monkeypatch.setenv("SIMULATOR_MODELS", '["m1","m2"]')
    settings = Settings(port=0, fault=Fault.STALL)
    assert settings.behaviour() == Behaviour(latency_ms=30, models=("m1", "m2"), fault=Fault.STALL)
