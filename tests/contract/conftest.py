"""Shared by the tests of the contract with a real API server."""

import pytest
from tests.cluster.session.clients import Client
from tests.contract import kinds


@pytest.fixture(scope="module")
def crds(kubectl: Client) -> None:
    """Installs the custom resource definitions, and waits until they are in force."""
    kinds.install(kubectl)
