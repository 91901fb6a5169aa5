"""A release whose PodMonitors and PrometheusRule a Prometheus operator has taken: what its Prometheus makes of them."""

import json
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

import yaml
from tests.cluster import cluster_records
from tests.demo import ledger_volume, stage
from tests.demo.commands import Cluster
from tests.demo.view.api_proxy import ApiProxy

KINDS: Final = ("podmonitors", "prometheusrules")
STRANGER: Final = "stranger"
_OF_A_TARGET: Final = frozenset({"job", "namespace", "pod", "container", "instance"})
_OF_A_RELAY: Final = _OF_A_TARGET | {"pod_uid", "tenant"}
TARGETS: Final = {
    "relays-slo": ("/metrics/slo", _OF_A_RELAY),
    "relays": ("/metrics", _OF_A_RELAY),
    "relay-operator": ("/metrics", _OF_A_TARGET | {"endpoint"}),
    "relay-ledger": ("/metrics", _OF_A_TARGET | {"endpoint"}),
}
"""Path and labels of each job's targets."""
_BOUNDS: Final = {
    "sampleLimit": "sample_limit",
    "labelLimit": "label_limit",
    "labelValueLengthLimit": "label_value_length_limit",
    "bodySizeLimit": "body_size_limit",
}
"""How Prometheus calls what bounds a pod in a PodMonitor."""
Object = dict[str, Any]
Pods = set[tuple[str, str]]


def make_ledger_volume(cluster: Cluster) -> None:
    """Makes the volume of a ledger in a directory that goes with the embedded cluster."""
    record = cluster_records.read(cluster.name)
    assert record is not None
    directory = record.directory / "relay-ledger"
    ledger_volume.make(cluster, stage.LEDGER_VOLUME, directory=directory)


