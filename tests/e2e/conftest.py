"""Sets up what every end-to-end test needs, once a session: providers, Prometheus and the chart installed by helm."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_kind import KindCluster
from tests.cluster import cluster_records
from tests.cluster.session.provider import Provider
from tests.demo import stage
from tests.demo.commands import Cluster
from tests.e2e import records, used_rights
from tests.ecosystem.watching import WatchedStates

AFTERWARDS = Path(__file__).resolve().parent / "afterwards"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests that look at what the others have done behind them."""
    items.sort(key=lambda item: AFTERWARDS in item.path.parents)


def pytest_runtest_setup(item: pytest.Item) -> None:
    records.note(item.path.name)


@pytest.fixture(scope="session")
def installed(
    cluster: KindCluster, cluster_provider: Provider, images_loaded: tuple[str, ...]
) -> Iterator[Cluster]:
    """Returns the session's cluster with everything installed; keeps at the end what the operator has asked of its API server."""
    kubeconfig = Path(cluster.kubeconfig_path).resolve()
    found = Cluster(cluster.name, kubeconfig, cluster_provider.kubectl, cluster_provider.helm)
    stage.install(found, dns_cidrs=stage.dns_server_cidrs(found))
    yield found
    if (record := cluster_records.read(found.name)) is not None:
        records.keep_requests(used_rights.lines(record.audit_log_path))


@pytest.fixture(scope="session")
def watched_states(
    installed: Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[WatchedStates]:
    """Writes down every state that objects pass through in the session's cluster."""
    kept = records.own()
    directory = kept / records.STATES if kept else tmp_path_factory.mktemp(records.STATES)
    directory.mkdir(exist_ok=True)
    states = WatchedStates(installed, directory)
    states.start()
    yield states
    states.stop()


@pytest.fixture(scope="session")
def staged(installed: Cluster, watched_states: WatchedStates) -> Cluster:
    """Returns the session's cluster with everything installed, and watched from the beginning."""
    return installed
