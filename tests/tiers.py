"""Runs the test tiers, the quickest first. A cluster is built beside the first ones, other needs just before their turn.

    python -m tests.tiers                                  all tiers, with coverage; the first that fails ends the run
    python -m tests.tiers --tier blackbox --tier compiled  these tiers
    python -m tests.tiers --only "tests/e2e -k story"      one pytest run with these arguments

The last line is the summary of the last pytest run.
"""

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from tests import coverage_report

ROOT: Final = Path(__file__).resolve().parents[1]


class Need(StrEnum):
    """Something that is built before a tier can run."""

    CLUSTER = "the programs and images of a cluster"
    POSTGRESQL = "a server of Debian's PostgreSQL"
    COMPILED_RELAY = "the relay with its hot path compiled"


@dataclass(frozen=True, slots=True)
class Tier:
    """One kind of tests: what it needs, whether coverage sees it (code runs in pytest's processes), how many processes share it."""

    name: str
    directory: str
    needs: frozenset[Need] = frozenset()
    measured: bool = False
    processes: int = 1


TIERS: Final = (
    Tier("unit", "tests/unit", measured=True, processes=2),
    Tier("simulation", "tests/simulation", measured=True, processes=2),
    Tier("ledger", "tests/ledger", frozenset({Need.POSTGRESQL}), measured=True, processes=2),
    Tier("chart", "tests/chart", frozenset({Need.CLUSTER}), processes=2),
    Tier("image", "tests/image", frozenset({Need.CLUSTER})),
    Tier("contract", "tests/contract", frozenset({Need.CLUSTER}), measured=True),
    Tier("blackbox", "tests/blackbox", processes=2),
    Tier("compiled", "tests/blackbox", frozenset({Need.COMPILED_RELAY}), processes=2),
    Tier("e2e", "tests/e2e", frozenset({Need.CLUSTER})),
)
THOROUGH: Final = ("--hypothesis-profile=thorough",)
"""Properties try more examples in a full run than while somebody waits."""


@dataclass(frozen=True, slots=True)
class Run:
    """One pytest process."""

    title: str
    arguments: tuple[str, ...]
    needs: frozenset[Need]
    measured: bool = False


def full_runs(tiers: Sequence[Tier]) -> list[Run]:
    """Returns a run per tier, in the order of TIERS."""
    return [
        Run(
            tier.name,
            (tier.directory, "-q", *THOROUGH, *_side_by_side(tier)),
            tier.needs,
            tier.measured,
        )
        for tier in TIERS
        if tier in tiers
    ]


def _side_by_side(tier: Tier) -> tuple[str, ...]:
    return ("-n", str(tier.processes)) if tier.processes > 1 else ()


def chosen_run(arguments: Sequence[str]) -> Run:
    """Returns the one run for ONLY=; it needs what the tiers of its paths need, without paths what all of them need.

    Black-box tests run against the interpreted relay; `make blackbox` tries the compiled one as well.
    """
    paths = [argument for argument in arguments if _exists(argument)]
    tiers = [tier for tier in TIERS if tier.name != "compiled"]
    if paths:
        tiers = [tier for tier in tiers if any(_reaches(path, tier) for path in paths)]
    needs = frozenset(need for tier in tiers for need in tier.needs)
    return Run("chosen", tuple(arguments), needs)


def _file(argument: str) -> Path:
    return ROOT / argument.partition("::")[0]


def _exists(argument: str) -> bool:
    return not argument.startswith("-") and _file(argument).exists()


def _reaches(path: str, tier: Tier) -> bool:
    """Returns whether pytest, given path, collects tests of the tier."""
    wanted, directory = _file(path).resolve(), ROOT / tier.directory
    return wanted.is_relative_to(directory) or directory.is_relative_to(wanted)


def _prepare(need: Need) -> dict[str, str]:
    """Builds what is needed, quickly when it was; returns variables for the environment of pytest."""
    match need:
        case Need.CLUSTER:
            subprocess.run([sys.executable, "-m", "tests.demo.prepare"], cwd=ROOT, check=True)
            return {}
        case Need.POSTGRESQL:
            command = [sys.executable, "-m", "tests.ledger.postgresql_server"]
            subprocess.run(command, cwd=ROOT, check=True)
            return {}
        case Need.COMPILED_RELAY:
            command = [sys.executable, "-m", "tests.blackbox.compiled"]
            built = subprocess.run(
                command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
            ).stdout.strip()
            relay = f"env PYTHONPATH={built} {sys.executable} -m relay"
            return {"RELAY_BLACKBOX_COMMAND": relay}


def _execute(run: Run) -> int:
    """Runs pytest; returns its exit code."""
    environment = dict(os.environ)
    for need in sorted(run.needs):
        environment |= _prepare(need)
    pytest = ("-m", "pytest", *run.arguments)
    if run.measured:
        pytest = (*coverage_report.command(run.title), *pytest)
    return subprocess.run(
        [sys.executable, *pytest], cwd=ROOT, env=environment, check=False
    ).returncode


def run_all(runs: Sequence[Run]) -> int:
    """Executes the runs up to the first that fails; returns its exit code.

    Prints the coverage of the others before the last run, so that pytest's summary closes the output.
    """
    early = _prepare_early(runs)
    try:
        return _run_all(runs, early)
    finally:
        if early is not None and early.poll() is None:
            os.killpg(early.pid, signal.SIGTERM)
            early.wait()


def _prepare_early(runs: Sequence[Run]) -> subprocess.Popen[bytes] | None:
    """Begins to build what a cluster needs beside the first runs, which keep one core busy; None where that is of no use.

    What fails here is tried again, and told, when its turn has come.
    """
    later = any(Need.CLUSTER in run.needs for run in runs[1:])
    if not later or runs[0].needs:
        return None
    return subprocess.Popen(
        [sys.executable, "-m", "tests.demo.prepare"],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _run_all(runs: Sequence[Run], early: subprocess.Popen[bytes] | None) -> int:
    measured = [run.title for run in runs[:-1] if run.measured]
    for run in runs:
        if run is runs[-1] and measured:
            sys.stdout.write(coverage_report.table(measured))
        sys.stdout.write(f"--- {run.title}: {' '.join(run.arguments)} ---\n")
        sys.stdout.flush()
        if early is not None and Need.CLUSTER in run.needs:
            early.wait()
        if code := _execute(run):
            return code
    return 0


def main(argv: Sequence[str]) -> int:
    """Returns the exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.tiers", allow_abbrev=False)
    parser.add_argument("--tier", action="append", choices=[tier.name for tier in TIERS])
    parser.add_argument("--only", default="", help="arguments of a single pytest run")
    options = parser.parse_args(argv)
    if options.only:
        return run_all([chosen_run(shlex.split(options.only))])
    names = options.tier or [tier.name for tier in TIERS]
    return run_all(full_runs([tier for tier in TIERS if tier.name in names]))


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        # the command has said why
        sys.exit(failed.returncode)
