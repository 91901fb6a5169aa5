"""Builds the hot path to machine code with mypyc, when the wheel is made; nothing here runs in a relay.

The sources stay ordinary typed Python and run as they are; compiled, a call costs about half the CPU. RELAY_COMPILE=1 makes
the wheel build call this (a hatchling hook) and fail if it cannot; otherwise the wheel is pure.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE: Final = Path(__file__).resolve().parent
HOT_PATH: Final = (
    *(
        "http/downstream.py",
        "http/upstream.py",
        "http/message.py",
        "http/headers.py",
        "http/pool.py",
        "http/outbox.py",
    ),
    *("exchange.py", "reply.py", "attempt.py", "order.py", "service.py", "shadow.py"),
    *("admission.py", "queue.py", "lanes.py", "seats.py", "tickets.py", "turns.py", "flows.py"),
    *(
        "limits.py",
        "rates.py",
        "refused.py",
        "estimates.py",
        "retry.py",
        "breaker.py",
        "deadlines.py",
        "phases.py",
        "books.py",
        "pools.py",
        "families.py",
        "ids.py",
    ),
    *("body.py", "sse.py", "usage.py", "answers.py", "errors.py", "callers.py", "endpoints.py"),
    *("routing.py", "sessions.py", "snapshot.py", "metrics.py", "logs.py"),
)
"""Everything a call passes through. They are compiled as one group, so that calls between them are C calls."""
_TYPES: Final = "[mypy]\nstrict = True\nignore_missing_imports = True\n"


class CompilationFailed(Exception):
    """The hot path was to be compiled and could not be; the message ends with what the compiler said last."""


def compile_hot_path(target: Path) -> list[Path]:
    """The shared objects, built below target from a copy of the package; raises CompilationFailed.

    Needs mypy, setuptools, a C compiler and Python's headers. Takes about 40 s on one core.
    """
    copy = target / PACKAGE.name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    (target / "mypy.ini").write_text(_TYPES)
    sources = [str(Path(PACKAGE.name) / name) for name in HOT_PATH]
    finished = subprocess.run(
        [sys.executable, "-m", "mypyc", *sources],
        cwd=target,
        env={**os.environ, "MYPYC_OPT_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    built = sorted(copy.rglob("*.so")) + sorted(target.glob("*.so"))
    if finished.returncode or len(built) != len(HOT_PATH) + 1:
        raise CompilationFailed(f"mypyc: {(finished.stdout + finished.stderr)[-2000:]}")
    return built


class HotPathHook(BuildHookInterface):  # type: ignore[type-arg]
    """Adds the shared objects beside the sources, which makes the wheel one for this platform."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if os.environ.get("RELAY_COMPILE") != "1":
            return
        self._directory = tempfile.mkdtemp(prefix="relay-hot-path.")
        target = Path(self._directory)
        for built in compile_hot_path(target):
            build_data["force_include"][str(built)] = str(built.relative_to(target))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if os.environ.get("RELAY_COMPILE") == "1":
            shutil.rmtree(self._directory)
