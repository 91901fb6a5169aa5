"""The API server's adapter over real HTTP: paths, content types, retries, and one family of errors."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from kubernetes.aio import client as kubernetes_client
from tests.unit.relay_operator.cluster.unix_server import ScriptedServer, scripted, serving

from relay_operator.cluster.api_server import KubernetesApiServer, _pause_seconds
from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.errors import ApiServerRefused, Conflict, OperatorError, Unavailable

AT_ONCE = {"Retry-After": "0"}
CONFIGMAP = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "c", "namespace": "n"},
    "data": {"a": "1"},
}
TENANT = {
    "apiVersion": "relay-operator.dev/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "finance"},
}


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[KubernetesApiServer]:
    configuration = kubernetes_client.Configuration(host="http://api.test")
    connector = aiohttp.UnixConnector(str(path))
    configuration.client_session_kwargs = {"connector": connector, "trust_env": False}
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    yield api
    await api.close()
    await connector.close()


@asynccontextmanager
async def api_over(server: ScriptedServer, tmp_path: Path) -> AsyncIterator[KubernetesApiServer]:
    async with serving(scripted(server), tmp_path / "api.sock") as path, connected(path) as api:
        yield api


async def test_each_verb_has_its_path_and_content(tmp_path: Path) -> None:
    server = ScriptedServer((200, {}, CONFIGMAP))
    async with api_over(server, tmp_path) as api:
        assert await api.get("ConfigMap", "c", namespace="n") == CONFIGMAP
        await api.create(CONFIGMAP)
        await api.apply(CONFIGMAP)
        await api.patch("Tenant", "finance", {"status": {"a": 1}}, subresource="status")
        await api.apply(TENANT)
    tenants = "/apis/relay-operator.dev/v1alpha1/tenants"
    manager = {"fieldManager": "relay-operator"}
    assert [(one.method, one.path, one.query, one.content_type) for one in server.seen] == [
        ("GET", "/api/v1/namespaces/n/configmaps/c", {}, "application/json"),
        ("POST", "/api/v1/namespaces/n/configmaps", manager, "application/json"),
        (
            "PATCH",
            "/api/v1/namespaces/n/configmaps/c",
            manager | {"force": "true"},
            "application/apply-patch+yaml",
        ),
        ("PATCH", f"{tenants}/finance/status", {}, "application/merge-patch+json"),
        (
            "PATCH",
            f"{tenants}/finance",
            manager | {"force": "true"},
            "application/apply-patch+yaml",
        ),
    ]
    assert json.loads(server.seen[1].body) == CONFIGMAP
    assert json.loads(server.seen[3].body) == {"status": {"a": 1}}


async def test_exactly_one_object_is_deleted(tmp_path: Path) -> None:
    server = ScriptedServer(
        (200, {}, CONFIGMAP), (404, {}, {"message": "gone"}), (409, {}, {"message": "another"})
    )
    async with api_over(server, tmp_path) as api:
        for _ in range(2):
            await api.delete("ConfigMap", "c", namespace="n", uid="u-1")
        with pytest.raises(Conflict):
            await api.delete("ConfigMap", "c", namespace="n", uid="u-1")
    assert (server.seen[0].method, server.seen[0].path) == (
        "DELETE",
        "/api/v1/namespaces/n/configmaps/c",
    )
    assert json.loads(server.seen[0].body)["preconditions"] == {"uid": "u-1"}


async def test_metadata_is_listed_without_the_rest(tmp_path: Path) -> None:
    # most of what is sent of an object, and nobody's concern here
    set_by = [{"manager": "kubectl", "fieldsV1": {"f:spec": {}}}]
    items = [
        {"metadata": {"name": name, "uid": name, "managedFields": set_by}} for name in ("a", "b")
    ]
    server = ScriptedServer((200, {}, {"kind": "PartialObjectMetadataList", "items": items}))
    async with api_over(server, tmp_path) as api:
        assert await api.list_metadata("Tenant") == [{"name": n, "uid": n} for n in ("a", "b")]
        await api.list_metadata("Pod", selector="app=x")
    tenants, pods = server.seen
    assert (tenants.path, tenants.query) == (
        "/apis/relay-operator.dev/v1alpha1/tenants",
        {"limit": "500"},
    )
    assert tenants.accept == "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    assert (pods.path, pods.query) == ("/api/v1/pods", {"limit": "500", "labelSelector": "app=x"})


async def test_a_list_is_read_in_pages(tmp_path: Path) -> None:
    kind = {"kind": "PartialObjectMetadataList"}
    pages: list[tuple[int, dict[str, str], dict[str, Any]]] = []
    for number, following in enumerate(("x", "y", "")):
        items = [{"metadata": {"name": f"{number}-{one}"}} for one in "ab"]
        pages.append((200, {}, {**kind, "metadata": {"continue": following}, "items": items}))
    server = ScriptedServer(*pages)
    async with api_over(server, tmp_path) as api:
        listed = await api.list_metadata("Pod", selector="app=x")
    assert [one["name"] for one in listed] == ["0-a", "0-b", "1-a", "1-b", "2-a", "2-b"]
    asked = {"limit": "500", "labelSelector": "app=x"}
    continued = [asked, asked | {"continue": "x"}, asked | {"continue": "y"}]
    assert [seen.query for seen in server.seen] == continued


async def test_an_empty_list_of_metadata_is_null_and_of_one_namespace(tmp_path: Path) -> None:
    server = ScriptedServer((200, {}, {"kind": "PartialObjectMetadataList", "items": None}))
    async with api_over(server, tmp_path) as api:
        assert await api.list_metadata("Pod", namespace="relay-finance") == []
    assert server.seen[0].path == "/api/v1/namespaces/relay-finance/pods"


async def test_a_name_cannot_lead_to_another_path(tmp_path: Path) -> None:
    server = ScriptedServer((404, {}, {"message": "not found"}))
    async with api_over(server, tmp_path) as api:
        assert await api.get("Service", "../secrets/key", namespace="n/../m") is None
    assert server.seen[0].path == "/api/v1/namespaces/n%2F..%2Fm/services/..%2Fsecrets%2Fkey"


async def test_a_missing_object_is_none_and_nothing_else_is(tmp_path: Path) -> None:
    server = ScriptedServer((404, {}, {"message": "no such thing"}), (403, {}, {"message": "no"}))
    async with api_over(server, tmp_path) as api:
        assert await api.get("ConfigMap", "c", namespace="n") is None
        with pytest.raises(ApiServerRefused) as refused:
            await api.get("ConfigMap", "c", namespace="n")
    assert refused.value.status == 403
    assert str(refused.value) == "GET /api/v1/namespaces/n/configmaps/c: 403 no"


@pytest.mark.parametrize(
    ("status", "error"),
    [(409, Conflict), (422, ApiServerRefused), (404, ApiServerRefused), (500, Unavailable)],
)
async def test_a_refused_write_is_told_with_the_servers_words(
    tmp_path: Path, status: int, error: type[OperatorError]
) -> None:
    server = ScriptedServer((status, {}, {"message": "spec is wrong"}))
    async with api_over(server, tmp_path) as api:
        with pytest.raises(error, match=f"{status} spec is wrong"):
            await api.create(CONFIGMAP)
    assert len(server.seen) == 1


@pytest.mark.parametrize("body", ["<html>gateway</html>", "[1]"])
async def test_an_error_that_is_no_status_object_is_told_as_it_is(
    tmp_path: Path, body: str
) -> None:
    async with api_over(ScriptedServer((502, {}, body)), tmp_path) as api:
        with pytest.raises(Unavailable, match="502 "):
            await api.create(CONFIGMAP)


@pytest.mark.parametrize("status", [429, 503])
async def test_a_throttled_request_is_repeated_when_the_server_says(
    tmp_path: Path, status: int
) -> None:
    server = ScriptedServer(*[(status, AT_ONCE, {})] * 3, (200, {}, CONFIGMAP))
    async with api_over(server, tmp_path) as api:
        assert await api.apply(CONFIGMAP) == CONFIGMAP
    assert len(server.seen) == 4


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        ("0", 0),
        ("1.5", 1.5),
        ("3600", 10),
        ("1e400", 10),
        ("9" * 400, 10),
        *((none, 0.2) for none in ("Wed, 21 Oct 2026 07:28:00 GMT", "soon", "-1", "nan", "")),
    ],
)
def test_a_pause_that_is_none_or_far_too_long_is_not_believed(asked: str, seconds: float) -> None:
    assert _pause_seconds(asked, 0.2) == seconds


async def test_a_date_to_come_back_at_is_no_error_of_ours(tmp_path: Path) -> None:
    date = {"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}
    server = ScriptedServer((429, date, {}), (200, {}, CONFIGMAP))
    async with api_over(server, tmp_path) as api:
        assert await api.apply(CONFIGMAP) == CONFIGMAP


@pytest.mark.parametrize(
    "body", ["<html>sign in</html>", "", "[]", "null", "3", '{"message": "hello"}', "[" * 100_000]
)
async def test_an_answer_that_is_no_object_is_not_the_servers(tmp_path: Path, body: str) -> None:
    async with api_over(ScriptedServer((200, {}, body)), tmp_path) as api:
        for call in (api.get("ConfigMap", "c", namespace="n"), api.apply(CONFIGMAP)):
            with pytest.raises(Unavailable, match="not the API server's"):
                await call


async def test_an_endless_answer_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("relay_operator.cluster.api_server._MOST_ANSWER_BYTES", 1000)
    large = CONFIGMAP | {"data": {"a": "x" * 1000}}
    async with api_over(ScriptedServer((200, {}, large)), tmp_path) as api:
        with pytest.raises(Unavailable, match="longer than 1000 bytes"):
            await api.get("ConfigMap", "c", namespace="n")


async def test_a_server_that_keeps_throttling_is_unavailable(tmp_path: Path) -> None:
    server = ScriptedServer((429, AT_ONCE, {"message": "slow down"}))
    async with api_over(server, tmp_path) as api:
        with pytest.raises(Unavailable, match="slow down"):
            await api.apply(CONFIGMAP)
    assert len(server.seen) == 4


async def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    async with connected(tmp_path / "nobody.sock") as api:
        with pytest.raises(Unavailable, match=r"GET .*: the API server cannot be reached"):
            await api.get("Tenant", "finance")


async def test_a_kubeconfig_is_used_outside_a_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context: dict[str, Any] = {"cluster": "c", "user": "u"}
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "x",
        "contexts": [{"name": "x", "context": context}],
        "clusters": [{"name": "c", "cluster": {"server": "https://api.example.com:6443"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    monkeypatch.setattr("kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    api = await KubernetesApiServer.connect(ApiTraffic())
    assert api._client.configuration.host == "https://api.example.com:6443"
    await api.close()


async def test_a_watch_by_label_stays_in_its_namespace(tmp_path: Path) -> None:
    event = {"type": "ADDED", "object": {"metadata": {"name": "s", "resourceVersion": "5"}}}
    server = ScriptedServer((200, {}, json.dumps(event) + "\n"))
    async with api_over(server, tmp_path) as api:
        found = api.watch_metadata("Secret", namespace="n", selector="label")
        assert [(one.metadata["name"], one.version) async for one in found] == [("s", "5")]
    [asked] = server.seen
    assert (asked.method, asked.path) == ("GET", "/api/v1/namespaces/n/secrets")
    assert (asked.query["watch"], asked.query["labelSelector"]) == ("true", "label")
    assert "fieldSelector" not in asked.query
    assert "as=PartialObjectMetadata" in asked.accept


async def test_a_list_of_nothing_is_empty_although_its_items_are_null(tmp_path: Path) -> None:
    listed: dict[str, Any] = {"kind": "PartialObjectMetadataList", "metadata": {}, "items": None}
    async with api_over(ScriptedServer((200, {}, listed)), tmp_path) as api:
        assert await api.list_metadata("Tenant") == []
