"""`python -m bench.leadership`: from the end of the leading operator to the next one that acts, on a real API server.

The leader's process is killed, or its pod ended in order, so many times. At that moment the spec of a Tenant changes, and a moment
later three canaries break their limit, so that the breach falls into the gap. A run has three figures: until the Lease has
another holder, until the change is in force in the Tenant's relay pod, which only a leader that acts can bring about, and from the
moment at which the breach is visible until no relay pod has weight for the canaries. The canaries have no calls that a
breaker could see fail (bench/rollback/witness.py stands in for Prometheus): what is measured is the operators' part alone.

It makes a cluster of its own and deletes it. LEADERSHIP_KILLS and LEADERSHIP_ENDS shorten it; what was run is printed. It
returns 1 if nobody took over or a breach was not rolled back; no figure is held to a limit.
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Final

from bench.healthy.own_cluster import own_cluster
from bench.leadership.takeovers import PODS, Run, Takeovers, Way
from bench.rollback.figures import quantile
from bench.rollback.scene import installed
from bench.tenants.api_client import connected
from tests.demo.commands import Cluster, DemoFailed

TIMES: Final = {
    Way.KILLED: int(os.environ.get("LEADERSHIP_KILLS", "20")),
    Way.ENDED: int(os.environ.get("LEADERSHIP_ENDS", "20")),
}
_HEAD: Final = (
    "| the leader is | runs | s to another holder of the Lease, p50 / p99 | s to the change in force, p50 / p99 | all "
    "| s from a breach in the gap to 0 %, p50 / p99 |\n|---|---|---|---|---|---|"
)


def _both(values: Sequence[float]) -> str:
    return f"{quantile(values, 0.5):.1f} / {quantile(values, 0.99):.1f}"


def row(way: Way, runs: Sequence[Run]) -> str:
    """Returns a row of the table; the p99 of so few runs is the slowest."""
    acted = [one.acted for one in runs]
    figures = (
        _both([one.led for one in runs]),
        _both(acted),
        f"{min(acted):.1f} to {max(acted):.1f}",
        _both([one.rolled_back for one in runs]),
    )
    return f"| {way} | {len(runs)} | {' | '.join(figures)} |"


def summary(taken: dict[Way, list[Run]]) -> str:
    """Returns the machine-readable line."""
    parts = []
    for way, runs in taken.items():
        for name, values in (
            ("led", [one.led for one in runs]),
            ("acted", [one.acted for one in runs]),
            ("breach", [one.rolled_back for one in runs]),
        ):
            for share in (50, 99) if runs else ():
                value = 1000 * quantile(values, share / 100)
                parts.append(f"p{share}_ms_{name}_{way}={value:.0f}")
    return f"leadership: {' '.join(parts)} runs={sum(map(len, taken.values()))}"


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


async def _measure(takeovers: Takeovers) -> dict[Way, list[Run]]:
    taken: dict[Way, list[Run]] = {}
    for way, times in TIMES.items():
        taken[way] = []
        for _ in range(times):
            run = await takeovers.measure(way)
            taken[way].append(run)
            sys.stderr.write(
                f"{way}: led {run.led:.2f}, acted {run.acted:.2f}, breach {run.rolled_back:.2f}\n"
            )
    return taken


async def _on(cluster: Cluster) -> dict[Way, list[Run]]:
    with installed(cluster, PODS) as scene:
        async with connected(cluster.kubeconfig.read_text()) as api:
            takeovers = Takeovers(cluster, scene, api)
            await takeovers.prepare()
            return await _measure(takeovers)


def main() -> int:
    """Prints a row for each way to end; returns 1 if a run was no takeover."""
    with own_cluster("relay-bench-leadership") as cluster:
        try:
            taken = asyncio.run(_on(cluster))
        except DemoFailed as error:
            _say(f"no takeover: {error}")
            return 1
    _say(_HEAD)
    for way, runs in taken.items():
        if runs:
            _say(row(way, runs))
    _say(summary(taken))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failed_command:
        sys.exit(failed_command.returncode)
