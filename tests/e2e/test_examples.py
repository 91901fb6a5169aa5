"""The example directories on the real cluster, applied as their pages say, by somebody who has nothing but the operator."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.demo import stage
from tests.demo.commands import Cluster

FIRST = "examples/01-first-tenant"


def _cleared(cluster: Cluster) -> None:
    cluster.kubectl("delete", "tenant", "finance", "--ignore-not-found", "--timeout=60s")
    cluster.kubectl("wait", "--for=delete", "namespace/relay-finance", "--timeout=90s")
    cluster.kubectl(
        "delete", "providers.relay-operator.dev", *stage.PROVIDERS, "--ignore-not-found"
    )
    keys = [f"{provider}-key" for provider in stage.PROVIDERS]
    cluster.kubectl("delete", "secret", *keys, "-n", stage.OPERATOR_NAMESPACE, "--ignore-not-found")


@pytest.fixture
def newcomer(staged: Cluster) -> Iterator[Cluster]:
    """Takes away what other tests left of the examples' objects, and gives the providers' keys back afterwards."""
    _cleared(staged)
    yield staged
    _cleared(staged)
    stage.install_provider_keys(staged)


def _applied(cluster: Cluster, *paths: str) -> None:
    """Runs the loop of the pages, in the root of the repository, for a minute at most."""
    files = " ".join(f"-f {path}" for path in paths)
    loop = f"until {cluster.kubectl_path} --kubeconfig {cluster.kubeconfig} apply {files}; do sleep 2; done"
    done = subprocess.run(
        ["timeout", "60", "sh", "-c", loop],
        cwd=stage.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _all_ready(cluster: Cluster) -> None:
    providers = [f"provider.relay-operator.dev/{name}" for name in stage.PROVIDERS]
    cluster.kubectl("wait", "tenant/finance", *providers, "--for=condition=Ready", "--timeout=110s")
    routes = ("wait", "relayroutes", "--all", "-n", "relay-finance")
    cluster.kubectl(*routes, "--for=condition=Ready", "--timeout=60s")


@pytest.mark.timeout(300)
def test_the_directories_that_are_applied_as_typed_become_ready(newcomer: Cluster) -> None:
    _applied(newcomer, FIRST)
    _all_ready(newcomer)
    _applied(newcomer, "examples/02-canary")
    route = ("wait", "relayroute", "chat", "-n", "relay-finance", "--timeout=90s")
    # the words that stand for a key in the example are no key, which is found before a caller pays for it
    told = '--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=PreflightFailed'
    newcomer.kubectl(*route, told)
    ready = "jsonpath={.status.conditions[?(@.type=='Ready')].message}"
    assert "401" in newcomer.kubectl(
        "get", "relayroute", "chat", "-n", "relay-finance", "-o", ready
    )
    stage.install_provider_keys(newcomer)
    newcomer.kubectl(*route, "--for=jsonpath={.status.weights.canaryPercent}=25")


@pytest.mark.timeout(300)
def test_the_example_with_providers_on_the_internet_becomes_ready(newcomer: Cluster) -> None:
    _applied(newcomer, f"{FIRST}/public", f"{FIRST}/tenant.yaml", f"{FIRST}/route.yaml")
    _all_ready(newcomer)
