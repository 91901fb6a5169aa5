"""kubectl lists, explains, watches and waits for the custom resources as for the cluster's own."""

import json
import subprocess
from collections.abc import Iterator

import pytest
from tests.cluster.session.clients import Client
from tests.contract.kinds import LEAST
from tests.contract.test_custom_resources import API_VERSION
from tests.ecosystem import kinds

KINDS = tuple(sorted(kind.lower() for kind in kinds.defined()))
SHORT = {
    "rtenant": "tenant",
    "rprovider": "provider",
    "rroute": "relayroute",
    "rtools": "toolserver",
    "rprices": "pricelist",
}


@pytest.fixture
def one_of_each(kubectl: Client, crds: None, namespace: str) -> Iterator[str]:
    """Creates an object of each kind; returns the namespace of the route."""
    for kind, spec in LEAST.items():
        metadata = {"name": "seen"} | ({"namespace": namespace} if kind == "RelayRoute" else {})
        kubectl.apply({"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec})
    yield namespace
    of_cluster = [f"{kind}/seen" for kind in KINDS if kind != "relayroute"]
    kubectl("delete", *of_cluster, "--wait=false")


def test_one_command_lists_all_kinds_and_each_has_a_short_name(
    kubectl: Client, one_of_each: str
) -> None:
    group = "relay-operator.dev"
    listed = kubectl("get", "relay", "-A", "-o", "name").split()
    assert {f"{kind}.{group}/seen" for kind in KINDS} <= set(listed)
    assert sorted(SHORT.values()) == sorted(KINDS)
    for short, kind in SHORT.items():
        found = kubectl("get", short, "seen", "-n", one_of_each, "-o", "name")
        assert found.strip() == f"{kind}.{group}/seen"


def test_a_condition_is_waited_for_and_a_change_is_watched(
    kubectl: Client, one_of_each: str
) -> None:
    place = ("relayroute/seen", "-n", one_of_each)
    watch = subprocess.Popen(
        [str(kubectl.program), "get", *place, "-w"],
        env=kubectl.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    with watch:
        assert watch.stdout is not None
        lines = [watch.stdout.readline(), watch.stdout.readline()]
        now = "2026-11-26T12:00:00Z"
        ready = {"type": "Ready", "status": "True", "reason": "Healthy", "message": "m"}
        conditions = [ready | {"lastTransitionTime": now}]
        # a condition of an older generation than the spec's is not waited for
        status = {"phase": "Baking", "observedGeneration": 1, "conditions": conditions}
        patch = json.dumps({"status": status})
        kubectl("patch", *place, "--subresource=status", "--type=merge", "-p", patch)
        lines.append(watch.stdout.readline())
        watch.terminate()
    assert lines[0].split()[:4] == ["NAME", "PHASE", "CANARY", "WEIGHT"]
    assert lines[2].split()[:2] == ["seen", "Baking"]
    kubectl("wait", *place, "--for=condition=Ready", "--timeout=30s")


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_explains_every_field(kubectl: Client, crds: None, kind: str) -> None:
    assert set(LEAST) == set(kinds.defined())
    for part in ("spec", "status"):
        told = kubectl("explain", f"{kind}.{part}", "--recursive")
        assert "DESCRIPTION:" in told
        # explain says this of what it knows nothing about
        assert "<empty>" not in told
