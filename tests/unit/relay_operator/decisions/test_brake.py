"""What a spec takes away although nothing else of it is in force."""

from typing import Any

import pytest

from relay_contract import document
from relay_operator.decisions.brake import allowed_percent, allows_copies, suspends, words_in_force

STABLE = {"provider": "legacy"}
NEW = {"provider": "new", "model": "large"}


def in_force(canary: dict[str, Any] | None = NEW) -> document.Route:
    return document.Route.model_validate(
        {
            "name": "chat",
            "stable": {**STABLE, "fingerprint": "0" * 12},
            "canary": {**canary, "fingerprint": "1" * 12} if canary else None,
            "canaryPercent": 60 if canary else 0,
        }
    )


@pytest.mark.parametrize(
    ("percent", "allowed"),
    [
        (0, 0),
        (30, 30),
        (100, 100),
        ("0", 0),
        (0.0, 0),
        (12.9, 12),
        (-5, 0),
        (300, 100),
        ("much", 100),
        (True, 100),
        (None, 100),
        (float("nan"), 100),
        (float("inf"), 100),
        ([0], 100),
    ],
)
def test_percent_is_read_whatever_stands_beside_it(percent: Any, allowed: int) -> None:
    spec = {"stable": 7, "canary": {"provider": ["?"], "percent": percent}, "fallback": "x"}
    assert allowed_percent(spec, in_force()) == allowed


def test_another_canary_does_not_keep_the_weight_of_the_one_in_force() -> None:
    spec = {"stable": STABLE, "canary": {"provider": "nobody", "percent": 0}}
    assert allowed_percent(spec, in_force()) == 0


@pytest.mark.parametrize(
    ("spec", "allowed"),
    [
        ({"stable": STABLE}, 0),
        ({"stable": {"provider": "legacy", "model": None}, "canary": None}, 0),
        ({"stable": {"provider": "legacy", "model": "other"}}, 100),
        ({"stable": {"provider": "nobody"}}, 100),
        ({"stable": NEW}, 100),
        ({"stable": NEW, "canary": {"provider": "newer", "percent": 0}}, 100),
        ({}, 100),
        (None, 100),
        ("spec", 100),
    ],
)
def test_a_removed_canary_loses_its_weight_only_to_the_same_stable_side(
    spec: Any, allowed: int
) -> None:
    assert allowed_percent(spec, in_force()) == allowed


def test_without_a_canary_in_force_there_is_nothing_to_take_and_nothing_to_tell() -> None:
    assert allowed_percent({"stable": STABLE}, in_force(None)) == 100
    assert words_in_force(in_force(None)) == (
        "; in force stays the last valid spec, with all calls on legacy"
    )


@pytest.mark.parametrize(
    ("spec", "suspended"),
    [
        ({"suspend": True}, True),
        ({"suspend": "true", "relay": 7}, True),
        ({"suspend": False}, False),
        ({"suspend": "yes please"}, False),
        ({}, False),
        (None, False),
    ],
)
def test_suspend_is_read_whatever_stands_beside_it(spec: Any, suspended: bool) -> None:
    assert suspends(spec) is suspended


SHADOW = {"percent": 20, "minDuration": "10m"}


@pytest.mark.parametrize(
    ("spec", "before", "allowed"),
    [
        ({"stable": STABLE, "canary": NEW | {"shadow": SHADOW}}, 50, True),
        ({"stable": STABLE, "canary": NEW | {"percent": 0, "shadow": SHADOW}}, 50, False),
        ({"stable": STABLE, "canary": NEW | {"percent": 0, "shadow": SHADOW}}, 0, True),
        ({"stable": STABLE, "canary": NEW | {"shadow": {"percent": 0}}}, 50, False),
        ({"stable": STABLE, "canary": NEW}, 50, False),
        ({"stable": STABLE}, 0, False),
        ({"stable": NEW}, 50, True),
        (None, 50, True),
    ],
)
def test_what_a_spec_that_is_not_in_force_leaves_of_the_copies(
    spec: Any, before: int, allowed: bool
) -> None:
    assert allows_copies(spec, in_force(), percent_before=before) is allowed
