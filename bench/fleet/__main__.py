"""`python -m bench.fleet`: what an operator and its standby cost beside a large fleet at rest, and how fast canaries that turn bad lose
their weight while a new leader looks at all of it. No cluster: the operators are processes over an API server in memory.

One tenant is brought up by an operator, the others are copies of it. FLEET_SIZE is how many there are in all, FLEET_REST_SECONDS how
long rest is measured, FLEET_ROUNDS how often canaries turn bad, FLEET_PROFILE a file for samples of the stacks of both at rest. Processor time is exact on a machine with other work; times are
not, so that the load is told beside them. It runs in a network namespace of its own, which takes all addresses of pods for its own.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from bench.fleet import processes
from bench.fleet.processes import Operator, control, items, tell, until
from bench.rollback import story
from bench.rollback.figures import quantile
from bench.tenants import objects
from tests.unit.relay_operator.relay_counters import series_of_a_route

from relay_operator.api.relay_route import Side, fingerprint

SIZE: Final = int(os.environ.get("FLEET_SIZE", "5000"))
REST_SECONDS: Final = float(os.environ.get("FLEET_REST_SECONDS", "120"))
ROUNDS: Final = int(os.environ.get("FLEET_ROUNDS", "3"))
CANARIES: Final = min(100, SIZE // max(1, ROUNDS))
"""Of a round: each has tenants of its own."""
PERIOD_SECONDS: Final = 1.11
"""Of scrapes: no multiple of a tick, so that rounds differ in where a sample falls between ticks."""
SCRAPE_SECONDS: Final = 30.0
_PAGES: Final = 20
_SETTLE_SECONDS: Final = 20.0
_INSIDE: Final = "FLEET_INSIDE"
_NETWORK: Final = (
    "ip link set lo up; ip addr add 10.255.0.1/32 dev lo; ip route add local 10.0.0.0/8 dev lo"
)
_RECONCILES: Final = "relay_operator_reconcile_duration_seconds_count"
_PROVIDERS: Final = "apis/relay-operator.dev/v1alpha1/providers"


def main() -> int:
    """Prints a line a figure; returns 1 if a canary kept its weight, 2 for a size that is too small for the rounds."""
    if not 1 <= ROUNDS <= SIZE:
        _say("FLEET_ROUNDS has to be 1 at least, and FLEET_SIZE as large at least")
        return 2
    if _INSIDE not in os.environ:
        again = f'{_NETWORK}; exec "$0" -m bench.fleet'
        command = ["unshare", "--user", "--map-root-user", "--net", "bash", "-ec", again]
        environment = {**os.environ, _INSIDE: "1"}
        return subprocess.run([*command, sys.executable], env=environment, check=False).returncode
    with tempfile.TemporaryDirectory() as home, processes.surroundings(Path(home)):
        return _measured(Path(home))


def _measured(home: Path) -> int:
    _grow(home)
    leader = _leading(home)
    _say(f"{SIZE} tenants, relays without documents: {_told(leader)}")
    standby = Operator("standby", 8095, home)
    _rest(leader, standby)
    if "FLEET_PROFILE" in os.environ:
        _profile(leader, standby)
    standby.kill()
    seconds: list[float] = []
    for number in range(ROUNDS):
        leader, found = _turned_bad(leader, number, home)
        seconds += found
        _say(f"  round {number}: {_milliseconds(found)}")
    _say(f"{CANARIES} turn bad in a resync, ms to 0 %: {_milliseconds(seconds)}")
    leader.kill()
    return int(len(seconds) < CANARIES * ROUNDS)


def _grow(home: Path) -> None:
    """Lets an operator bring up one tenant, and makes the others while none runs."""
    operator = Operator("first", 8090, home)
    control("tenant")
    until(
        "a ready tenant",
        lambda: all(control("state")["ready"].get(one) for one in ("Tenant", "RelayRoute")),
    )
    operator.kill()
    control(f"copy?to={SIZE}")


def _leading(home: Path) -> Operator:
    """Starts a leader, and waits until it has looked at everything."""
    leader = Operator("leader", 8090, home)
    until("a look at everything", lambda: leader.metric(_RECONCILES) >= 2 * SIZE)
    last = -1.0

    def is_quiet() -> bool:
        nonlocal last
        before, last = last, leader.metric(_RECONCILES)
        time.sleep(_SETTLE_SECONDS)
        return last - before < _SETTLE_SECONDS * 5

    until("quiet", is_quiet)
    return leader


def _rest(leader: Operator, standby: Operator) -> None:
    until("a standby that has listed", lambda: _is_idle(standby))
    _pages(leader)
    # as pages of metrics are read in a cluster
    former, began, scraped = (leader.taken(), standby.taken()), time.monotonic(), 0.0
    while time.monotonic() - began < REST_SECONDS:
        if time.monotonic() - scraped >= SCRAPE_SECONDS:
            scraped = time.monotonic()
            leader.scrape()
            standby.scrape()
        time.sleep(1)
    passed = time.monotonic() - began
    for name, one, then in zip(("leader", "standby"), (leader, standby), former, strict=True):
        percent = 100 * (one.taken().cpu_seconds - then.cpu_seconds) / passed
        _say(
            f"{name} at rest: {percent:.2f} % of a core, {one.taken().resident_bytes / 2**20:.0f} MiB"
        )


def _pages(leader: Operator) -> None:
    # the first after a start writes every line
    leader.scrape()
    before = leader.taken().cpu_seconds
    for _ in range(_PAGES):
        leader.scrape()
    each = 1000 * (leader.taken().cpu_seconds - before) / _PAGES
    _say(f"a page of metrics and a list of relays: {each:.0f} ms of CPU")


def _profile(*operators: Operator) -> None:
    for one in operators:
        one.begin_or_end_profile()
    time.sleep(REST_SECONDS)
    for one in operators:
        one.begin_or_end_profile()
    time.sleep(_SETTLE_SECONDS)


def _is_idle(operator: Operator) -> bool:
    before = operator.taken().cpu_seconds
    time.sleep(5)
    return before > 1 and operator.taken().cpu_seconds - before < 0.25


def _turned_bad(leader: Operator, number: int, home: Path) -> tuple[Operator, list[float]]:
    """Begins canaries, has another leader begin to look at everything, and lets all canaries turn bad in that time."""
    chosen = range(SIZE - CANARIES * (number + 1), SIZE - CANARIES * number)
    spaces = [objects.namespace(one) for one in chosen]
    route = {"kind": "RelayRoute", "name": objects.ROUTE, "namespaces": spaces}
    control("merge", {**route, "patch": objects.with_canary()})
    until("canaries with calls", lambda: control("state")["weighted"] == CANARIES)
    tell("/setup", _setup(spaces))
    proof, *_ = story.proving_step(PERIOD_SECONDS)
    leader.kill()
    leader = Operator("leader", 8090, home)
    until("a first reconcile", lambda: leader.metric(_RECONCILES) >= 1)
    routes = [(space, objects.ROUTE) for space in spaces]
    tell("/begin", {"routes": routes, "scrapesAhead": 2, "proof": proof})
    until("canaries without calls", lambda: not tell("/seen")["open"])
    _say(f"  {leader.metric(_RECONCILES):.0f} reconciles by then, load {os.getloadavg()[0]:.1f}")
    seconds: list[float] = tell("/seen")["seconds"]
    control("merge", {**route, "patch": objects.without_canary()})
    until("no canary", lambda: control("state")["weighted"] == 0)
    return leader, seconds


def _setup(spaces: list[str]) -> dict[str, object]:
    pods = {one["metadata"]["namespace"]: one["metadata"]["name"] for one in items("api/v1/pods")}
    uids = {one["metadata"]["name"]: one["metadata"]["uid"] for one in items(_PROVIDERS)}
    prints = [
        fingerprint(Side(provider=name), provider_uid=uids[name])
        for name in (objects.STABLE, objects.CANARY)
    ]
    return {
        "period": PERIOD_SECONDS,
        "story": list(story.STORY.steps),
        "templates": series_of_a_route(),
        "targets": [
            # all are visible at the same moment, for the worst case
            {
                "namespace": space,
                "pod": pods[space],
                "phase": 0.0,
                "routes": [(objects.ROUTE, *prints)],
            }
            for space in spaces
        ],
    }


def _told(operator: Operator) -> str:
    taken = operator.taken()
    return f"{taken.cpu_seconds:.0f} s of CPU, {taken.resident_bytes / 2**20:.0f} MiB"


def _milliseconds(seconds: list[float]) -> str:
    if not seconds:
        return "none"
    p50, p99 = (1000 * quantile(seconds, share) for share in (0.5, 0.99))
    return f"p50 {p50:.0f} p99 {p99:.0f} of {len(seconds)}"


def _say(text: str) -> None:
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
