"""The process relay-operator: wires the parts and runs until told to stop."""

import asyncio
import gc
import logging
import os
import socket
import sys
import time
import uuid

import uvloop
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client import REGISTRY
from prometheus_client.registry import Collector

from relay_operator.api.shards import Shards
from relay_operator.api.tiers import Tiers
from relay_operator.cluster import key_secrets
from relay_operator.cluster.api_server import ApiServer, KubernetesApiServer
from relay_operator.cluster.leadership.elector import Elector
from relay_operator.cluster.leadership.fence import Brake, Fence, boot_seconds
from relay_operator.cluster.ledger.budget_client import BudgetClient
from relay_operator.cluster.ledger.client import LedgerClient
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.cluster.ledger.route_cost_client import RouteCostClient
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.cluster.metrics.loop_lag import LoopLag
from relay_operator.cluster.probing.decoy import Decoy
from relay_operator.cluster.probing.probes import Probes
from relay_operator.cluster.prometheus.access import Access
from relay_operator.cluster.prometheus.client import Prometheus
from relay_operator.cluster.prometheus.query import Labels
from relay_operator.cluster.relays import Relays
from relay_operator.cluster.tiers_file import read_tiers
from relay_operator.cluster.tools.tool_lists import ToolLists
from relay_operator.cluster.webhook.sender import Receiver, Webhook
from relay_operator.commands import command_line
from relay_operator.errors import OperatorError
from relay_operator.manifests.environment import Ledger, Platform
from relay_operator.process import definitions, logs, requirements
from relay_operator.process.life import Life, obey
from relay_operator.process.parts import Clocks, Outside, Parts
from relay_operator.process.waiting import waiting
from relay_operator.reconcile.isolation.prober import Operator
from relay_operator.reconcile.metrics.queue_collector import QueueCollector
from relay_operator.reconcile.metrics.state_collector import StateCollector
from relay_operator.settings import Settings, labels, split

logger = logging.getLogger(__name__)

_YOUNG_OBJECTS = 50_000
"""Some megabytes."""


def main() -> None:
    """Entry point of the command relay-operator: operates, or executes one of its commands."""
    command = command_line.parse(sys.argv[1:])
    if command is not None:
        sys.exit(command_line.execute(command))
    try:
        settings = command_line.settings()
        tiers = read_tiers(settings.tiers_file)
        shards = Shards.read(settings.shard, settings.shards)
    except OperatorError as error:
        sys.stderr.write(f"relay-operator cannot start: {error}\n")
        sys.exit(command_line.WRONGLY_CALLED)
    logs.set_up(settings.log_format)
    if unknown := command_line.unknown(os.environ):
        logger.warning("variables that are no settings have no effect", extra={"names": unknown})
    spare_collections()
    try:
        uvloop.run(_run(settings, tiers, shards))
    except OperatorError as error:
        logger.critical("the operator ends", extra={"why": str(error)})
        sys.exit(command_line.NOT_DONE)


def spare_collections() -> None:
    """Keeps the search for cycles from looking through what Prometheus answers, over and over.

    An answer is some hundred thousand objects that live for a moment and form no cycle; a search after every 700 of them, as
    Python has it, takes 40 % of what it costs to watch 1,000 canaries (bench/slo). What is loaded stays for good.
    """
    gc.set_threshold(_YOUNG_OBJECTS, 10, 10)
    gc.freeze()


async def _run(settings: Settings, tiers: Tiers, shards: Shards) -> None:
    """Lives until told to end: a lead that is lost is lost with everything that was known in it."""
    stop = asyncio.Event()
    obey(stop)
    # connections of their own, so that nothing queues before a renewal
    traffic = ApiTraffic()
    api, lease_api = (
        await KubernetesApiServer.connect(traffic),
        await KubernetesApiServer.connect(traffic),
    )
    prometheus = _prometheus(settings)
    measuring = asyncio.create_task(LoopLag(traffic).run(), name="loop-lag")
    telling = asyncio.create_task(logs.tell_repeated(), name="repeated-lines")
    is_first = True
    try:
        while not stop.is_set():
            async with waiting(settings.port):
                if not await requirements.are_met(api, stop=stop):
                    break
                await definitions.compare(api.published_schemas)
            await _live(
                settings,
                tiers,
                shards,
                api,
                lease_api,
                traffic,
                prometheus,
                stop,
                stands_back=not is_first,
            )
            is_first = False
    finally:
        measuring.cancel()
        telling.cancel()
        if prometheus is not None:
            prometheus.close()
        await lease_api.close()
        await api.close()


async def _live(
    settings: Settings,
    tiers: Tiers,
    shards: Shards,
    api: KubernetesApiServer,
    lease_api: ApiServer,
    traffic: ApiTraffic,
    prometheus: Prometheus | None,
    stop: asyncio.Event,
    *,
    stands_back: bool,
) -> None:
    elector = Elector(
        lease_api,
        namespace=settings.namespace,
        identity=f"{socket.gethostname()}_{uuid.uuid4()}",
        lease_seconds=settings.lease_seconds,
        shard=settings.shard,
    )
    relays = Relays(
        timeout_seconds=settings.push_timeout_seconds, fence=elector, brake=Brake(elector)
    )
    electing = asyncio.create_task(elector.run(stands_back=stands_back), name="elector")
    try:
        fenced = api.fenced(elector)
        async with waiting(settings.port):
            key = await key_secrets.settled_signing_key(
                fenced, namespace=settings.namespace, may_make=elector.won.is_set, stop=stop
            )
        if key is not None:
            await _operate(
                settings,
                tiers,
                shards,
                fenced,
                traffic,
                relays,
                prometheus,
                key,
                elector,
                electing,
                stop,
            )
    finally:
        electing.cancel()
        await asyncio.gather(electing, return_exceptions=True)
        await elector.end()
        await relays.close()


