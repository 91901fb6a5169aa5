"""`python -m bench.rollback`: from a breach that Prometheus shows to no canary traffic at any relay pod, on a real API server.

Tenants with 1, 3 and 6 relay pods, 50 canaries each, turn bad one after the other; then 100 of them at once, three times,
brought back in between by the retry annotation. The operator is the chart's. Prometheus is a program in its place
(bench/rollback/witness.py) that knows from which moment on it shows the sample that proves the breach, and asks every relay pod
for its document every few milliseconds. It makes a cluster of its own and deletes it.

ROLLBACK_PODS, ROLLBACK_RUNS, ROLLBACK_AT_ONCE and ROLLBACK_BURSTS shorten it; what was run is printed. It returns 1 if a canary
was not rolled back at every pod, or before its breach was visible; no figure is held to a limit.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench.healthy.own_cluster import own_cluster
from bench.rollback import figures, story
from bench.rollback.scene import PERIOD_SECONDS, Routes, Run, Scene, installed

PODS: Final = [int(one) for one in os.environ.get("ROLLBACK_PODS", "1,3,6").split(",")]
RUNS: Final = int(os.environ.get("ROLLBACK_RUNS", "50"))
AT_ONCE: Final = int(os.environ.get("ROLLBACK_AT_ONCE", "100"))
BURSTS: Final = int(os.environ.get("ROLLBACK_BURSTS", "3"))
SCRAPES_APART: Final = 2


def _names(count: int) -> list[str]:
    return [f"chat-{index:03}" for index in range(count)]


def burst_routes() -> Routes:
    """Returns the routes that turn bad at once, the same number of each tenant as far as that goes."""
    shares = [AT_ONCE // len(PODS) + (index < AT_ONCE % len(PODS)) for index in range(len(PODS))]
    return {pods: _names(share) for pods, share in zip(PODS, shares, strict=True) if share}


def one_after_the_other(scene: Scene, pods: int) -> list[Run]:
    """Measures single rollbacks in a tenant with so many pods."""
    routes = {pods: _names(RUNS)}
    scene.bring_up(routes)
    return scene.turn_bad(routes, scrapes_apart=SCRAPES_APART)


def all_at_once(scene: Scene) -> list[Run]:
    """Measures one burst."""
    routes = burst_routes()
    scene.bring_up(routes)
    return scene.turn_bad(routes, scrapes_apart=0)


def main() -> int:
    """Prints a row a case; returns 1 if a run was no rollback."""
    singles: dict[int, list[Run]] = {}
    bursts: list[list[Run]] = []
    _, before, evidence = story.proving_step(PERIOD_SECONDS)
    with own_cluster("relay-bench-rollback") as cluster, installed(cluster, PODS) as scene:
        _say(
            f"scrapes every {PERIOD_SECONDS:g} s; a breach is visible with the sample that brings the evidence "
            f"from {before} needed to {evidence}"
        )
        _say(figures.head())
        for pods in PODS:
            singles[pods] = one_after_the_other(scene, pods)
            _tell(f"{pods}", singles[pods])
        for index in range(BURSTS if AT_ONCE else 0):
            bursts.append(all_at_once(scene))
            _tell(f"{AT_ONCE} routes at once, {index + 1}", bursts[-1])
    return _conclude(singles, bursts)


def _conclude(singles: dict[int, list[Run]], bursts: Sequence[Sequence[Run]]) -> int:
    alone = [run for pods in PODS for run in singles[pods]]
    together = [run for burst in bursts for run in burst]
    bad = [run for run in [*alone, *together] if run.problem]
    named = {"": alone} | {f"_{pods}_pods": singles[pods] for pods in PODS}
    if together:
        _tell(f"{AT_ONCE} routes at once, all", together)
        named[f"_{AT_ONCE}_at_once"] = together
    parts = [
        figures.milliseconds(name, good) for name, runs in named.items() if (good := _good(runs))
    ]
    _say(f"rollback: {' '.join(parts)} runs={len(alone) + len(together)} failed={len(bad)}")
    wanted = RUNS * len(PODS) + AT_ONCE * len(bursts)
    return int(bool(bad) or len(alone) + len(together) < wanted)


def _good(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if not run.problem]


def _tell(name: str, runs: Sequence[Run]) -> None:
    good = _good(runs)
    if good:
        _say(figures.row(name, good))
    for run in runs:
        if run.problem:
            _say(f"{run.route} of the tenant with {run.pods} relay pods: {run.problem}")


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failed_command:
        sys.exit(failed_command.returncode)
