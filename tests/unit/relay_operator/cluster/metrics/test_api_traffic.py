"""Requests to the API server are counted by verb and code, whoever sends them, and tell whether it answers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from kubernetes.aio import client as kubernetes_client
from prometheus_client import REGISTRY
from tests.unit.relay_operator.cluster.unix_server import ScriptedServer, scripted, serving
from yarl import URL

from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.cluster.leadership.fence import FencedRequest
from relay_operator.cluster.metrics.api_traffic import (
    ApiTraffic,
    names_a_proxy,
    verb_of,
    watch_of,
)
from relay_operator.errors import NotLeading, OperatorError, Unavailable

CONFIGMAP = {"kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}}
CORE, OURS = "/api/v1", "/apis/relay-operator.dev/v1alpha1"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Closed:
    """A fence that closes between the first look and the last."""

    epoch = 1

    def __init__(self) -> None:
        self.looks = 0

    def rest_seconds(self) -> float:
        self.looks += 1
        return 5.0 if self.looks == 1 else 0.0


@asynccontextmanager
async def counted(
    server: ScriptedServer, tmp_path: Path, traffic: ApiTraffic
) -> AsyncIterator[KubernetesApiServer]:
    configuration = kubernetes_client.Configuration(host="http://api.test")
    async with serving(scripted(server), tmp_path / "api.sock") as path:
        connector = aiohttp.UnixConnector(str(path))
        configuration.client_session_kwargs = {
            "connector": connector,
            "trust_env": False,
            "request_class": FencedRequest,
            "trace_configs": [traffic.hooks()],
        }
        api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
        yield api
        await api.close()
        await connector.close()


def calls(verb: str, code: str) -> float:
    labels = {"verb": verb, "code": code}
    return REGISTRY.get_sample_value("relay_operator_api_requests_total", labels) or 0.0


def timed(verb: str) -> float:
    name = "relay_operator_api_request_duration_seconds_count"
    return REGISTRY.get_sample_value(name, {"verb": verb}) or 0.0


async def test_each_call_is_counted_by_verb_and_code(tmp_path: Path) -> None:
    server = ScriptedServer(
        (200, {}, CONFIGMAP), (201, {}, CONFIGMAP), (409, {}, {}), (404, {}, {}), (200, {}, CONFIGMAP)
    )  # fmt: skip
    expected = [
        ("get", "200"), ("create", "201"), ("apply", "409"), ("patch", "404"), ("delete", "200")
    ]  # fmt: skip
    before = {one: calls(*one) for one in expected}
    times = {verb: timed(verb) for verb, _ in expected}
    async with counted(server, tmp_path, ApiTraffic()) as api:
        await api.get("ConfigMap", "c", namespace="n")
        await api.create(CONFIGMAP)
        for refused in (
            api.apply(CONFIGMAP),
            api.patch("Tenant", "finance", {"status": {}}, subresource="status"),
        ):
            with pytest.raises(OperatorError):
                await refused
        await api.delete("ConfigMap", "c", namespace="n", uid="u")
    assert {one: calls(*one) - before[one] for one in expected} == dict.fromkeys(expected, 1)
    assert {verb: timed(verb) - times[verb] for verb in times} == dict.fromkeys(times, 1)


async def test_a_call_without_an_answer_is_counted_and_one_that_never_left_is_not(
    tmp_path: Path,
) -> None:
    before, traffic = calls("get", "none"), ApiTraffic()
    configuration = kubernetes_client.Configuration(host="http://api.test")
    connector = aiohttp.UnixConnector(str(tmp_path / "nobody.sock"))
    configuration.client_session_kwargs = {
        "connector": connector,
        "trace_configs": [traffic.hooks()],
    }
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    with pytest.raises(Unavailable):
        await api.get("ConfigMap", "c", namespace="n")
    await api.close()
    await connector.close()
    assert calls("get", "none") == before + 1
    assert traffic.answering_seconds() == 0
    server = ScriptedServer((201, {}, CONFIGMAP))
    before = calls("create", "none")
    async with counted(server, tmp_path, traffic) as open_api:
        with pytest.raises(NotLeading):
            await open_api.fenced(Closed()).create(CONFIGMAP)
    assert server.seen == []
    assert calls("create", "none") == before


async def test_the_api_server_answers_since_its_first_answer_after_a_silence(
    tmp_path: Path,
) -> None:
    clock = Clock()
    traffic = ApiTraffic(clock)
    server = ScriptedServer((200, {}, CONFIGMAP))
    async with counted(server, tmp_path, traffic) as api:
        for _ in range(12):
            await api.get("ConfigMap", "c", namespace="n")
            clock.now += 20
        assert traffic.answering_seconds() == 240
        clock.now += 20
        assert traffic.answering_seconds() == 0
        await api.get("ConfigMap", "c", namespace="n")
        assert traffic.answering_seconds() == 0
        clock.now += 5
        assert traffic.answering_seconds() == 5


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_an_error_of_the_api_servers_own_is_no_answer(tmp_path: Path, status: int) -> None:
    clock = Clock()
    traffic = ApiTraffic(clock)
    server = ScriptedServer((status, {"Retry-After": "0"}, {}))
    async with counted(server, tmp_path, traffic) as api:
        with pytest.raises(Unavailable):
            await api.get("ConfigMap", "c", namespace="n")
        clock.now += 1
        assert traffic.answering_seconds() == 0


async def test_a_watch_of_our_own_has_an_age_as_kopfs_have(tmp_path: Path) -> None:
    clock = Clock()
    traffic = ApiTraffic(clock)
    event = '{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}\n'
    server = ScriptedServer((200, {}, event))
    async with counted(server, tmp_path, traffic) as api:
        clock.now += 50
        found = [one.type async for one in api.watch_metadata("Secret", "relay-api-keys")]
        clock.now += 1
        traffic.watch_ages.sample(clock.now)
    await asyncio.sleep(0)
    assert found == ["BOOKMARK"]
    assert traffic.watch_ages.age("secrets/relay-api-keys", now=clock.now + 9) == 9


@pytest.mark.parametrize(
    ("method", "path", "verb"),
    [
        ("GET", f"{CORE}/namespaces", "list"),
        ("GET", f"{CORE}/namespaces/n", "get"),
        ("GET", f"{CORE}/namespaces/n/pods", "list"),
        ("GET", f"{CORE}/namespaces/apis/pods", "list"),
        ("GET", f"{CORE}/namespaces/n/pods/p", "get"),
        ("GET", f"{CORE}/pods?watch=true", "watch"),
        ("GET", f"{OURS}/tenants", "list"),
        ("GET", f"{OURS}/tenants/api", "get"),
        ("GET", f"{OURS}/namespaces/n/relayroutes/r", "get"),
        ("GET", f"/k8s/clusters/c-1{OURS}/tenants", "list"),
        ("GET", "/apis", "get"),
        ("GET", "/version", "get"),
        ("POST", f"{CORE}/namespaces/n/pods", "create"),
        ("PUT", f"{CORE}/namespaces/n/pods/p", "update"),
        ("DELETE", f"{CORE}/namespaces/n/pods/p", "delete"),
        ("OPTIONS", "/", "other"),
    ],
)
def test_verbs_are_named_as_kubernetes_names_them(method: str, path: str, verb: str) -> None:
    assert verb_of(method, URL(f"https://api.test{path}"), {}) == verb


def test_apply_and_patch_are_told_apart() -> None:
    url = URL(f"https://api.test{OURS}/tenants/t")
    assert verb_of("PATCH", url, {"Content-Type": "application/apply-patch+yaml"}) == "apply"
    assert verb_of("PATCH", url, {"Content-Type": "application/merge-patch+json"}) == "patch"


@pytest.mark.parametrize(
    ("path", "watch"),
    [
        (f"{CORE}/pods?watch=true", "pods"),
        (f"{OURS}/relayroutes?watch=true", "relayroutes"),
        (f"{CORE}/secrets?watch=true&fieldSelector=metadata.name=k", "secrets/k"),
        (f"{CORE}/namespaces/n/secrets?watch=true&labelSelector=l", "secrets"),
    ],
)
def test_a_watch_is_named_by_what_it_is_of(path: str, watch: str) -> None:
    assert watch_of(URL(f"https://api.test{path}")) == watch


def test_the_environment_is_trusted_where_it_names_a_proxy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    assert not names_a_proxy()
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example.com:3128")
    assert names_a_proxy()
