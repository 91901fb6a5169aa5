"""The whole operator in one test, in virtual time: queue, workers, SLO loop and handlers as they are."""

import asyncio
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.unit.relay_operator.in_memory_api_server import Connection, Watch
from tests.unit.relay_operator.injected_failures import InjectedFailures, OperatorDied
from tests.unit.relay_operator.network import API_SERVER, OPERATOR_ADDRESS
from tests.unit.relay_operator.relay_pods import Pushes
from tests.unit.relay_operator.surroundings import SIGNING_KEY, SYSTEM, Surroundings

from relay_operator import names
from relay_operator.api.shards import Shards
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.leadership.fence import Brake, Unfenced
from relay_operator.cluster.leadership.heartbeat import Heartbeat
from relay_operator.handlers import listing, owned_objects, resources
from relay_operator.process.parts import Clocks, Outside, Parts
from relay_operator.reconcile.isolation.prober import Operator
from relay_operator.reconcile.work_queue import Urgency
from relay_operator.settings import Settings

Manifest = dict[str, Any]
WATCHED: dict[str, Any] = {
    "Tenant": resources.tenant_seen,
    "Provider": resources.provider_seen,
    "ToolServer": resources.tool_server_seen,
    "RelayRoute": resources.route_seen,
    "Pod": owned_objects.pod_seen,
    **dict.fromkeys(owned_objects.KINDS, owned_objects.child_seen),
}
_OWNED = frozenset({"Pod", *owned_objects.KINDS})
_WATCH_SECONDS = 0.05
_SCRAPE_SECONDS = 0.5
_LEASE_SECONDS = 6


@dataclass(slots=True)
class Term:
    """Stands in for the lead by a Lease: a number for each life that leads, above those that are known of.

    One that is over can claim no other, whatever it hears of.
    """

    numbers: Iterator[int]
    epoch: int = 0
    is_over: bool = False

    def begin(self) -> None:
        self.epoch = max(next(self.numbers), self.epoch)

    def rest_seconds(self) -> float:
        return float("inf")

    def note_epoch(self, epoch: int) -> None:
        if 0 < self.epoch < epoch and not self.is_over:
            self.epoch = epoch + 1


