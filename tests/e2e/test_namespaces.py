"""Namespaces on the real cluster: created, adopted, retained, deleted and made again; and what ends at once with them."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import apply, becomes, condition

CALLERS = "applicants"
TENANTS = ("leaver", "settler", "keeper")
OURS = "deployments,services,configmaps,networkpolicies,rolebindings,poddisruptionbudgets,serviceaccounts"
LABELLED = ("-l", "app.kubernetes.io/managed-by=relay-operator")
SECONDS = 60.0
SOON_SECONDS = 8.0
"""For what takes a fraction of a second: CI runs this on a busy machine."""

# calls the relay over one connection as long as it is kept; prints when the outcome changes, and when the last call was served
_CALLS = """
import http.client, json, sys, time
connection, last, served = None, "", 0.0
while True:
    try:
        if connection is None:
            connection = http.client.HTTPConnection(sys.argv[1], 8080, timeout=1)
        connection.request("GET", "/v1/models", headers={"authorization": "Bearer " + sys.argv[2]})
        answer = connection.getresponse()
        answer.read()
        outcome = str(answer.status)
    except Exception:
        connection, outcome = None, "closed"
    if outcome == "200":
        served = time.time()
    if outcome != last:
        print(json.dumps([time.time(), served, outcome]), flush=True)
        last = outcome
    time.sleep(0.02)
"""


def spec(**fields: Any) -> dict[str, Any]:
    return {"network": {"allowFrom": [{"namespace": CALLERS}]}} | fields


SPECS = {
    "leaver": spec(),
    "settler": spec(namespacePolicy="Adopt"),
    "keeper": spec(deletionPolicy="Retain"),
}


def offer(cluster: Cluster, tenant: str) -> None:
    """Creates the tenant's namespace, ready to be adopted."""
    metadata = {
        "name": f"relay-{tenant}",
        "annotations": {"relay-operator.dev/tenant": tenant},
        "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
    }
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def key_of(cluster: Cluster, tenant: str) -> str:
    secret = cluster.get("secret", "relay-api-keys", "-n", f"relay-{tenant}")
    return base64.b64decode(secret["data"]["default"]).decode()


def start_caller(cluster: Cluster, tenant: str) -> None:
    host = f"relay.relay-{tenant}.svc.cluster.local"
    container = {
        "name": "caller",
        "image": "provider-simulator:dev",
        "imagePullPolicy": "Never",
        "command": ["python3", "-c", _CALLS, host, key_of(cluster, tenant)],
    }
    pod = {"containers": [container], "terminationGracePeriodSeconds": 0}
    metadata = {"name": f"caller-of-{tenant}", "namespace": CALLERS}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def outcomes(cluster: Cluster, tenant: str) -> list[tuple[float, float, str]]:
    """Returns when an outcome began, when the last call before it was served, and which it is."""
    try:
        printed = cluster.kubectl("logs", "-n", CALLERS, f"caller-of-{tenant}").splitlines()
    except DemoFailed:
        # its container is not there yet
        return []
    return [(at, served, outcome) for at, served, outcome in map(json.loads, printed)]


def first_refusal(cluster: Cluster, tenant: str, since: float) -> tuple[float, str]:
    """Waits until a caller is not served any more; returns after how many seconds it was served last, and what came then."""

    def refusals() -> list[tuple[float, str]]:
        seen = outcomes(cluster, tenant)
        return [(served, how) for at, served, how in seen if at > since and how != "200"]

    served, outcome = wait_until("a refusal", refusals, bool, seconds=SECONDS)[0]
    return served - since, outcome


@pytest.fixture(scope="module")
def settled(staged: Cluster) -> Iterator[Cluster]:
    """Creates three tenants, of which one adopts its namespace and one retains it, and callers of two."""
    staged.kubectl("create", "namespace", CALLERS)
    offer(staged, "settler")
    for tenant in TENANTS:
        apply(staged, "Tenant", tenant, SPECS[tenant])
    for tenant in TENANTS:
        staged.kubectl("wait", f"tenant/{tenant}", "--for=condition=Ready", "--timeout=90s")
    for tenant in ("leaver", "settler"):
        start_caller(staged, tenant)
    for tenant in ("leaver", "settler"):
        wait_until(
            f"an answer to the caller of {tenant}",
            lambda tenant=tenant: [how for _, _, how in outcomes(staged, tenant)],  # type: ignore[misc]
            lambda seen: "200" in seen,
            seconds=SECONDS,
            every=1.0,
        )
    yield staged
    staged.kubectl("delete", "tenant", *TENANTS, "--ignore-not-found", "--timeout=60s")
    spaces = [CALLERS, *(f"relay-{tenant}" for tenant in TENANTS)]
    staged.kubectl("delete", "namespace", *spaces, "--ignore-not-found", "--wait=false")


