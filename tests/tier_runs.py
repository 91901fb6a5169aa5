"""Executes runs of pytest one after the other, and beside them what a later one needs, and runs that wait for nothing."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from tests import coverage_report, second_tries

ROOT: Final = Path(__file__).resolve().parents[1]
_SOME_FAILED: Final = 1
"""Exit code of pytest."""
LOWEST: Final = 19
"""Niceness of what is to take only what others leave of the processors."""


class Need(StrEnum):
    """Something that is built before a tier can run."""

    CLUSTER = "the programs and images of a cluster"
    POSTGRESQL = "a server of Debian's PostgreSQL"
    COMPILED_RELAY = "the relay with its hot path compiled"


_BUILDERS: Final = {
    Need.CLUSTER: "tests.demo.prepare",
    Need.POSTGRESQL: "tests.ledger.postgresql_server",
    Need.COMPILED_RELAY: "tests.blackbox.compiled",
}
"""Modules that build it, quickly when it was, and wait for one another."""


@dataclass(frozen=True, slots=True)
class Run:
    """One process, of pytest unless program says otherwise.

    beside: it runs on what the runs after it leave idle, and is waited for before the last one.
    again: the options of pytest for a second try of a few tests that failed, without their paths; None for no second try.
    """

    title: str
    arguments: tuple[str, ...]
    needs: frozenset[Need] = frozenset()
    measured: bool = False
    beside: bool = False
    program: tuple[str, ...] = ("-m", "pytest")
    again: tuple[str, ...] | None = None

    @property
    def command(self) -> list[str]:
        """Returns the command; for a measured run the one that writes down what it covers."""
        measuring = coverage_report.command(self.title) if self.measured else ()
        return [sys.executable, *measuring, *self.program, *self.arguments]

    @property
    def heading(self) -> str:
        return f"--- {self.title}: {' '.join(self.arguments)} ---\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """Seconds that a run took: until what it needs was built, and from then on."""

    title: str
    building: float
    testing: float
    beside: bool = False


def times(all_took: Sequence[Took]) -> str:
    """Returns a table of the times; what ran beside the others is not in the sum."""
    lines = [f"{'time, minutes':<30}{'building':>12}{'tests':>12}"]
    for took in all_took:
        beside = "  beside the others" if took.beside else ""
        lines.append(
            f"{took.title:<30}{_minutes(took.building):>12}{_minutes(took.testing):>12}{beside}"
        )
    one_by_one = [took for took in all_took if not took.beside]
    building = sum(took.building for took in one_by_one)
    testing = sum(took.testing for took in one_by_one)
    lines.append(f"{'one after the other':<30}{_minutes(building):>12}{_minutes(testing):>12}")
    return "\n".join(lines) + "\n"


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}" if seconds >= 1 else "-"


@dataclass(slots=True)
class _Background:
    """A process of a group of its own; what it prints goes to a file, if to any."""

    process: subprocess.Popen[bytes]
    began: float = field(default_factory=time.monotonic)

    def end(self) -> None:
        if self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)
            self.process.wait()


def _started(
    command: Sequence[str], output: IO[bytes] | int = subprocess.DEVNULL, *, lowest: bool
) -> _Background:
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    if lowest:
        _lower(process.pid)
    return _Background(process)


def _lower(session: int) -> None:
    """Has a new session take the processors last. Kernels that group by session compare the groups, not their processes."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PGRP, session, LOWEST)
    with contextlib.suppress(OSError):
        Path(f"/proc/{session}/autogroup").write_text(str(LOWEST))


@dataclass(slots=True)
class _Beside:
    """A run beside the others, and the file that its output is kept in until it has ended."""

    run: Run
    output: IO[bytes]
    background: _Background

    def told(self) -> tuple[int, Took]:
        """Waits for its end, prints what it printed, and returns its exit code and time."""
        code = self.background.process.wait()
        seconds = time.monotonic() - self.background.began
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        sys.stdout.write(f"{self.run.heading}{text}")
        sys.stdout.flush()
        return code, Took(title=self.run.title, building=0, testing=seconds, beside=True)


