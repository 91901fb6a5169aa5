"""Processes that the tiers consist of: what they take of the processors, and how they leave those to others."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

LOWEST: Final = 19
"""Niceness of what is to take only what others leave of the processors."""


@dataclass(slots=True)
class Child:
    """A process of ours, and what it has taken when it has ended.

    seconds: from its beginning to the moment at which its end was seen.
    processors: seconds of the processors, of its own and of all processes that it, or one of them, has waited for.
    """

    process: subprocess.Popen[bytes]
    apart: bool
    began: float = field(default_factory=time.monotonic)
    code: int = 0
    seconds: float = 0.0
    processors: float = 0.0

    def has_ended(self) -> bool:
        """Looks whether it has ended; if so, code, seconds and processors are known."""
        if self.process.returncode is not None:
            return True
        found, status, usage = os.wait4(self.process.pid, os.WNOHANG)
        if not found:
            return False
        # Popen would wait for it once more
        self.code = self.process.returncode = os.waitstatus_to_exitcode(status)
        self.seconds = time.monotonic() - self.began
        self.processors = usage.ru_utime + usage.ru_stime
        return True

    def hurry(self) -> None:
        """Has it take the processors as all others do, where we may raise it: somebody waits for it."""
        if self.apart and self.process.returncode is None:
            _set_niceness(self.process.pid, os.nice(0))

    def end(self) -> None:
        """Tells it to end, with all of its group if it has its own, and waits for it."""
        if self.process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            if self.apart:
                os.killpg(self.process.pid, signal.SIGTERM)
            else:
                self.process.terminate()
        self.process.wait()


def started(command: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> Child:
    """Starts a process that prints where we do, and that an interrupt from the terminal reaches."""
    return Child(subprocess.Popen(command, cwd=cwd, env=environment), apart=False)


def started_apart(
    command: Sequence[str],
    *,
    cwd: Path,
    output: IO[bytes] | int = subprocess.DEVNULL,
    lowest: bool,
) -> Child:
    """Starts a process in a session of its own; it takes the processors last if lowest."""
    process = subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if lowest:
        _set_niceness(process.pid, LOWEST)
    return Child(process, apart=True)


def _set_niceness(session: int, niceness: int) -> None:
    """Sets it for a session. Kernels that group by session compare the groups, not their processes."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, session, niceness)
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(niceness))
