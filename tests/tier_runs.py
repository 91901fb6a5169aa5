"""Executes runs of pytest one after the other; beside them what a later one needs, and runs that no clock matters to."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import IO, Final

from tests import coverage_report, second_tries
from tests.tier_processes import Child, started, started_apart

ROOT: Final = Path(__file__).resolve().parents[1]
_SOME_FAILED: Final = 1
"""Exit code of pytest."""
_LOOK_SECONDS: Final = 0.1
"""How often runs are looked after."""


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

    beside: it takes what the others leave idle of the processors. Those beside follow one another, and the last run waits for them.
    alone: it waits for all that run beside to be over.
    again: the options of pytest for a second try of a few tests that failed, without their paths; None for no second try.
    """

    title: str
    arguments: tuple[str, ...]
    needs: frozenset[Need] = frozenset()
    measured: bool = False
    beside: bool = False
    alone: bool = False
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
    """Seconds that a run took: until what it needs was built, and from then on; and those of the processors that its tests took."""

    title: str
    building: float
    testing: float
    processors: float
    beside: bool = False


def times(all_took: Sequence[Took]) -> str:
    """Returns a table of the times; of what ran beside the others the sums have the processors' alone."""
    lines = [f"{'time, minutes':<30}{'building':>12}{'tests':>12}{'processors':>12}"]
    lines += [
        _row(took.title, took.building, took.testing, took.processors)
        + ("  beside the others" if took.beside else "")
        for took in all_took
    ]
    one_by_one = [took for took in all_took if not took.beside]
    building = sum(took.building for took in one_by_one)
    testing = sum(took.testing for took in one_by_one)
    processors = sum(took.processors for took in all_took)
    lines.append(_row("one after the other", building, testing, processors))
    return "\n".join(lines) + "\n"


def _row(title: str, *seconds: float) -> str:
    return f"{title:<30}" + "".join(f"{_minutes(one):>12}" for one in seconds)


