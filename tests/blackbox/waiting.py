"""Waits for a condition, with a deadline that shows the last value seen."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

DEADLINE_SECONDS = 10.0
"""Long enough for a busy machine; a condition that comes true earlier ends the wait."""
LOOK_EVERY_SECONDS = 0.01


def eventually(
    look: Callable[[], T],
    holds: Callable[[T], bool] = bool,
    *,
    within_seconds: float = DEADLINE_SECONDS,
    what: str = "the condition",
) -> T:
    """Returns the first value that satisfies `holds`; raises AssertionError with the last one when the time is up."""
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
    """Returns the value that every look in that time showed; raises AssertionError on the first that differs."""
    first = look()
    deadline = time.monotonic() + for_seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK_EVERY_SECONDS)
        seen = look()
        if seen != first:
            raise AssertionError(f"{what} changed from {first!r} to {seen!r}")
    return first