async def _operate(
    settings: Settings,
    tiers: Tiers,
    shards: Shards,
    api: ApiServer,
    traffic: ApiTraffic,
    relays: Relays,
    prometheus: Prometheus | None,
    key: Ed25519PrivateKey,
    elector: Elector,
    electing: asyncio.Task[None],
    stop: asyncio.Event,
) -> None:
    ledger_keys = KeyFile(settings.ledger_keys_file) if settings.ledger_url else None
    webhook, decoy = _webhook(settings, elector), Decoy()
    probes = Probes(signing_key=key, decoy=decoy)
    parts = Parts(
        Outside(
            api=api,
            relays=relays,
            lead=elector,
            clock_ahead_seconds=lambda: elector.clock_ahead_seconds,
            clocks=Clocks(monotonic=time.monotonic, boot=boot_seconds, wall=time.time),
            signing_key=key,
            platform=_platform(settings, key_secrets.public_key_text(key)),
            operator=_operator(settings),
            tiers=tiers,
            shards=shards,
            instance=socket.gethostname(),
            connections=probes,
            tool_lists=ToolLists(cluster_cidrs=settings.closed_addresses),
            prometheus=prometheus,
            webhook=webhook,
            ledger_keys=ledger_keys,
            prices=LedgerClient(settings.ledger_url, ledger_keys) if ledger_keys else None,
            budgets=BudgetClient(settings.ledger_url, ledger_keys) if ledger_keys else None,
            costs=RouteCostClient(settings.ledger_url, ledger_keys) if ledger_keys else None,
        ),
        settings,
    )
    collectors: list[Collector] = [
        StateCollector(
            watched_state=parts.watched_state,
            canaries=parts.canaries,
            isolation=parts.isolation,
            leads=lambda: elector.rest_seconds() > 0,
        ),
        QueueCollector(parts.queue, leads=lambda: elector.rest_seconds() > 0),
    ]
    for collector in collectors:
        REGISTRY.register(collector)
    acting = parts.acting()
    if webhook is not None:
        acting["webhook"] = webhook.run()
    life = Life(
        settings=settings,
        api=parts.api,
        traffic=traffic,
        context=parts.context,
        lost=parts.lost_deletions,
        workers=parts.workers,
        elector=elector,
        electing=electing,
        stop=stop,
        confirm=lambda: key_secrets.is_signing_key(parts.api, key, namespace=settings.namespace),
    )
    try:
        await life.run(acting, {"isolation-decoy": decoy.run()})
    finally:
        for collector in collectors:
            REGISTRY.unregister(collector)
        await probes.close()


def _platform(settings: Settings, public_keys: str) -> Platform:
    return Platform(
        operator_namespace=settings.namespace,
        service_account=settings.service_account,
        tenant_cluster_role=settings.tenant_cluster_role,
        relay_image=settings.relay_image,
        relay_image_pull_policy=settings.relay_image_pull_policy,
        image_pull_secrets=split(settings.image_pull_secrets),
        public_keys=public_keys,
        operator_pods=labels(settings.pod_selector),
        prometheus_namespace=settings.prometheus_namespace,
        prometheus_pods=labels(settings.prometheus_pod_selector),
        dns_namespace=settings.dns_namespace,
        dns_pods=labels(settings.dns_pod_selector),
        dns_cidrs=split(settings.dns_cidrs),
        dns_nameservers=split(settings.dns_nameservers),
        cluster_cidrs=settings.closed_addresses,
        drain_seconds=settings.drain_seconds,
        rollout_seconds=settings.rollout_seconds,
        rollouts_at_once=settings.rollouts_at_once,
        ledger=_ledger(settings),
    )


def _ledger(settings: Settings) -> Ledger | None:
    if not settings.ledger_url:
        return None
    return Ledger(
        url=settings.ledger_url,
        pods=labels(settings.ledger_pod_selector),
        outbox_mebibytes=settings.outbox_mebibytes,
        tool_call_mebibytes=settings.tool_call_mebibytes,
        outbox_when_full=settings.outbox_when_full,
        outbox_drain_seconds=settings.outbox_drain_seconds,
    )


def _operator(settings: Settings) -> Operator:
    host, port = settings.api_server_host, settings.api_server_port
    return Operator(
        namespace=settings.namespace,
        addresses=split(settings.pod_ips),
        api_server=(host, port) if host else None,
        cluster_cidrs=split(settings.cluster_cidrs),
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


def _webhook(settings: Settings, fence: Fence) -> Webhook | None:
    if not settings.webhook_url:
        return None
    return Webhook(
        Receiver(
            url=settings.webhook_url,
            secret_file=settings.webhook_secret_file,
            ca_file=settings.webhook_ca_file,
            allowed_cidrs=split(settings.webhook_allowed_cidrs),
            cluster_cidrs=settings.closed_addresses,
        ),
        fence=fence,
    )


if __name__ == "__main__":
    main()
