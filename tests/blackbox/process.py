"""Runs the suite's child processes: starts them with a log, watches, measures and ends them."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tests.blackbox.waiting import eventually
from tests.growing_files import whole_text

REPOSITORY = Path(__file__).resolve().parents[2]
_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below the kernel's ephemeral range, so that no outgoing connection takes a port between the check and its use."""


class Child(Protocol):
    """A child process as subprocess shows it."""

    pid: int

    def poll(self) -> int | None:
        """Returns its exit code; None while it runs."""

    def wait(self, timeout: float) -> int:
        """Waits for its end and returns its exit code."""

    def send_signal(self, sig: int) -> None:
        """Sends it a signal, unless it is known to have ended."""


class Process:
    """A child process whose output goes to a file."""

    def __init__(
        self, command: Sequence[str], *, environment: Mapping[str, str], log: Path
    ) -> None:
        self.log = log
        self._child = self._begin(command, environment)

    def _begin(self, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        with self.log.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env=dict(environment),
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                # its own group, so that workers it started end with it
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Returns the process id."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """Returns the exit code; None while the process runs."""
        return self._child.poll()

    def output(self) -> str:
        """Returns the lines written to standard output and error so far."""
        return whole_text(self.log)

    def send_signal(self, number: signal.Signals) -> None:
        """Sends a signal to the process alone, not to its workers, as the kubelet does."""
        self._child.send_signal(number)

    def wait(self, within_seconds: float = 15.0) -> int:
        """Waits for the end of the process and returns its exit code."""
        code = eventually(
            lambda: self.exit_code,
            lambda code: code is not None,
            within_seconds=within_seconds,
            what=f"the end of process {self.pid}",
        )
        assert code is not None
        return code

    def kill(self) -> None:
        """Kills the process and everything it started, and waits until none of them holds a file or a port any more."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        finally:
            self._child.wait(10)
        eventually(
            self.members,
            lambda members: not members,
            within_seconds=10,
            what=f"the end of what process {self.pid} had started",
        )

    def members(self) -> list[int]:
        """Returns the process ids of its session: itself and its workers."""
        entries = (entry for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [int(entry.name) for entry in entries if _session(entry) == self.pid]

    def workers(self) -> list[int]:
        """Returns the members it started."""
        return [pid for pid in self.members() if pid != self.pid]

    def kill_workers(self) -> None:
        """Kills all workers() at once."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)

    def signal_worker(self, pid: int, number: signal.Signals) -> None:
        """Sends a signal to one of workers(); refuses any other process."""
        assert pid in self.workers()
        os.kill(pid, number)

    def memory_bytes(self) -> int:
        """Returns the proportional set size of the process and its workers."""
        return sum(_pss_bytes(pid) for pid in self.members())

    def peak_memory_bytes(self) -> int:
        """Returns the largest resident size so far of the process and of each of its workers, added up."""
        return sum(_peak_bytes(pid) for pid in self.members())


def python_environment(**extra: str) -> dict[str, str]:
    """Returns the environment of a child that runs our code with this interpreter."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {
        **kept,
        "PYTHONPATH": f"{REPOSITORY / 'operator'}{os.pathsep}{REPOSITORY}",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **extra,
    }


def python_module(module: str, *arguments: str) -> list[str]:
    """Returns the command that runs a module with this interpreter."""
    return [sys.executable, "-m", module, *arguments]


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on now.

    Different sessions search different ranges; the processes of one session take ports in turn, also while none listens there
    because a test has just killed who did.
    """
    worker, workers = _place_in_session()
    span = (_LAST_PORT - _FIRST_PORT) // workers
    start = (os.getppid() if workers > 1 else os.getpid()) * 37 % span
    found: list[int] = []
    for offset in range(span):
        port = _FIRST_PORT + (start + offset) % span * workers + worker
        if port not in _HANDED_OUT and _is_free(port):
            _HANDED_OUT.add(port)
            found.append(port)
            if len(found) == count:
                return found
    raise AssertionError(f"no {count} free ports between {_FIRST_PORT} and {_LAST_PORT}")


_HANDED_OUT: set[int] = set()


def _place_in_session() -> tuple[int, int]:
    """Returns the number of this process of a session of tests, and of how many."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    return int(worker), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _session(entry: Path) -> int:
    try:
        # the command name may hold spaces and brackets; session is the fourth field after it (proc(5))
        fields = (entry / "stat").read_text().rpartition(")")[2].split()
        # a process whose first thread has ended is a zombie, and has its files until the others have
        is_over = fields[0] == "Z" and len(list((entry / "task").iterdir())) < 2
    except OSError:
        return -1
    return -1 if is_over else int(fields[3])


def _pss_bytes(pid: int) -> int:
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    line = next(line for line in rollup.splitlines() if line.startswith("Pss:"))
    return int(line.split()[1]) * 1024


def _peak_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
