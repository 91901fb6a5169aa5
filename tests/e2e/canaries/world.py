"""What stories share: providers, applications, tenants, and the ways to them."""

import base64
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster.session.clients import Client, port_forward
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e.canaries import objects
from tests.e2e.canaries.remote import Crowd, Fleet, SpoiltPrometheus
from tests.e2e.canaries.timeline import Timeline, followed

SPOILT_URL = "http://spoilt.monitoring.svc.cluster.local:9090"


@dataclass(frozen=True, slots=True)
class World:
    """The cluster with everything installed, and the control ports of the simulators."""

    cluster: Cluster
    timeline: Timeline
    fleet: Fleet
    crowd: Crowd
    prometheus: SpoiltPrometheus
    keys: Mapping[str, str]

    def lane(
        self, tenant: str, model: str, *, rate: float, stream_percent: int = 50
    ) -> dict[str, Any]:
        """Returns an application of a tenant that calls for a model."""
        return {
            "url": f"http://relay.relay-{tenant}.svc.cluster.local:8080/v1",
            "key": self.keys[tenant],
            "model": model,
            "rate": rate,
            "stream_percent": stream_percent,
        }

    def apply(self, *manifests: Mapping[str, Any]) -> None:
        """Applies these objects together."""
        apply(self.cluster, *manifests)


def apply(cluster: Cluster, *manifests: Mapping[str, Any]) -> None:
    """Applies objects with one command."""
    listed = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(listed))


@contextlib.contextmanager
def created(
    cluster: Cluster,
    home: Path,
    *,
    providers: Sequence[str],
    tenants: Mapping[str, int],
    dns_cidrs: tuple[str, ...],
) -> Iterator[World]:
    """Creates providers and tenants (by name, with their pods), and takes them away at the end of the block.

    The operator asks the Prometheus that can be spoilt meanwhile.
    """
    apply(
        cluster,
        *(objects.secret(name, stage.OPERATOR_NAMESPACE) for name in providers),
        *objects.fleet(providers),
        *objects.crowd(),
        *objects.spoilt_prometheus(),
        *(objects.provider(name, objects.FIRST_PORT + i) for i, name in enumerate(providers)),
        *(objects.tenant(name, replicas=replicas) for name, replicas in tenants.items()),
    )
    _rolled_out(cluster)
    stage.install_chart(cluster, dns_cidrs=dns_cidrs, prometheus_url=SPOILT_URL)
    try:
        with contextlib.ExitStack() as stack:
            yield _reached(cluster, home, tenants, stack)
    finally:
        _take_away(cluster, providers, tenants)
        stage.install_chart(cluster, dns_cidrs=dns_cidrs)


def _rolled_out(cluster: Cluster) -> None:
    for name, namespace in (("fleet", "providers"), ("crowd", "web"), ("spoilt", "monitoring")):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=90s")


def _reached(
    cluster: Cluster, home: Path, tenants: Mapping[str, int], stack: contextlib.ExitStack
) -> World:
    named = [f"tenant/{name}" for name in tenants]
    cluster.kubectl("wait", *named, "--for=condition=Ready", "--timeout=115s")
    client = Client(cluster.kubectl_path, cluster.kubeconfig, home)

    def forwarded(name: str, namespace: str) -> int:
        way = port_forward(client, f"service/{name}", objects.CONTROL_PORT, namespace=namespace)
        return stack.enter_context(way)

    return World(
        cluster=cluster,
        timeline=stack.enter_context(followed(cluster)),
        fleet=Fleet(forwarded("fleet", "providers")),
        crowd=Crowd(forwarded("crowd", "web")),
        prometheus=SpoiltPrometheus(forwarded("spoilt", "monitoring")),
        keys={name: _key(cluster, name) for name in tenants},
    )


def _key(cluster: Cluster, tenant: str) -> str:
    secret = cluster.get("secret", "relay-api-keys", "-n", f"relay-{tenant}")
    return base64.b64decode(secret["data"]["production"]).decode()


def _take_away(cluster: Cluster, providers: Sequence[str], tenants: Mapping[str, int]) -> None:
    gone = ("--ignore-not-found", "--wait=false")
    cluster.kubectl("delete", "tenants", *tenants, *gone)
    cluster.kubectl("delete", "providers.relay-operator.dev", *providers, *gone)
    for name, namespace in (("fleet", "providers"), ("crowd", "web"), ("spoilt", "monitoring")):
        cluster.kubectl("delete", "deployment,service", name, "-n", namespace, *gone)
    secrets = map(objects.secret_name, providers)
    cluster.kubectl("delete", "secret", *secrets, "-n", stage.OPERATOR_NAMESPACE, *gone)
    for name in tenants:
        cluster.kubectl("wait", "--for=delete", f"tenant/{name}", "--timeout=115s")
