"""Runs the test tiers one after the other, the quickest first, and some beside them. What they need is built meanwhile.

    python -m tests.tiers                                  all tests; the first tier that fails ends the run
    python -m tests.tiers --tier blackbox --tier compiled  these tiers
    python -m tests.tiers --coverage                       those whose coverage can be measured, measured
    python -m tests.tiers --only "tests/e2e -k story"      one pytest run with these arguments

A tier beside takes what the others leave idle of the processors. Tables
before the last run have the times, or after the last one the coverage; else the last line is the summary of the last pytest run.
Where a tier fails, what those beside have printed comes after it, and the last line names all that failed.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.e2e import records
from tests.tier_runs import ROOT, Need, Run, run_all


@dataclass(frozen=True, slots=True)
class Tier:
    """One kind of tests: what it needs, whether coverage can see it (code runs in pytest's processes), how many processes share it.

    beside: it may run beside the others, because no clock matters to it. options are pytest's.
    repeats: another tier has the same tests, so that a run of all tests leaves it out.
    alone: it waits for those beside to be over.
    clocks: processes and clocks of a whole system decide, so that a few tests that fail are tried a second time.
    """

    name: str
    directory: str
    needs: frozenset[Need] = frozenset()
    measured: bool = False
    processes: int = 1
    beside: bool = False
    alone: bool = False
    options: tuple[str, ...] = ()
    repeats: bool = False
    clocks: bool = False


_SLOWEST: Final = ("--durations", "30", "--durations-min", "10")
_AFTERWARDS: Final = "tests/e2e/afterwards"
_FILE_BY_FILE: Final = ("--dist", "loadfile", "--no-loadscope-reorder")
"""What a file's tests share is made once, in one of the processes."""
_SHARES: Final = (
    *("--dist", "each", "-p", "tests.shares"),
    # another process would have the files of none, and a share of tests is not known when the first is told
    *("--max-worker-restart", "0", "-o", "console_output_style=classic"),
)
"""Each process has files of its own: to import and collect all of them takes longer than a tenth of their tests."""
_TWO_CLUSTERS: Final = (
    *_FILE_BY_FILE,
    *("--ignore", _AFTERWARDS),
)
"""Each process has a cluster of its own, which waits more than it works: three leave a relay without a processor for seconds. In the order of their
names the long files begin early."""
TIERS: Final = (
    # Beside, on what contract and black-box tests leave of the processors, which wait more than they work. Short enough to be over when
    # the two clusters begin, which want both for themselves.
    # The simulation is not measured: it goes where unit tests go, and of 70,000 branches and lines of theirs it knew 15 more.
    Tier(
        "properties",
        "tests/unit",
        measured=True,
        processes=2,
        beside=True,
        options=("-m", "hypothesis"),
    ),
    Tier("simulation", "tests/simulation", processes=2, beside=True),
    Tier("chart", "tests/chart", frozenset({Need.CLUSTER}), processes=2, beside=True),
    Tier(
        "image",
        "tests/image",
        frozenset({Need.CLUSTER}),
        processes=2,
        beside=True,
        options=_FILE_BY_FILE,
    ),
    # one after the other, the quickest first
    Tier(
        "unit",
        "tests/unit",
        measured=True,
        processes=2,
        options=(*_SHARES, "-m", "not hypothesis"),
    ),
    # three, since they wait more than they work: for processes that begin, for disks, for what is due
    Tier("ledger", "tests/ledger", frozenset({Need.POSTGRESQL}), measured=True, processes=3),
    Tier(
        "contract",
        "tests/contract",
        frozenset({Need.CLUSTER}),
        measured=True,
        processes=2,
        options=_FILE_BY_FILE,
    ),
    Tier("blackbox", "tests/blackbox", processes=2, repeats=True),
    # Each process begins elsewhere, so that tests that wait run beside others that work; who is done first takes of the others.
    Tier(
        "compiled",
        "tests/blackbox",
        frozenset({Need.COMPILED_RELAY}),
        processes=4,
        options=("--dist", "worksteal"),
        clocks=True,
    ),
    Tier(
        "e2e",
        "tests/e2e",
        frozenset({Need.CLUSTER}),
        processes=2,
        alone=True,
        options=_TWO_CLUSTERS,
        clocks=True,
    ),
    Tier("afterwards", _AFTERWARDS, frozenset({Need.CLUSTER})),
)


def full_runs(tiers: Sequence[Tier], *, measured: bool = False) -> list[Run]:
    """Returns a run per tier, in the order of TIERS; if measured, one after the other.

    Measuring takes two to three times a test's time: properties see a few examples then.
    """
    examples = f"--hypothesis-profile={'quick' if measured else 'thorough'}"
    return [
        Run(
            tier.name,
            (tier.directory, "-q", examples, *_SLOWEST, *_side_by_side(tier), *tier.options),
            tier.needs,
            measured=measured and tier.measured,
            beside=tier.beside and not measured,
            alone=tier.alone,
            again=("-q", examples) if tier.clocks else None,
        )
        for tier in TIERS
        if tier in tiers
    ]


ALL_TESTS: Final = tuple(tier for tier in TIERS if not tier.repeats)
"""What a run of all tests takes. Black-box tests try the relay once, compiled as the image has it; `make blackbox` the sources too."""


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


def main(argv: Sequence[str]) -> int:
    """Returns the exit code of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.tiers", allow_abbrev=False)
    parser.add_argument("--tier", action="append", choices=[tier.name for tier in TIERS])
    parser.add_argument("--only", default="", help="arguments of a single pytest run")
    parser.add_argument("--coverage", action="store_true", help="measure the tiers that can be")
    options = parser.parse_args(argv)
    if options.only:
        return run_all([chosen_run(shlex.split(options.only))])
    tiers = [tier for tier in TIERS if tier.measured] if options.coverage else ALL_TESTS
    names = options.tier or [tier.name for tier in tiers]
    with tempfile.TemporaryDirectory(prefix="relay-e2e-") as directory:
        os.environ[records.DIRECTORY] = directory
        return run_all(
            full_runs([tier for tier in TIERS if tier.name in names], measured=options.coverage)
        )


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        # the command has said why
        sys.exit(failed.returncode)
