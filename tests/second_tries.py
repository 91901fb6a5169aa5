"""A second try for tests that failed where a clock or a busy machine can make one fail: bounded, told at the end, and never for tests whose rare failure is a fault of the product."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

MOST_TESTS: Final = 3
"""More failures than these are no matter of a busy machine."""
NEVER: Final = frozenset(
    {
        "tests/blackbox/test_fuzzing.py",
        "tests/blackbox/test_idle_connections.py",
        "tests/blackbox/test_ledger_crashes.py",
        "tests/blackbox/test_secrets.py",
        "tests/blackbox/test_smuggling.py",
        "tests/blackbox/test_tool_sessions.py",
        "tests/blackbox/test_tools.py",
        "tests/blackbox/test_upstream_failures.py",
        "tests/e2e/test_attacks.py",
        "tests/e2e/test_continuity.py",
        "tests/e2e/test_isolation.py",
    }
)
"""Calls that cross, secrets that show, and calls or bookings that are lost: once in a thousand runs is once too often."""


SINGLY: Final = ("tests/blackbox/", "tests/e2e/test_canary_stories.py")
"""Where no test builds on another one, and what a whole file takes is long."""


def options(cache: Path) -> tuple[str, ...]:
    """Returns options of pytest, with which it writes what failed into this directory."""
    return ("-o", f"cache_dir={cache}")


def failed_tests(cache: Path) -> tuple[str, ...]:
    """Returns the ids of the tests that failed in the run that had options()."""
    path = cache / "v" / "cache" / "lastfailed"
    return tuple(json.loads(path.read_text())) if path.exists() else ()


def again(failed: Sequence[str]) -> tuple[str, ...]:
    """Returns what to try once more, as arguments of pytest; nothing if there is no second try.

    These are files, since tests of a file may build on one another, and single tests where those do not.
    """
    files = {one.partition("::")[0] for one in failed}
    if len(failed) > MOST_TESTS or NEVER & files:
        return ()
    return tuple(dict.fromkeys(_again(one) for one in failed))


def _again(test: str) -> str:
    return test if test.startswith(SINGLY) else test.partition("::")[0]


def told(failed: Sequence[str]) -> str:
    """Returns what a run of all tests says of those that passed at their second try."""
    return "".join(f"failed once, passed at the second try: {one}\n" for one in failed)
