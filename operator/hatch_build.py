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

SOURCE_ROOT: Final = Path(__file__).resolve().parent
PACKAGES: Final = ("relay", "relay_contract")
"""What a relay consists of; the compiler reads the types of both."""
HOT_ROOMS: Final = ("calls", "accounting", "routing", "admission", "dialect", "http")
"""Everything a call passes through. These are compiled as one group, so that calls between them are C calls."""
INTERPRETED: Final = frozenset(
    {
        "calls/provider_keys.py",  # reads files once a second
        "http/resolver.py",  # a coroutine per look-up
        "http/tls.py",  # once per document
    }
)
"""Modules of those rooms that no call passes through."""


def hot_path() -> tuple[str, ...]:
    """Returns the compiled modules as paths relative to the package relay."""
    package = SOURCE_ROOT / "relay"
    found = [
        str(path.relative_to(package))
        for room in HOT_ROOMS
        for path in sorted((package / room).glob("*.py"))
        if path.name != "__init__.py"
    ]
    return ("random_ids.py", *(name for name in found if name not in INTERPRETED))


_TYPES: Final = "[mypy]\nstrict = True\nignore_missing_imports = True\n"


class CompilationFailed(Exception):
    """The hot path was to be compiled and could not be; the message ends with what the compiler said last."""


def compile_hot_path(target: Path) -> list[Path]:
    """The shared objects, built below target from a copy of the packages; raises CompilationFailed.

    Needs mypy, setuptools, a C compiler and Python's headers. Takes about 40 s on one core.
    """
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__", "*.so")
        shutil.copytree(SOURCE_ROOT / package, target / package, ignore=ignored)
    modules = hot_path()
    (target / "mypy.ini").write_text(_TYPES)
    sources = [f"relay/{name}" for name in modules]
    finished = subprocess.run(
        [sys.executable, "-m", "mypyc", *sources],
        cwd=target,
        env={**os.environ, "MYPYC_OPT_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    built = sorted((target / "relay").rglob("*.so")) + sorted(target.glob("*.so"))
    if finished.returncode or len(built) != len(modules) + 1:
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
