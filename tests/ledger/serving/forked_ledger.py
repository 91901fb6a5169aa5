"""A `relay-ledger serve` forked from a process that has imported it: a process of its own like any other, without half a second of imports.

For tests that speak to it. Those of the process itself, how it begins and is killed, start the command.
"""

import multiprocessing
import os
import signal
import sys
from multiprocessing import forkserver
from pathlib import Path
from typing import IO, Final

from tests.ledger.ledger_process import LedgerProcess

from relay_ledger.commands import command_line, serve

_FORKS: Final = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([__name__, command_line.__name__, serve.__name__])


def end_forks() -> None:
    """Ends the process that is forked, and waits for it: what it and the ledgers took counts among the times of a tier then."""
    # a ledger that is left would keep it
    for left in multiprocessing.active_children():
        left.kill()
        left.join()
    # nothing public ends it, and the tests of Python itself call this
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


class ForkedLedger(LedgerProcess):
    """Serves as the command does, with the environment that it would have."""

    def _begin(self, log: IO[bytes]) -> "_Forked":
        return _Forked(self._environment, Path(log.name))


class _Forked:
    """What is used of subprocess.Popen, of a process that was forked."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._process = _FORKS.Process(target=_serve, args=(environment, log))
        self._process.start()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self.poll()
        assert code is not None, f"the ledger does not end within {timeout} seconds"
        return code


def _serve(environment: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(environment)
    written = os.open(log, os.O_WRONLY | os.O_APPEND)
    for number in (1, 2):
        os.dup2(written, number)
    os.close(written)
    sys.exit(command_line.main(["serve"]))
