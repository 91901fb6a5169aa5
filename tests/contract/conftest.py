"""Shared by the tests of the contract with a real API server."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cluster.session.clients import Client
from tests.contract import kinds
from tests.contract.operators import Operators, operators
from tests.contract.referee import Referee, refereed


@pytest.fixture(scope="module")
def crds(kubectl: Client) -> None:
    """Installs the custom resource definitions, and waits until they are in force."""
    kinds.install(kubectl)


@pytest.fixture
def referee() -> Iterator[Referee]:
    """Serves relay pods that stand in, and Prometheus beside them."""
    with refereed() as made:
        yield made


@pytest.fixture
def refereed_operators(
    kubectl: Client, crds: None, namespace: str, tmp_path: Path, referee: Referee
) -> Iterator[Operators]:
    """Returns a namespace without operators yet, whose operators will ask the referee's Prometheus."""
    with operators(
        kubectl,
        namespace,
        tmp_path,
        prometheus_url=referee.prometheus_url,
        prometheus_scrape_seconds="1",
    ) as made:
        yield made
