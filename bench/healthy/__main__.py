"""`python -m bench.healthy`: healthy canaries on a real cluster, none of which may be rolled back.

Both sides fail 0.5 % of their calls, the limit is 1 %, the canary has 25 % of 80 calls a second, for three minutes. Five
tenants with a relay pod each run at the same time, four times: 20 runs. It makes a cluster of its own and deletes it.
HEALTHY_TENANTS, HEALTHY_ROUNDS and HEALTHY_RATE are for machines that carry less, or more; what was run is printed.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bench.healthy.own_cluster import own_cluster
from tests.demo import stage
from tests.demo.commands import wait_until
from tests.e2e.canaries import objects
from tests.e2e.canaries.world import World, created

TENANTS: Final = int(os.environ.get("HEALTHY_TENANTS", "5"))
ROUNDS: Final = int(os.environ.get("HEALTHY_ROUNDS", "4"))
RATE: Final = float(os.environ.get("HEALTHY_RATE", "80"))
SECONDS: Final = 180.0
PERCENT: Final = 25
ERRORS: Final = {"error_percent": 0.5, "error_status": 500}
LIMIT: Final = {"errorRate": {"maxPercent": 1}}
STARTED_SECONDS: Final = 120.0
MODEL: Final = "gpt-4.1"


@dataclass(frozen=True, slots=True)
class Run:
    """Holds how one canary fared. Calls are those that its providers counted while the run lasted."""

    name: str
    rolled_back: bool
    phase: str
    verdict: str
    canary_calls: int
    canary_failed: int
    stable_calls: int
    stable_failed: int
    calls_per_second: float
    evidence: str
    certified: bool

    def line(self) -> str:
        """Returns the run as a row of a table."""
        return (
            f"| {self.name} | {'ROLLED BACK' if self.rolled_back else 'kept'} | {self.phase}, {self.verdict} "
            f"| {self.canary_failed} of {self.canary_calls} ({_share(self.canary_failed, self.canary_calls)}) "
            f"| {self.stable_failed} of {self.stable_calls} ({_share(self.stable_failed, self.stable_calls)}) "
            f"| {self.calls_per_second:.1f} | {self.evidence} | {'yes' if self.certified else 'no'} |"
        )


HEAD: Final = (
    "| run | canary | phase, verdict | canary failed | stable failed | calls/s | evidence of a breach | certified |\n"
    "|---|---|---|---|---|---|---|---|"
)


def _share(failed: int, calls: int) -> str:
    return f"{100 * failed / max(calls, 1):.2f} %"


def _tenant(number: int) -> str:
    return f"bench-{number}"


def _sides(number: int) -> tuple[str, str]:
    return f"stable-{number}", f"canary-{number}"


def _route(number: int) -> dict[str, Any]:
    stable, canary = _sides(number)
    spec = {
        "match": {"models": [MODEL]},
        "stable": {"provider": stable},
        "canary": {"provider": canary, "percent": PERCENT},
        "analysis": LIMIT,
    }
    return objects.route("chat", f"relay-{_tenant(number)}", spec)


def _weight(world: World, number: int) -> int:
    status = world.timeline.route(f"relay-{_tenant(number)}", "chat").get("status", {})
    return int(status.get("weights", {}).get("canaryPercent", 0))


def a_round(world: World, index: int) -> list[Run]:
    """Runs one canary in each tenant; the routes are new, so nothing of the last round is left."""
    numbers = range(TENANTS)
    for number in numbers:
        for name in _sides(number):
            world.fleet.heal(name)
            world.fleet.behave(name, **ERRORS)
    world.apply(*(_route(number) for number in numbers))
    world.crowd.set_lanes(
        {_tenant(number): world.lane(_tenant(number), MODEL, rate=RATE) for number in numbers}
    )
    wait_until(
        "every canary to have its share",
        lambda: [_weight(world, number) for number in numbers],
        lambda seen: seen == [PERCENT] * TENANTS,
        seconds=STARTED_SECONDS,
        every=0.5,
    )
    began = time.monotonic()
    before = {number: _counts(world, number) for number in numbers}
    time.sleep(SECONDS)
    seconds = time.monotonic() - began
    runs = [_ended(world, number, index, before[number], seconds) for number in numbers]
    world.crowd.set_lanes({})
    spaces = [f"relay-{_tenant(number)}" for number in numbers]
    for space in spaces:
        world.cluster.kubectl("delete", "relayroute", "chat", "-n", space)
    return runs


def _counts(world: World, number: int) -> tuple[int, int, int, int]:
    """Returns calls and failures of stable, then of the canary, as their providers count them."""
    stable, canary = (world.fleet.stats(name) for name in _sides(number))
    return (
        stable["requests"],
        stable["by_status"].get("500", 0),
        canary["requests"],
        canary["by_status"].get("500", 0),
    )


def _ended(world: World, number: int, index: int, before: Sequence[int], seconds: float) -> Run:
    namespace = f"relay-{_tenant(number)}"
    after = _counts(world, number)
    stable_calls, stable_failed, canary_calls, canary_failed = (
        later - earlier for later, earlier in zip(after, before, strict=True)
    )
    status = world.timeline.route(namespace, "chat")["status"]
    # runs of earlier rounds are the same route to the timeline
    went_through = world.timeline.seen(namespace, "chat", since=time.monotonic() - seconds)
    analysis = status["analysis"]
    metrics = {row["name"]: row for row in analysis.get("metrics", [])}
    return Run(
        name=f"{index * TENANTS + number + 1}",
        rolled_back=any(one.phase == "RolledBack" for one in went_through)
        or status["phase"] == "RolledBack",
        phase=f"{status['phase']} {status['weights']['canaryPercent']} %",
        verdict=f"{analysis['verdict']}/{analysis['reason']}",
        canary_calls=canary_calls,
        canary_failed=canary_failed,
        stable_calls=stable_calls,
        stable_failed=stable_failed,
        calls_per_second=(stable_calls + canary_calls) / seconds,
        evidence=metrics.get("Errors", {}).get("evidence", "none"),
        certified=bool(analysis.get("certified")),
    )


def main() -> int:
    """Prints a row a run; returns 1 if a healthy canary was rolled back."""
    providers = [name for number in range(TENANTS) for name in _sides(number)]
    runs: list[Run] = []
    with own_cluster("relay-bench-healthy") as cluster, tempfile.TemporaryDirectory() as home:
        dns_cidrs = stage.dns_server_cidrs(cluster)
        stage.install(cluster, dns_cidrs=dns_cidrs)
        with created(
            cluster,
            Path(home),
            providers=providers,
            tenants={_tenant(number): 1 for number in range(TENANTS)},
            dns_cidrs=dns_cidrs,
        ) as world:
            _say(
                f"{TENANTS} tenants at a time, {RATE:g} calls/s each, {ROUNDS} rounds of {SECONDS:g} s, "
                f"canary {PERCENT} %, both sides fail {ERRORS['error_percent']} %, limit 1 %"
            )
            _say(HEAD)
            for index in range(ROUNDS):
                for run in a_round(world, index):
                    runs.append(run)
                    _say(run.line())
    bad = sum(run.rolled_back for run in runs)
    canary_calls = sum(run.canary_calls for run in runs)
    failed = sum(run.canary_failed for run in runs)
    _say(
        f"healthy: runs={len(runs)} rolled_back={bad} canary_calls={canary_calls} canary_failed={failed} "
        f"canary_failed_percent={100 * failed / max(canary_calls, 1):.3f} "
        f"least_calls_per_second={min(run.calls_per_second for run in runs):.1f}"
    )
    return int(bad > 0 or len(runs) < TENANTS * ROUNDS)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as failed_command:
        sys.exit(failed_command.returncode)