class Life:
    """One life of the operator: everything that main wires, on a connection of its own, until it is ended."""

    def __init__(
        self,
        stage: Surroundings,
        failures: InjectedFailures | None = None,
        *,
        prometheus: bool = True,
        elects: str = "",
        shards: Shards | None = None,
        clock_ahead: float = 0.0,
    ) -> None:
        self.clock_ahead = clock_ahead
        """By how many seconds the clock of this operator's host is ahead of the others."""
        self.api: Connection = stage.server.connect(failures)
        self.api.only_versions = True
        self.term = Term(stage.numbers)
        lease_api: Any = stage.server.connect(self.api.failures)
        clock = stage.clock

        def wall() -> float:
            return clock() + self.clock_ahead

        self.elector = Elector(
            lease_api,
            namespace=SYSTEM,
            identity=elects,
            lease_seconds=_LEASE_SECONDS,
            clock=clock,
            wall=wall,
            heartbeat=Heartbeat((clock,)),
        )
        self.api.fence = self.elector if elects else Unfenced()
        relays: Any = Pushes(
            stage.relays,
            self.api.failures,
            fence=self.api.fence,
            brake=Brake(self.elector) if elects else Unfenced(),
        )
        samples: Any = stage.samples if prometheus else None
        parts = Parts(
            Outside(
                api=self.api,
                relays=relays,
                lead=self.elector if elects else self.term,
                clock_ahead_seconds=lambda: self.elector.clock_ahead_seconds,
                clocks=Clocks(monotonic=clock, boot=clock, wall=wall),
                signing_key=SIGNING_KEY,
                platform=stage.platform,
                operator=Operator(
                    namespace=SYSTEM, addresses=(OPERATOR_ADDRESS,), api_server=API_SERVER
                ),
                tiers=stage.tiers,
                shards=shards or Shards(),
                instance="test",
                connections=stage.network,
                tool_lists=stage.tool_lists,
                prometheus=samples,
                webhook=stage.webhook,
                ledger_keys=stage.ledger_keys,
                prices=stage.ledger,
                budgets=stage.budgets,
                costs=stage.costs,
            ),
            _settings(
                isolation_required=stage.isolation_is_required,
                canaries_at_once=stage.canaries_at_once,
                api_calls_per_second=stage.calls_per_second,
            ),
        )
        self._parts = parts
        self.queue, self.workers = parts.queue, parts.workers
        self.watched_state, self.context = parts.watched_state, parts.context
        self.canaries, self.isolation = parts.canaries, parts.isolation
        self.publisher, self.key_versions = parts.publisher, parts.key_versions
        self.slo_loop, self.breaker_watch = parts.slo_loop, parts.breaker_watch
        self.preflight_watch, self.secret_watch = parts.preflight_watch, parts.secret_watch
        self.lists = 0
        """How many first lists are still being read."""
        self.lagging: set[str] = set()
        """Kinds whose watches tell nothing for now."""
        self._server = stage.server
        self._spare_workers = stage.spare_workers
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self, *, workers: int = 4) -> None:
        """Lists everything, then starts the watches, the workers and the SLO loop."""
        await self.stand_by()
        self.lead(workers=workers)

    async def stand_by(self) -> None:
        """Lists everything and watches."""
        news = asyncio.Event()
        watches = {kind: self._server.watch(kind, news.set) for kind in WATCHED}
        await self._list()
        self._tasks = [asyncio.create_task(self._follow(watches, news))]

    def lead(self, *, workers: int = 4) -> None:
        """Begins to act."""
        self.term.begin()
        listing.look_at_first(self.context)
        self.queue.places = workers
        running = [self.workers.run() for _ in range(workers + self._spare_workers)]
        running += [self.workers.run(Urgency.IMMEDIATE) for _ in range(2)]
        running += self._parts.acting().values()
        self._tasks += [asyncio.create_task(one) for one in running]

    async def elect(self) -> None:
        """Lists and watches, stands for the lead, and acts once it has it; ends with it."""
        await self.stand_by()
        self._tasks += [
            asyncio.create_task(self.elector.run()),
            asyncio.create_task(self._lead_when_elected()),
        ]

    async def _lead_when_elected(self) -> None:
        await self.elector.won.wait()
        self.lead()
        acting = self._tasks[3:]
        await self.elector.lost.wait()
        for task in acting:
            task.cancel()

    async def end(self) -> None:
        """Ends the life at whatever point it has reached; raises what ended it before, but for an arranged death."""
        for task in self._tasks:
            task.cancel()
        for ended in await asyncio.gather(*self._tasks, return_exceptions=True):
            if self.elector.lost.is_set() and ended is None:
                continue
            if not isinstance(ended, asyncio.CancelledError | OperatorDied):
                raise AssertionError("a task of the operator ended by itself") from ended

    @property
    def changes(self) -> list[tuple[str, str]]:
        """Kind and name of every write that changed something."""
        return [(write.key[0], write.key[2]) for write in self.api.writes if write.changed]

    async def _list(self) -> None:
        listed = {
            kind: [one for one in self._server.list(kind) if _is_watched(kind, one)]
            for kind in WATCHED
        }
        # children before their Tenants, since lists come in any order
        for kind in reversed(WATCHED):
            for body in listed[kind]:
                await WATCHED[kind](body=body, type=None, memo=self.context)
        listing.tenants_are_listed(self.context)

    async def _follow(self, watches: dict[str, Watch], news: asyncio.Event) -> None:
        while True:
            await news.wait()
            await asyncio.sleep(_WATCH_SECONDS)
            news.clear()
            for kind, watch in watches.items():
                if kind in self.lagging:
                    continue
                for event in watch.taken():
                    if _is_watched(kind, event.object):
                        await self._tell(kind, event.type, event.object)
                    elif event.type == "MODIFIED":
                        # one that loses the label of a watch's selector is told as deleted
                        await self._tell(kind, "DELETED", event.object)

    async def _tell(self, kind: str, type_: str, body: Manifest) -> None:
        await WATCHED[kind](body=body, type=type_, memo=self.context)


@functools.cache
def _settings(
    *, isolation_required: bool, canaries_at_once: int, api_calls_per_second: float
) -> Settings:
    """Returns what lives of such surroundings have: to read the environment takes as long as a dozen reconciles."""
    return Settings(
        namespace=SYSTEM,
        prometheus_scrape_seconds=_SCRAPE_SECONDS,
        isolation_required=isolation_required,
        canaries_at_once=canaries_at_once,
        api_calls_per_second=api_calls_per_second,
    )


def _is_watched(kind: str, body: Manifest) -> bool:
    labels = body["metadata"].get("labels", {})
    return kind not in _OWNED or labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
