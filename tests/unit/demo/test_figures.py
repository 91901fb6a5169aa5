"""Figures of the demonstration's view, as Prometheus answers."""

from typing import Any

import pytest
from tests.demo.view.figures import Evidence, Figures, Side, read

CHAT = {"namespace": "relay-finance", "route": "chat"}


def sample(figure: str, value: str, **labels: str) -> dict[str, Any]:
    return {"metric": CHAT | {"figure": figure} | labels, "value": [1_700_000_000.0, value]}


def answer(*samples: dict[str, Any]) -> dict[str, Any]:
    return {"status": "success", "data": {"resultType": "vector", "result": list(samples)}}


def test_both_sides_are_told_apart() -> None:
    found = read(
        answer(
            sample("errors", "0.001", side="stable"),
            sample("errors", "0.25", side="canary"),
            sample("slow", "0", side="canary"),
            sample("first_token", "0.012", side="stable"),
        )
    )
    assert found == {
        ("relay-finance", "chat"): Figures(
            stable=Side(errors=0.001, first_token_seconds=0.012),
            canary=Side(errors=0.25, slow=0.0),
        )
    }


def test_a_share_of_no_calls_is_unknown_and_not_zero() -> None:
    assert read(answer(sample("errors", "NaN", side="canary"))) == {}


@pytest.mark.parametrize("nothing", [{}, {"status": "error", "error": "x"}, answer()])
def test_an_answer_without_series_knows_nothing(nothing: dict[str, Any]) -> None:
    assert read(nothing) == {}


def test_the_foremost_evidence_is_what_is_nearest_to_its_own_threshold() -> None:
    tests = (("Errors", "absolute", "3.1", "6.2"), ("Total", "increase", "3.2", "6.9"))
    samples = [
        one
        for metric, test, found, needed in tests
        for one in (
            sample("evidence", found, metric=metric, test=test),
            sample("needed", needed, metric=metric, test=test),
            sample("allowed", "0.01", metric=metric, test=test),
        )
    ]
    figures = read(answer(*samples))["relay-finance", "chat"]
    assert figures.foremost == Evidence(
        metric="Errors", test="absolute", found=3.1, needed=6.2, allowed=0.01
    )
    assert figures.foremost.part == pytest.approx(0.5)
    assert figures.allowed("Errors") == 0.01
    assert figures.allowed("Total") is None, "what stable does is not the limit itself"
