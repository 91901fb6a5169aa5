"""A real API server accepts every network policy that the operator can write."""

import json

import pytest
from tests.cluster.session.clients import Client
from tests.unit.relay_operator.manifests.policy_cases import every_policy

POLICIES = every_policy()


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
