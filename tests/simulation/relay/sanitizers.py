"""Compiles the relay's C with sanitizers, and runs what it made."""

import os
import random
import re
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

SECONDS: Final = os.environ.get("FUZZ_SECONDS", "3")
"""How long a run takes, of processor time."""
LEAST: Final = 300
"""So many tries there are in any case."""


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


def fuzzed(module: str, extension: Path, *, least: int = LEAST) -> str:
    """Runs a module that tries an extension with what is drawn by chance; returns what it says."""
    return run_module(module, str(extension), SECONDS, str(least), drawn_seed())


def drawn_seed() -> str:
    """Returns a seed, which a run shows that fails."""
    return str(random.randrange(2**31))


def assert_enough_was_tried(said: str, pattern: str, *, least: int = LEAST, share: int) -> None:
    """Checks the numbers of a run: of all tries, and of those that went all the way, of which it is to have more than one in share."""
    counted = re.fullmatch(pattern, said)
    assert counted is not None, said
    assert int(counted[1]) >= least
    assert int(counted[2]) > int(counted[1]) // share
