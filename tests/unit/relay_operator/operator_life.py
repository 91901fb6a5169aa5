"""The whole operator in one test, in virtual time: queue, workers, SLO loop and handlers as they are."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from tests.unit.relay_operator.in_memory_api_server import Connection, Watch
from tests.unit.relay_operator.injected_failures import InjectedFailures, OperatorDied
from tests.unit.relay_operator.network import API_SERVER, OPERATOR_ADDRESS
from tests.unit.relay_operator.relay_pods import Pushes
from tests.unit.relay_operator.surroundings import SIGNING_KEY, SYSTEM, Surroundings
from tests.unit.relay_operator.virtual_time import running_clock

from relay_operator import names
from relay_operator.api.shards import Shards
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.leadership.fence import Brake, Unfenced
from relay_operator.cluster.leadership.heartbeat import Heartbeat
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.handlers import listing, owned_objects, resources
from relay_operator.handlers.context import Context
from relay_operator.handlers.provider_secret_watch import ProviderSecretWatch
from relay_operator.handlers.secret_checks import SecretChecks
from relay_operator.handlers.secret_watch import SecretWatch
from relay_operator.handlers.service_checks import ServiceChecks
from relay_operator.reconcile.canaries.breaker_watch import BreakerWatch
from relay_operator.reconcile.canaries.canary_moves import CanaryMoves
from relay_operator.reconcile.canaries.preflight_watch import PreflightWatch
from relay_operator.reconcile.canaries.shadow_watch import ShadowWatch
from relay_operator.reconcile.canaries.slo_loop import SloLoop
from relay_operator.reconcile.canaries.step_clock import StepClock
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.fleet.api_budget import ApiBudget
from relay_operator.reconcile.fleet.metered_api_server import MeteredApiServer
from relay_operator.reconcile.fleet.new_namespaces import NewNamespaces
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.isolation.isolation_watch import IsolationWatch
from relay_operator.reconcile.isolation.prober import Operator, Prober
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.late_pushes import LatePushes
from relay_operator.reconcile.ledger.budget_push import BudgetPush
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.ledger.lists_without_ledger import ListsWithoutLedger
from relay_operator.reconcile.ledger.price_push import PricePush
from relay_operator.reconcile.ledger.route_costs import RouteCostNews, RouteCostWatch
from relay_operator.reconcile.providers import ProviderReconciler
from relay_operator.reconcile.routes import RouteReconciler
from relay_operator.reconcile.tenancy.tenant_reconciler import TenantReconciler
from relay_operator.reconcile.tools.tool_servers import ToolServerReconciler
from relay_operator.reconcile.upstream_access import UpstreamAccess
from relay_operator.reconcile.upstreams.provider_probes import ProviderProbes
from relay_operator.reconcile.upstreams.quota_lending import QuotaLending
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Urgency, WorkQueue
from relay_operator.reconcile.workers import SPARE, Workers

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
        budget = ApiBudget(
            calls_per_second=stage.calls_per_second,
            calls_per_second_of_tenant=50,
            clock=running_clock(),
        )
        self.queue = WorkQueue(budget=budget)
        self.key_versions = SecretVersions()
        self.watched_state = WatchedState(tiers=stage.tiers, shards=shards or Shards())
        metered = MeteredApiServer(
            self.api,
            budget.spend,
            operator_namespace=SYSTEM,
            is_others=self.watched_state.is_others,
        )
        api = NewNamespaces(metered, clock=clock)
        relays: Any = Pushes(
            stage.relays,
            self.api.failures,
            fence=self.api.fence,
            brake=Brake(self.elector) if elects else Unfenced(),
        )
        samples: Any = stage.samples if prometheus else None
        children, status = OwnedObjects(api), StatusWriter(api)
        announcer = EventRecorder(api, instance="test")
        self.canaries = CanaryRuns(
            evidence=Evidence(scrape_seconds=_SCRAPE_SECONDS),
            budget=Budget(stage.canaries_at_once),
            ahead_seconds=lambda: self.elector.clock_ahead_seconds,
        )
        step_clock = StepClock(wall=wall, steady=clock, canaries=self.canaries, queue=self.queue)
        self.late = LatePushes(watched_state=self.watched_state, queue=self.queue)
        self.publisher = DocumentPublisher(
            late=self.late,
            relays=relays,
            children=children,
            watched_state=self.watched_state,
            signing_key=SIGNING_KEY,
            lead=self.elector if elects else self.term,
        )
        self.isolation = IsolationRecords(
            watched_state=self.watched_state,
            is_required=stage.isolation_is_required,
            period_seconds=900,
            clock=stage.clock,
            wall=wall,
        )
        self.isolation_watch = IsolationWatch(
            records=self.isolation,
            prober=Prober(
                connections=stage.network,
                watched_state=self.watched_state,
                operator=Operator(
                    namespace=SYSTEM, addresses=(OPERATOR_ADDRESS,), api_server=API_SERVER
                ),
            ),
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=stage.clock,
        )
        self.provider_probes = ProviderProbes(
            relays=relays,
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            period_seconds=300,
            clock=stage.clock,
        )
        self.quota_lending = QuotaLending(
            relays=relays,
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=stage.clock,
        )
        ledger_news = None if stage.ledger is None else LedgerNews()
        self.price_push = None
        if ledger_news is not None:
            self.price_push = PricePush(
                api=api,
                client=stage.ledger,
                news=ledger_news,
                watched_state=self.watched_state,
                status=status,
                announcer=announcer,
                queue=self.queue,
                clock=clock,
                wall=wall,
            )
        self.lists_without_ledger = None
        if ledger_news is None and self.watched_state.shards.is_main:
            self.lists_without_ledger = ListsWithoutLedger(
                api=api, status=status, announcer=announcer, wall=wall
            )
        self.budget_push = None
        if ledger_news is not None and stage.budgets is not None:
            self.budget_push = BudgetPush(
                client=stage.budgets,
                news=ledger_news,
                watched_state=self.watched_state,
                status=status,
                announcer=announcer,
                webhook=stage.webhook,
                queue=self.queue,
                clock=clock,
                wall=wall,
            )
        cost_news = RouteCostNews(has_ledger=stage.ledger is not None)
        self.workers = Workers(
            queue=self.queue,
            tenants=TenantReconciler(
                api=api,
                watched_state=self.watched_state,
                children=children,
                publisher=self.publisher,
                status=status,
                announcer=announcer,
                queue=self.queue,
                access=UpstreamAccess(
                    api=api,
                    watched_state=self.watched_state,
                    signing_key=SIGNING_KEY,
                    operator_namespace=SYSTEM,
                ),
                isolation=self.isolation,
                key_versions=self.key_versions,
                platform=stage.platform,
                ledger_keys=stage.ledger_keys,
                ledger_news=ledger_news,
                signing_key=SIGNING_KEY,
                clock=wall,
            ),
            providers=ProviderReconciler(
                api=api,
                watched_state=self.watched_state,
                status=status,
                announcer=announcer,
                queue=self.queue,
                clock=wall,
                operator_namespace=SYSTEM,
                probes=self.provider_probes,
                ledger_news=ledger_news,
            ),
            tool_servers=ToolServerReconciler(
                api=api,
                lists=stage.tool_lists,
                watched_state=self.watched_state,
                status=status,
                announcer=announcer,
                queue=self.queue,
                clock=wall,
                operator_namespace=SYSTEM,
                ledger_news=ledger_news,
            ),
            routes=RouteReconciler(
                watched_state=self.watched_state,
                canaries=self.canaries,
                publisher=self.publisher,
                status=status,
                announcer=announcer,
                queue=self.queue,
                clock=step_clock,
                webhook=stage.webhook,
                cost_news=cost_news,
            ),
            watched_state=self.watched_state,
            resync_seconds=600,
        )
        moves = CanaryMoves(
            canaries=self.canaries, publisher=self.publisher, queue=self.queue, clock=step_clock
        )
        self.cost_watch = RouteCostWatch(
            client=stage.costs,
            news=cost_news,
            canaries=self.canaries,
            moves=moves,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=clock,
            wall=wall,
        )
        self.slo_loop = SloLoop(
            canaries=self.canaries,
            prometheus=samples,
            moves=moves,
            watched_state=self.watched_state,
            tick_seconds=0.5,
            clock=step_clock,
        )
        self.breaker_watch = BreakerWatch(
            canaries=self.canaries,
            relays=relays,
            moves=moves,
            watched_state=self.watched_state,
            tick_seconds=0.5,
            clock=step_clock,
        )
        self.preflight_watch = PreflightWatch(
            canaries=self.canaries,
            relays=relays,
            moves=moves,
            publisher=self.publisher,
            watched_state=self.watched_state,
            tick_seconds=0.5,
            clock=step_clock,
        )
        self.shadow_watch = ShadowWatch(
            canaries=self.canaries,
            prometheus=samples,
            moves=moves,
            watched_state=self.watched_state,
            scrape_seconds=_SCRAPE_SECONDS,
            tick_seconds=0.5,
        )
        self.context = Context(
            watched_state=self.watched_state, queue=self.queue, children=children
        )
        self.secret_watch = SecretWatch(api=api, context=self.context, versions=self.key_versions)
        self.secret_checks = SecretChecks(
            api=api,
            context=self.context,
            key_versions=self.key_versions,
            is_followed=self.secret_watch.is_followed,
            period_seconds=30,
            operator_namespace=SYSTEM,
        )
        self.service_checks = ServiceChecks(api=api, context=self.context, period_seconds=5)
        self.provider_secret_watch = ProviderSecretWatch(
            api=api, context=self.context, operator_namespace=SYSTEM
        )
        self.lists = 0
        """How many first lists are still being read."""
        self.lagging: set[str] = set()
        """Kinds whose watches tell nothing for now."""
        self._server = stage.server
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
        running = [self.workers.run() for _ in range(workers + SPARE)]
        running += [self.workers.run(Urgency.IMMEDIATE) for _ in range(2)]
        background = (
            self.slo_loop.run(),
            self.late.run(self.publisher.push_again),
            self.breaker_watch.run(),
            self.preflight_watch.run(),
            self.shadow_watch.run(),
            self.secret_checks.run(),
            self.provider_secret_watch.run(),
            self.provider_probes.run(),
            self.quota_lending.run(),
            self.service_checks.run(),
            self.isolation_watch.run(),
            self.secret_watch.run(),
            self.cost_watch.run(),
        )
        told = (self.price_push, self.budget_push, self.lists_without_ledger)
        pushes = [one.run() for one in told if one is not None]
        self._tasks += [asyncio.create_task(one) for one in (*running, *background, *pushes)]

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


def _is_watched(kind: str, body: Manifest) -> bool:
    labels = body["metadata"].get("labels", {})
    return kind not in _OWNED or labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
