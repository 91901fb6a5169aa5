"""On the real cluster: a tenant's certificate that is missing, arrives, is renewed, goes bad and is gone again; and a quota."""

import base64
import json
import ssl
from collections.abc import Iterator
from typing import Any

import pytest
from tests.blackbox.authority import Authority
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import apply, becomes, condition, relay_pod

SPACE = "relay-sealed"
SECONDS = 60.0
"""The operator looks at a good Secret every half minute, and a kubelet follows within seconds."""

# prints what a caller in the relay's own pod gets: the status without TLS, or the certificate with it
_CALL = """
import http.client, ssl, sys
try:
    if sys.argv[1] == "tls":
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection("127.0.0.1", 8080, timeout=5, context=context)
        connection.request("GET", "/v1/models")
        print(ssl.DER_cert_to_PEM_cert(connection.sock.getpeercert(binary_form=True)))
        connection.getresponse()
    else:
        connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
        connection.request("GET", "/v1/models")
        print(connection.getresponse().status)
except OSError as error:
    print("closed", type(error).__name__)
except http.client.HTTPException as error:
    print("closed", type(error).__name__)
"""


def spec(secret: str | None, *, replicas: int = 1) -> dict[str, Any]:
    network = {"tls": {"secretName": secret}} if secret else {}
    return {"relay": {"replicas": replicas}, "network": network}


@pytest.fixture(scope="module")
def sealed(staged: Cluster) -> Iterator[Cluster]:
    """Creates the tenant sealed, which asks for TLS before its Secret exists."""
    apply(staged, "Tenant", "sealed", spec("relay-tls"))
    yield staged
    staged.kubectl("delete", "tenant", "sealed", "--ignore-not-found", "--wait=false")


def put_secret(cluster: Cluster, entries: dict[str, bytes]) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/tls",
        "metadata": {"name": "relay-tls", "namespace": SPACE},
        "data": {name: base64.b64encode(data).decode() for name, data in entries.items()},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def call(cluster: Cluster, how: str) -> str:
    """Calls the relay from inside its pod; empty while no container runs."""
    try:
        return cluster.kubectl(
            "exec", "-n", SPACE, f"pod/{relay_pod(cluster, 'sealed')['metadata']['name']}",
            "--", "python3", "-c", _CALL, how,
        ).strip()  # fmt: skip
    except (DemoFailed, StopIteration):
        return ""


def is_served(cluster: Cluster, pair: dict[str, bytes]) -> None:
    """Waits until the relay serves this certificate."""
    wanted = ssl.PEM_cert_to_DER_cert(pair["tls.crt"].decode())

    def served() -> str:
        return call(cluster, "tls")

    wait_until(
        "the certificate",
        served,
        lambda seen: "BEGIN" in seen and ssl.PEM_cert_to_DER_cert(seen) == wanted,
        seconds=SECONDS,
        every=1.0,
    )


def nobody_is_served(cluster: Cluster) -> None:
    """Waits until a container runs, and finds that it takes no call."""
    for how in ("plain", "tls"):

        def answer(how: str = how) -> str:
            return call(cluster, how)

        seen = wait_until(f"a {how} call", answer, bool, seconds=SECONDS, every=1.0)
        assert seen.startswith("closed")


def wait_ready(cluster: Cluster) -> None:
    cluster.kubectl("wait", "tenant/sealed", "--for=condition=Ready", "--timeout=90s")


