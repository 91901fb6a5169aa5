"""Waiting for a condition, with a deadline that tells what was seen."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
"""Long enough for a busy machine; a condition that holds costs only the time it takes."""
LOOK_EVERY_SECONDS = 0.01


def eventually(
    look: Callable[[], T],
    holds: Callable[[T], bool] = bool,
    *,
    within_seconds: float = DEADLINE_SECONDS,
    what: str = "the condition",
) -> T:
    """The first look that satisfies holds; AssertionError with the last look once the time is up."""
    deadline = time.monotonic() + within_seconds
    while True:
        seen = look()
        if holds(seen):
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(
                f"{what} did not hold within {within_seconds} s; last saw {seen!r}"
            )
        time.sleep(LOOK_EVERY_SECONDS)


def steady(look: Callable[[], T], *, for_seconds: float, what: str = "the value") -> T:
    """What every look in that time showed; AssertionError on the first that differs."""
    first = look()
    deadline = time.monotonic() + for_seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
        seen = look()
        if seen != first:
            raise AssertionError(f"{what} changed from {first!r} to {seen!r}")
    return first
