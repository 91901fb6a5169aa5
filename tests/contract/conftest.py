"""Shared by the tests of the contract with a real API server."""

from pathlib import Path

import pytest
from tests.cluster.session.clients import Client

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def crds(kubectl: Client) -> None:
    """Installs the custom resource definitions, and waits until they are in force."""
    kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
    kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
