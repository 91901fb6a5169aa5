"""A real API server accepts every network policy that the operator can write, and what the chart installs of the ledger."""

import json

import pytest
import yaml
from tests.cluster.session.clients import Client
from tests.contract.admission_scene import CHART
from tests.unit.relay_operator.manifests.policy_cases import every_policy

POLICIES = every_policy()
LEDGERS = {
    "sqlite": (),
    "postgresql": ("ledger.database.secretName=ledger-dsn", "ledger.database.cidrs={10.20.0.5/32}"),
    "reports": (
        "ledger.reports.sources[0].provider=openai",
        "ledger.reports.sources[0].dialect=openai",
        "ledger.reports.sources[0].secretName=openai-admin",
    ),
    "proxy": (
        "ledger.reports.sources[0].provider=openai",
        "ledger.reports.sources[0].dialect=openai",
        "ledger.reports.sources[0].secretName=openai-admin",
        "ledger.reports.cidrs={192.0.2.7/32}",
    ),
    "payments": (
        "ledger.payments.from[0].namespaceSelector.matchLabels.team=shop",
        "ledger.payments.from[1].ipBlock.cidr=192.0.2.7/32",
    ),
}
"""Values beside ledger.enabled."""


@pytest.mark.parametrize("case", POLICIES)
def test_every_network_policy_of_the_operator_is_accepted(
    kubectl: Client, namespace: str, case: str
) -> None:
    policy = POLICIES[case]
    metadata = {**policy["metadata"], "namespace": namespace}
    done = kubectl.attempt(
        "apply",
        "--server-side",
        "--validate=strict",
        "-f",
        "-",
        stdin=json.dumps({**policy, "metadata": metadata}),
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("case", LEDGERS)
def test_everything_that_the_chart_installs_of_the_ledger_is_accepted(
    kubectl: Client, helm: Client, namespace: str, case: str
) -> None:
    sets = [part for value in LEDGERS[case] for part in ("--set", value)]
    text = helm(
        *("template", "relay-operator", str(CHART), "--namespace", namespace),
        *("--show-only", "templates/ledger.yaml", "--set", "ledger.enabled=true", *sets),
    )
    listed = [one for one in yaml.safe_load_all(text) if one]
    assert {"Deployment", "Service", "NetworkPolicy"} <= {one["kind"] for one in listed}
    done = kubectl.attempt(
        *("apply", "--server-side", "--validate=strict", "--dry-run=server", "-f", "-"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}),
    )
    assert done.returncode == 0, done.stderr
    assert "Warning" not in done.stderr
