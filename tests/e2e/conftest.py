"""Sets up what every end-to-end test needs, once a session: providers, Prometheus and the chart installed by helm."""

from pathlib import Path

import pytest
from pytest_kind import KindCluster
from tests.cluster.session.provider import Provider
from tests.demo import stage
from tests.demo.commands import Cluster


@pytest.fixture(scope="session")
def staged(
    cluster: KindCluster, cluster_provider: Provider, images_loaded: tuple[str, ...]
) -> Cluster:
    """Returns the session's cluster with everything installed."""
    kubeconfig = Path(cluster.kubeconfig_path).resolve()
    found = Cluster(cluster.name, kubeconfig, cluster_provider.kubectl, cluster_provider.helm)
    stage.install(found, dns_cidrs=stage.dns_server_cidrs(found))
    return found
