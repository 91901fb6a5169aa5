"""A release of another name in another namespace and under another DNS domain, with default values: without Prometheus at first, then with one
that has jobs for it, then with one that the Prometheus operator runs by the chart's PodMonitors and PrometheusRule.

A cluster of its own, so that no other release is there, and no name ends in cluster.local.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cluster.session.provider import Provider
from tests.demo import stage, story
from tests.demo.commands import Cluster, wait_until
from tests.demo.providers import SimulatedProvider
from tests.demo.view.api_proxy import ApiProxy
from tests.e2e import monitored, notes
from tests.e2e.embedded_probes import kind
from tests.ecosystem import prometheus_operator

pytestmark = pytest.mark.embedded_only

RELEASE, SPACE = "gateway", "platform"
METRICS = f"{SPACE}-metrics"
DOMAIN = "k8s.example"
CONFIGURATION = f"""
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
kubeadmConfigPatches:
- |
  kind: ClusterConfiguration
  networking: {{dnsDomain: {DOMAIN}}}
"""
WHERE = (RELEASE, "--namespace", SPACE)
ROUTE = ("relayroute", "chat", "-n", "relay-finance")
NEXT = stage.EXAMPLES / "02-canary" / "next"
CHOSEN_BY = {"release": "stack"}
"""Labels by which a Prometheus chooses PodMonitors and rules: those that the chart kube-prometheus-stack takes, for a release of this name."""
UNMEASURED_SECONDS = 15.0
"""Longer than three of the canary's steps take (examples/02-canary)."""


@pytest.fixture(scope="module")
def fresh(
    cluster_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Creates a cluster that has two providers and nothing else."""
    name = f"other-{os.getpid()}"
    directory = tmp_path_factory.mktemp("other")
    config, settings = directory / "kubeconfig", directory / "cluster.yaml"
    settings.write_text(CONFIGURATION)
    kind(
        "create", "cluster", "--name", name, "--kubeconfig", str(config), "--config", str(settings)
    )
    try:
        made = Cluster(name, config, cluster_provider.kubectl, cluster_provider.helm)
        stage.load_images(cluster_provider.kind, name)
        made.kubectl("apply", "-f", str(stage.MANIFESTS / "providers.yaml"))
        yield made
    finally:
        kind("delete", "cluster", "--name", name)


def install(cluster: Cluster, *more: str) -> None:
    """Installs or upgrades the release with what its image and this cluster's DNS need, and nothing else but more."""
    cidrs = json.dumps(stage.dns_server_cidrs(cluster))
    cluster.helm(
        "upgrade", "--install", RELEASE, str(stage.CHART), "--namespace", SPACE, "--create-namespace",
        "--reset-then-reuse-values",
        "--set", "image.repository=relay-operator,image.tag=dev,image.pullPolicy=Never",
        "--set", f"network.clusterDomain={DOMAIN},prometheus.namespace={METRICS}",
        "--set-json", f"dns.cidrs={cidrs}",
        *more, "--wait", "--timeout", "110s",
    )  # fmt: skip


def install_prometheus(cluster: Cluster, directory: Path) -> None:
    """Installs the demonstration's Prometheus for this release, in a namespace of another name too."""
    text = (stage.MANIFESTS / "prometheus.yaml").read_text()
    for ours, others in (
        ("relay-operator.relay-system", f"{RELEASE}.{SPACE}"),
        ("relay-operator-pods.relay-system", f"{RELEASE}-pods.{SPACE}"),
        ("monitoring", METRICS),
        (stage.DOMAIN, DOMAIN),
    ):
        assert ours in text
        text = text.replace(ours, others)
    manifest = directory / "prometheus.yaml"
    manifest.write_text(text)
    cluster.kubectl("apply", "-f", str(manifest))


def status(cluster: Cluster) -> dict[str, Any]:
    found: dict[str, Any] = cluster.get(*ROUTE).get("status", {})
    return found


def condition(cluster: Cluster, type_: str) -> dict[str, str]:
    conditions: list[dict[str, str]] = status(cluster).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), {})


@pytest.mark.timeout(240)
def test_a_tenant_is_ready_and_served_without_prometheus(fresh: Cluster) -> None:
    install(fresh)
    stage.install_provider_keys(fresh, namespace=SPACE)
    first = stage.EXAMPLES / "01-first-tenant"
    for name in ("providers.yaml", "tenant.yaml"):
        fresh.kubectl("apply", "-f", str(first / name))
    fresh.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=60s")
    fresh.kubectl("apply", "-f", str(first / "route.yaml"))
    fresh.kubectl("wait", *ROUTE, "--for=condition=Ready", "--timeout=60s")
    url = fresh.get("provider", "legacy")["status"]["url"]
    assert f".providers.svc.{DOMAIN}:" in url, url
    stage.start_caller(fresh, domain=DOMAIN)
    wait_until(
        "a hundred answered calls",
        lambda: story.totals(fresh),
        lambda seen: seen.get("answered", 0) > 100,
        seconds=60,
    )
    seen = story.totals(fresh)
    assert (seen["failed"], seen["dropped"]) == (0, 0)


@pytest.mark.timeout(240)
def test_the_trial_of_the_release_succeeds_in_words_that_its_notes_have(fresh: Cluster) -> None:
    [trial] = [one for one in notes.commands(notes.of(fresh, WHERE)) if one[:2] == ["helm", "test"]]
    assert re.search(
        rf"TEST SUITE: +{RELEASE}-trial\n(?:.*\n)*?Phase: +Succeeded", fresh.helm(*trial[1:])
    )


