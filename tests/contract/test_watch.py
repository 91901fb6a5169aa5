"""A watch by name on a real API server: metadata alone, of that name alone, from a version on."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio import config as kubernetes_config
from tests.cluster.session.clients import Client

from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.cluster.watch_stream import WatchEvent

MOST_EVENTS = 20


@pytest.fixture
async def api(kubectl: Client) -> AsyncIterator[KubernetesApiServer]:
    configuration = kubernetes_client.Configuration()
    await kubernetes_config.load_kube_config(
        config_file=str(kubectl.kubeconfig), client_configuration=configuration
    )
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    yield api
    await api.close()


def put(kubectl: Client, namespace: str, name: str, value: str) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": {"web": value},
    }
    kubectl("apply", "-f", "-", stdin=json.dumps(manifest))


async def seen(api: KubernetesApiServer, name: str, since: str, last: str) -> list[WatchEvent]:
    """Returns the events up to one of a type."""
    found = []
    async for event in api.watch_metadata("Secret", name, since=since):
        if event.type != "BOOKMARK":
            found.append(event)
        if event.type == last or len(found) > MOST_EVENTS:
            return found
    return found


async def test_a_watch_by_name_shows_what_happens_and_no_value(
    api: KubernetesApiServer, kubectl: Client, namespace: str
) -> None:
    name = f"keys-{namespace}"[:60]
    put(kubectl, namespace, name, "planted-secret-value")
    put(kubectl, namespace, f"not-{name}"[:60], "planted-secret-value")
    (first,) = await seen(api, name, "", "ADDED")
    assert (first.metadata["name"], first.metadata["namespace"]) == (name, namespace)
    put(kubectl, namespace, name, "another-secret-value")
    kubectl("delete", "secret", name, "-n", namespace)
    later = await seen(api, name, first.version, "DELETED")
    assert [event.type for event in later] == ["MODIFIED", "DELETED"]
    # what kubectl keeps of its own input is no value that is stored encoded
    for event in (first, *later):
        event.metadata.pop("annotations", None)
        assert "secret-value" not in json.dumps(event.metadata)


def open_sockets() -> int:
    links = (path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink())
    return sum(str(link).startswith("socket:") for link in links)


async def test_a_watch_that_is_given_up_leaves_no_socket(
    api: KubernetesApiServer, kubectl: Client, namespace: str
) -> None:
    """A polite end of TLS takes turns of the loop, which may have ended before."""
    name = f"given-up-{namespace}"[:60]
    put(kubectl, namespace, name, "a-value")
    before = open_sockets()
    watch = api.watch_metadata("Secret", name)
    assert (await anext(watch)).metadata["name"] == name
    assert open_sockets() == before + 1
    await watch.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert open_sockets() == before
