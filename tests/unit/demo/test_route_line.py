"""A route as a line of the demonstration's view."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.demo.view.route_line import coming, line_of, plain

NOW = datetime(2026, 11, 26, 12, 0, 0, tzinfo=UTC)


def route(*, canary: dict[str, Any] | None, status: dict[str, Any]) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "relay-finance", "name": "chat"},
        "spec": {"stable": {"provider": "legacy"}} | ({"canary": canary} if canary else {}),
        "status": status,
    }


CLIMBING = route(
    canary={"provider": "holysheep", "percent": 100},
    status={
        "phase": "Progressing",
        "weights": {"stablePercent": 75, "canaryPercent": 25},
        "inForce": {"stable": "legacy/gpt-4.1", "canary": "holysheep/gpt-4.1"},
        "analysis": {"verdict": "Healthy"},
        "next": "50 % from 2026-11-26T12:00:03Z",
    },
)


def test_a_canary_that_climbs_is_told_with_its_weight_verdict_and_next_step() -> None:
    line = line_of(CLIMBING, {}, NOW)
    assert (line.stable, line.canary) == ("legacy", "holysheep")
    assert plain(line) == (
        "relay-finance/chat: Progressing, canary 25 % of 100 %, Healthy, next: 50 % in 3 s"
    )


def test_a_route_without_a_canary_is_told_shortly() -> None:
    line = line_of(
        route(
            canary=None,
            status={
                "phase": "Stable",
                "weights": {"canaryPercent": 0},
                "analysis": {"verdict": "Healthy"},
            },
        ),
        {},
        NOW,
    )
    assert not line.is_migrating
    assert plain(line) == "relay-finance/chat: Stable"


def test_a_route_that_the_operator_has_not_seen_is_a_line_too() -> None:
    line = line_of({"metadata": {"namespace": "a", "name": "b"}, "spec": {}}, {}, NOW)
    assert (line.phase, line.weight, line.target, line.verdict) == ("", 0, 0, "")


def test_only_another_phase_weight_or_verdict_is_news() -> None:
    later = line_of(CLIMBING, {}, NOW.replace(second=2))
    assert later.news == line_of(CLIMBING, {}, NOW).news
    risen = CLIMBING | {"status": CLIMBING["status"] | {"weights": {"canaryPercent": 50}}}
    assert line_of(risen, {}, NOW).news != later.news


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("50 % from 2026-11-26T12:00:03Z", "50 % in 3 s"),
        ("50 % from 2026-11-26T11:59:00Z", "50 % as soon as it has passed"),
        ("promotion from 2026-11-26T12:01:00Z", "promotion in 60 s"),
        ("approval by hand", "approval by hand"),
        ("", ""),
    ],
)
def test_the_next_step_is_told_with_the_time_until_then(text: str, told: str) -> None:
    assert coming(text, NOW) == told
