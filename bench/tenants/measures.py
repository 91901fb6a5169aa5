"""Measures a fleet of one size, step by step."""

import asyncio
import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp
from bench.rollback import story
from bench.rollback.figures import quantile
from bench.tenants import costs, objects
from bench.tenants.api_client import ApiClient
from bench.tenants.filling import Filling
from bench.tenants.fleet import Fleet, routes_of, until
from bench.tenants.place import API_SERVER, Place, metrics_path
from tests.unit.relay_operator.relay_counters import series_of_a_route

from relay_operator.api.relay_route import Side, fingerprint
from relay_operator.decisions.canary.run import EVIDENCE_SECONDS
from relay_operator.reconcile.fleet import resync

SETTLE_SECONDS: Final = float(os.environ.get("TENANTS_SETTLE_SECONDS", "3000"))
"""Growing ends after that, and what there is then is measured."""
FILL_FROM: Final = int(os.environ.get("TENANTS_FILL_FROM", "0"))
"""Tenants that the operator brings up itself; all beyond are copies. 0 is for no copies."""
READY_SECONDS: Final = 600.0
REST_SECONDS: Final = float(os.environ.get("TENANTS_REST_SECONDS", "60"))
CHANGES: Final = 100
CANARIES: Final = 100
PERIOD_SECONDS: Final = 1.11
HEALTHY_SCRAPES: Final = 600
_COUNTED: Final = "relay_operator_reconcile_duration_seconds_count"
_RECONCILES: Final = re.compile(rf"^{_COUNTED}\{{.*\}} (\S+)", re.MULTILINE)
_LOOK_SECONDS: Final = 0.1
_QUIET_SECONDS: Final = 5.0
_QUIET_LOOKS: Final = 3
RESYNC_SECONDS: Final = 600.0
"""The chart's operator.resyncSeconds."""
_RESYNCS: Final = 2.0
"""Times its rate that counts as quiet."""
REPLICAS: Final = 2
"""The chart's operator.replicas."""
_SCALING: Final = frozenset({"PATCH deployments/scale", "PUT deployments/scale", "POST pods"})
"""Writes for more operators, which write none of these kinds."""


def milliseconds(seconds: Sequence[float]) -> str:
    """Tells p50 and p99 of times, and of how many."""
    if not seconds:
        return "none"
    p50, p99 = (1000 * quantile(seconds, share) for share in (0.5, 0.99))
    return f"{p50:.0f} / {p99:.0f} of {len(seconds)}"


@dataclass(slots=True)
class Figures:
    """Figures of one size. Seconds, bytes, and percent of one core.

    grown are the Tenants that the operator has brought up; the others were filled in. What was settled are those that it brought up since
    the size before; what was adopted is all, by an operator that starts after the filling.
    """

    tenants: int
    grown: int = 0
    settle_seconds: float = 0.0
    settle_cpu_seconds: float = 0.0
    fill_seconds: float = 0.0
    adopt_seconds: float = 0.0
    adopt_cpu_seconds: float = 0.0
    adopt_writes: Mapping[str, int] = field(default_factory=dict)
    rest_core_percent: float = 0.0
    standby_core_percent: float = 0.0
    resident_bytes: int = 0
    standby_resident_bytes: int = 0
    api_server_core_percent: float = 0.0
    api_server_bytes: int = 0
    stored_bytes: int = 0
    changes_idle: list[float] = field(default_factory=list)
    changes_busy: list[float] = field(default_factory=list)
    canary_core_percent: float = 0.0
    restart_writes: Mapping[str, int] = field(default_factory=dict)
    restart_seconds: float = 0.0
    bad_seconds: list[float] = field(default_factory=list)
    load: float = 0.0
    missing: list[str] = field(default_factory=list)
    """What took too long to be measured."""


