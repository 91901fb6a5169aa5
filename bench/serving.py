"""Runs a program of a bench beside it, from the moment at which it says that it serves."""

import contextlib
import os
import subprocess
from collections.abc import Iterator, Sequence

from tests.blackbox.process import python_environment
from tests.cluster import paths


@contextlib.contextmanager
def serving(command: Sequence[str], what: str) -> Iterator[None]:
    """Starts the command, waits until its first line is `serving`, and kills it in the end; raises RuntimeError with what does not start."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **python_environment()},
        cwd=paths.REPOSITORY,
    )
    try:
        assert process.stdout is not None
        if process.stdout.readline() != "serving\n":
            raise RuntimeError(f"{what} does not start")
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
