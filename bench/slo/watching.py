"""`python -m bench.slo.watching ROUTES URL`: the operator's SLO loop over so many canaries, and what it costs.

It prints one JSON object: seconds measured, CPU seconds of this process, queries, ticks, late ticks and memory.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import uvloop
from bench.slo.prometheus import CANARY, PODS, SCRAPE_SECONDS, STABLE, namespace, pod
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Fetched, Prometheus
from relay_operator.cluster.relays import Pod
from relay_operator.decisions.analysis.evidence import Evidence, Question
from relay_operator.decisions.analysis.verdict import LatencyObjective, Objective
from relay_operator.decisions.canary.run import Run
from relay_operator.decisions.canary.state import Phase, Plan, State
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.main import spare_collections
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.canaries.slo_loop import SloLoop
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue

TICK_SECONDS: Final = 0.5
WARM_UP_SECONDS: Final = 6.0
MEASURED_SECONDS: Final = 20.0
OBJECTIVE: Final = Objective(
    window_seconds=60,
    min_requests=50,
    max_error_percent=1,
    latency=(LatencyObjective(signal="FirstToken", quantile=0.99, max_milliseconds=1500),),
)


def a_run() -> Run:
    """Returns a canary on the way, measured by errors and one latency."""
    plan = Plan(fingerprint=CANARY, percent=50, step_percent=10, every_seconds=1e9, guarded=True)
    state = State(
        phase=Phase.PROGRESSING,
        weight_percent=10,
        fingerprint=CANARY,
        step_index=1,
        step_started_at=time.time(),
    )
    return Run(plan=plan, objective=OBJECTIVE, stable_fingerprint=STABLE, state=state)


def resident_bytes() -> int:
    """Returns the memory of this process."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096


class Counting:
    """Counts the queries of an adapter."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.queries = self.series = 0
        self._fetch: Callable[[Question], Awaitable[Fetched]] = prometheus.fetch

    async def fetch(self, question: Question) -> Fetched:
        """Passes a question on."""
        self.queries += 1
        fetched = await self._fetch(question)
        self.series += len(fetched.series)
        return fetched


def loop_over(routes: int, counting: Counting) -> SloLoop:
    """Wires the loop as the operator does."""
    watched_state, queue = WatchedState(), WorkQueue()
    canaries = CanaryRuns(evidence=Evidence(scrape_seconds=SCRAPE_SECONDS))
    for route in range(routes):
        canaries.runs[namespace(route), "chat"] = a_run()
        for number in range(PODS):
            watched_state.pods.keep(
                Pod(
                    namespace=namespace(route),
                    name=pod(route, number),
                    uid=f"uid-{route}-{number}",
                    ip="10.0.0.1",
                    incarnation=0,
                    ready=True,
                    terminating=False,
                )
            )
    nothing: Any = None
    publisher = DocumentPublisher(
        relays=nothing,
        children=nothing,
        watched_state=watched_state,
        signing_key=Ed25519PrivateKey.generate(),
    )
    moves = CanaryMoves(canaries=canaries, publisher=publisher, queue=queue, clock=time.time)
    prometheus: Any = counting
    return SloLoop(
        canaries=canaries,
        prometheus=prometheus,
        moves=moves,
        watched_state=watched_state,
        tick_seconds=TICK_SECONDS,
        clock=time.time,
    )


async def watch(routes: int, url: str) -> dict[str, float]:
    """Runs the loop; returns what it cost after it has warmed up."""
    prometheus = Prometheus(Access(url=url))
    counting = Counting(prometheus)
    before = resident_bytes()
    loop = loop_over(routes, counting)
    running = asyncio.create_task(loop.run())
    await asyncio.sleep(WARM_UP_SECONDS)
    started, cpu, queries, series = (
        time.monotonic(),
        time.process_time(),
        counting.queries,
        counting.series,
    )
    await asyncio.sleep(MEASURED_SECONDS)
    seconds = time.monotonic() - started
    cost = {
        "routes": routes,
        "core_percent": 100 * (time.process_time() - cpu) / seconds,
        "queries_per_second": (counting.queries - queries) / seconds,
        "series_per_second": (counting.series - series) / seconds,
        "mebibytes": (resident_bytes() - before) / 2**20,
    }
    healthy = sum(run.verdict.outcome == "Healthy" for run in loop._canaries.runs.values())
    cost["healthy"] = healthy
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    prometheus.close()
    return cost


if __name__ == "__main__":
    spare_collections()
    sys.stdout.write(json.dumps(uvloop.run(watch(int(sys.argv[1]), sys.argv[2]))) + "\n")
