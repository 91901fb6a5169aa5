"""Installs what the demonstration needs: images, two simulated providers, Prometheus, and the chart by helm."""

import base64
import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.cluster.images import docker_engine
from tests.demo import ledger_volume
from tests.demo.commands import Cluster, DemoFailed

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = Path(__file__).resolve().parent / "manifests"
EXAMPLES = ROOT / "examples"
CHART = ROOT / "charts" / "relay-operator"
IMAGES = tuple(docker_engine.DOCKERFILES)
OPERATOR_NAMESPACE = "relay-system"
PROVIDERS = ("legacy", "holysheep")
KEYS_ARE_FOR = {"legacy": "legacy_billed_dearer_reached_rotors_shared_sink_steady_usual"}
"""The Providers that cluster tests make for the same simulated provider."""
LEDGER_VOLUME = "relay-demo-ledger"
LEDGER_VALUES: Mapping[str, object] = {
    "ledger.enabled": True,
    "ledger.database.sqlite": {"size": "1Gi", "storageClass": LEDGER_VOLUME},
    "ledger.outboxMebibytes": 16,
}
DRAIN_SECONDS = 20
CALLER_RATE = "--rate=80"
DOMAIN = "cluster.local"
"""DNS domain of the clusters that the manifests are for."""
PROMETHEUS_URL = f"http://prometheus.monitoring.svc.{DOMAIN}:9090"


def load_images(kind: Path, cluster: str) -> None:
    """Loads the images into the cluster's nodes."""
    for image in IMAGES:
        command = [str(kind), "load", "docker-image", image, "--name", cluster]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoFailed(f"{' '.join(command)}\n{done.stderr}")


def install(
    cluster: Cluster, *, dns_cidrs: tuple[str, ...], ledger_directory: Path | None = None
) -> None:
    """Installs providers, Prometheus and the operator, and the providers' keys in the operator's namespace.

    With a directory of the node it installs a ledger too, whose database is there.
    """
    cluster.kubectl(
        "apply", "-f", str(MANIFESTS / "providers.yaml"), "-f", str(MANIFESTS / "prometheus.yaml")
    )
    more: Mapping[str, object] = {}
    if ledger_directory is not None:
        ledger_volume.make(cluster, LEDGER_VOLUME, directory=ledger_directory)
        more = LEDGER_VALUES
    install_chart(cluster, dns_cidrs=dns_cidrs, more=more)
    install_provider_keys(cluster)
    for namespace, name in (
        ("providers", "legacy"),
        ("providers", "holysheep"),
        ("monitoring", "prometheus"),
    ):
        cluster.kubectl("rollout", "status", f"deployment/{name}", "-n", namespace, "--timeout=90s")


def install_provider_keys(cluster: Cluster, *, namespace: str = OPERATOR_NAMESPACE) -> None:
    """Puts the keys that the simulated providers take into the operator's namespace."""
    for provider in PROVIDERS:
        entries = {"api-key": f"provider-key-of-{provider}"}
        labels = {"relay-operator.dev/provider": KEYS_ARE_FOR.get(provider, provider)}
        _apply(cluster, _secret(f"{provider}-key", namespace, entries, labels))


def install_chart(
    cluster: Cluster,
    *,
    dns_cidrs: tuple[str, ...],
    prometheus_url: str = PROMETHEUS_URL,
    more: Mapping[str, object] | None = None,
) -> None:
    """Installs the chart as a user does, or upgrades it; more are values by their path."""
    others = [f"{path}={json.dumps(value)}" for path, value in (more or {}).items()]
    cluster.helm(
        "upgrade", "--install", "relay-operator", str(CHART),
        "--namespace", OPERATOR_NAMESPACE, "--create-namespace",
        "--set", "image.repository=relay-operator,image.tag=dev,image.pullPolicy=Never",
        "--set", f"prometheus.url={prometheus_url},prometheus.scrapeSeconds=1",
        "--set-json", f"dns.cidrs={json.dumps(dns_cidrs)}",
        "--set", f"relay.drainSeconds={DRAIN_SECONDS}",
        *(word for other in others for word in ("--set-json", other)),
        "--wait", "--timeout", "90s",
    )  # fmt: skip


def dns_server_cidrs(cluster: Cluster) -> tuple[str, ...]:
    """Returns the nodes' addresses if the cluster's DNS servers are not pods, else nothing."""
    pods = cluster.get("pods", "-n", "kube-system", "-l", "k8s-app=kube-dns")["items"]
    if pods:
        return ()
    nodes = cluster.get("nodes")["items"]
    addresses = [
        one["address"]
        for node in nodes
        for one in node["status"]["addresses"]
        if one["type"] == "InternalIP"
    ]
    return tuple(f"{address}/32" for address in addresses)


def start_caller(cluster: Cluster, *, domain: str = DOMAIN, arguments: Sequence[str] = ()) -> None:
    """Starts the tenant's application, which calls the relay with the key that the operator generated."""
    secret = cluster.get("secret", "relay-api-keys", "-n", "relay-finance")
    key = base64.b64decode(secret["data"]["production"]).decode()
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "web"}}
    _apply(cluster, namespace)
    _apply(cluster, _secret("finance-key", "web", {"production": key}))
    cluster.kubectl(
        "delete", "pod", "caller", "-n", "web", "--ignore-not-found", "--grace-period=1"
    )
    caller = (MANIFESTS / "caller.yaml").read_text().replace(DOMAIN, domain)
    caller = caller.replace(CALLER_RATE, ", ".join((CALLER_RATE, *arguments)))
    cluster.kubectl("apply", "-f", "-", stdin=caller)


def clear(cluster: Cluster) -> None:
    """Removes what an earlier demonstration left; the cluster and its images stay."""
    if "tenants.relay-operator.dev" not in cluster.kubectl("get", "crds", "-o", "name"):
        return
    cluster.kubectl(
        "delete", "pod", "caller", "-n", "web", "--ignore-not-found", "--grace-period=1"
    )
    cluster.kubectl("delete", "tenant", "finance", "--ignore-not-found", "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "namespace/relay-finance", "--timeout=90s")
    cluster.kubectl("delete", "providers.relay-operator.dev", "--all", "--timeout=60s")
    # images keep their tag when they change, so running pods must be restarted
    cluster.helm(
        "uninstall", "relay-operator", "-n", OPERATOR_NAMESPACE, "--ignore-not-found", "--wait"
    )
    cluster.kubectl("delete", "pods", "--all", "-n", "providers", "--grace-period=1")
    cluster.kubectl("delete", "pricelists.relay-operator.dev", "--all", "--timeout=60s")
    # the chart leaves what was booked; the next demonstration begins with nothing
    claim = ("pvc", "relay-operator-ledger", "-n", OPERATOR_NAMESPACE)
    cluster.kubectl("delete", *claim, "--ignore-not-found", "--timeout=60s")
    cluster.kubectl("delete", "pv", LEDGER_VOLUME, "--ignore-not-found", "--timeout=60s")


def _secret(
    name: str, namespace: str, entries: dict[str, str], labels: dict[str, str] | None = None
) -> dict[str, object]:
    metadata = {"name": name, "namespace": namespace, "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries}


def _apply(cluster: Cluster, manifest: Mapping[str, object]) -> None:
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))
