"""The process relay-operator: wires the parts and runs until told to stop."""

import asyncio
import gc
import logging
import signal
import socket
import sys
import time
from collections.abc import Coroutine, Mapping
from typing import Any

import kopf
import uvloop
from prometheus_client import REGISTRY
from pythonjsonlogger.json import JsonFormatter

from relay_operator import release
from relay_operator.api.tiers import Tiers
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer, KubernetesApiServer
from relay_operator.cluster.events import EventRecorder
from relay_operator.cluster.http_endpoint import OperatorEndpoint
from relay_operator.cluster.owned_objects import OwnedObjects
from relay_operator.cluster.probing.decoy import Decoy
from relay_operator.cluster.probing.probes import Probes
from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.cluster.prometheus.query import Labels
from relay_operator.cluster.relays import Relays
from relay_operator.cluster.status_writer import StatusWriter
from relay_operator.cluster.tiers_file import read_tiers
from relay_operator.cluster.webhook.sender import Receiver, Webhook
from relay_operator.decisions.analysis.evidence import Evidence
from relay_operator.decisions.canary.budget import Budget
from relay_operator.decisions.canary_runs import CanaryRuns
from relay_operator.errors import TiersUnusable
from relay_operator.handlers import initial_list, login
from relay_operator.handlers import owned_objects as child_handlers
from relay_operator.handlers import resources as parent_handlers
from relay_operator.handlers.context import Context
from relay_operator.handlers.kopf_settings import configure
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
from relay_operator.reconcile.document_publisher import DocumentPublisher
from relay_operator.reconcile.isolation.isolation_records import IsolationRecords
from relay_operator.reconcile.isolation.isolation_watch import IsolationWatch
from relay_operator.reconcile.isolation.prober import Operator, Prober
from relay_operator.reconcile.keys.secret_versions import SecretVersions
from relay_operator.reconcile.metrics.state_collector import StateCollector
from relay_operator.reconcile.providers import ProviderReconciler
from relay_operator.reconcile.routes import RouteReconciler
from relay_operator.reconcile.tenancy.tenant_reconciler import TenantReconciler
from relay_operator.reconcile.upstream_access import UpstreamAccess
from relay_operator.reconcile.upstreams.provider_probes import ProviderProbes
from relay_operator.reconcile.watched_state import WatchedState
from relay_operator.reconcile.work_queue import Urgency, WorkQueue
from relay_operator.reconcile.workers import Workers
from relay_operator.settings import Settings, labels, split

logger = logging.getLogger(__name__)

_YOUNG_OBJECTS = 50_000
"""Some megabytes."""
_URGENT_WORKERS = 2
"""Beside the others: however many reconciles are slow, two wait for nothing but rollbacks and suspensions."""


def main() -> None:
    """Entry point of the command relay-operator, and of relay-operator release."""
    if sys.argv[1:2] == ["release"]:
        sys.exit(release.run(sys.argv[2:]))
    settings = Settings()
    try:
        tiers = read_tiers(settings.tiers_file)
    except TiersUnusable as error:
        sys.exit(f"relay-operator cannot start: {error}")
    _set_up_logging(settings.log_format)
    spare_collections()
    uvloop.run(_run(settings, tiers))


def spare_collections() -> None:
    """Keeps the search for cycles from looking through what Prometheus answers, over and over.

    An answer is some hundred thousand objects that live for a moment and form no cycle; a search after every 700 of them, as
    Python has it, takes 40 % of what it costs to watch 1,000 canaries (bench/slo). What is loaded stays for good.
    """
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    gc.freeze()


async def _run(settings: Settings, tiers: Tiers) -> None:
    api = await KubernetesApiServer.connect()
    relays = Relays(timeout_seconds=settings.push_timeout_seconds)
    prometheus = _prometheus(settings)
    try:
        await _operate(settings, tiers, api, relays, prometheus)
    finally:
        if prometheus is not None:
            prometheus.close()
        await relays.close()
        await api.close()


