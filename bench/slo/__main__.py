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
    failed = False
    least = 0.0
    for routes in ROUTES:
        cost = measured(routes)
        share = cost["core_percent"] / routes
        least = least or share
        sys.stdout.write(
            f"{routes:>5} routes of 3 pods: {cost['core_percent']:5.2f} % of a core "
            f"({share / least:4.2f} x as much a route as 10), "
            f"{cost['queries_per_second']:.2f} queries/s, {cost['series_per_second']:.0f} series/s, "
            f"{cost['mebibytes_per_100_routes']:.1f} MiB per 100 routes\n"
        )
        sys.stdout.flush()
        over = cost["core_percent"] > GOALS.get(routes, 100.0)
        heavy = routes >= 100 and cost["mebibytes_per_100_routes"] > MOST_MEBIBYTES
        failed |= over or heavy or cost["healthy"] < routes
        if cost["healthy"] < routes:
            sys.stdout.write(f"      only {cost['healthy']:.0f} canaries were measured\n")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
