"""The custom resource definitions, installed until the API server serves them, and specs of their kinds."""

from pathlib import Path
from typing import Any

from tests.cluster.session.clients import Client
from tests.contract.api_requests import requests_of
from tests.demo.commands import wait_until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
CRDS = Path(__file__).resolve().parents[2] / "crds"
LEAST: dict[str, dict[str, Any]] = {
    "Tenant": {},
    "RelayRoute": {"stable": {"provider": "legacy"}},
    "Provider": {"endpoint": {"url": "https://api.example.com/v1"}},
    "ToolServer": {"endpoint": {"url": "https://tools.example.com/mcp"}},
    "PriceList": {
        "currency": "USD",
        "models": [
            {"name": "gpt-4.1", "provider": "", "prices": [{"perMillionTokens": {"input": "2"}}]}
        ],
    },
}
"""Of each kind the least that a spec has."""


def install(kubectl: Client) -> None:
    """Applies the definitions, and waits until all are in force."""
    kubectl("apply", "--server-side", "-f", str(CRDS))
    wait_for_all(kubectl)


def wait_for_all(kubectl: Client) -> None:
    """Waits until every definition in the cluster is in force; raises DemoFailed if that takes half a minute.

    `kubectl wait` would not do: it fails on a definition whose status has no conditions yet.
    """
    wait_until(
        "the definitions in force",
        lambda: requests_of(kubectl).ask("GET", DEFINITIONS).body["items"],
        lambda definitions: all(map(_established, definitions)),
        seconds=30,
    )


def _established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