async def _operate(
    settings: Settings,
    tiers: Tiers,
    api: ApiServer,
    relays: Relays,
    prometheus: Prometheus | None,
) -> None:
    key = await key_secrets.signing_key(api, namespace=settings.namespace)
    watched_state, queue, children, status = (
        WatchedState(tiers=tiers),
        WorkQueue(),
        OwnedObjects(api),
        StatusWriter(api),
    )
    announcer = EventRecorder(api, instance=socket.gethostname())
    publisher = DocumentPublisher(
        relays=relays, children=children, watched_state=watched_state, signing_key=key
    )
    canaries = CanaryRuns(
        evidence=Evidence(scrape_seconds=settings.prometheus_scrape_seconds),
        budget=Budget(settings.canaries_at_once),
    )
    webhook, key_versions = _webhook(settings), SecretVersions()
    isolation = IsolationRecords(
        watched_state=watched_state,
        is_required=settings.isolation_required,
        period_seconds=settings.isolation_probe_seconds,
        clock=time.time,
    )
    REGISTRY.register(
        StateCollector(watched_state=watched_state, canaries=canaries, isolation=isolation)
    )
    provider_probes = ProviderProbes(
        relays=relays,
        publisher=publisher,
        watched_state=watched_state,
        queue=queue,
        period_seconds=settings.provider_probe_seconds,
        clock=time.time,
    )
    workers = Workers(
        queue=queue,
        tenants=TenantReconciler(
            api=api,
            watched_state=watched_state,
            children=children,
            publisher=publisher,
            status=status,
            announcer=announcer,
            queue=queue,
            access=UpstreamAccess(
                api=api,
                watched_state=watched_state,
                signing_key=key,
                operator_namespace=settings.namespace,
            ),
            isolation=isolation,
            key_versions=key_versions,
            platform=_platform(settings, key_secrets.public_key_text(key)),
            signing_key=key,
            clock=time.time,
        ),
        providers=ProviderReconciler(
            api=api,
            watched_state=watched_state,
            status=status,
            announcer=announcer,
            queue=queue,
            clock=time.time,
            operator_namespace=settings.namespace,
            cluster_cidrs=split(settings.cluster_cidrs),
            probes=provider_probes,
        ),
        routes=RouteReconciler(
            watched_state=watched_state,
            canaries=canaries,
            publisher=publisher,
            status=status,
            announcer=announcer,
            queue=queue,
            clock=time.time,
            webhook=webhook,
        ),
        watched_state=watched_state,
        resync_seconds=settings.resync_seconds,
    )
    moves = CanaryMoves(canaries=canaries, publisher=publisher, queue=queue, clock=time.time)
    loop = SloLoop(
        canaries=canaries,
        prometheus=prometheus,
        moves=moves,
        watched_state=watched_state,
        tick_seconds=settings.tick_seconds,
        clock=time.time,
    )
    breakers = BreakerWatch(
        canaries=canaries,
        relays=relays,
        moves=moves,
        watched_state=watched_state,
        tick_seconds=settings.tick_seconds,
        clock=time.time,
    )
    preflights = PreflightWatch(
        canaries=canaries,
        relays=relays,
        moves=moves,
        publisher=publisher,
        watched_state=watched_state,
        tick_seconds=settings.tick_seconds,
        clock=time.time,
    )
    shadows = ShadowWatch(
        canaries=canaries,
        prometheus=prometheus,
        moves=moves,
        watched_state=watched_state,
        scrape_seconds=settings.prometheus_scrape_seconds,
        tick_seconds=settings.tick_seconds,
    )
    decoy = Decoy()
    probes = Probes(signing_key=key, decoy=decoy)
    isolation_watch = IsolationWatch(
        records=isolation,
        prober=Prober(
            api=api,
            connections=probes,
            watched_state=watched_state,
            operator=_operator(settings),
        ),
        publisher=publisher,
        watched_state=watched_state,
        queue=queue,
        clock=time.time,
    )
    context = Context(watched_state=watched_state, queue=queue, children=children)
    lost = LostDeletions(api=api, context=context, period_seconds=settings.resync_seconds)
    checks = SecretChecks(
        api=api,
        context=context,
        period_seconds=settings.secret_check_seconds,
        operator_namespace=settings.namespace,
    )
    services = ServiceChecks(
        api=api, context=context, period_seconds=settings.service_check_seconds
    )
    provider_secrets = ProviderSecretWatch(
        api=api, context=context, operator_namespace=settings.namespace
    )
    background = {
        "slo-loop": loop.run(),
        "breaker-watch": breakers.run(),
        "preflight-watch": preflights.run(),
        "shadow-watch": shadows.run(),
        "isolation-watch": isolation_watch.run(),
        "isolation-decoy": decoy.run(),
        "lost-deletions": lost.run(),
        "secret-checks": checks.run(),
        "provider-secret-watch": provider_secrets.run(),
        "provider-probes": provider_probes.run(),
        "service-checks": services.run(),
        "secret-watch": SecretWatch(api=api, context=context, versions=key_versions).run(),
    }
    if webhook is not None:
        background["webhook"] = webhook.run()
    try:
        await _serve(settings, context, workers, background)
    finally:
        await probes.close()


