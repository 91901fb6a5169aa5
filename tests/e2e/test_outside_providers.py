"""Providers outside the cluster, reached by URL with TLS: directly, by declared addresses, and through a proxy.

They live in the embedded cluster's stand-in for the internet, a network namespace of its own; nothing leaves the machine.
"""

import base64
import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.blackbox.authority import Authority
from tests.cluster import addresses, cluster_records, paths
from tests.cluster.node.components import OUTSIDE_NAMESPACE
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import apply, becomes, condition, connect, relay_pod

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(600)]

TENANT = "outbound"
HOST = "outside.test"
"""The cluster's DNS gives it the address outside.OUTSIDE_ADDRESS, which no private range holds."""
PRIVATE = "10.77.0.10"
"""Another address of the same host, in a private range."""
PROXY_PORT = 3128
SECONDS = 60.0

_CALL = """
import json, sys, urllib.request, urllib.error
body = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}).encode()
headers = {"authorization": "Bearer " + sys.argv[1], "content-type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8080/v1/chat/completions", body, headers)
try:
    print(urllib.request.urlopen(request, timeout=20).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
_PROXY = f"""
import socket, threading
from tests.blackbox.connect_proxy import ConnectProxy
proxy = ConnectProxy({{"{HOST}:8443": 8443}})
listener = socket.create_server(("{PRIVATE}", {PROXY_PORT}))
while True:
    connection, _ = listener.accept()
    threading.Thread(target=proxy.serve, args=(connection,), daemon=True).start()
