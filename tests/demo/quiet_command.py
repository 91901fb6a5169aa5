"""Runs a long command quietly: everything that it prints goes to a log, and what tells how far it is to a person."""

import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text
from tests.demo.commands import DemoFailed
from tests.demo.view.screen import is_live, say

_TOLD: Final = (
    re.compile(r"^\[\d+/\d+\] .+"),
    re.compile(r"^(?:installing Debian packages|compiling|another build|the relay is packed)\b.*"),
    re.compile(r"^(?P<image>\S+:\S+) sha256:\w+ (?P<size>\d+ MB)"),
    re.compile(r"^ [•✓✗] (?P<step>.+?)(?: \.\.\.)?$"),
)
"""Lines of the cluster command that tell how far it is; all else is what apt, pip and compilers print."""
_LAST_LINES: Final = 15


def progress(line: str) -> str:
    """Returns what a line of output tells of the progress; empty if nothing."""
    line = line.rstrip()
    for pattern in _TOLD:
        found = pattern.match(line)
        if found is not None:
            named = [one for one in found.groupdict().values() if one]
            return ", ".join(named) or line
    return ""


def is_milestone(told: str) -> bool:
    """Tells whether it is worth a line of its own where lines are only added."""
    return not re.search(r": (?:still building|building with|already built)\b", told)


def run(
    command: Sequence[str],
    *,
    does: str,
    console: Console,
    log: Path,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Runs it; tells when it is done and how long it took. Raises DemoFailed with the end of its output."""
    began = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    with _telling(does, console) as tell, log.open("w") as written:
        process = subprocess.Popen(
            command,
            env={**os.environ, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        code = _followed(process, written.write, tell)
    if code:
        tail = "\n".join(log.read_text().splitlines()[-_LAST_LINES:])
        raise DemoFailed(
            f"{' '.join(command)} failed with exit code {code}; {log} has all of:\n{tail}"
        )
    say(console, f"{does}: done ({time.monotonic() - began:.1f} s)")


def _followed(
    process: subprocess.Popen[str], write: Callable[[str], object], tell: Callable[[str], None]
) -> int:
    assert process.stdout is not None
    try:
        with process.stdout:
            for line in process.stdout:
                write(line)
                told = progress(line)
                if told:
                    tell(told)
        return process.wait()
    except BaseException:
        process.terminate()
        process.wait()
        raise


@contextmanager
def _telling(does: str, console: Console) -> Iterator[Callable[[str], None]]:
    """Shows the newest of what is told beside a spinner; without a terminal the milestones, line by line."""
    if not is_live(console):
        yield lambda told: say(console, f"  {told}") if is_milestone(told) else None
        return
    with console.status(_one_line(f"{does} ...", console)) as status:
        yield lambda told: status.update(_one_line(f"{does}: {told}", console))


def _one_line(text: str, console: Console) -> Text:
    """Cuts a line off that the spinner would have no room beside, or each redrawing would add another."""
    cut = Text(text)
    cut.truncate(max(console.width - 3, 1), overflow="ellipsis")
    return cut