def _minutes(seconds: float) -> str:
    return _clock(seconds) if seconds >= 1 else "-"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class _Beside:
    """A run beside the others: it builds what it needs, then tests. What it prints is kept until it is told."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._output: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._commands = [*(_builder(need) for need in sorted(run.needs)), run.command]
        self._began = time.monotonic()
        self._child = self._next()
        self._is_ended_early = False

    def goes_on(self) -> bool:
        """Begins its next command when the one before it has ended well; returns whether it is not over."""
        if not self._child.has_ended():
            return True
        if self._child.code or not self._commands:
            return False
        self._child = self._next()
        return True

    @property
    def code(self) -> int:
        """Returns its exit code, when it is over; 0 if it was ended before."""
        return self._child.code

    def told(self) -> Took:
        """Prints what it printed; returns its times."""
        self._output.seek(0)
        text = self._output.read().decode(errors="replace")
        newline = "\n" if text and not text.endswith("\n") else ""
        ended = "ended before it was over\n" if self._is_ended_early else ""
        sys.stdout.write(f"{self.run.heading}{text}{newline}{ended}")
        sys.stdout.flush()
        return Took(
            title=self.run.title,
            building=self._child.began - self._began,
            testing=self._child.seconds,
            processors=self._child.processors,
            beside=True,
        )

    def end(self) -> None:
        """Ends it before it is over."""
        self._child.end()
        self._is_ended_early = True

    def close(self) -> None:
        """Forgets what it printed."""
        self._output.close()

    def _next(self) -> Child:
        return started_apart(self._commands.pop(0), cwd=ROOT, output=self._output, lowest=True)


@dataclass(slots=True)
class _Lane:
    """Runs beside the others: each begins when the one before it has passed, and nobody builds what it needs."""

    waiting: list[Run]
    is_being_built: Callable[[Run], bool]
    running: _Beside | None = None
    over: list[_Beside] = field(default_factory=list)

    def goes_on(self) -> bool:
        """Begins the next run when one has passed; returns whether one runs, or will."""
        if self.running is not None and not self.running.goes_on():
            self.over.append(self.running)
            self.running = None
        if self.running is None and self.waiting and not any(one.code for one in self.over):
            if self.is_being_built(self.waiting[0]):
                return True
            self.running = _Beside(self.waiting.pop(0))
        return self.running is not None

    def end(self) -> None:
        """Ends the run that is not over; none begins any more."""
        self.waiting.clear()
        if self.goes_on() and self.running is not None:
            self.running.end()
            self.over.append(self.running)
            self.running = None


class _Session:
    """All runs, up to the first that fails."""

    def __init__(self, runs: Sequence[Run]) -> None:
        *others, self._last = runs
        self._others = [run for run in others if not run.beside]
        self._measured = [run.title for run in runs if run.measured]
        self._lane = _Lane([run for run in others if run.beside], self._is_being_built)
        self._early: dict[Need, Child] = {}
        self._took: list[Took] = []
        self._unsteady: list[str] = []
        self._failed: list[str] = []
        self._began = time.monotonic()

    def build_early(self) -> None:
        """Begins to build what later runs need. What fails here is tried again, and told, when its turn has come."""
        first, *later = (*self._others, self._last)
        needs = {need for run in (*later, *self._lane.waiting) for need in run.needs} - first.needs
        for need in sorted(needs & {Need.CLUSTER, Need.COMPILED_RELAY}):
            # not as those beside: images wait for the compiled relay too, and it is compiled on one processor
            self._early[need] = started_apart(_builder(need), cwd=ROOT, lowest=False)

    def _is_being_built(self, run: Run) -> bool:
        """Returns whether something that the run needs is built at this moment, for the others as well."""
        return any(not self._early[need].has_ended() for need in run.needs if need in self._early)

    def execute(self) -> int:
        """Returns the exit code of the first run that fails, else 0."""
        for run in (*self._others, self._last):
            if run.alone or run is self._last:
                self._wait_for_those_beside()
            if code := self._tell_beside():
                return code
            if run is self._last:
                self._tell_times()
            if code := self._execute(run):
                self._failed.append(f"{run.title} (exit code {code})")
                return code
        if self._measured:
            sys.stdout.write(coverage_report.table(self._measured))
        return 0

    def end(self) -> None:
        """Ends what is not over, tells what nobody was told of those beside, and names all that failed."""
        for child in self._early.values():
            child.end()
        self._lane.end()
        self._tell_beside()
        if self._failed:
            sys.stdout.write(f"failed: {', '.join(self._failed)}\n")
            sys.stdout.flush()

    def _wait_for_those_beside(self) -> None:
        while self._lane.goes_on():
            time.sleep(_LOOK_SECONDS)

    def _tell_beside(self) -> int:
        """Tells of the runs beside that are over; returns the exit code of one that failed."""
        code = 0
        while self._lane.over:
            one = self._lane.over.pop(0)
            self._took.append(one.told())
            if one.code:
                self._failed.append(f"{one.run.title} (exit code {one.code})")
            code = code or one.code
            one.close()
        return code

    def _execute(self, run: Run) -> int:
        began = time.monotonic()
        sys.stdout.write(f"{run.heading}{_clock(began - self._began)} after the first began\n")
        sys.stdout.flush()
        self._lane.goes_on()
        environment = dict(os.environ)
        for need in sorted(run.needs):
            if need in self._early:
                self._hurry()
                self._wait(self._early[need])
            environment |= self._built(run, need)
        building = time.monotonic() - began
        children = self._tested(run, environment)
        self._took.append(
            Took(
                title=run.title,
                building=building,
                testing=sum(child.seconds for child in children),
                processors=sum(child.processors for child in children),
            )
        )
        return children[-1].code

    def _built(self, run: Run, need: Need) -> dict[str, str]:
        try:
            return _built(need)
        except subprocess.CalledProcessError as error:
            self._failed.append(f"{run.title} (not built: {need}, exit code {error.returncode})")
            raise

    def _hurry(self) -> None:
        """Raises all that is built early: images wait for the compiled relay, so that one of them alone would wait on."""
        for child in self._early.values():
            child.hurry()

    def _tested(self, run: Run, environment: Mapping[str, str]) -> list[Child]:
        """Returns the process of the tests, and that of a second try if there was one."""
        if run.again is None:
            return [self._ended(run.command, environment)]
        with tempfile.TemporaryDirectory(prefix="relay-tests-") as directory:
            cache = Path(directory)
            first = self._ended([*run.command, *second_tries.options(cache)], environment)
            failed = second_tries.failed_tests(cache)
        if first.code != _SOME_FAILED or not (again := second_tries.again(failed)):
            return [first]
        second = Run(f"{run.title}, second try", (*again, *run.again), program=run.program)
        sys.stdout.write(second.heading)
        sys.stdout.flush()
        tried = self._ended(second.command, environment)
        self._unsteady += failed if tried.code == 0 else ()
        return [first, tried]

    def _ended(self, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        """Runs a command to its end, however this ends."""
        child = started(command, cwd=ROOT, environment=environment)
        try:
            self._wait(child)
        finally:
            child.end()
        return child

    def _wait(self, child: Child) -> None:
        """Waits for its end, and looks after the runs beside meanwhile."""
        while not child.has_ended():
            self._lane.goes_on()
            time.sleep(_LOOK_SECONDS)

    def _tell_times(self) -> None:
        """Prints them before the last run, so that pytest's summary closes the output."""
        if self._took:
            sys.stdout.write(times(self._took))
        sys.stdout.write(second_tries.told(self._unsteady))
        sys.stdout.flush()


def _builder(need: Need) -> list[str]:
    return [sys.executable, "-m", _BUILDERS[need]]


def _built(need: Need) -> dict[str, str]:
    """Builds what is needed, quickly when it was; returns variables for the environment of pytest."""
    command = _builder(need)
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