"""


class Internet:
    """The network namespace outside the cluster, and the programs that the test runs in it."""

    def __init__(self, cluster: Cluster, logs: Path) -> None:
        record = cluster_records.read(cluster.name)
        assert record is not None
        assert record.inner is not None
        self._enter = [
            *("nsenter", f"--target={record.inner.pid}", "--mount", "--"),
            *("nsenter", f"--net={OUTSIDE_NAMESPACE}", "--"),
        ]
        self._logs = logs
        self._programs: list[subprocess.Popen[bytes]] = []

    def run(self, *command: str) -> None:
        subprocess.run([*self._enter, *command], check=True, capture_output=True)

    def start(self, name: str, *arguments: str) -> None:
        """Starts a Python program; it ends with the test."""
        with (self._logs / f"{name}.log").open("wb") as log:
            self._programs.append(
                subprocess.Popen(
                    [*self._enter, sys.executable, "-P", *arguments],
                    env={"PYTHONPATH": str(paths.REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"},
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                )
            )

    def end(self) -> None:
        for program in self._programs:
            program.kill()
            program.wait()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def outside(
    staged: Cluster, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """Runs two providers with TLS outside, the second wary of strangers, and a proxy at a private address."""
    directory = tmp_path_factory.mktemp("outside")
    authority.issue(directory, host=HOST)
    (directory / "callers.pem").write_text(authority.pem)
    internet = Internet(staged, directory)
    internet.run("ip", "address", "replace", f"{PRIVATE}/32", "dev", "lo")
    serving = (f"--tls-cert={directory / 'tls.crt'}", f"--tls-key={directory / 'tls.key'}")
    try:
        for name, port, more in (
            ("open", 443, ()),
            ("wary", 8443, (f"--tls-client-ca={directory / 'callers.pem'}",)),
        ):
            control = ("--control-host=127.0.0.1", f"--control-port={port + 10_000}")
            internet.start(
                name, *("-m", "tests.simulator", f"--port={port}"), *control, *serving, *more
            )
        internet.start("proxy", "-c", _PROXY)
        yield staged
    finally:
        internet.end()
        internet.run("ip", "address", "delete", f"{PRIVATE}/32", "dev", "lo")


def a_provider(authority: Authority, port: int = 443, **fields: Any) -> dict[str, Any]:
    url = f"https://{HOST}/v1" if port == 443 else f"https://{HOST}:{port}/v1"
    return {
        "endpoint": {"url": url},
        "caBundle": authority.pem,
        "models": [{"name": "gpt-4.1"}],
        **fields,
    }


def secret(cluster: Cluster, name: str, entries: dict[str, bytes]) -> None:
    data = {key: base64.b64encode(value).decode() for key, value in entries.items()}
    labels = {"relay-operator.dev/provider": "proxied"}
    metadata = {"name": name, "namespace": "relay-system", "labels": labels}
    manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data}
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


@pytest.fixture(scope="module")
def outbound(outside: Cluster, authority: Authority) -> Iterator[Cluster]:
    """Creates a tenant whose route leads to the open provider, without declared addresses."""
    apply(outside, "Provider", "public", a_provider(authority))
    apply(outside, "Tenant", TENANT, {})
    outside.kubectl("wait", f"tenant/{TENANT}", "--for=condition=Ready", "--timeout=60s")
    route_to(outside, "public")
    yield outside
    outside.kubectl("delete", "tenant", TENANT, "--ignore-not-found", "--wait=false")
    for provider in ("public", "proxied"):
        outside.kubectl("delete", "provider", provider, "--ignore-not-found")


def route_to(cluster: Cluster, provider: str) -> None:
    apply(cluster, "RelayRoute", "chat", {"stable": {"provider": provider}}, f"relay-{TENANT}")
    becomes(cluster, "relayroute", "chat", "Accepted", "Accepted", f"relay-{TENANT}")


def call(cluster: Cluster) -> str:
    """Calls the relay from its own pod, which no policy keeps away; returns the status."""
    found = cluster.get("secret", "relay-api-keys", "-n", f"relay-{TENANT}")
    key = base64.b64decode(found["data"]["default"]).decode()
    place = ("-n", f"relay-{TENANT}", "deployment/relay", "--")
    return cluster.kubectl("exec", *place, "python3", "-c", _CALL, key).strip()


def test_a_provider_with_a_plain_url_is_reached_and_nothing_private_beside_it(
    outbound: Cluster, probe_images: str
) -> None:
    wait_until("a call to succeed", lambda: call(outbound), "200".__eq__, seconds=SECONDS)
    assert connect(outbound, TENANT, addresses.OUTSIDE_ADDRESS, 443) == "open"
    assert connect(outbound, TENANT, addresses.OUTSIDE_ADDRESS, 80) == "closed"
    # it listens there too, for pods that no policy restricts
    assert reaches(outbound, PRIVATE, 443)
    assert connect(outbound, TENANT, PRIVATE, 443) == "closed"
    assert condition(outbound, "provider", "public", "Ready")["reason"] == "Configured"


def tells(cluster: Cluster, reason: str) -> None:
    """Waits until the Provider says so; its Secrets are looked at every half minute."""
    wait_until(
        reason,
        lambda: condition(cluster, "provider", "proxied", "Ready").get("reason"),
        reason.__eq__,
        seconds=2 * SECONDS,
    )


def reaches(cluster: Cluster, address: str, port: int) -> bool:
    """Tells whether a pod without policies reaches the address."""
    script = f"import socket; socket.create_connection(({address!r}, {port}), 2)"
    with contextlib.suppress(DemoFailed):
        cluster.kubectl(
            "exec", "-n", "providers", "deployment/legacy", "--", "python3", "-c", script
        )
        return True
    return False


def test_a_provider_that_another_authority_vouches_for_is_not_reached(
    outbound: Cluster, authority: Authority
) -> None:
    apply(outbound, "Provider", "public", a_provider(authority) | {"caBundle": Authority().pem})
    wait_until("calls to fail", lambda: call(outbound), "502".__eq__, seconds=SECONDS)
    apply(outbound, "Provider", "public", a_provider(authority))
    wait_until("a call to succeed", lambda: call(outbound), "200".__eq__, seconds=SECONDS)


def test_a_wary_provider_is_reached_through_a_proxy_and_by_nothing_else(
    outbound: Cluster, authority: Authority
) -> None:
    proxied = a_provider(
        authority,
        port=8443,
        proxy={"url": f"http://{PRIVATE}:{PROXY_PORT}", "auth": {"secretName": "proxy-user"}},
        clientCertificate={"secretName": "our-certificate"},
    )
    secret(outbound, "our-certificate", authority.pair(host="relay"))
    secret(outbound, "proxy-user", {"username": b"user", "password": b"word"})
    apply(outbound, "Provider", "proxied", proxied)
    # a change of stable in place would be a jump that no canary has proved
    outbound.kubectl("delete", "relayroute", "chat", "-n", f"relay-{TENANT}")
    route_to(outbound, "proxied")
    wait_until("a call to succeed", lambda: call(outbound), "200".__eq__, seconds=SECONDS)
    # the way to the former provider is closed with its last route
    wait_until(
        "the proxy to be the only way",
        lambda: connect(outbound, TENANT, addresses.OUTSIDE_ADDRESS, 443),
        "closed".__eq__,
        seconds=SECONDS,
    )
    assert connect(outbound, TENANT, PRIVATE, PROXY_PORT) == "open"
    assert connect(outbound, TENANT, PRIVATE, 443) == "closed"
    assert connect(outbound, TENANT, addresses.OUTSIDE_ADDRESS, 8443) == "closed"
    restarts = relay_pod(outbound, TENANT)["metadata"]["uid"]
    secret(outbound, "our-certificate", {"tls.crt": b"garbage", "tls.key": b"garbage"})
    tells(outbound, "CertificateInvalid")
    assert call(outbound) == "200"
    secret(outbound, "our-certificate", authority.pair(host="relay"))
    tells(outbound, "Configured")
    assert call(outbound) == "200"
    assert relay_pod(outbound, TENANT)["metadata"]["uid"] == restarts