@dataclass(frozen=True, slots=True)
class Monitored:
    """A release with a ledger and a tenant finance, and the Prometheus that is configured by what it made."""

    cluster: Cluster
    prometheus: ApiProxy
    release: str
    namespace: str

    def not_accepted(self) -> list[str]:
        """Names PodMonitors and rules that the Prometheus operator has not said to take, with what it says."""
        made = [one for kind in KINDS for one in self._made(kind)]
        assert len({one["kind"] for one in made}) == len(KINDS), made
        found = [
            (f"{one['kind']} {one['metadata']['name']}", one.get("status", {}).get("bindings", []))
            for one in made
        ]
        return [
            f"{what}: {bindings}"
            for what, bindings in found
            if [one["status"] for binding in bindings for one in binding["conditions"]] != ["True"]
        ]

    def unbounded_jobs(self) -> list[str]:
        """Names PodMonitors whose jobs in the running configuration lack one of their bounds, or believe what a pod says and should not."""
        told = yaml.safe_load(self.prometheus.told("status/config")["yaml"])
        jobs = {one["job_name"]: one for one in told["scrape_configs"]}
        return [
            one["metadata"]["name"]
            for one in self._made("podmonitors")
            if not _is_bounded(one["spec"], jobs[_job(one)])
        ]

    def wrong_targets(self) -> list[str]:
        """Says which pods are not scraped, or are and should not be, or not under the path and labels of their job."""
        active = self.prometheus.told("targets?state=active")["activeTargets"]
        wanted = {(job, *pod) for job, pods in self._pods().items() for pod in pods}
        scraped = {tuple(one["labels"].get(name, "") for name in _NAMES) for one in active}
        return [
            *(f"not scraped: {one}" for one in sorted(wanted - scraped)),
            *(f"scraped: {one}" for one in sorted(scraped - wanted)),
            *filter(None, map(_fault, active)),
        ]

    def start_stranger(self) -> None:
        """Starts a pod in a namespace that is no tenant's, with the labels and the port of a relay."""
        [relay, *_] = self.cluster.get("pods", "-n", "relay-finance")["items"]
        container = {
            "name": "main",
            "image": "relay-operator:dev",
            "imagePullPolicy": "Never",
            "command": ["python3", "-c", "import time; time.sleep(100000)"],
            "ports": [port for one in relay["spec"]["containers"] for port in one.get("ports", ())],
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": STRANGER, "labels": relay["metadata"]["labels"]},
            "spec": {"terminationGracePeriodSeconds": 0, "containers": [container]},
        }
        # the chart's admission policy refuses these labels to all others
        self.cluster.break_glass("apply", "-n", "default", "-f", "-", stdin=json.dumps(pod))

    def is_stranger_left_out(self) -> bool:
        """Tells whether Prometheus knows that pod and does not scrape it."""
        told = self.prometheus.told("targets?state=dropped")["droppedTargets"]
        dropped = [
            one
            for one in told
            if one["discoveredLabels"].get("__meta_kubernetes_pod_name") == STRANGER
        ]
        return {one["discoveredLabels"]["job"] for one in dropped} >= {
            _job(one)
            for one in self._made("podmonitors")
            if "any" in one["spec"]["namespaceSelector"]
        }

    def unevaluated_rules(self) -> list[str]:
        """Names rules of the release that Prometheus does not have, or could not evaluate."""
        told = {
            rule["name"]: rule["health"]
            for group in self.prometheus.told("rules")["groups"]
            for rule in group["rules"]
        }
        made = [
            rule["alert"]
            for one in self._made("prometheusrules")
            for group in one["spec"]["groups"]
            for rule in group["rules"]
        ]
        assert made
        return [f"{name}: {told.get(name)}" for name in made if told.get(name) != "ok"]

    def firing(self) -> set[tuple[str, str, str]]:
        """Returns name, namespace and route of each alert that fires."""
        return {
            (labels["alertname"], labels.get("namespace", ""), labels.get("route", ""))
            for one in self.prometheus.told("alerts")["alerts"]
            if one["state"] == "firing"
            for labels in (one["labels"],)
        }

    def _made(self, kind: str) -> list[Object]:
        found: list[Object] = self.cluster.get(kind, "-n", self.namespace)["items"]
        return found

    def _pods(self) -> dict[str, Pods]:
        """Returns the pods of each job, told from where they are and how they are called, not from labels."""
        relays = self._in("relay-finance")
        own = self._in(self.namespace)
        ledgers = {one for one in own if one[1].startswith(f"{self.release}-ledger-")}
        return {
            "relays-slo": relays,
            "relays": relays,
            "relay-operator": own - ledgers,
            "relay-ledger": ledgers,
        }

    def _in(self, namespace: str) -> Pods:
        """Returns the pods of Deployments: a pod without an owner is that of a trial."""
        pods = self.cluster.get("pods", "-n", namespace)["items"]
        owned = {one["metadata"]["name"] for one in pods if "ownerReferences" in one["metadata"]}
        assert owned, namespace
        return {(namespace, name) for name in owned}


_NAMES: Final = ("job", "namespace", "pod")


def _job(monitor: Object) -> str:
    """Returns the name of the job that the Prometheus operator makes of a PodMonitor with one endpoint."""
    metadata = monitor["metadata"]
    return f"podMonitor/{metadata['namespace']}/{metadata['name']}/0"


def _is_bounded(spec: Object, job: Object) -> bool:
    [endpoint] = spec["podMetricsEndpoints"]
    bounds = {_BOUNDS[name] for name in _BOUNDS if name in spec}
    believed = endpoint.get("honorLabels", False), endpoint.get("honorTimestamps", True)
    return bounds <= job.keys() and believed == (
        job.get("honor_labels", False),
        job["honor_timestamps"],
    )


def _fault(target: Object) -> str:
    """Says what is wrong with a target, empty if nothing."""
    labels = target["labels"]
    path, names = TARGETS.get(labels["job"], ("", frozenset()))
    if target["health"] != "up":
        return f"{target['scrapeUrl']} is {target['health']}: {target['lastError']}"
    if urlsplit(target["scrapeUrl"]).path != path or labels.keys() != names:
        return f"{target['scrapeUrl']} has {labels}"
    return ""
