"""Providers on the real cluster: whom they are open to, what they are shown, and how they fare."""

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster, DemoFailed, wait_until
from tests.e2e.test_tenancy import API_VERSION, apply, becomes, condition

TENANT = "sovereign"
SPACE = f"relay-{TENANT}"
PROVIDER = "sovereign-eu"
SECRET = "sovereign-key"
SECONDS = 60.0

# makes one call from a pod to the relay in it, and prints the status and the code of an error
_CALL = """
import json, sys, urllib.error, urllib.request
body = json.dumps({"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}]}).encode()
headers = {"authorization": "Bearer " + sys.argv[1], "content-type": "application/json"}
request = urllib.request.Request("http://127.0.0.1:8080/v1/chat/completions", body, headers)
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["error"]["code"])
"""


def label(cluster: Cluster, kind: str, name: str, wanted: str, *place: str) -> None:
    cluster.kubectl("label", "--overwrite", kind, name, wanted, *place)


def secret(cluster: Cluster, value: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": stage.OPERATOR_NAMESPACE},
        "stringData": {"api-key": value},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


def shown(cluster: Cluster) -> str:
    """Returns the key that the tenant's relay shows the Provider; empty without one."""
    data = cluster.get("secret", "relay-upstream", "-n", SPACE).get("data") or {}
    return base64.b64decode(data.get(PROVIDER, "")).decode()


def call(cluster: Cluster) -> str:
    keys = cluster.get("secret", "relay-api-keys", "-n", SPACE)["data"]
    key = base64.b64decode(keys["default"]).decode()
    command = ("exec", "-n", SPACE, "deploy/relay", "--", "python3", "-c", _CALL, key)
    return cluster.kubectl(*command).strip()


@pytest.fixture
def sovereign(staged: Cluster) -> Iterator[Cluster]:
    """Creates a Provider for tenants of the EU, and a tenant that is none yet."""
    endpoint = {"serviceRef": {"namespace": "providers", "name": "legacy", "port": 80}}
    spec: dict[str, Any] = {
        "endpoint": endpoint,
        "auth": {"secretName": SECRET},
        "region": "eu-west",
        "allowedTenants": {"matchLabels": {"residency": "eu"}},
        "models": [{"name": "gpt-4.1"}],
        "limits": {"requestsPerMinute": 600},
        "probeStream": {"model": "gpt-4.1"},
    }
    # the one that the simulated provider takes
    secret(staged, "provider-key-of-legacy")
    apply(staged, "Provider", PROVIDER, spec)
    apply(staged, "Tenant", TENANT, {"relay": {"replicas": 1}})
    becomes(staged, "tenant", TENANT, "Ready", "Available")
    yield staged
    staged.kubectl("delete", "tenant", TENANT, "--timeout=60s")
    staged.kubectl("delete", "providers.relay-operator.dev", PROVIDER)
    staged.kubectl("delete", "secret", SECRET, "-n", stage.OPERATOR_NAMESPACE)


@pytest.mark.timeout(420)
def test_a_provider_is_open_to_the_tenants_it_selects_alone(sovereign: Cluster) -> None:
    # the Secret is labelled for nobody: no Provider gets it
    found = becomes(sovereign, "provider", PROVIDER, "Ready", "SecretMissing")
    assert f"with the label relay-operator.dev/provider={PROVIDER}" in found["message"]
    label(
        sovereign,
        "secret",
        SECRET,
        f"relay-operator.dev/provider={PROVIDER}",
        "-n",
        stage.OPERATOR_NAMESPACE,
    )
    becomes(sovereign, "provider", PROVIDER, "Ready", "Configured")
    assert condition(sovereign, "provider", PROVIDER, "Probed")["reason"] == "NotInUse"
    # a tenant that it does not select learns nothing of it
    apply(sovereign, "RelayRoute", "chat", {"stable": {"provider": PROVIDER}}, SPACE)
    refused = becomes(sovereign, "relayroute", "chat", "Accepted", "ProviderNotFound", SPACE)
    assert PROVIDER not in refused["message"].partition("it can use:")[2]
    assert shown(sovereign) == ""
    # one that it selects is served, and tells how the Provider fares
    label(sovereign, "tenant", TENANT, "residency=eu")
    becomes(sovereign, "relayroute", "chat", "Accepted", "Accepted", SPACE)
    wait_until(
        "a call is served", lambda: call(sovereign), lambda seen: seen == "200", seconds=SECONDS
    )
    wait_until(
        "the story of a probe with a stream",
        lambda: condition(sovereign, "provider", PROVIDER, "Probed"),
        lambda seen: seen["reason"] == "Answers" and "it streams (gpt-4.1)" in seen["message"],
        seconds=SECONDS,
    )
    assert sovereign.get("provider", PROVIDER)["status"]["tenants"] == 1
    # another key is handed on within seconds
    secret(sovereign, "the-second-key")
    label(
        sovereign,
        "secret",
        SECRET,
        f"relay-operator.dev/provider={PROVIDER}",
        "-n",
        stage.OPERATOR_NAMESPACE,
    )
    wait_until(
        "the new key", lambda: shown(sovereign), lambda seen: seen == "the-second-key", seconds=15.0
    )
    # a tenant that is taken out is refused at once, by name
    label(sovereign, "tenant", TENANT, "residency=us")
    wait_until(
        "a clear refusal",
        lambda: call(sovereign),
        lambda seen: seen == "403 provider_not_allowed",
        seconds=SECONDS,
    )
    wait_until("no key", lambda: shown(sovereign), lambda seen: seen == "", seconds=SECONDS)
    policy = sovereign.get("networkpolicy", "relay", "-n", SPACE)
    assert len(policy["spec"]["egress"]) == 1


def test_an_address_of_the_cluster_or_of_a_node_is_no_provider(staged: Cluster) -> None:
    # the API server's address is known without anybody naming it
    for url, says in (
        ("http://169.254.169.254/v1", "link-local"),
        ("https://10.96.0.1/v1", "an address of this cluster"),
    ):
        spec = {"endpoint": {"url": url}, "egressCIDRs": ["10.96.0.0/12"]}
        apply(staged, "Provider", "smuggler", spec)
        try:
            found = becomes(staged, "provider", "smuggler", "Ready", "AddressForbidden")
            assert says in found["message"]
        finally:
            staged.kubectl("delete", "providers.relay-operator.dev", "smuggler")
    refused = {
        "apiVersion": API_VERSION,
        "kind": "Provider",
        "metadata": {"name": "smuggler"},
        "spec": {
            "endpoint": {"url": "https://a.example.com"},
            "headers": {"Transfer-Encoding": "x"},
        },
    }
    with pytest.raises(DemoFailed, match="relays write hop-by-hop headers"):
        staged.kubectl("apply", "-f", "-", stdin=json.dumps(refused))
