"""What an operator is told when Prometheus is spoilt."""

from typing import Any

import orjson
import pytest
from tests.simulator.prometheus_faults import OFF_SECONDS, Fault, spoiled

FAILED = "relay_slo_attempts_failed_total"
STARTED = "relay_slo_attempts_started_total"


def _series(name: str, side: str, *values: float) -> dict[str, Any]:
    samples = [[100.0 + at, str(value)] for at, value in enumerate(values)]
    return {"metric": {"__name__": name, "side": side}, "values": samples}


def _answer(*series: dict[str, Any]) -> bytes:
    data = {"resultType": "matrix", "result": list(series)}
    return orjson.dumps({"status": "success", "data": data})


WHOLE = _answer(_series(STARTED, "canary", 90, 100), _series(FAILED, "canary", 1, 2))


def _values(fault: Fault, name: str) -> list[tuple[float, float]]:
    found = orjson.loads(spoiled(WHOLE, fault))["data"]["result"]
    chosen = next(one for one in found if one["metric"]["__name__"] == name)
    return [(at, float(text)) for at, text in chosen["values"]]


def test_impossible_figures_are_more_failures_than_attempts_of_canaries() -> None:
    assert _values(Fault.IMPOSSIBLE, FAILED) == [(100.0, 1010.0), (101.0, 1020.0)]
    assert _values(Fault.IMPOSSIBLE, STARTED) == [(100.0, 90.0), (101.0, 100.0)]


def test_counts_of_both_sides_are_lost_by_half() -> None:
    assert _values(Fault.LOST_COUNTS, STARTED) == [(100.0, 45.0), (101.0, 50.0)]


@pytest.mark.parametrize(("fault", "off"), [(Fault.EARLY, -OFF_SECONDS), (Fault.LATE, OFF_SECONDS)])
def test_a_clock_that_is_off_moves_the_samples(fault: Fault, off: float) -> None:
    assert _values(fault, STARTED) == [(100.0 + off, 90.0), (101.0 + off, 100.0)]


def test_an_empty_answer_is_whole_otherwise() -> None:
    answer = orjson.loads(spoiled(WHOLE, Fault.EMPTY))
    assert answer == {"status": "success", "data": {"resultType": "matrix", "result": []}}


def test_a_partial_answer_has_a_warning_and_no_canary() -> None:
    both = _answer(_series(STARTED, "canary", 1), _series(STARTED, "stable", 1))
    answer = orjson.loads(spoiled(both, Fault.PARTIAL))
    assert answer["warnings"]
    assert [one["metric"]["side"] for one in answer["data"]["result"]] == ["stable"]


def test_garbage_is_no_json() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(spoiled(WHOLE, Fault.GARBAGE))