async def _serve(
    settings: Settings,
    context: Context,
    workers: Workers,
    background: Mapping[str, Coroutine[Any, Any, None]],
) -> None:
    """Runs kopf's watches beside our tasks, which start first: kopf cancels every task that started after it."""
    ready = asyncio.Event()
    tasks = [
        asyncio.create_task(workers.run(), name=f"worker-{n}") for n in range(settings.workers)
    ]
    tasks += [
        asyncio.create_task(workers.run(Urgency.URGENT), name=f"urgent-worker-{n}")
        for n in range(_URGENT_WORKERS)
    ]
    tasks += [asyncio.create_task(run, name=name) for name, run in background.items()]
    endpoint = OperatorEndpoint(
        pods=context.watched_state.all_relay_pods,
        ailment=lambda: _stopped(tasks) or workers.stuck(),
        ready=ready,
        port=settings.port,
    )
    await endpoint.start()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    registry = kopf.OperatorRegistry()
    login.register(registry)
    initial_list.register(registry)
    parent_handlers.register(registry)
    child_handlers.register(registry)
    kopf_settings = kopf.OperatorSettings()
    configure(kopf_settings)
    watching = asyncio.create_task(
        kopf.operator(
            registry=registry,
            settings=kopf_settings,
            memo=context,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            ready_flag=ready,
        )
    )
    ended = asyncio.create_task(_first_failure(tasks))
    done, _ = await asyncio.wait([watching, ended], return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await asyncio.gather(watching, return_exceptions=True)
    for task in [*tasks, ended]:
        task.cancel()
    await asyncio.gather(*tasks, ended, return_exceptions=True)
    await endpoint.stop()
    for task in done:
        task.result()


def _stopped(tasks: list[asyncio.Task[None]]) -> str:
    ended = next((task.get_name() for task in tasks if task.done()), "")
    return f"the task {ended} of the operator has stopped" if ended else ""


async def _first_failure(tasks: list[asyncio.Task[None]]) -> None:
    """Raises the error of the first task that ends: without one of its parts the process is better restarted."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


def _platform(settings: Settings, public_keys: str) -> Platform:
    return Platform(
        operator_namespace=settings.namespace,
        service_account=settings.service_account,
        tenant_cluster_role=settings.tenant_cluster_role,
        relay_image=settings.relay_image,
        relay_image_pull_policy=settings.relay_image_pull_policy,
        public_keys=public_keys,
        operator_pods=labels(settings.pod_selector),
        prometheus_namespace=settings.prometheus_namespace,
        prometheus_pods=labels(settings.prometheus_pod_selector),
        dns_namespace=settings.dns_namespace,
        dns_cidrs=split(settings.dns_cidrs),
        cluster_cidrs=split(settings.cluster_cidrs),
        drain_seconds=settings.drain_seconds,
        rollout_seconds=settings.rollout_seconds,
        rollouts_at_once=settings.rollouts_at_once,
    )


def _operator(settings: Settings) -> Operator:
    host, port = settings.api_server_host, settings.api_server_port
    return Operator(
        namespace=settings.namespace,
        addresses=split(settings.pod_ips),
        api_server=(host, port) if host else None,
    )


def _prometheus(settings: Settings) -> Prometheus | None:
    if not settings.prometheus_url:
        logger.warning(
            "no Prometheus is configured: nothing is measured, and no canary is raised or promoted",
            extra={"setting": "OPERATOR_PROMETHEUS_URL"},
        )
        return None
    access = Access(
        url=settings.prometheus_url,
        ca_file=settings.prometheus_ca_file,
        certificate_file=settings.prometheus_certificate_file,
        key_file=settings.prometheus_key_file,
        token_file=settings.prometheus_token_file,
        username_file=settings.prometheus_username_file,
        password_file=settings.prometheus_password_file,
        headers=settings.prometheus_headers,
    )
    labels = Labels(
        job=settings.prometheus_job,
        job_label=settings.prometheus_job_label,
        namespace_label=settings.prometheus_namespace_label,
        pod_label=settings.prometheus_pod_label,
    )
    return Prometheus(access, labels=labels)


def _webhook(settings: Settings) -> Webhook | None:
    if not settings.webhook_url:
        return None
    return Webhook(
        Receiver(
            url=settings.webhook_url,
            secret_file=settings.webhook_secret_file,
            ca_file=settings.webhook_ca_file,
        )
    )


def _set_up_logging(log_format: str) -> None:
    handler = logging.StreamHandler(sys.stderr)
    if log_format == "json":
        fields = "%(asctime)s %(levelname)s %(name)s %(message)s"
        names_ = {"asctime": "time", "levelname": "level", "name": "logger"}
        handler.setFormatter(JsonFormatter(fields, rename_fields=names_))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # kopf logs whole bodies at DEBUG and every patch at INFO; httpx every request
    for noisy in ("kopf", "httpx", "aiohttp"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


if __name__ == "__main__":
    main()