@dataclass(slots=True)
class _Session:
    """All runs, up to the first that fails."""

    runs: Sequence[Run]
    early: dict[Need, _Background] = field(default_factory=dict)
    beside: list[_Beside] = field(default_factory=list)
    took: list[Took] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)

    def build_early(self) -> None:
        """Begins to build what later runs need. What fails here is tried again, and told, when its turn has come."""
        later = {need for run in self.runs[1:] for need in run.needs} - self.runs[0].needs
        for need in sorted(later & {Need.CLUSTER, Need.COMPILED_RELAY}):
            # tests wait for the cluster first
            command = [sys.executable, "-m", _BUILDERS[need]]
            self.early[need] = _started(command, lowest=need is Need.COMPILED_RELAY)

    def execute(self) -> int:
        """Returns the exit code of the first run that fails, else 0."""
        for run in self.runs[:-1]:
            code = self._begin(run) if run.beside else self._execute(run)
            if code := code or self._failed_beside():
                return code
        for beside in [*self.beside]:
            if code := self._end(beside):
                return code
        self._tell_tables()
        return self._execute(self.runs[-1])

    def end(self) -> None:
        for background in (*self.early.values(), *(one.background for one in self.beside)):
            background.end()
        for beside in self.beside:
            beside.output.close()

    def _begin(self, run: Run) -> int:
        output = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the session ends
        self.beside.append(_Beside(run, output, _started(run.command, output, lowest=True)))
        return 0

    def _failed_beside(self) -> int:
        """Tells of the runs beside that have ended; returns the exit code of one that failed."""
        ended = [one for one in self.beside if one.background.process.poll() is not None]
        return next((code for one in ended if (code := self._end(one))), 0)

    def _end(self, beside: _Beside) -> int:
        code, took = beside.told()
        self.took.append(took)
        self.beside.remove(beside)
        beside.output.close()
        return code

    def _execute(self, run: Run) -> int:
        sys.stdout.write(run.heading)
        sys.stdout.flush()
        began = time.monotonic()
        environment = dict(os.environ)
        for need in sorted(run.needs):
            if need in self.early:
                self.early[need].process.wait()
            environment |= _built(need)
        built = time.monotonic()
        code = self._tested(run, environment)
        self.took.append(
            Took(title=run.title, building=built - began, testing=time.monotonic() - built)
        )
        return code

    def _tested(self, run: Run, environment: Mapping[str, str]) -> int:
        if run.again is None:
            return subprocess.run(run.command, cwd=ROOT, env=environment, check=False).returncode
        with tempfile.TemporaryDirectory(prefix="relay-tests-") as directory:
            cache = Path(directory)
            command = [*run.command, *second_tries.options(cache)]
            code = subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode
            failed = second_tries.failed_tests(cache)
        if code != _SOME_FAILED or not (files := second_tries.files(failed)):
            return code
        second = Run(f"{run.title}, second try", (*files, *run.again), program=run.program)
        sys.stdout.write(second.heading)
        sys.stdout.flush()
        code = subprocess.run(second.command, cwd=ROOT, env=environment, check=False).returncode
        self.unsteady += failed if code == 0 else ()
        return code

    def _tell_tables(self) -> None:
        """Prints coverage and times before the last run, so that pytest's summary closes the output."""
        measured = [run.title for run in self.runs[:-1] if run.measured]
        if measured:
            sys.stdout.write(coverage_report.table(measured))
        if self.took:
            sys.stdout.write(times(self.took))
        sys.stdout.write(second_tries.told(self.unsteady))
        sys.stdout.flush()


def _built(need: Need) -> dict[str, str]:
    """Builds what is needed, quickly when it was; returns variables for the environment of pytest."""
    command = [sys.executable, "-m", _BUILDERS[need]]
    if need is not Need.COMPILED_RELAY:
        subprocess.run(command, cwd=ROOT, check=True)
        return {}
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    relay = f"env PYTHONPATH={done.stdout.strip()} {sys.executable} -m relay"
    return {"RELAY_BLACKBOX_COMMAND": relay}


@contextlib.contextmanager
def _ended(session: _Session) -> Iterator[_Session]:
    try:
        yield session
    finally:
        session.end()


def run_all(runs: Sequence[Run]) -> int:
    """Executes the runs up to the first that fails; returns its exit code."""
    with _ended(_Session(runs)) as session:
        session.build_early()
        return session.execute()
