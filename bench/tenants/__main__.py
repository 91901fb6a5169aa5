"""`python -m bench.tenants`: what a fleet of tenants with a route each costs the operator, on a real API server.

Nodes and pods are fake (KWOK) and one process stands in for all relay pods and for Prometheus; the operator, two replicas, is
the chart's. It makes a cluster of its own and deletes it. The fleet grows from size to size; each is measured when it has settled.

TENANTS_SIZES are the sizes, with a comma between; TENANTS_SETTLE_SECONDS says when growing to one ends, and what is there then is
measured, TENANTS_REST_SECONDS how long rest is measured. TENANTS_FILL_FROM is the size up to which the operator brings up the fleet, 0 for
all sizes: growing to thousands takes hours. To sizes beyond, copies of a settled Tenant with all its objects fill it while no operator runs
(bench.tenants.filling), and operators that start then are measured. TENANTS_CLUSTER names a running cluster that is used instead and kept,
with the kubeconfig of KUBECONFIG. It returns 1 if something was not measured; no figure is held to a limit.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bench.healthy.own_cluster import own_cluster
from bench.tenants import table
from bench.tenants.api_client import connected
from bench.tenants.fleet import Fleet
from bench.tenants.measures import Figures, Measures
from bench.tenants.place import Place, prepared
from tests.cluster.session import provider
from tests.demo.commands import Cluster

SIZES: Final = sorted({int(one) for one in os.environ.get("TENANTS_SIZES", "100,1000").split(",")})
CLUSTER: Final = os.environ.get("TENANTS_CLUSTER", "")


@contextlib.contextmanager
def _cluster() -> Iterator[Cluster]:
    if not CLUSTER:
        with own_cluster("relay-bench-tenants") as own:
            yield own
        return
    found = provider.find()
    yield Cluster(CLUSTER, Path(os.environ["KUBECONFIG"]), found.kubectl, found.helm)


async def measured(place: Place, kubeconfig: str) -> list[Figures]:
    """Measures every size; prints the rows as they come."""
    found: list[Figures] = []
    async with connected(kubeconfig) as api:
        fleet = Fleet(api)
        async with fleet.watching():
            measures = Measures(place, api, fleet, _say)
            for size in SIZES:
                _say(f"{size} tenants")
                found.append(await measures.of(size))
                _say(table.summary(found[-1]))
                _say(table.of(found))
                if found[-1].tenants < size:
                    break
    return found


def main() -> int:
    """Prints a line for each size, and a table."""
    with _cluster() as cluster, prepared(cluster, most_tenants=SIZES[-1]) as place:
        found = asyncio.run(measured(place, cluster.kubeconfig.read_text()))
    _say(table.of(found))
    return int(found[-1].tenants < SIZES[-1] or any(one.missing for one in found))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
