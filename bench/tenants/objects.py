"""The objects of the bench: fake nodes, two providers, and tenants with a route each."""

from typing import Any, Final

from bench.rollback.story import MAX_ERROR_PERCENT
from tests.demo import stage
from tests.e2e.canaries import objects

Manifest = dict[str, Any]

STABLE, CANARY = "stable", "canary"
PERCENT: Final = 10
ROUTE: Final = "chat"
PODS_OF_A_NODE: Final = 100
"""KWOK's nodes have room for 110."""
REAL: Final = "bench.relay-operator.dev/real"
"""Taint of the node that is one: nothing but the operator runs there."""


def tenant_name(number: int) -> str:
    """Returns the name of a tenant."""
    return f"fleet-{number:05}"


def namespace(number: int) -> str:
    """Returns the tenant's namespace."""
    return f"relay-{tenant_name(number)}"


def tenant(number: int) -> Manifest:
    """Returns a Tenant with one relay pod."""
    return objects.tenant(tenant_name(number), replicas=1)


def route(number: int) -> Manifest:
    """Returns its route, without a canary."""
    spec = {"match": {"models": ["gpt-4.1"]}, "stable": {"provider": STABLE}}
    return objects.route(ROUTE, namespace(number), spec)


def with_canary() -> Manifest:
    """Returns the change of a route that begins a canary which stays at its percent."""
    canary = {"provider": CANARY, "percent": PERCENT}
    analysis = {"errorRate": {"maxPercent": MAX_ERROR_PERCENT}}
    return {"spec": {"canary": canary, "analysis": analysis}}


def without_canary() -> Manifest:
    """Returns the change that ends it."""
    return {"spec": {"canary": None, "analysis": None}}


def node_name(number: int) -> str:
    """Returns the name of a fake node."""
    return f"fake-{number:03}"


def nodes_for(tenants: int) -> list[Manifest]:
    """Returns nodes that exist in the API alone, enough for so many Tenants."""
    annotations = {"kwok.x-k8s.io/node": "fake"}
    return [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node_name(number), "annotations": annotations},
        }
        for number in range(tenants // PODS_OF_A_NODE + 1)
    ]


def providers() -> list[Manifest]:
    """Returns the Providers, whom nobody calls, and the Secrets with their keys."""
    found: list[Manifest] = []
    for name in (STABLE, CANARY):
        spec = {
            "endpoint": {"url": f"https://{name}.example.com/v1"},
            "auth": {"secretName": objects.secret_name(name)},
        }
        metadata = {"name": name}
        api = {"apiVersion": "relay-operator.dev/v1alpha1", "kind": "Provider"}
        found.append({**api, "metadata": metadata, "spec": spec})
        found.append(objects.secret(name, stage.OPERATOR_NAMESPACE))
    return found