@pytest.mark.timeout(600)
def test_a_tenants_certificate_from_its_absence_to_its_absence(sealed: Cluster) -> None:
    authority = Authority()
    message = becomes(sealed, "tenant", "sealed", "Ready", "CertificateMissing")["message"]
    assert f"there is no Secret {SPACE}/relay-tls" in message
    nobody_is_served(sealed)
    first = relay_pod(sealed, "sealed")

    # it arrives, and is renewed: served by the same container
    for pair in (authority.pair(), authority.pair()):
        put_secret(sealed, pair)
        is_served(sealed, pair)
        wait_ready(sealed)
    assert call(sealed, "plain").startswith("closed")
    now = relay_pod(sealed, "sealed")
    assert now["metadata"]["uid"] == first["metadata"]["uid"]
    assert [one["restartCount"] for one in now["status"]["containerStatuses"]] == [0]

    # it goes bad: the last good one serves
    put_secret(sealed, {**authority.pair(), "tls.key": authority.pair()["tls.key"]})
    told = wait_until(
        "CertificateInvalid",
        lambda: condition(sealed, "tenant", "sealed", "Stalled"),
        lambda seen: seen.get("reason") == "CertificateInvalid",
        seconds=SECONDS,
    )
    assert "tls.key is not the key of the first certificate in tls.crt" in told["message"]
    assert "go on with their last good certificate, valid until 20" in told["message"]
    is_served(sealed, pair)

    # it is gone, and so is the pod: the next one serves nobody
    sealed.kubectl("delete", "secret", "relay-tls", "-n", SPACE)
    sealed.kubectl("delete", "pod", "-n", SPACE, first["metadata"]["name"])
    becomes(sealed, "tenant", "sealed", "Ready", "CertificateMissing")
    nobody_is_served(sealed)
    put_secret(sealed, pair)
    is_served(sealed, pair)
    wait_ready(sealed)


@pytest.mark.timeout(300)
def test_tls_asked_of_a_relay_that_serves_plain_http_ends_that_at_once(sealed: Cluster) -> None:
    apply(sealed, "Tenant", "sealed", spec(None))
    wait_until(
        "plain HTTP",
        lambda: call(sealed, "plain"),
        lambda seen: seen == "401",
        seconds=SECONDS,
        every=1.0,
    )
    sealed.kubectl("rollout", "status", "deployment/relay", "-n", SPACE, "--timeout=90s")
    wait_ready(sealed)
    pod = relay_pod(sealed, "sealed")["metadata"]["uid"]
    apply(sealed, "Tenant", "sealed", spec("not-there"))
    wait_until(
        "no plain HTTP",
        lambda: call(sealed, "plain"),
        lambda seen: seen.startswith("closed"),
        seconds=15,
        every=1.0,
    )
    becomes(sealed, "tenant", "sealed", "Ready", "CertificateMissing")
    alive = [
        one["metadata"]["uid"]
        for one in sealed.get("pods", "-n", SPACE)["items"]
        if "deletionTimestamp" not in one["metadata"]
    ]
    # the pod that served plain HTTP is still there: the next one cannot become ready without its certificate
    assert pod in alive


@pytest.mark.timeout(300)
def test_a_quota_that_forbids_a_relay_pod_is_told_by_the_tenant(sealed: Cluster) -> None:
    apply(sealed, "Tenant", "sealed", spec(None))
    sealed.kubectl("rollout", "status", "deployment/relay", "-n", SPACE, "--timeout=90s")
    wait_ready(sealed)
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "few", "namespace": SPACE},
        "spec": {"hard": {"pods": "1"}},
    }
    sealed.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
    wait_until(
        "the quota's count",
        lambda: sealed.get("resourcequota", "few", "-n", SPACE).get("status", {}),
        lambda status: "pods" in status.get("used", {}),
        seconds=30,
    )
    apply(sealed, "Tenant", "sealed", spec(None, replicas=2))
    told = wait_until(
        "the quota in RelayAvailable",
        lambda: condition(sealed, "tenant", "sealed", "RelayAvailable"),
        lambda seen: "exceeded quota: few" in seen.get("message", ""),
        seconds=SECONDS,
    )
    assert told["status"] == "False"
    sealed.kubectl("delete", "resourcequota", "few", "-n", SPACE)
    apply(sealed, "Tenant", "sealed", spec(None))
    wait_ready(sealed)
