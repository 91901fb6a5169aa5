"""What each session of a run leaves behind for the tests that look at all of them: states, requests and the files that ran.

Sessions that run side by side have a cluster each, so none of them has seen everything.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

DIRECTORY: Final = "RELAY_E2E_RECORDS"
"""Variable with the directory that a whole run keeps its records in; without it nothing is kept."""
REQUESTS: Final = "requests.log"
STATES: Final = "states"
_RAN: Final = "ran"


def own() -> Path | None:
    """Returns this session's directory, made if need be; None if nothing is kept."""
    if DIRECTORY not in os.environ:
        return None
    directory = Path(os.environ[DIRECTORY]) / str(os.getpid())
    directory.mkdir(exist_ok=True)
    return directory


def others() -> list[Path]:
    """Returns the directories of the sessions before this one."""
    if DIRECTORY not in os.environ:
        return []
    return sorted(one for one in Path(os.environ[DIRECTORY]).iterdir() if one != own())


def note(file: str) -> None:
    """Notes that a test of the file begins."""
    if directory := own():
        with (directory / _RAN).open("a") as ran:
            ran.write(f"{file}\n")


def ran() -> set[str]:
    """Returns the names of the files of which the sessions before this one ran a test."""
    noted = (one / _RAN for one in others())
    return {name for path in noted if path.exists() for name in path.read_text().split()}


def keep_requests(lines: Iterator[str]) -> None:
    """Keeps lines of an audit log."""
    if directory := own():
        with (directory / REQUESTS).open("w") as log:
            log.writelines(lines)