class Measures:
    """Measures the fleet of a place."""

    def __init__(
        self, place: Place, api: ApiClient, fleet: Fleet, say: Callable[[str], None]
    ) -> None:
        self._place, self._api, self._fleet, self._say = place, api, fleet, say
        self._filling = Filling(place, api, fleet, say)
        self._tenants = self._grown = self._measured = 0

    async def of(self, tenants: int) -> Figures:
        """Lets the fleet grow to a size, or as far as the time allows, fills it where copies are asked for, and measures it there.

        What takes too long is told, and leaves its figures out; every figure is told as soon as it is known.
        """
        found = Figures(tenants)
        wanted = min(tenants, FILL_FROM or tenants)
        if wanted > self._tenants:
            await self._settle(found, wanted)
        if wanted <= self._tenants < tenants:
            await self._fill(found, tenants)
        found.tenants, found.grown = self._tenants, self._grown
        for name, measure in {
            "adoption": self._adopted,
            "rest": self._rest_of,
            "changes, idle": self._idle,
            "canaries": self._canaries,
            "restart": self._restart,
            "resync": self._busy,
            "canaries that turn bad": self._bad,
        }.items():
            try:
                await measure(found)
            except TimeoutError as error:
                found.missing.append(name)
                self._say(f"  {name}: not measured, {error}")
        found.load = os.getloadavg()[2]
        self._measured = self._tenants
        return found

    async def _settle(self, found: Figures, wanted: int) -> None:
        cpu = self._operators()[0].cpu_seconds
        began = time.monotonic()
        numbers = range(self._tenants, wanted)
        routes = asyncio.create_task(self._fleet.add_routes(numbers))
        try:
            reached = await self._fleet.grow(numbers, seconds=SETTLE_SECONDS, say=self._say)
            self._tenants = self._grown = reached
            await until(
                lambda: self._fleet.unready(reached),
                "objects not ready",
                seconds=READY_SECONDS,
                say=self._say,
            )
        except TimeoutError as error:
            self._say(f"  {error}")
        finally:
            routes.cancel()
            await asyncio.gather(routes, return_exceptions=True)
        found.settle_seconds = time.monotonic() - began
        found.settle_cpu_seconds = self._operators()[0].cpu_seconds - cpu
        self._say(
            f"  {self._tenants} settled in {found.settle_seconds:.0f} s, {found.settle_cpu_seconds:.0f} s of CPU"
        )

    async def _fill(self, found: Figures, wanted: int) -> None:
        """Fills the fleet up to a size; no operator runs then."""
        await self._quiet()
        began = time.monotonic()
        await self._filling.fill(range(self._tenants, wanted))
        self._tenants = wanted
        found.fill_seconds = time.monotonic() - began

    async def _adopted(self, found: Figures) -> None:
        """Starts operators over a fleet that was filled; counts what is written until everything was looked at."""
        if not found.fill_seconds:
            return
        before = costs.writes(await self._metrics())
        began = time.monotonic()
        self._place.scale_operators(REPLICAS)
        await self._reconciled(2 * found.tenants)
        found.adopt_seconds = time.monotonic() - began
        await self._quiet()
        found.adopt_cpu_seconds = self._operators()[0].cpu_seconds
        made = costs.more(before, costs.writes(await self._metrics()))
        found.adopt_writes = {name: made[name] for name in made.keys() - _SCALING}
        self._say(
            f"  adopted in {found.adopt_seconds:.0f} s, {found.adopt_cpu_seconds:.0f} s of CPU until quiet, writes {found.adopt_writes}"
        )

    async def _rest_of(self, found: Figures) -> None:
        await self._quiet()
        await self._rest(found)

    async def _idle(self, found: Figures) -> None:
        found.changes_idle = await self._changes(found.tenants, CHANGES)
        self._say(f"  changes, idle: {milliseconds(found.changes_idle)}")

    async def _rest(self, found: Figures) -> None:
        operators = self._operators()
        api_server = self._place.programs((API_SERVER,))[API_SERVER]
        began = time.monotonic()
        await asyncio.sleep(REST_SECONDS)
        seconds = time.monotonic() - began
        leader, standby = (
            self._core_percent(one, seconds) for one in (operators[0], operators[-1])
        )
        found.rest_core_percent, found.standby_core_percent = leader, standby
        found.api_server_core_percent = self._core_percent(api_server, seconds)
        found.api_server_bytes = costs.process(api_server.pid).resident_bytes
        found.resident_bytes, found.standby_resident_bytes = (
            costs.process(one.pid).resident_bytes for one in (operators[0], operators[-1])
        )
        found.stored_bytes = costs.stored_bytes(await self._metrics())
        self._say(f"  at rest {leader:.1f} % of a core, {found.resident_bytes / 2**20:.0f} MiB")

    async def _changes(self, tenants: int, count: int) -> list[float]:
        """Changes one Tenant after the other; returns the seconds until each one's first child was written."""
        found = []
        for index in range(count):
            number = random.randrange(tenants)
            patch = {
                "spec": {"limits": {"requestsPerMinute": 1000 + index + random.randrange(10**6)}}
            }
            found.append(await self._fleet.child_written(number, patch))
            await asyncio.sleep(0.05)
        return found

    async def _canaries(self, found: Figures) -> None:
        """Measures the leader with canaries under way, less what it takes at rest."""
        count = self._canary_count()
        await self._bring_up(count)
        self._tell_story(count, [(20, 0, 60)] * HEALTHY_SCRAPES)
        self._begin(count, scrapes_ahead=2, proof=None)
        await self._quiet(canaries=count)
        leader = self._operators()[0]
        began = time.monotonic()
        await asyncio.sleep(REST_SECONDS)
        busy = self._core_percent(leader, time.monotonic() - began)
        found.canary_core_percent = busy - found.rest_core_percent
        self._say(f"  {count} canaries {found.canary_core_percent:.1f} % of a core more")
        await self._each(count, objects.without_canary())

    async def _restart(self, found: Figures) -> None:
        """Kills both operators; counts what is written until everything was looked at again."""
        await self._quiet()
        before = costs.writes(await self._metrics())
        began = time.monotonic()
        self._kill()
        await self._reconciled(2 * found.tenants)
        found.restart_seconds = time.monotonic() - began
        await self._quiet()
        found.restart_writes = costs.more(before, costs.writes(await self._metrics()))
        self._say(f"  restart: {found.restart_seconds:.0f} s, writes {found.restart_writes}")

    async def _busy(self, found: Figures) -> None:
        """Changes Tenants while all are looked at after a restart."""
        self._kill()
        found.changes_busy = await self._changes_while(found.tenants)
        self._say(f"  changes in a resync: {milliseconds(found.changes_busy)}")

    async def _bad(self, found: Figures) -> None:
        """Lets canaries turn bad at once while all are looked at after a restart."""
        count = self._canary_count()
        await self._quiet()
        await self._bring_up(count)
        steps = story.STORY.steps
        self._tell_story(count, list(steps))
        proof, *_ = story.proving_step(PERIOD_SECONDS)
        self._kill()
        await self._reconciled(1)
        self._begin(count, scrapes_ahead=2, proof=proof)
        await until(
            lambda: int(self._place.tell("/seen")["open"]),
            "canaries with calls",
            seconds=READY_SECONDS,
            say=self._say,
        )
        found.bad_seconds = self._place.tell("/seen")["seconds"]
        self._say(f"  turned bad in a resync, to 0 %: {milliseconds(found.bad_seconds)}")
        await self._each(count, objects.without_canary())

    async def _changes_while(self, tenants: int) -> list[float]:
        """Changes Tenants from before a new leader acts until it has looked at all; returns what those took that came meanwhile.

        Counting its reconciles and changing Tenants go on side by side: one after the other, all may be looked at between two changes.
        """
        pods, began = self._place.operator_pods(), time.monotonic()
        timed: list[tuple[float, float]] = []
        changing = asyncio.create_task(self._change_on(tenants, timed))
        try:
            first = await self._seen_to_reconcile(pods, 1)
            last = await self._seen_to_reconcile(pods, 2 * tenants)
        finally:
            changing.cancel()
            await asyncio.gather(changing, return_exceptions=True)
        self._say(
            f"  {2 * tenants} reconciles from {first - began:.1f} to {last - began:.1f} s after the kill"
        )
        return [seconds for at, seconds in timed if first <= at < last]

    async def _change_on(self, tenants: int, timed: list[tuple[float, float]]) -> None:
        """Changes one Tenant after the other until cancelled; keeps when each change began, and the seconds to its first child."""
        while True:
            began = time.monotonic()
            # of one that was asked for while nobody led, the wait is no measure
            with contextlib.suppress(TimeoutError):
                [seconds] = await self._changes(tenants, 1)
                timed.append((began, seconds))

    async def _seen_to_reconcile(self, pods: list[str], count: int) -> float:
        """Returns when the operators, which began to count anew, were first seen to have finished so many reconciles.

        A standby makes none. kubectl would take seconds for each look on a busy machine, and a resync has few.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            found = 0.0
            for pod in pods:
                with contextlib.suppress(aiohttp.ClientError):
                    page = await self._api.read(metrics_path(pod), **{"name[]": _COUNTED})
                    found += sum(map(float, _RECONCILES.findall(page.decode())))
            if found >= count:
                return time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
        raise TimeoutError(f"the operator has not reconciled {count} times")

    async def _bring_up(self, count: int) -> None:
        await self._each(count, objects.with_canary())
        await until(
            lambda: count - self._fleet.weighted(),
            "canaries without calls",
            seconds=READY_SECONDS,
            say=self._say,
        )

    async def _each(self, count: int, patch: Mapping[str, Any]) -> None:
        await asyncio.gather(
            *(
                self._api.merge(f"{routes_of(objects.namespace(n))}/{objects.ROUTE}", patch)
                for n in self._chosen(count)
            )
        )

    def _canary_count(self) -> int:
        """Returns how many Tenants have canaries: of those since the last size, since a canary that has failed is not tried again, and
        never the first Tenant, of which copies are made.
        """
        return min(CANARIES, self._tenants - max(self._measured, 1))

    def _chosen(self, count: int) -> range:
        """Returns the Tenants that have canaries: the newest ones."""
        return range(self._tenants - count, self._tenants)

    def _tell_story(self, count: int, steps: list[tuple[int, int, int]]) -> None:
        setup = {
            "period": PERIOD_SECONDS,
            "story": steps,
            "templates": series_of_a_route(),
            "targets": self._targets(count),
        }
        self._place.tell("/setup", setup)

    def _begin(self, count: int, *, scrapes_ahead: int, proof: int | None) -> None:
        routes = [(objects.namespace(n), objects.ROUTE) for n in self._chosen(count)]
        self._place.tell(
            "/begin", {"routes": routes, "scrapesAhead": scrapes_ahead, "proof": proof}
        )

    def _targets(self, count: int) -> list[dict[str, Any]]:
        cluster = self._place.cluster
        found = cluster.get("pods", "-A", "-l", "app.kubernetes.io/name=relay", "--chunk-size=500")
        pods = {
            one["metadata"]["namespace"]: one["metadata"]["name"]
            for one in found["items"]
            if "deletionTimestamp" not in one["metadata"]
        }
        prints = []
        for name in (objects.STABLE, objects.CANARY):
            uid = cluster.get("providers.relay-operator.dev", name)["metadata"]["uid"]
            prints.append(fingerprint(Side(provider=name), provider_uid=uid))
        return [
            {
                "namespace": space,
                "pod": pods[space],
                # all are visible at the same moment, for the worst case
                "phase": 0.0,
                "routes": [(objects.ROUTE, *prints)],
            }
            for space in map(objects.namespace, self._chosen(count))
        ]

    def _operators(self) -> list[costs.Process]:
        return self._place.operators()

    def _core_percent(self, before: costs.Process, seconds: float) -> float:
        return 100 * (costs.process(before.pid).cpu_seconds - before.cpu_seconds) / seconds

    def _kill(self) -> None:
        for one in self._operators():
            os.kill(one.pid, signal.SIGKILL)

    def _reconciles(self) -> float:
        found = _RECONCILES.findall(self._place.operator_metrics(_COUNTED))
        return sum(map(float, found))

    async def _reconciled(self, count: int) -> None:
        """Waits until the leader, which began to count anew, has finished so many reconciles."""

        def left() -> int:
            try:
                return max(count - int(self._reconciles()), 0)
            except Exception:  # the operator is not there yet
                return count

        await until(left, "reconciles to come", seconds=READY_SECONDS, say=self._say)

    async def _quiet(self, *, canaries: int = 0) -> None:
        """Waits until the leader reconciles little more than the resync, and canaries to tell of them, for a while; one that lists,
        or has just won, does less.
        """
        last, quiet = self._reconciles(), 0
        resynced = min(2 * self._tenants / RESYNC_SECONDS, 1 / resync.SECONDS_EACH)
        told = canaries / EVIDENCE_SECONDS
        few = _QUIET_SECONDS * (1 + _RESYNCS * (resynced + told))
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            await asyncio.sleep(_QUIET_SECONDS)
            now = self._reconciles()
            quiet = quiet + 1 if now - last < few else 0
            if quiet == _QUIET_LOOKS:
                return
            last = now
        raise TimeoutError("the operator does not come to rest")

    async def _metrics(self) -> str:
        return (await self._api.read("/metrics")).decode()
