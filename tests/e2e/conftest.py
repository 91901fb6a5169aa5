"""Sets up what every end-to-end test needs, once a session: providers, Prometheus and the chart installed by helm."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_kind import KindCluster
from tests.cluster.session.provider import Provider
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.ecosystem.watching import WatchedStates


@pytest.fixture(scope="session")
def installed(
    cluster: KindCluster, cluster_provider: Provider, images_loaded: tuple[str, ...]
) -> Cluster:
    """Returns the session's cluster with everything installed."""
    kubeconfig = Path(cluster.kubeconfig_path).resolve()
    found = Cluster(cluster.name, kubeconfig, cluster_provider.kubectl, cluster_provider.helm)
    stage.install(found, dns_cidrs=stage.dns_server_cidrs(found))
    return found


@pytest.fixture(scope="session")
def watched_states(
    installed: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedStates]:
    """Writes down every state that objects pass through in the session's cluster."""
    states = WatchedStates(installed, tmp_path_factory.mktemp("states"))
    states.start()
    yield states
    states.stop()


@pytest.fixture(scope="session")
def staged(installed: Cluster, watched_states: WatchedStates) -> Cluster:
    """Returns the session's cluster with everything installed, and watched from the beginning."""
    return installed
