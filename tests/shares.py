"""Divides the files of a run among its processes, so that each imports and collects only its own.

A plugin of pytest: `-n 2 --dist each -p tests.shares`. Otherwise each process collects all tests and runs its part of them.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest


def share(files: Iterable[Path], *, index: int, count: int) -> frozenset[Path]:
    """Returns the files of one of count processes: of each stretch of the tests as many bytes as the others have.

    What tests of one room take differs less than what those of one package take of those of another.
    """
    sizes, found = [0] * count, set()
    for file in sorted(files):
        turn = sizes.index(min(sizes))
        # so that files of no bytes go round as well
        sizes[turn] += file.stat().st_size + 1
        if turn == index:
            found.add(file)
    return frozenset(found)


class Share:
    """What one process leaves to the others."""

    def __init__(self, others: frozenset[Path]) -> None:
        self._others = others

    def pytest_ignore_collect(self, collection_path: Path) -> bool | None:
        return True if collection_path in self._others else None


def _files(config: pytest.Config, arguments: Sequence[str]) -> set[Path]:
    paths = [config.invocation_params.dir / argument.partition("::")[0] for argument in arguments]
    patterns: list[str] = config.getini("python_files")
    within = (path.rglob(pattern) for path in paths for pattern in patterns)
    return {
        *(path for path in paths if path.is_file()),
        *(path for each in within for path in each),
    }


def pytest_configure(config: pytest.Config) -> None:
    """Leaves to the others what is theirs, in a process that xdist has started; alone it has all."""
    worker: dict[str, object] | None = getattr(config, "workerinput", None)
    if worker is not None:
        files = _files(config, config.args)
        index, count = int(str(worker["workerid"]).removeprefix("gw")), worker["workercount"]
        own = share(files, index=index, count=int(str(count)))
        config.pluginmanager.register(Share(frozenset(files) - own))
