"""Builds something into a directory of the cache, once for all sessions and clones."""

import fcntl
import shutil
from collections.abc import Callable
from pathlib import Path


def built_once(home: Path, build: Callable[[Path], object]) -> Path:
    """Returns home, filled whole before it has its name; other sessions wait meanwhile."""
    home.parent.mkdir(parents=True, exist_ok=True)
    with home.with_suffix(".lock").open("w") as one_at_a_time:
        fcntl.flock(one_at_a_time, fcntl.LOCK_EX)
        if not home.exists():
            partial = home.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir()
            build(partial)
            partial.rename(home)
    return home
