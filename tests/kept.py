"""Keeps outside the clone what each clone would make anew: the development tools, and what mypy knows of sources.

    python3 -m tests.kept take tools       puts .venv in place; exit code 1 if there is none for this lock file and this Python
    python3 -m tests.kept keep tools       keeps .venv for the next clone
    python3 -m tests.kept take types       the same for .mypy_cache, which mypy compares with the contents of files
    python3 -m tests.kept keep types

Takes the standard library alone. Each clone has a copy of its own, so that clones do not meet.
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.cluster import paths

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCES: Final = ("operator", "tests", "bench")
KEPT: Final = 3
"""So many of each kind stay, those that were used last: every lock file adds one of half a gigabyte."""
_MADE_FOR: Final = "made-for"
"""File in a kept environment: the directory whose path stands in its programs."""
_LONGEST_SHEBANG: Final = 127
"""Bytes of a first line that Linux reads (execve(2)); for longer paths pip writes programs in another way."""


@dataclass(frozen=True, slots=True)
class Place:
    """A clone, and the directory for what clones share."""

    clone: Path
    cache: Path

    @property
    def tools(self) -> Path:
        """Returns the environment; where .venv is a link, what it leads to."""
        return (self.clone / ".venv").resolve()

    @property
    def types(self) -> Path:
        return self.clone / ".mypy_cache"

    def oldest_source(self) -> float:
        """Returns the second in which that of its sources was written that was written first."""
        files = (file for name in SOURCES for file in (self.clone / name).rglob("*.py*"))
        return min(float(int(file.stat().st_mtime)) for file in files)

    def kept(self, kind: str) -> Path:
        """Returns the directory of this lock file and this Python; mypy itself is one of the tools."""
        digest = hashlib.sha256((self.clone / "requirements-dev.lock").read_bytes())
        digest.update(f"{sys.version} {platform.machine()} {sys.base_prefix}".encode())
        return self.cache / kind / digest.hexdigest()[:16]


def take_tools(place: Place) -> bool:
    """Puts the environment in place of what is there; returns False, and changes nothing, if none is kept."""
    if not _programs_can_name(place.tools):
        return False
    with _only_user(place.kept("tools")) as kept:
        if not kept.exists():
            return False
        os.utime(kept)
        with _whole(place.tools) as partial:
            _copy(kept, partial)
            made_for = (partial / _MADE_FOR).read_text()
            (partial / _MADE_FOR).unlink()
            _rename_in_programs(partial, made_for, str(place.tools))
    return True


def keep_tools(place: Place) -> None:
    """Keeps the environment, if there is none yet."""
    if not _programs_can_name(place.tools):
        return
    with _only_user(place.kept("tools")) as kept:
        if kept.exists():
            return
        with _whole(kept) as partial:
            _copy(place.tools, partial)
            (partial / _MADE_FOR).write_text(str(place.tools))
        _forget_oldest(kept.parent)


def take_types(place: Place) -> None:
    """Puts mypy's cache in place, if the clone has none of its own, and if all of its sources are younger.

    Mypy compares contents only where the size or the second of the last change differ.
    """
    with _only_user(place.kept("types")) as kept:
        if not kept.exists() or place.types.exists() or place.oldest_source() <= _written(kept):
            return
        os.utime(kept)
        with _whole(place.types) as partial:
            _copy(kept, partial)


def keep_types(place: Place) -> None:
    """Keeps mypy's cache, if it was written since the last time."""
    with _only_user(place.kept("types")) as kept:
        if not place.types.exists() or _written(place.types) <= _written(kept):
            return
        with _whole(kept) as partial:
            _copy(place.types, partial, databases=True)
        _forget_oldest(kept.parent)


def _programs_can_name(environment: Path) -> bool:
    """Returns whether the first line of its programs holds its path."""
    line = f"#!{environment}/bin/python3"
    return len(os.fsencode(line)) <= _LONGEST_SHEBANG and " " not in line


def _rename_in_programs(environment: Path, old: str, new: str) -> None:
    """Writes the path anew in all texts that have it: programs, scripts of shells, pyvenv.cfg."""
    for file in (environment / "pyvenv.cfg", *(environment / "bin").iterdir()):
        content = b"" if file.is_symlink() else file.read_bytes()
        if os.fsencode(old) in content and b"\0" not in content:
            file.write_bytes(content.replace(os.fsencode(old), os.fsencode(new)))


def _written(tree: Path) -> float:
    """Returns when a file of the tree was written last; 0 without one."""
    return max((file.stat().st_mtime for file in tree.rglob("*") if file.is_file()), default=0)


def _copy(source: Path, target: Path, *, databases: bool = False) -> None:
    """Copies a tree with the times of its files, by which Python knows that what is compiled is up to date.

    databases: those of SQLite are copied by SQLite, because a mypy of the same clone may be writing them.
    """
    subprocess.run(["cp", "-a", "--reflink=auto", f"{source}/.", str(target)], check=True)
    for file in source.rglob("*.db") if databases else ():
        copy = target / file.relative_to(source)
        copy.unlink()
        with (
            contextlib.closing(sqlite3.connect(file)) as read,
            contextlib.closing(sqlite3.connect(copy)) as written,
        ):
            read.backup(written)


@contextlib.contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """Gives a directory beside target, which takes target's place when it is filled."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as work:
        partial = Path(work) / "new"
        partial.mkdir()
        yield partial
        if target.exists():
            target.rename(Path(work) / "old")
        partial.rename(target)


@contextlib.contextmanager
def _only_user(kept: Path) -> Iterator[Path]:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with (kept.parent / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield kept


def _forget_oldest(directory: Path) -> None:
    kept = [path for path in directory.iterdir() if not path.name.startswith(".")]
    kept.sort(key=lambda path: path.stat().st_mtime)
    for path in kept[:-KEPT]:
        shutil.rmtree(path)


def main(argv: Sequence[str]) -> int:
    """Returns the exit code of the command."""
    place = Place(ROOT, paths.cache_root())
    match list(argv):
        case ["take", "tools"]:
            return 0 if take_tools(place) else 1
        case ["keep", "tools"]:
            keep_tools(place)
        case ["take", "types"]:
            take_types(place)
        case ["keep", "types"]:
            keep_types(place)
        case _:
            sys.stderr.write("usage: python3 -m tests.kept take|keep tools|types\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
