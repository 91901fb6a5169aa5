"""Runs every case with many seeds, beside judges of other kinds, and writes docs/results/judge.md.

    python -m tests.simulation.relay_operator.judgement.table --runs 1000 --processes 2

The seeds were not looked at while constants were chosen; use others (--first-seed) to check.
"""

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

from tests.simulation.relay_operator.judgement import cases, judges
from tests.simulation.relay_operator.judgement.judges import Rollback
from tests.simulation.relay_operator.judgement.streams import Case, stream

from relay_operator.decisions.judgement.metric_test import ABSOLUTE_NATS, EXCESS_NATS

FRESH_SEED: Final = 1_000_000
PAGE: Final = Path("docs/results/judge.md")
Runs = list[Rollback | None]
"""One judge's rollbacks, seed by seed."""

INFORMED: Final = "knows the fault and its beginning"
JUDGES: Final[dict[str, Callable[..., Rollback | None]]] = {
    "limit 1 %": partial(judges.ours, increase_points=None),
    "limit 1 % and stable + 0.1 points": partial(judges.ours, increase_points=0.1),
    INFORMED: judges.informed,
    "Flagger kind, threshold 5": partial(judges.flagger_kind, threshold=5),
    "Argo kind, failureLimit 3": partial(judges.argo_kind, failure_limit=3),
}
GROUPS: Final = {
    "Healthy: independent failures within the limit": cases.INDEPENDENT,
    "Exactly at the limit": cases.AT_THE_LIMIT,
    "Healthy: failures in bursts": cases.CLUSTERED,
    "Healthy: incidents that stable shares": cases.SHARED,
    "Bad": cases.FOUND,
}
_BAD: Final = "Bad"
_STRICTER: Final = [name for name in list(JUDGES)[1:] if name != INFORMED]
"""What the limit alone rolls back, the judge with both tests does as well, so healthy cases run only that; no fault is known."""


@dataclass(frozen=True, slots=True)
class Result:
    """What each judge did in each run of a case."""

    case: Case
    runs: dict[str, Runs]


def one_seed(case: Case, seed: int) -> list[Rollback | None]:
    """Returns what each judge does with the same calls."""
    ticks = list(stream(case, seed))
    return [JUDGES[name](case, ticks) for name in judges_of(case)]


def judges_of(case: Case) -> list[str]:
    """Returns the names of the judges that a case is given to."""
    return list(JUDGES) if case in cases.FOUND else _STRICTER


def simulate(case: Case, seeds: Iterable[int], pool: ProcessPoolExecutor) -> Result:
    """Runs a case with every seed."""
    found = list(pool.map(partial(one_seed, case), seeds, chunksize=10))
    return Result(
        case, {name: [row[index] for row in found] for index, name in enumerate(judges_of(case))}
    )


def upper_bound(count: int, runs: int) -> float:
    """Returns the exact one-sided 95 % upper bound of a probability (Clopper and Pearson 1934), in percent."""
    low, high = count / runs, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        terms = (
            math.comb(runs, k) * middle**k * (1 - middle) ** (runs - k) for k in range(count + 1)
        )
        low, high = (middle, high) if sum(terms) > 0.05 else (low, middle)
    return 100 * high


def wald_calls(failing: float, rollback: Rollback) -> float:
    """Returns the calls that the best test with the same false alarms needs on average: ln(1/alpha) / KL(p, p0).

    p0 is the hypothesis that fired: the limit, or stable's bound at that moment.
    """
    bound = rollback.bound
    nats = ABSOLUTE_NATS if rollback.absolute else EXCESS_NATS
    divergence = failing * math.log(failing / bound)
    if failing < 1:
        divergence += (1 - failing) * math.log((1 - failing) / (1 - bound))
    return nats / divergence


def false_cell(runs: Runs) -> str:
    """Writes how often a healthy canary was rolled back."""
    count = sum(one is not None for one in runs)
    return f"{count} (< {upper_bound(count, len(runs)):.1f} %)"


def found_cell(case: Case, runs: Runs, *, tells_calls: bool) -> str:
    """Writes the share found, and how soon; false rollbacks before the onset apart."""
    after = [one for one in runs if one is not None and one.at >= case.onset]
    before = sum(one is not None and one.at < case.onset for one in runs)
    if not after:
        return f"0 %; {before} before" if before else "0 %"
    times = sorted(one.at - case.onset for one in after)
    late = times[min(len(times) - 1, int(0.95 * len(times)))]
    text = f"{100 * len(after) / len(runs):.0f} %, {median(times):.1f} s / {late:.0f} s"
    if before:
        text += f"; {before} before"
    if tells_calls:
        failing = case.canary.levels[0][2]
        ratio = median(one.calls / wald_calls(failing, one) for one in after)
        text += f"; {median(one.calls for one in after):.0f} calls, {ratio:.2f}"
    return text


def page(results: dict[str, list[Result]], *, command: str, runs: int) -> str:
    """Returns the page."""
    parts = [_INTRODUCTION.format(command=command, runs=runs)]
    for group, rows in results.items():
        parts.append(
            f"\n## {group}\n\n| case | {' | '.join(rows[0].runs)} |\n|---{'|---' * len(rows[0].runs)}|"
        )
        for row in rows:
            cells = [
                found_cell(
                    row.case, found, tells_calls=name.startswith("limit") or name == INFORMED
                )
                if group == _BAD
                else false_cell(found)
                for name, found in row.runs.items()
            ]
            parts.append(f"| {row.case.name} | {' | '.join(cells)} |")
    return "\n".join(parts) + "\n"


_INTRODUCTION = """# The judge, simulated

Made by `{command}`: {runs} runs of each case, every judge on the same calls, seeds that were not looked at while the
constants were chosen. Streams: three pods, Poisson calls, scrapes every 2 s with jitter and some missing, as
`tests/simulation/relay_operator/judgement/streams.py` says; our judge is the product's own `MetricTest`. The judges of other
kinds compare a period's share of failures with the limit every 10 s, as Flagger and Argo Rollouts do; none of their code was run.

Healthy cases: the number of runs that were rolled back, all of them falsely, with a 95 % upper bound. Bad cases: the share of
runs rolled back, the median and the 95th percentile of the seconds since the fault began, runs rolled back before it began, and
for our judge the median of calls and of their ratio to Wald's bound ln(1/alpha) / KL(p, p0) against the hypothesis that fired. The
same is told of one who knows which share fails and when that begins, sees the same scrapes, and tests the limit with as many false
alarms: nobody is sooner by these scrapes."""


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    parser.add_argument("--first-seed", type=int, default=FRESH_SEED)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args(argv)
    seeds = range(options.first_seed, options.first_seed + options.runs)
    command = "python -m tests.simulation.relay_operator.judgement.table " + " ".join(argv)
    results: dict[str, list[Result]] = {}
    with ProcessPoolExecutor(options.processes) as pool:
        for group, members in GROUPS.items():
            for case in members:
                if options.only not in case.name:
                    continue
                began = time.monotonic()
                results.setdefault(group, []).append(simulate(case, seeds, pool))
                sys.stdout.write(f"{time.monotonic() - began:6.1f} s  {case.name}\n")
                sys.stdout.flush()
                options.page.parent.mkdir(parents=True, exist_ok=True)
                options.page.write_text(page(results, command=command.strip(), runs=options.runs))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
