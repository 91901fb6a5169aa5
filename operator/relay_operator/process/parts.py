"""Everything that acts in one life of the operator, wired: the process and its tests in virtual time live by the same parts."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay_operator.api.shards import Shards
from relay_operator.api.tiers import Tiers
from relay_operator.cluster.api_server import ApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.ledger.budget_client import BudgetClient
from relay_operator.cluster.ledger.client import LedgerClient
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.cluster.relays import Relays
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.webhook.sender import Webhook
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.handlers.context import Context
from relay_operator.handlers.lost_deletions import LostDeletions
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
from relay_operator.reconcile.isolation.prober import Connections, Operator, Prober
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.late_pushes import LatePushes
from relay_operator.reconcile.ledger.budget_push import BudgetPush
from relay_operator.reconcile.ledger.ledger_news import LedgerNews
from relay_operator.reconcile.ledger.lists_without_ledger import ListsWithoutLedger
from relay_operator.reconcile.ledger.price_push import PricePush
from relay_operator.reconcile.ledger.route_costs import Client as CostClient
from relay_operator.reconcile.ledger.route_costs import RouteCostNews, RouteCostWatch
from relay_operator.reconcile.providers import ProviderReconciler
from relay_operator.reconcile.publishing.leadership import Lead
from relay_operator.reconcile.routes import RouteReconciler
from relay_operator.reconcile.tenancy.tenant_reconciler import TenantReconciler
from relay_operator.reconcile.tools.tool_servers import Lists as ToolLists
from relay_operator.reconcile.tools.tool_servers import ToolServerReconciler
from relay_operator.reconcile.upstream_access import UpstreamAccess
from relay_operator.reconcile.upstreams.provider_probes import ProviderProbes
from relay_operator.reconcile.upstreams.quota_lending import QuotaLending
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import WorkQueue
from relay_operator.reconcile.workers import Workers
from relay_operator.settings import Settings

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clocks:
    """In seconds: monotonic never goes back, boot neither and counts sleep too, wall is since 1970."""

    monotonic: Clock
    boot: Clock
    wall: Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """What the parts of a life are told, ask and change, beyond what its settings say.

    api is behind the fence of the lead, instance names the process in Events. prices, budgets and costs are the ledger's; all three
    are absent on a platform without one, and ledger_keys then too.
    """

    api: ApiServer
    relays: Relays
    lead: Lead
    clock_ahead_seconds: Clock
    clocks: Clocks
    signing_key: Ed25519PrivateKey
    platform: Platform
    operator: Operator
    tiers: Tiers
    shards: Shards
    instance: str
    connections: Connections
    tool_lists: ToolLists
    prometheus: Prometheus | None
    webhook: Webhook | None
    ledger_keys: KeyFile | None
    prices: LedgerClient | None
    budgets: BudgetClient | None
    costs: CostClient | None


class Parts:
    """Makes each part of one life when it is first asked for, from the others that it needs."""

    def __init__(self, outside: Outside, settings: Settings) -> None:
        self._outside = outside
        self._settings = settings
        self._clocks = outside.clocks
        self._api_budget = ApiBudget(
            calls_per_second=settings.api_calls_per_second,
            calls_per_second_of_tenant=settings.api_calls_per_second_of_tenant,
            clock=outside.clocks.monotonic,
        )
        self.queue = WorkQueue(places=settings.workers, budget=self._api_budget)
        self.watched_state = WatchedState(
            tiers=outside.tiers, shards=outside.shards, cluster_domain=settings.cluster_domain
        )
        self.key_versions = SecretVersions()
        self._ledger_news = LedgerNews() if outside.prices is not None else None
        self._cost_news = RouteCostNews(has_ledger=outside.prices is not None)

    def acting(self) -> dict[str, Coroutine[Any, Any, None]]:
        """Returns what a leader runs beside its workers, by name."""
        return {
            "slo-loop": self.slo_loop.run(),
            "late-pushes": self.late.run(self.publisher.push_again),
            "breaker-watch": self.breaker_watch.run(),
            "preflight-watch": self.preflight_watch.run(),
            "shadow-watch": self._shadow_watch().run(),
            "isolation-watch": self._isolation_watch().run(),
            "lost-deletions": self.lost_deletions.run(),
            "secret-checks": self._secret_checks().run(),
            "provider-secret-watch": self._provider_secret_watch().run(),
            "provider-probes": self._provider_probes.run(),
            "quota-lending": self._quota_lending().run(),
            "service-checks": self._service_checks().run(),
            "secret-watch": self.secret_watch.run(),
            "route-costs": self._route_cost_watch().run(),
            **self._ledger_runs(),
        }

    @cached_property
    def api(self) -> ApiServer:
        """The API server as every part sees it: its calls are counted, and new namespaces are waited for."""
        metered = MeteredApiServer(
            self._outside.api,
            self._api_budget.spend,
            operator_namespace=self._settings.namespace,
            is_others=self.watched_state.is_others,
        )
        return NewNamespaces(metered, clock=self._clocks.monotonic)

    @cached_property
    def _children(self) -> OwnedObjects:
        return OwnedObjects(self.api)

    @cached_property
    def _status(self) -> StatusWriter:
        return StatusWriter(self.api)

    @cached_property
    def _announcer(self) -> EventRecorder:
        return EventRecorder(self.api, instance=self._outside.instance)

    @cached_property
    def context(self) -> Context:
        return Context(watched_state=self.watched_state, queue=self.queue, children=self._children)

    @cached_property
    def late(self) -> LatePushes:
        return LatePushes(watched_state=self.watched_state, queue=self.queue)

    @cached_property
    def publisher(self) -> DocumentPublisher:
        return DocumentPublisher(
            late=self.late,
            relays=self._outside.relays,
            children=self._children,
            watched_state=self.watched_state,
            signing_key=self._outside.signing_key,
            lead=self._outside.lead,
        )

    @cached_property
    def canaries(self) -> CanaryRuns:
        return CanaryRuns(
            evidence=Evidence(scrape_seconds=self._settings.prometheus_scrape_seconds),
            budget=Budget(self._settings.canaries_at_once),
            ahead_seconds=self._outside.clock_ahead_seconds,
        )

    @cached_property
    def _step_clock(self) -> StepClock:
        return StepClock(
            wall=self._clocks.wall,
            steady=self._clocks.boot,
            canaries=self.canaries,
            queue=self.queue,
        )

    @cached_property
    def _moves(self) -> CanaryMoves:
        return CanaryMoves(
            canaries=self.canaries,
            publisher=self.publisher,
            queue=self.queue,
            clock=self._step_clock,
        )

    @cached_property
    def isolation(self) -> IsolationRecords:
        return IsolationRecords(
            watched_state=self.watched_state,
            is_required=self._settings.isolation_required,
            period_seconds=self._settings.isolation_probe_seconds,
            clock=self._clocks.monotonic,
            wall=self._clocks.wall,
        )

    def _isolation_watch(self) -> IsolationWatch:
        return IsolationWatch(
            records=self.isolation,
            prober=Prober(
                connections=self._outside.connections,
                watched_state=self.watched_state,
                operator=self._outside.operator,
            ),
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=self._clocks.monotonic,
        )

    @cached_property
    def _provider_probes(self) -> ProviderProbes:
        is_main = self.watched_state.shards.is_main
        return ProviderProbes(
            relays=self._outside.relays,
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            period_seconds=self._settings.provider_probe_seconds if is_main else 0,
            clock=self._clocks.monotonic,
        )

    def _quota_lending(self) -> QuotaLending:
        return QuotaLending(
            relays=self._outside.relays,
            publisher=self.publisher,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=self._clocks.monotonic,
        )

    @cached_property
    def workers(self) -> Workers:
        return Workers(
            queue=self.queue,
            tenants=self._tenants(),
            providers=self._providers(),
            tool_servers=self._tool_servers(),
            routes=self._routes(),
            watched_state=self.watched_state,
            resync_seconds=self._settings.resync_seconds,
        )

    def _tenants(self) -> TenantReconciler:
        return TenantReconciler(
            api=self.api,
            watched_state=self.watched_state,
            children=self._children,
            publisher=self.publisher,
            status=self._status,
            announcer=self._announcer,
            queue=self.queue,
            access=UpstreamAccess(
                api=self.api,
                watched_state=self.watched_state,
                signing_key=self._outside.signing_key,
                operator_namespace=self._settings.namespace,
            ),
            isolation=self.isolation,
            key_versions=self.key_versions,
            platform=self._outside.platform,
            ledger_keys=self._outside.ledger_keys,
            ledger_news=self._ledger_news,
            signing_key=self._outside.signing_key,
            clock=self._clocks.wall,
        )

    def _providers(self) -> ProviderReconciler:
        return ProviderReconciler(
            api=self.api,
            watched_state=self.watched_state,
            status=self._status,
            announcer=self._announcer,
            queue=self.queue,
            clock=self._clocks.wall,
            operator_namespace=self._settings.namespace,
            cluster_cidrs=self._settings.closed_addresses,
            probes=self._provider_probes,
            ledger_news=self._ledger_news,
        )

    def _tool_servers(self) -> ToolServerReconciler:
        return ToolServerReconciler(
            api=self.api,
            lists=self._outside.tool_lists,
            watched_state=self.watched_state,
            status=self._status,
            announcer=self._announcer,
            queue=self.queue,
            clock=self._clocks.wall,
            operator_namespace=self._settings.namespace,
            cluster_cidrs=self._settings.closed_addresses,
            ledger_news=self._ledger_news,
        )

    def _routes(self) -> RouteReconciler:
        return RouteReconciler(
            watched_state=self.watched_state,
            canaries=self.canaries,
            publisher=self.publisher,
            status=self._status,
            announcer=self._announcer,
            queue=self.queue,
            clock=self._step_clock,
            webhook=self._outside.webhook,
            cost_news=self._cost_news,
        )

    @cached_property
    def slo_loop(self) -> SloLoop:
        return SloLoop(
            canaries=self.canaries,
            prometheus=self._outside.prometheus,
            moves=self._moves,
            watched_state=self.watched_state,
            tick_seconds=self._settings.tick_seconds,
            clock=self._step_clock,
        )

    @cached_property
    def breaker_watch(self) -> BreakerWatch:
        return BreakerWatch(
            canaries=self.canaries,
            relays=self._outside.relays,
            moves=self._moves,
            watched_state=self.watched_state,
            tick_seconds=self._settings.tick_seconds,
            clock=self._step_clock,
        )

    @cached_property
    def preflight_watch(self) -> PreflightWatch:
        return PreflightWatch(
            canaries=self.canaries,
            relays=self._outside.relays,
            moves=self._moves,
            publisher=self.publisher,
            watched_state=self.watched_state,
            tick_seconds=self._settings.tick_seconds,
            clock=self._step_clock,
        )

    def _shadow_watch(self) -> ShadowWatch:
        return ShadowWatch(
            canaries=self.canaries,
            prometheus=self._outside.prometheus,
            moves=self._moves,
            watched_state=self.watched_state,
            scrape_seconds=self._settings.prometheus_scrape_seconds,
            tick_seconds=self._settings.tick_seconds,
        )

    @cached_property
    def lost_deletions(self) -> LostDeletions:
        return LostDeletions(
            api=self.api, context=self.context, period_seconds=self._settings.resync_seconds
        )

    @cached_property
    def secret_watch(self) -> SecretWatch:
        return SecretWatch(api=self.api, context=self.context, versions=self.key_versions)

    def _secret_checks(self) -> SecretChecks:
        return SecretChecks(
            api=self.api,
            context=self.context,
            key_versions=self.key_versions,
            is_followed=self.secret_watch.is_followed,
            period_seconds=self._settings.secret_check_seconds,
            operator_namespace=self._settings.namespace,
        )

    def _provider_secret_watch(self) -> ProviderSecretWatch:
        return ProviderSecretWatch(
            api=self.api, context=self.context, operator_namespace=self._settings.namespace
        )

    def _service_checks(self) -> ServiceChecks:
        return ServiceChecks(
            api=self.api, context=self.context, period_seconds=self._settings.service_check_seconds
        )

    def _route_cost_watch(self) -> RouteCostWatch:
        return RouteCostWatch(
            client=self._outside.costs,
            news=self._cost_news,
            canaries=self.canaries,
            moves=self._moves,
            watched_state=self.watched_state,
            queue=self.queue,
            clock=self._clocks.monotonic,
            wall=self._clocks.wall,
        )

    def _ledger_runs(self) -> dict[str, Coroutine[Any, Any, None]]:
        outside, news = self._outside, self._ledger_news
        if outside.prices is None or news is None:
            return self._runs_without_ledger()
        price_push = PricePush(
            api=self.api,
            client=outside.prices,
            news=news,
            watched_state=self.watched_state,
            status=self._status,
            announcer=self._announcer,
            queue=self.queue,
            clock=self._clocks.monotonic,
            wall=self._clocks.wall,
        )
        if outside.budgets is None:
            return {"price-push": price_push.run()}
        budget_push = BudgetPush(
            client=outside.budgets,
            news=news,
            watched_state=self.watched_state,
            status=self._status,
            announcer=self._announcer,
            webhook=outside.webhook,
            queue=self.queue,
            clock=self._clocks.monotonic,
            wall=self._clocks.wall,
        )
        return {"price-push": price_push.run(), "budget-push": budget_push.run()}

    def _runs_without_ledger(self) -> dict[str, Coroutine[Any, Any, None]]:
        if not self.watched_state.shards.is_main:
            return {}
        lists = ListsWithoutLedger(
            api=self.api,
            status=self._status,
            announcer=self._announcer,
            wall=self._clocks.wall,
        )
        return {"lists-without-ledger": lists.run()}
