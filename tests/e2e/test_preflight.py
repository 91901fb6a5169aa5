"""Canaries that cannot be used, on the real cluster: no caller meets them, and whoever corrects the cause has done enough."""

import json
from collections.abc import Iterator

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster, wait_until
from tests.demo.providers import SimulatedProvider
from tests.e2e.test_tenancy import apply, becomes

TENANT = "probed"
SPACE = f"relay-{TENANT}"
KEY = "the-right-key"
SECONDS = 180.0
"""For a corrected Secret: it is looked at every 30 s, mounted within a minute, and probed within another."""


def _key(cluster: Cluster, value: str) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": "picky-key",
            "namespace": stage.OPERATOR_NAMESPACE,
            "labels": {"relay-operator.dev/provider": "picky"},
        },
        "stringData": {"api-key": value},
    }
    cluster.kubectl("apply", "-f", "-", stdin=json.dumps(secret))


@pytest.fixture
def picky(staged: Cluster) -> Iterator[Cluster]:
    """Runs a tenant beside a provider that knows its key and its models, and is shown a wrong key."""
    provider = SimulatedProvider(staged, "holysheep")
    provider.reset()
    provider.behave(api_key=KEY, strict_models=True)
    _key(staged, "a-wrong-key")
    for name, service, secret in (
        ("picky", "holysheep", "picky-key"),
        ("steady", "legacy", "legacy-key"),
    ):
        endpoint = {"serviceRef": {"namespace": "providers", "name": service, "port": 80}}
        spec = {"endpoint": endpoint, "auth": {"secretName": secret}}
        apply(staged, "Provider", name, spec)
    apply(staged, "Tenant", TENANT, {"apiKeys": [{"name": "web"}], "relay": {"replicas": 1}})
    becomes(staged, "tenant", TENANT, "Ready", "Available")
    yield staged
    staged.kubectl("delete", "tenant", TENANT, "--timeout=60s")
    staged.kubectl("delete", "providers.relay-operator.dev", "picky", "steady")
    provider.reset()


def _weight(cluster: Cluster) -> int:
    status = cluster.get("relayroute", "chat", "-n", SPACE).get("status", {})
    return int(status.get("weights", {}).get("canaryPercent", -1))


@pytest.mark.timeout(420)
def test_a_canary_that_refuses_its_probe_gets_no_weight_until_the_cause_is_corrected(
    picky: Cluster,
) -> None:
    route = {
        "match": {"models": ["gpt-4.1"]},
        "stable": {"provider": "steady"},
        "canary": {"provider": "picky", "percent": 10},
    }
    apply(picky, "RelayRoute", "chat", route, SPACE)
    refused = becomes(picky, "relayroute", "chat", "Ready", "PreflightFailed", SPACE)
    assert "Unauthorized" in refused["message"]
    assert _weight(picky) == 0
    _key(picky, KEY)
    unknown = {"provider": "picky", "percent": 10, "model": "no-such-model"}
    apply(picky, "RelayRoute", "chat", route | {"canary": unknown}, SPACE)
    wait_until(
        "ModelUnknown",
        lambda: becomes(picky, "relayroute", "chat", "Ready", "PreflightFailed", SPACE)["message"],
        lambda message: "ModelUnknown" in message,
        seconds=SECONDS,
    )
    assert _weight(picky) == 0
    apply(picky, "RelayRoute", "chat", route, SPACE)
    wait_until(
        "the weight of the canary",
        lambda: _weight(picky),
        lambda weight: weight == 10,
        seconds=SECONDS,
    )