def nothing_of_ours(cluster: Cluster, tenant: str) -> None:
    """Waits until the garbage collector has taken what the operator made in a namespace that stays."""
    space = f"relay-{tenant}"
    wait_until(
        f"nothing of the operator in {space}",
        lambda: cluster.kubectl("get", OURS, "-n", space, *LABELLED, "-o", "name"),
        lambda seen: not seen.strip(),
        seconds=SECONDS,
        every=1.0,
    )
    metadata = cluster.get("namespace", space)["metadata"]
    assert "relay-operator.dev/tenant-uid" not in metadata.get("annotations", {})
    assert "app.kubernetes.io/managed-by" not in metadata["labels"]
    assert metadata["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.timeout(400)
def test_namespaces_over_the_lives_of_their_tenants(settled: Cluster) -> None:
    assert condition(settled, "tenant", "leaver", "NamespaceReady")["reason"] == "Owned"
    assert condition(settled, "tenant", "settler", "NamespaceReady")["reason"] == "Adopted"
    keys = {tenant: key_of(settled, tenant) for tenant in TENANTS}

    # callers that are taken away lose the connection that they have
    since = time.time()
    apply(settled, "Tenant", "settler", SPECS["settler"] | {"network": {"allowFrom": []}})
    seconds, how = first_refusal(settled, "settler", since)
    print(f"\nallowFrom taken away: the last call on an open connection after {seconds:.2f} s")
    assert (how, seconds < 2 * SOON_SECONDS) == ("closed", True)

    # the keys of tenants that go are refused before anything else goes
    since = time.time()
    settled.kubectl("delete", "tenant", *TENANTS, "--wait=false")
    seconds, how = first_refusal(settled, "leaver", since)
    print(f"\nTenant deleted: the last call with its key after {seconds:.2f} s, then {how}")
    assert (how, seconds < SOON_SECONDS) == ("401", True)
    settled.kubectl("wait", "--for=delete", *(f"tenant/{one}" for one in TENANTS), "--timeout=60s")

    # what stays, and what does not
    for tenant in ("settler", "keeper"):
        nothing_of_ours(settled, tenant)
    secrets = {
        tenant: settled.kubectl("get", "secrets", "-n", f"relay-{tenant}", "-o", "name").split()
        for tenant in ("settler", "keeper")
    }
    assert secrets == {"settler": [], "keeper": ["secret/relay-api-keys"]}
    settled.kubectl("wait", "--for=delete", "namespace/relay-leaver", "--timeout=90s")

    # one that is made again inherits nothing; one that was retained is taken back if it is let
    for tenant in ("leaver", "keeper"):
        apply(settled, "Tenant", tenant, spec())
    refused = becomes(settled, "tenant", "keeper", "NamespaceReady", "NamespaceConflict")
    assert "let the Tenant adopt it" in refused["message"]
    settled.kubectl("annotate", "namespace", "relay-keeper", "relay-operator.dev/tenant=keeper")
    apply(settled, "Tenant", "keeper", SPECS["settler"])
    becomes(settled, "tenant", "keeper", "NamespaceReady", "Adopted")
    for tenant in ("leaver", "keeper"):
        settled.kubectl("wait", f"tenant/{tenant}", "--for=condition=Ready", "--timeout=90s")
    assert key_of(settled, "leaver") != keys["leaver"]
    assert key_of(settled, "keeper") == keys["keeper"]

    # an entry of its own
    balanced = {
        "type": "LoadBalancer",
        "loadBalancerClass": "example.com/none",
        "loadBalancerSourceRanges": ["203.0.113.0/24"],
    }
    network = {"allowFrom": [{"namespace": CALLERS}], "service": balanced}
    apply(settled, "Tenant", "leaver", {"network": network})
    becomes(settled, "tenant", "leaver", "Ready", "Provisioning")
    address = '{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}'
    patch = ("--subresource=status", "--type=merge", "-p", address)
    settled.break_glass("patch", "service", "relay", "-n", "relay-leaver", *patch)
    becomes(settled, "tenant", "leaver", "Ready", "Available")
    endpoint = settled.get("tenant", "leaver")["status"]["endpoint"]
    assert endpoint == "http://192.0.2.7:8080/v1"
    apply(settled, "Tenant", "leaver", spec())
    wait_until(
        "the endpoint in the cluster",
        lambda: settled.get("tenant", "leaver")["status"]["endpoint"],
        lambda seen: seen == "http://relay.relay-leaver.svc:8080/v1",
        seconds=SECONDS,
    )
