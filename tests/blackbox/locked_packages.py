"""Installs what tests use of npm and PyPI by lock files with hashes, each lock once, outside the clone and the environment of the tests."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.built_once import built_once

INSTALL_SECONDS = 600
"""Half a minute where nothing else runs; a busy machine takes many times that."""


def node_packages(source: Path, *, name: str) -> Path:
    """Returns a directory with node_modules as the package-lock.json in source has them.

    Needs npm. No package runs a script of its own.
    """
    assert shutil.which("npm"), "npm is not installed: packages of Node cannot be exercised"
    lock = source / "package-lock.json"

    def install(fresh: Path) -> None:
        for file in (source / "package.json", lock):
            shutil.copy(file, fresh)
        _run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], fresh)

    return _installed(name, lock.read_bytes(), install)


def python_packages(lock: Path, *, name: str) -> Path:
    """Returns the directory with the packages of a lock file, for PYTHONPATH."""

    def install(fresh: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--require-hashes", "--only-binary=:all:"]
        # byte-compiling all of it takes longer than what one run needs
        command += ["--no-compile"]
        _run([*command, f"--requirement={lock}", f"--target={fresh}"], fresh)

    return _installed(name, lock.read_bytes() + sys.version.encode(), install)


def _installed(name: str, key: bytes, install: Callable[[Path], None]) -> Path:
    """Returns the directory of this key, filled whole before it has its name; other sessions wait meanwhile."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    home = cache / "relay-operator" / name / hashlib.sha256(key).hexdigest()[:16]
    return built_once(home, install)


def _run(command: list[str], directory: Path) -> None:
    done = subprocess.run(
        command,
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
