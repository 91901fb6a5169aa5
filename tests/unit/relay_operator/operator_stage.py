"""The whole operator in one test, in virtual time: queue, workers, SLO loop and handlers as they are, over an
in-memory API server, relay pods and a Prometheus that stand in at the boundary.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay_operator.in_memory_api_server import (
    Connection,
    FakeClock,
    InMemoryApiServer,
    Watch,
)
from tests.unit.relay_operator.injected_failures import InjectedFailures, OperatorDied
from tests.unit.relay_operator.network import API_SERVER, OPERATOR_ADDRESS, Network
from tests.unit.relay_operator.relay_counters import RelayCounters
from tests.unit.relay_operator.relay_pods import Pushes, RelayPods
from tests.unit.relay_operator.virtual_time import running_clock

from relay_contract.tools.definitions import definition_digest, resource_digest
from relay_operator import names
from relay_operator.api.shards import Shards
from relay_operator.api.tiers import Tiers
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.leadership.fence import Brake, Unfenced
from relay_operator.cluster.leadership.heartbeat import Heartbeat
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.prometheus.client import Fetched
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.tools.tool_lists import REVISION, Address, Listed
from relay_operator.cluster.webhook.sender import Webhook
from relay_operator.decisions.analysis.evidence import Evidence, Question
from relay_operator.decisions.analysis.scrapes import Series
from relay_operator.decisions.analysis.shadow_evidence import ShadowQuestion
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import MetricsUnavailable, ToolServerUnusable
from relay_operator.handlers import listing, owned_objects, resources
from relay_operator.handlers.context import Context
from relay_operator.handlers.provider_secret_watch import ProviderSecretWatch
from relay_operator.handlers.secret_checks import SecretChecks
from relay_operator.handlers.secret_watch import SecretWatch
from relay_operator.handlers.service_checks import ServiceChecks
from relay_operator.manifests.environment import Platform
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

SYSTEM = "relay-system"
SIGNING_KEY = Ed25519PrivateKey.generate()
PLATFORM = Platform(
    operator_namespace=SYSTEM,
    service_account="relay-operator",
    tenant_cluster_role="relay-operator-tenant",
    relay_image="relay:test",
    relay_image_pull_policy="Never",
    public_keys="key",
    prometheus_namespace="monitoring",
    dns_namespace="kube-system",
)
_WATCHED: dict[str, Any] = {
    "Tenant": resources.tenant_seen,
    "Provider": resources.provider_seen,
    "ToolServer": resources.tool_server_seen,
    "RelayRoute": resources.route_seen,
    "Pod": owned_objects.pod_seen,
    **dict.fromkeys(owned_objects.KINDS, owned_objects.child_seen),
}
_OWNED = frozenset({"Pod", *owned_objects.KINDS})
_WATCH_SECONDS = 0.05
_QUIET_SECONDS = 5.0
_SCRAPE_SECONDS = 0.5
_LEASE_SECONDS = 6


@dataclass(slots=True)
class Samples:
    """Stands in for Prometheus: the pages of the relay pods, scraped at each fetch.

    Like a relay, each pod exports the sides of the routes with a canary in its document. problem fails every fetch;
    unscraped are names of pods that Prometheus does not reach; meanwhile is called during each fetch, for what happens while
    the operator waits for the answer.
    """

    clock: FakeClock
    server: InMemoryApiServer
    relays: RelayPods
    problem: str = ""
    counters: dict[tuple[str, str], RelayCounters] = field(default_factory=dict)
    crowded: set[str] = field(default_factory=set)
    unscraped: set[str] = field(default_factory=set)
    questions: list[Question | ShadowQuestion] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    def of(self, namespace: str, pod: str) -> RelayCounters:
        """Returns the counters of a pod."""
        return self.counters.setdefault((namespace, pod), RelayCounters(pod, namespace))

    async def fetch(self, question: Question | ShadowQuestion) -> Fetched:
        await asyncio.sleep(0)
        self.questions.append(question)
        self.meanwhile()
        if self.problem:
            raise MetricsUnavailable(self.problem)
        series = [one for pod in question.pods for one in self._scraped(*pod)]
        spaces = {namespace for namespace, _ in question.pods}
        return Fetched(
            series=tuple(one for one in series if one.identity.pod[0] not in self.crowded),
            crowded=frozenset(self.crowded & spaces),
        )

    def _scraped(self, namespace: str, pod: str) -> list[Series]:
        found = self.server.get("Pod", pod, namespace=namespace)
        document = self.relays.documents.get(found["metadata"]["uid"]) if found else None
        if document is None or pod in self.unscraped:
            return []
        counters = self.of(namespace, pod)
        for route in document.tenant.routes:
            if route.canary is not None:
                counters.count((route.name, "stable", route.stable.fingerprint))
                counters.count((route.name, "canary", route.canary.fingerprint))
                if route.shadow_percent:
                    counters.copy((route.name, route.canary.fingerprint))
        return counters.scraped(self.clock.now)


@dataclass(slots=True)
class ToolListings:
    """Stands in for tool servers: what each lists, by the host of its URL, and by which revision. asked counts the questions to each."""

    tools: dict[str, list[Manifest]] = field(default_factory=dict)
    resources: dict[str, list[Manifest]] = field(default_factory=dict)
    revisions: dict[str, str] = field(default_factory=dict)
    problems: dict[str, ToolServerUnusable] = field(default_factory=dict)
    asked: list[Address] = field(default_factory=list)

    async def read(self, address: Address) -> Listed:
        await asyncio.sleep(0)
        self.asked.append(address)
        host = urlsplit(address.url).hostname or ""
        name = host.split(".")[0]
        if name in self.problems:
            raise self.problems[name]
        listed, resources = self.tools.get(name, []), self.resources.get(name)
        named = [("tool", one["name"], one) for one in listed]
        named += [("resource", one["uri"], one) for one in resources or ()]
        return Listed(
            tools={one["name"]: definition_digest(one) for one in listed},
            prompts={},
            marks={
                (kind, called): {key: (repr(value), len(repr(value))) for key, value in one.items()}
                for kind, called, one in named
            },
            resources=None
            if resources is None
            else {one["uri"]: resource_digest(one) for one in resources},
            templates=None if resources is None else {},
            revision=self.revisions.get(name, REVISION),
        )


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
        stage: "Stage",
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
                api=api,
                client=stage.budgets,
                news=ledger_news,
                watched_state=self.watched_state,
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
        watches = {kind: self._server.watch(kind, news.set) for kind in _WATCHED}
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
            for kind in _WATCHED
        }
        # children before their Tenants, since lists come in any order
        for kind in reversed(_WATCHED):
            for body in listed[kind]:
                await _WATCHED[kind](body=body, type=None, memo=self.context)
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
        await _WATCHED[kind](body=body, type=type_, memo=self.context)


class Stage:
    """A cluster with the operator's surroundings. Everything others do happens through it."""

    def __init__(self) -> None:
        self.canaries_at_once = 0
        self.calls_per_second = 500.0
        self.tiers = Tiers()
        self.platform = PLATFORM
        self.clock = running_clock()
        self.server = InMemoryApiServer(self.clock)
        self.relays = RelayPods(self.server, SIGNING_KEY.public_key())
        self.samples = Samples(self.clock, self.server, self.relays)
        self.network = Network(self.relays)
        self.isolation_is_required = True
        self.webhook: Webhook | None = None
        self.ledger_keys: KeyFile | None = None
        self.ledger: Any = None
        """Answers as a LedgerClient does."""
        self.budgets: Any = None
        """Answers as a BudgetClient does."""
        self.costs: Any = None
        """Answers as a RouteCostClient does."""
        self.tool_lists = ToolListings()
        self.numbers = itertools.count(1)
        self.server.put(_namespace(SYSTEM))

    def life(
        self,
        failures: InjectedFailures | None = None,
        *,
        prometheus: bool = True,
        elects: str = "",
        shards: Shards | None = None,
        clock_ahead: float = 0.0,
    ) -> Life:
        """Prepares a life of the operator; with a name that it elects itself by, under the fence as in main."""
        return Life(
            self,
            failures,
            prometheus=prometheus,
            elects=elects,
            shards=shards,
            clock_ahead=clock_ahead,
        )

    async def operator(self) -> Life:
        """Starts a life of the operator."""
        life = self.life()
        await life.start()
        return life

    async def settle(self, seconds: float = _QUIET_SECONDS) -> None:
        """Lets that much time pass."""
        await asyncio.sleep(seconds)

    def tenant(
        self, name: str = "finance", *, labels: dict[str, str] | None = None, **spec: Any
    ) -> Manifest:
        return self._put("Tenant", name, spec, labels=labels)

    def roll(self, name: str = "finance") -> None:
        """Plays the Deployment controller: all pods of a tenant are of the newest template."""
        body = self.server.stored("Deployment", "relay", namespace=f"relay-{name}")
        status = {
            "observedGeneration": body["metadata"]["generation"],
            "replicas": 1,
            "updatedReplicas": 1,
            "availableReplicas": 1,
            "conditions": [
                {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}
            ],
        }
        self.server.put(body | {"status": status})

    def provider(self, name: str, *, key: bool = True, **spec: Any) -> Manifest:
        """Puts a provider at a public address, with a Secret for its key."""
        body = {
            "endpoint": {"url": f"https://{name}.example.com/v1"},
            "auth": {"secretName": f"{name}-key"},
        } | spec
        if key:
            self.secret(f"{name}-key")
        return self._put("Provider", name, body)

    def tool_server(
        self, name: str = "erp", *, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Manifest:
        """Puts a tool server at a public address, without a credential."""
        body = {"endpoint": {"url": f"https://{name}.example.com/mcp"}} | spec
        return self._put("ToolServer", name, body, annotations=annotations)

    def secret(self, name: str, *, value: str = "a2V5") -> None:
        """Puts the Secret NAME-key of the provider NAME."""
        manifest = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"}
        labels = {names.LABEL_PROVIDER: name.removesuffix("-key")}
        metadata = {"name": name, "namespace": SYSTEM, "labels": labels}
        self.server.put({**manifest, "metadata": metadata, "data": {"api-key": value}})

    def route(
        self,
        name: str = "chat",
        *,
        tenant: str = "finance",
        annotations: dict[str, str] | None = None,
        **spec: Any,
    ) -> Manifest:
        body = {"stable": {"provider": "legacy"}} | spec
        namespace = names.tenant_namespace(tenant)
        return self._put("RelayRoute", name, body, namespace=namespace, annotations=annotations)

    def pod(
        self,
        name: str = "relay-1",
        *,
        tenant: str = "finance",
        ready: bool = True,
        ip: str = "10.0.0.1",
        host: str = "192.168.0.1",
    ) -> None:
        """Plays the Deployment's pod, as the kubelet reports it."""
        namespace = names.tenant_namespace(tenant)
        status = {
            "phase": "Running",
            "podIP": ip,
            "hostIP": host,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "containerStatuses": [{"restartCount": 0}],
        }
        metadata = {
            "name": name,
            "namespace": namespace,
            "labels": names.standard_labels(tenant),
        }
        self.server.put({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "status": status})

    def serve(
        self, route: Manifest, calls: float, *, fingerprint: str = "", **parts: float
    ) -> None:
        """Counts calls on every pod of the route's tenant: of its canary, or of the side with the fingerprint.

        parts are failed, throttled or refused ones among them.
        """
        name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
        canary = self.status("RelayRoute", name, tenant="finance")["canaryFingerprint"]
        side = (name, "stable", fingerprint) if fingerprint else (name, "canary", canary)
        for pod in self.server.list("Pod", namespace=namespace):
            counters = self.samples.of(namespace, pod["metadata"]["name"])
            counters.count(side, finished=calls, **parts)

    def copy(self, route: Manifest, *, pair: str = "canary", **outcomes: float) -> None:
        """Counts shadow copies of a route's calls on every pod of its tenant."""
        name, namespace = route["metadata"]["name"], route["metadata"]["namespace"]
        canary = self.status("RelayRoute", name, tenant="finance")["canaryFingerprint"]
        for pod in self.server.list("Pod", namespace=namespace):
            counters = self.samples.of(namespace, pod["metadata"]["name"])
            counters.copy((name, canary), pair=pair, **outcomes)

    async def fail(self, route: Manifest) -> None:
        """Lets half of the canary's calls fail for as long as a verdict takes; the last of them are still to be read."""
        for _ in range(3):
            self.serve(route, 100, failed=50)
            await self.settle(1)
        self.serve(route, 100, failed=50)

    def status(self, kind: str, name: str, *, tenant: str = "") -> Manifest:
        namespace = names.tenant_namespace(tenant) if tenant else ""
        status: Manifest = self.server.stored(kind, name, namespace=namespace)["status"]
        return status

    def condition(self, kind: str, name: str, type_: str, *, tenant: str = "") -> Manifest:
        """Returns one condition of an object; an empty one when it is absent."""
        conditions = self.status(kind, name, tenant=tenant).get("conditions", [])
        return next((one for one in conditions if one["type"] == type_), {})

    def events(self) -> list[str]:
        """Returns the reasons of all Events posted so far, in order."""
        return [event["reason"] for event in self.server.list("Event")]

    def moves(self) -> list[str]:
        """Returns the reasons of the Events that tell of moves of canaries, in order."""
        posted = self.server.list("Event")
        return [event["reason"] for event in posted if event["action"] == "Move"]

    def everything(self) -> dict[tuple[str, str, str], Manifest]:
        """Returns every object of the kinds that the operator writes, but for its resourceVersion."""
        kinds = (*_WATCHED, "Secret")
        found = {}
        for kind in kinds:
            for one in self.server.list(kind):
                metadata = one["metadata"]
                found[kind, metadata.get("namespace", ""), metadata["name"]] = one
        return found

    def _put(
        self,
        kind: str,
        name: str,
        spec: Manifest,
        *,
        namespace: str = "",
        annotations: dict[str, str] | None = None,
        labels: dict[str, str] | None = None,
    ) -> Manifest:
        metadata: Manifest = {"name": name} | ({"namespace": namespace} if namespace else {})
        if labels is not None:
            metadata["labels"] = labels
        if annotations is not None:
            metadata["annotations"] = annotations
        known = self.server.get(kind, name, namespace=namespace)
        if known is not None and "finalizers" in known["metadata"]:
            # as kubectl apply leaves them
            metadata["finalizers"] = known["metadata"]["finalizers"]
        return self.server.put(
            {"apiVersion": names.API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
        )


def _namespace(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def _is_watched(kind: str, body: Manifest) -> bool:
    labels = body["metadata"].get("labels", {})
    return kind not in _OWNED or labels.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