@pytest.mark.timeout(120)
def test_a_canary_waits_at_its_first_step_and_says_why(fresh: Cluster) -> None:
    fresh.kubectl("apply", "-f", str(stage.EXAMPLES / "02-canary" / "climb.yaml"))
    wait_until(
        "the first step",
        lambda: status(fresh).get("weights", {}).get("canaryPercent"),
        (25).__eq__,
        seconds=30,
    )
    with pytest.raises(Exception, match="waited"):
        wait_until(
            "another step",
            lambda: status(fresh)["weights"]["canaryPercent"],
            (25).__ne__,
            seconds=UNMEASURED_SECONDS,
            every=1,
        )
    told = status(fresh)
    assert told["phase"] == "Progressing", told
    assert told["analysis"]["verdict"] == "Unmeasurable", told["analysis"]
    assert "prometheus.url" in told["analysis"]["message"], told["analysis"]


@pytest.mark.timeout(240)
def test_with_prometheus_it_is_promoted(fresh: Cluster, tmp_path: Path) -> None:
    install_prometheus(fresh, tmp_path)
    # what the notes say to whoever has none yet, in a checkout; this one's scrapes every second
    [upgrade] = [one for one in notes.commands(notes.of(fresh, WHERE)) if "upgrade" in one]
    assert f"prometheus.url=http://prometheus.{METRICS}.svc:9090" in upgrade
    assert (stage.ROOT / upgrade[3]).samefile(stage.CHART)
    upgrade[3] = str(stage.CHART)
    more = ("--set", "prometheus.scrapeSeconds=1", "--wait", "--timeout", "110s")
    fresh.helm(*upgrade[1:], *more)
    wait_until("the promotion", lambda: status(fresh).get("phase"), "Promoted".__eq__, seconds=120)
    seen = story.totals(fresh)
    assert (seen["failed"], seen["dropped"]) == (0, 0)
    fresh.kubectl("apply", "-f", str(NEXT / "adopt.yaml"))
    wait_until("the adoption", lambda: status(fresh).get("phase"), "Stable".__eq__, seconds=60)


@pytest.fixture(scope="module")
def stack(
    fresh: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[monitored.Monitored]:
    """Puts a Prometheus of the Prometheus operator in the place of the other one, and has the release make what that is configured by."""
    fresh.kubectl("delete", "deployment/prometheus", "service/prometheus", "-n", METRICS)
    prometheus_operator.install(fresh, tmp_path_factory.mktemp("stack"))
    monitored.make_ledger_volume(fresh)
    values = {
        "prometheus.url": f"http://{prometheus_operator.SERVICE}.{METRICS}.svc:9090",
        "podMonitors.enabled": True,
        "podMonitors.labels": CHOSEN_BY,
        "podMonitors.seconds": 10,
        "alerts.enabled": True,
        "alerts.objectLabels": CHOSEN_BY,
        **stage.LEDGER_VALUES,
    }
    words = [f"{path}={json.dumps(value)}" for path, value in values.items()]
    install(fresh, *(part for word in words for part in ("--set-json", word)))
    # after the release: its first configuration has all of it, while a later one takes the kubelet a minute
    prometheus_operator.run_prometheus(fresh, namespace=METRICS, selector=CHOSEN_BY)
    with ApiProxy(
        fresh, prometheus=f"{METRICS}/services/{prometheus_operator.SERVICE}:web"
    ) as proxy:
        yield monitored.Monitored(fresh, proxy, release=RELEASE, namespace=SPACE)


@pytest.mark.timeout(900)
def test_the_prometheus_operator_takes_every_pod_monitor_and_rule(
    stack: monitored.Monitored,
) -> None:
    wait_until("that it takes all", stack.not_accepted, [].__eq__, seconds=60)
    assert stack.unbounded_jobs() == []


@pytest.mark.timeout(180)
def test_every_pod_is_scraped_under_its_names_and_no_pod_of_a_stranger(
    stack: monitored.Monitored,
) -> None:
    stack.start_stranger()
    wait_until("a stranger left out", stack.is_stranger_left_out, bool, seconds=60)
    wait_until("every pod scraped", stack.wrong_targets, [].__eq__, seconds=90)
    # a label that a pod and its target have both would be called so
    assert [one for one in stack.prometheus.told("labels") if one.startswith("exported_")] == []


@pytest.mark.timeout(180)
def test_a_canary_is_measured_by_what_pod_monitors_scrape_and_a_broken_one_rolled_back(
    fresh: Cluster, stack: monitored.Monitored
) -> None:
    fresh.kubectl("wait", "tenant/finance", "--for=condition=Ready", "--timeout=60s")
    fresh.kubectl("apply", "-f", str(NEXT / "second.yaml"))
    wait_until(
        "a measured canary",
        lambda: condition(fresh, "AnalysisAvailable").get("status", ""),
        "True".__eq__,
        seconds=60,
    )
    SimulatedProvider(fresh, "legacy").behave(**story.FAULT)
    wait_until("the rollback", lambda: status(fresh).get("phase"), "RolledBack".__eq__, seconds=60)
    assert status(fresh)["weights"]["canaryPercent"] == 0
    assert condition(fresh, "Ready")["reason"]
    # by its limit, which Prometheus has the figures for, and not by a breaker of the relays
    assert condition(fresh, "WithinSLO")["reason"] == "SloBreach"


@pytest.mark.timeout(120)
def test_the_rules_are_evaluated_and_the_rollback_is_an_alert(stack: monitored.Monitored) -> None:
    wait_until("every rule evaluated", stack.unevaluated_rules, [].__eq__, seconds=60)
    wait_until(
        "the alert",
        stack.firing,
        lambda seen: ("RelayCanaryRolledBack", ROUTE[3], ROUTE[1]) in seen,
        seconds=60,
    )
