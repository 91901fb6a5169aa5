"""`python -m bench.slo`: what it costs the operator to watch 10, 100 and 1,000 canaries of three pods each.

The loop, the adapter and the evidence are the operator's own; Prometheus is a program beside them that answers range queries
over HTTP about counters that rise (bench/slo/prometheus.py), and whose cost is not counted. One run of each size, in a
process of its own; the cost of 100 and of 1,000 is also given as a ratio to that of 10, by the route.
"""

import json
import subprocess
import sys
from typing import Final

from tests.blackbox.process import python_environment

ROUTES: Final = (10, 100, 1000)
GOALS: Final = {100: 5.0, 1000: 30.0}
"""Most percent of a core."""
MOST_MEBIBYTES: Final = 20.0


def measured(routes: int) -> dict[str, float]:
    """Measures one size."""
    environment = python_environment()
    server = subprocess.Popen(
        [sys.executable, "-m", "bench.slo.prometheus", str(routes)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}"
        done = subprocess.run(
            [sys.executable, "-m", "bench.slo.watching", str(routes), url],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
    finally:
        server.kill()
        server.wait()
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> int:
    """Prints a line a size; returns 1 if a goal was missed or a canary was not measured."""
    costs = []
    for routes in ROUTES:
        costs.append(measured(routes))
        _say(_line(costs[-1], costs[0]))
    _say(
        "slo: "
        + " ".join(f"core_percent_{one['routes']:.0f}={one['core_percent']:.1f}" for one in costs)
        + f" mib_per_100_routes={_mebibytes(costs[-1], costs[0]):.1f}"
    )
    return int(any(_misses(one, costs[0]) for one in costs))


def _line(cost: dict[str, float], least: dict[str, float]) -> str:
    times = cost["core_percent"] / cost["routes"] / (least["core_percent"] / least["routes"])
    return (
        f"{cost['routes']:>5.0f} routes of 3 pods: {cost['core_percent']:5.2f} % of a core "
        f"({times:.2f} x as much a route as {least['routes']:.0f}), "
        f"{cost['queries_per_second']:.2f} queries/s, {cost['series_per_second']:.0f} series/s, "
        f"{cost['mebibytes']:.1f} MiB, {cost['healthy']:.0f} canaries measured"
    )


def _mebibytes(cost: dict[str, float], least: dict[str, float]) -> float:
    """Returns the memory of 100 routes more, without what any number of them takes."""
    more = max(cost["routes"] - least["routes"], 1)
    return 100 * (cost["mebibytes"] - least["mebibytes"]) / more


def _misses(cost: dict[str, float], least: dict[str, float]) -> bool:
    return (
        cost["core_percent"] > GOALS.get(int(cost["routes"]), 100.0)
        or _mebibytes(cost, least) > MOST_MEBIBYTES
        or cost["healthy"] < cost["routes"]
    )


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
