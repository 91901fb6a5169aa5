"""Test fixtures: one real cluster for the whole session, by pytest-kind.

It is made by kind where Docker works, else it is the embedded one. A pytest plugin, because several suites share
the cluster; nothing is inspected or started before a test asks for it.
"""

import contextlib
import fcntl
import hashlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pytest_kind import KindCluster
from tests.cluster import paths
from tests.cluster.errors import ClusterError
from tests.cluster.images import docker_engine
from tests.cluster.session import provider
from tests.cluster.session.clients import Client
from tests.cluster.session.provider import Provider

PYTEST_KIND_DEFAULT_NAME = "pytest-kind"
MAX_SESSIONS = 8
IMAGES = tuple(docker_engine.DOCKERFILES)
PROBE_IMAGES = ("python:dev", "busybox:dev")
EMBEDDED_ONLY = "embedded_only"
AUDIT_LOG = "RELAY_CLUSTER_AUDIT_LOG"

_locks = pytest.StashKey[contextlib.ExitStack]()
_provider = pytest.StashKey[Provider]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        f"{EMBEDDED_ONLY}: reaches into the embedded cluster, which kind has no match for",
    )
    config.stash[_locks] = contextlib.ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    if _locks in config.stash:
        config.stash[_locks].close()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselects tests of the embedded cluster's inside if kind on Docker is used, and prints that."""
    apart = [item for item in items if item.get_closest_marker(EMBEDDED_ONLY)]
    if not apart or (choice := _choose(config)) is None or choice.embedded:
        return
    items[:] = [item for item in items if item not in apart]
    config.hook.pytest_deselected(items=apart)
    tell(config, f"{len(apart)} tests of the embedded cluster deselected: {choice.reason}")


def _choose(config: pytest.Config) -> Provider | None:
    """Returns the session's provider, chosen once; None if none works (the first test that needs it reports why)."""
    if _provider not in config.stash:
        with contextlib.suppress(ClusterError):
            config.stash[_provider] = provider.find()
    return config.stash.get(_provider, None)


def _own_name(locks: contextlib.ExitStack) -> str:
    """Returns a name from this checkout's path, different for sessions that run at the same time in one checkout."""
    checkout = hashlib.sha256(str(paths.REPOSITORY).encode()).hexdigest()[:8]
    directory = paths.cache_root() / "sessions"
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(1, MAX_SESSIONS + 1):
        name = f"relay-{checkout}" + (f"-{number}" if number > 1 else "")
        lock = locks.enter_context((directory / f"{name}.lock").open("w"))
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return name
    raise pytest.UsageError(f"{MAX_SESSIONS} test sessions of this checkout are running already")


def tell(config: pytest.Config, line: str) -> None:
    """Prints a line at once, past the capture of output."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            if "PYTEST_XDIST_WORKER" in os.environ:
                # what one process of several reports ends nowhere, but standard error is everybody's
                print(line, file=sys.stderr, flush=True)
                return
            reporter.ensure_newline()
            reporter.write_line(line)


@pytest.fixture(scope="session")
def cluster_provider(request: pytest.FixtureRequest) -> Provider:
    """Returns the provider of the session's cluster."""
    return _choose(request.config) or provider.find()


@pytest.fixture(scope="session")
def cluster_begun(request: pytest.FixtureRequest, cluster_provider: Provider) -> float:
    """Fills in the options of pytest-kind that the command line left open: commands and name of the cluster.

    Deletes a cluster of that name from an aborted session; with --keep-cluster it is used again. Returns when
    creation began (monotonic seconds).
    """
    config, option = request.config, request.config.option
    tell(config, f"cluster: {cluster_provider.reason}")
    began = time.monotonic()
    option.kind_bin = option.kind_bin or str(cluster_provider.kind)
    option.kind_kubectl_bin = option.kind_kubectl_bin or str(cluster_provider.kubectl)
    if option.cluster_name == PYTEST_KIND_DEFAULT_NAME:
        option.cluster_name = _own_name(config.stash[_locks])
    # the referee of what each operator pod has changed
    os.environ[AUDIT_LOG] = "1"
    if not option.keep_cluster:
        _kind(config, "delete", "cluster", f"--name={option.cluster_name}")
    return began


@pytest.fixture(scope="session")
def kind_cluster(
    request: pytest.FixtureRequest, cluster_begun: float, kind_cluster: KindCluster
) -> KindCluster:
    """Returns pytest-kind's cluster, with a complete kubeconfig also if the cluster existed before."""
    name, path = kind_cluster.name, kind_cluster.kubeconfig_path
    # pytest-kind creates an empty file and leaves it empty if the cluster runs already
    _kind(request.config, "export", "kubeconfig", f"--name={name}", f"--kubeconfig={path}")
    tell(request.config, f"cluster {name}: up in {time.monotonic() - cluster_begun:.1f} s")
    return kind_cluster


@pytest.fixture(scope="session")
def cluster(kind_cluster: KindCluster) -> KindCluster:
    """Returns the session's cluster. Forward ports with session.clients.port_forward: pytest-kind's takes 10 s."""
    return kind_cluster


def _kind(config: pytest.Config, *arguments: str) -> None:
    command = [config.getoption("kind_bin"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise pytest.UsageError(f"{' '.join(command)} failed: {done.stderr.strip()}")


@pytest.fixture(scope="session")
def kubectl(cluster: KindCluster, tmp_path_factory: pytest.TempPathFactory) -> Client:
    """Returns kubectl for the session's cluster."""
    home = tmp_path_factory.mktemp("kubectl")
    return Client(Path(cluster.kubectl_path), Path(cluster.kubeconfig_path).absolute(), home)


@pytest.fixture(scope="session")
def helm(
    cluster: KindCluster, cluster_provider: Provider, tmp_path_factory: pytest.TempPathFactory
) -> Client:
    """Returns helm for the session's cluster."""
    home = tmp_path_factory.mktemp("helm")
    return Client(cluster_provider.helm, Path(cluster.kubeconfig_path).absolute(), home)


@pytest.fixture
def namespace(request: pytest.FixtureRequest, kubectl: Client) -> Iterator[str]:
    """Creates a namespace for this test; begins its deletion at the end and does not wait for it."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    digest = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:6]
    name = f"e2e-{words[:40].strip('-')}-{digest}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def images_loaded(
    request: pytest.FixtureRequest, cluster: KindCluster, cluster_provider: Provider
) -> tuple[str, ...]:
    """Loads this checkout's images into the cluster, built first if their inputs changed."""
    began = time.monotonic()
    if not cluster_provider.embedded:
        try:
            docker_engine.build()
        except ClusterError as error:
            raise pytest.UsageError(str(error)) from error
    _kind(request.config, "load", "docker-image", f"--name={cluster.name}", *IMAGES)
    tell(request.config, f"images: built and loaded in {time.monotonic() - began:.1f} s")
    return IMAGES


@pytest.fixture(scope="session")
def probe_images(request: pytest.FixtureRequest, cluster: KindCluster) -> str:
    """Loads the small images for probing into the embedded cluster; returns its name."""
    name = str(cluster.name)
    _kind(request.config, "load", "docker-image", f"--name={name}", *PROBE_IMAGES)
    return name
