"""A real API server gives the answers that the unit tests' in-memory one gives."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from tests.cluster.session.clients import Client
from tests.unit.relay_operator import child_scenarios
from tests.unit.relay_operator.api_server_scenarios import Scenario, expected

from relay_operator.api.definitions import lacking
from relay_operator.cluster.api_server import KubernetesApiServer

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = tuple(expected(""))


class OthersAtTheCluster:
    """Another client of the API server: kubectl."""

    def __init__(self, kubectl: Client) -> None:
        self._kubectl = kubectl

    async def apply(self, manifest: dict[str, Any]) -> None:
        options = ("--server-side", "--force-conflicts", "--field-manager=others")
        self._kubectl("apply", *options, "-f", "-", stdin=json.dumps(manifest))

    async def remove(self, kind: str, name: str, *, namespace: str = "") -> None:
        where = ("--namespace", namespace) if namespace else ()
        self._kubectl("delete", kind, name, *where, "--wait=false")

    async def edit(
        self, kind: str, name: str, operations: list[dict[str, Any]], *, space: str
    ) -> None:
        options = ("--type=json", "--field-manager=others", "--namespace", space)
        self._kubectl("patch", kind, name, *options, "--patch", json.dumps(operations))


@pytest.fixture
async def api(kubectl: Client) -> AsyncIterator[KubernetesApiServer]:
    configuration = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(
        config_file=str(kubectl.kubeconfig), client_configuration=configuration
    )
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    yield api
    await api.close()


@pytest.fixture
def space(kubectl: Client, namespace: str) -> Iterator[str]:
    """Returns the test's namespace and deletes its cluster-scoped objects, which have the same name."""
    yield namespace
    kubectl("delete", "provider", namespace, "--ignore-not-found")


# a body of more than 1 MiB, as that of a document at its bound
@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_the_api_server_answers_a_scenario_as_the_in_memory_one_does(
    kubectl: Client, crds: None, api: KubernetesApiServer, space: str, scenario: Scenario
) -> None:
    answers = await scenario(api, OthersAtTheCluster(kubectl), space)
    assert answers == expected(space)[scenario]


@pytest.mark.parametrize("name", child_scenarios.EDITS)
async def test_an_edit_of_a_child_is_undone(
    kubectl: Client, api: KubernetesApiServer, namespace: str, name: str
) -> None:
    await child_scenarios.an_edit_is_undone(api, OthersAtTheCluster(kubectl), namespace, name)


async def test_every_child_agrees_with_its_manifest(
    api: KubernetesApiServer, namespace: str
) -> None:
    await child_scenarios.every_child_agrees_with_its_manifest(api, namespace)


async def test_the_number_of_pods_changes_hands_and_is_never_lost(
    kubectl: Client, api: KubernetesApiServer, namespace: str
) -> None:
    others = OthersAtTheCluster(kubectl)
    await child_scenarios.a_scaled_deployment_keeps_its_pods(api, others, namespace)


async def test_it_publishes_the_schemas_that_definitions_are_compared_by(
    crds: None, api: KubernetesApiServer
) -> None:
    published = await api.published_schemas()
    assert {"Tenant", "Provider", "RelayRoute"} <= published.keys()
    assert lacking(published) == ()
    # of earlier definitions
    del published["Tenant"]["properties"]["spec"]["properties"]["tier"]
    assert lacking(published) == ("Tenant.spec.tier",)
