"""On the real cluster: a key is rotated under 80 calls a second without a failed one, and revoked on every pod at once."""

import base64
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.demo.commands import Cluster, wait_until
from tests.e2e.test_memory import create, pod, provider
from tests.e2e.test_tenancy import apply, condition

from relay_operator.decisions.api_keys.in_force import digest_of

CLIENTS = Path(__file__).with_name("key_clients.py")
SPACE = "relay-rotor"
RATE = 80
REPLICAS = 2
OVERLAP_SECONDS = 60
SECONDS = 60.0
REVOKED_SECONDS = 10.0
"""Promised is one second (docs/api-keys.md has the figures); a busy machine may be late. Without the watch it would be up to 30."""
SPEC: dict[str, Any] = {
    "relay": {"replicas": REPLICAS},
    "apiKeys": [{"name": "web"}, {"name": "batch"}, {"name": "partner", "source": "Digest"}],
    "keyRotation": {"overlap": "1m"},
    "network": {"allowFrom": [{"namespace": "keyholders"}]},
}
PARTNERS = "key-that-the-platform-made"


@pytest.fixture(scope="module")
def rotor(staged: Cluster) -> Iterator[Cluster]:
    """Creates a tenant with two relay pods, and a pod of clients that may read the tenant's Secret of keys, and no other."""
    apply(staged, "Provider", "rotors", provider("legacy", "gpt-4.1"))
    apply(staged, "Tenant", "rotor", SPEC)
    create(staged, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "keyholders"}})
    put_digest(staged, partner=PARTNERS)
    for manifest in reader():
        create(staged, manifest)
    script = CLIENTS.read_text()
    relay = f"http://relay.{SPACE}.svc.cluster.local:8080/v1/chat/completions"
    secret = f"https://kubernetes.default.svc/api/v1/namespaces/{SPACE}/secrets/relay-api-keys"
    staged.kubectl("wait", "tenant/rotor", "--for=condition=Ready", "--timeout=90s")
    apply(staged, "RelayRoute", "chat", {"stable": {"provider": "rotors"}}, SPACE)
    ready = ("relayroute/chat", "-n", SPACE, "--for=condition=Ready", "--timeout=60s")
    staged.kubectl("wait", *ready)
    command = ["python3", "-c", script, "steady", secret, relay, str(RATE)]
    client = pod("steady", "keyholders", command)
    client["spec"] |= {"automountServiceAccountToken": True, "serviceAccountName": "client"}
    create(staged, client)
    staged.kubectl(
        "wait", "pod/steady", "-n", "keyholders", "--for=condition=Ready", "--timeout=60s"
    )
    yield staged
    for one in ("tenant/rotor", "namespace/keyholders", "provider.relay-operator.dev/rotors"):
        staged.kubectl("delete", one, "--wait=false")
    staged.kubectl("delete", "clusterrole,clusterrolebinding", "rotor-keys", "--wait=false")


def reader() -> list[dict[str, Any]]:
    """Returns the account of the clients, and its right to read the Secret of this name."""
    rbac, group = "rbac.authorization.k8s.io/v1", "rbac.authorization.k8s.io"
    secrets = {"resources": ["secrets"], "resourceNames": ["relay-api-keys"]}
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "client", "namespace": "keyholders"},
        },
        {
            "apiVersion": rbac,
            "kind": "ClusterRole",
            "metadata": {"name": "rotor-keys"},
            "rules": [{"apiGroups": [""], "verbs": ["get"], **secrets}],
        },
        {
            "apiVersion": rbac,
            "kind": "ClusterRoleBinding",
            "metadata": {"name": "rotor-keys"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "rotor-keys"},
            "subjects": [{"kind": "ServiceAccount", "name": "client", "namespace": "keyholders"}],
        },
    ]


def put_digest(cluster: Cluster, **keys: str) -> None:
    """Gives the digests of keys to the tenant, as the platform does: the keys themselves never reach the cluster."""
    metadata = {"name": "relay-api-key-digests", "namespace": SPACE}
    entries = {name: digest_of(key) for name, key in keys.items()}
    wait_until(
        "the tenant's namespace",
        lambda: cluster.kubectl("get", "namespace", SPACE, "--ignore-not-found"),
        bool,
        seconds=SECONDS,
    )
    create(
        cluster,
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries},
    )


def keys(cluster: Cluster) -> dict[str, str]:
    data = cluster.get("secret", "relay-api-keys", "-n", SPACE)["data"]
    return {name: base64.b64decode(value).decode() for name, value in data.items()}


def told(cluster: Cluster, name: str) -> dict[str, str]:
    """Returns what status tells of a key."""
    found: list[dict[str, str]] = cluster.get("tenant", "rotor")["status"]["keys"]
    return next(one for one in found if one["name"] == name)


def annotate(cluster: Cluster, action: str, value: str) -> None:
    annotation = f"relay-operator.dev/{action}={value}"
    cluster.kubectl("annotate", "--overwrite", "tenant", "rotor", annotation)


