"""Compiles the relay's C with sanitizers, and runs what it made."""

import os
import shlex
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Final

from tests.cluster.build import debian_packages

SANITIZERS: Final = (
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"),
    *("-g", "-O2", "-Wall", "-Wextra", "-Wconversion", "-Werror"),
)


def compiled(target: Path, *arguments: str) -> Path:
    """Compiles with sanitizers and every warning an error."""
    debian_packages.ensure_compiler(print)
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
    run([*compiler, *SANITIZERS, *arguments, "-o", str(target)])
    return target


def compiled_extension(directory: Path, source: Path, *arguments: str) -> Path:
    """Compiles a module in C for this Python."""
    include = f"-I{sysconfig.get_path('include')}"
    target = directory / f"{source.stem}.so"
    return compiled(target, "-shared", "-fPIC", include, *arguments, str(source))


def run(command: list[str], **environment: str) -> str:
    """Returns what the command says; fails the test with all of it if it fails."""
    variables = {**os.environ, **environment}
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr[-5000:]}"
    return done.stdout


def run_module(module: str, *arguments: str) -> str:
    """Runs a module of the tests in a Python that may load what was compiled with sanitizers; returns what it says."""
    preloaded = run(["gcc", "-print-file-name=libasan.so"]).strip()
    paths = os.pathsep.join(filter(None, sys.path))
    return run(
        [sys.executable, "-m", module, *arguments],
        LD_PRELOAD=preloaded,
        # Python itself keeps memory until the process ends
        ASAN_OPTIONS="detect_leaks=0",
        # each object in a block of its own, so that bytes beside it are found
        PYTHONMALLOC="malloc",
        PYTHONPATH=paths,
    )