def report(cluster: Cluster, *, after: float) -> dict[str, Any]:
    """Returns the counts of the steady client, of later than that time and not before the first answer."""

    def last() -> dict[str, Any]:
        lines = cluster.kubectl("logs", "steady", "-n", "keyholders", "--tail=1").splitlines()
        return json.loads(lines[-1]) if lines else {}

    return wait_until(
        "a report of the client",
        last,
        lambda seen: seen.get("at", 0) > after and bool(seen["statuses"]),
        seconds=SECONDS,
        every=0.5,
    )


def pods(cluster: Cluster) -> list[str]:
    """Returns the addresses of the relay pods."""
    items = cluster.get("pods", "-n", SPACE, "-l", "app.kubernetes.io/name=relay")["items"]
    return [
        f"http://{one['status']['podIP']}:8080"
        for one in items
        if "deletionTimestamp" not in one["metadata"]
    ]


def seconds_until_refused(cluster: Cluster, key: str, edit: Callable[[], None]) -> list[float]:
    """Asks every relay pod with the key while it is taken away; returns how long each went on after the edit began."""
    command = [
        str(cluster.kubectl_path), "--kubeconfig", str(cluster.kubeconfig),
        "exec", "steady", "-n", "keyholders", "--",
        "python3", "-c", CLIENTS.read_text(), "refused", key, *pods(cluster),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as asking:
        assert asking.stdout is not None
        begun = asking.stdout.readline().strip()
        assert begun == "asking", begun
        start = time.time()
        edit()
        told = json.loads(asking.stdout.readline())
    return [at - start for at in told["refused"]]


@pytest.mark.timeout(300)
def test_a_key_is_rotated_under_80_calls_a_second_without_a_failed_one(rotor: Cluster) -> None:
    def no_call_failed(*, kinds: int) -> None:
        seen = report(rotor, after=time.time() + 1)
        assert seen["statuses"].keys() == {"200"}, seen
        assert len(seen["keys"]) == kinds, seen

    no_call_failed(kinds=1)
    first = keys(rotor)["web"]
    asked = time.time()
    annotate(rotor, "rotate-keys", told(rotor, "web")["id"])
    rotated = wait_until(
        "the rotation",
        lambda: keys(rotor),
        lambda seen: "web.previous" in seen,
        seconds=SECONDS,
        every=0.2,
    )
    print(f"rotated within {time.time() - asked:.2f} s of the annotation")
    assert (rotated["web.previous"], rotated["web"] != first) == (first, True)
    no_call_failed(kinds=2)
    wait_until(
        "the story",
        lambda: condition(rotor, "tenant", "rotor", "CredentialsReady").get("message", ""),
        lambda seen: "the key before it (web.previous) is accepted until" in seen,
        seconds=SECONDS,
    )
    # the overlap ends by itself, on every pod
    late = [at - OVERLAP_SECONDS for at in seconds_until_refused(rotor, first, lambda: None)]
    print(f"after the overlap refused after {late} s, begun {time.time() - asked:.0f} s ago")
    assert "web.previous" not in keys(rotor)
    no_call_failed(kinds=2)


def by_the_spec(cluster: Cluster) -> None:
    kept = [key for key in SPEC["apiKeys"] if key["name"] != "batch"]
    apply(cluster, "Tenant", "rotor", SPEC | {"apiKeys": kept})


def by_the_secret(cluster: Cluster) -> None:
    remove = '[{"op": "remove", "path": "/data/batch"}]'
    cluster.break_glass(
        "patch", "secret", "relay-api-keys", "-n", SPACE, "--type=json", "--patch", remove
    )


def by_an_annotation(cluster: Cluster) -> None:
    annotate(cluster, "revoke-keys", told(cluster, "batch")["id"])


@pytest.mark.timeout(180)
@pytest.mark.parametrize("edit", [by_the_secret, by_an_annotation, by_the_spec])
def test_a_key_that_is_taken_away_is_refused_by_every_pod_at_once(
    rotor: Cluster, edit: Callable[[Cluster], None]
) -> None:
    apply(rotor, "Tenant", "rotor", SPEC)
    key = wait_until(
        "the key", lambda: keys(rotor).get("batch", ""), bool, seconds=SECONDS, every=0.2
    )
    rotor.kubectl("wait", "tenant/rotor", "--for=condition=Programmed", "--timeout=60s")
    taken: list[float] = []

    def edited() -> None:
        start = time.time()
        edit(rotor)
        taken.append(time.time() - start)

    found = seconds_until_refused(rotor, key, edited)
    print(f"{edit.__name__}: refused after {found} s, of which kubectl took {taken} s")
    assert len(found) == REPLICAS
    assert all(0 < seconds < REVOKED_SECONDS for seconds in found)


@pytest.mark.timeout(180)
def test_a_key_that_the_platform_brings_is_taken_away_with_its_digest(rotor: Cluster) -> None:
    found = seconds_until_refused(
        rotor, PARTNERS, lambda: put_digest(rotor, partner="another key of theirs")
    )
    print(f"by its digest: refused after {found} s")
    assert all(0 < seconds < REVOKED_SECONDS for seconds in found)
