"""kopf's own watches over HTTP, in virtual time: they outlive an API server that answers with errors, and their ages are told."""

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import kopf
import pytest
import yaml
from aiohttp import web
from prometheus_client import REGISTRY
from tests.unit.relay_operator.cluster.unix_server import serving
from tests.unit.relay_operator.handlers.recording_queue import a_context
from tests.unit.relay_operator.in_memory_api_server import FakeClock
from tests.unit.relay_operator.virtual_time import VirtualTimeLoop

from relay_operator.cluster.metrics.api_traffic import ApiTraffic
from relay_operator.handlers import watches
from relay_operator.handlers.context import Context
from relay_operator.handlers.kopf_settings import configure
from relay_operator.handlers.login import Login
from relay_operator.process.life import follow_all

PREFIX = "/apis/relay-operator.dev/v1alpha1"
KUBECONFIG = {
    "current-context": "x",
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://api.test"}}],
    "users": [{"name": "u", "user": {"token": "t"}}],
}
KINDS = {
    "/api/v1": [("namespaces", "Namespace", False)],
    "/apis/apiextensions.k8s.io/v1": [
        ("customresourcedefinitions", "CustomResourceDefinition", False)
    ],
    PREFIX: [
        ("tenants", "Tenant", False),
        ("providers", "Provider", False),
        ("relayroutes", "RelayRoute", True),
    ],
}
"""By path: what kopf looks for wherever it watches, and what we watch."""


def discovered(path: str) -> dict[str, Any]:
    """Returns what the API server tells of its kinds at a path of discovery."""
    if path == "/api":
        return {"versions": ["v1"]}
    if path == "/apis":
        paths = [one.split("/")[2:] for one in KINDS if one.startswith("/apis/")]
        versions = [(group, {"version": version}) for group, version in paths]
        return {
            "groups": [
                {"name": group, "versions": [version], "preferredVersion": version}
                for group, version in versions
            ]
        }
    return {
        "resources": [
            {
                "name": plural,
                "singularName": "",
                "kind": kind,
                "namespaced": is_namespaced,
                "verbs": ["get", "list", "watch"],
            }
            for plural, kind, is_namespaced in KINDS[path]
        ]
    }


class _SocketsFirst(selectors.SelectSelector):
    """Moves the clock only when no socket of this process has anything."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        found = super().select(0)
        if not found:
            assert timeout is not None, "every task waits for something that nobody will do"
            self._clock.now += max(timeout, 0.0)
        return found


class Api:
    """An API server of three kinds. It answers with an error while it has trouble, and bookmarks each minute unless it is mute."""

    def __init__(self) -> None:
        self.trouble = 0
        self.is_mute = False
        self.asked = 0
        self._news: list[asyncio.Queue[dict[str, Any]]] = []

    def application(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        return app

    def tell(self, name: str) -> None:
        """Has every watch of Tenants show a new one."""
        metadata = {"name": name, "uid": name, "resourceVersion": "9", "generation": 1}
        self.show({"kind": "Tenant", "metadata": metadata, "spec": {}})

    def show(self, shown: dict[str, Any]) -> None:
        """Has every watch of Tenants show this."""
        for queue in self._news:
            queue.put_nowait({"type": "ADDED", "object": shown})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.asked += 1
        path = request.path
        if path in ("/api", "/apis", *KINDS):
            return web.json_response(discovered(path))
        if self.trouble:
            return web.json_response({"kind": "Status", "code": self.trouble}, status=self.trouble)
        if request.query.get("watch") != "true":
            return web.json_response({"metadata": {"resourceVersion": "5"}, "items": []})
        return await self._watch(request)

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        news: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        if request.path.endswith("/tenants"):
            self._news.append(news)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            try:
                async with asyncio.timeout(60):
                    event = await news.get()
            except TimeoutError:
                event = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}}
            if request.transport is None or request.transport.is_closing():
                return response
            if not self.is_mute:
                await response.write(json.dumps(event).encode() + b"\n")


class _OverUnix(ApiTraffic):
    """Traffic whose sessions reach the API server of the test."""

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        super().__init__(clock)
        self._path = path

    def session(self, **_: Any) -> aiohttp.ClientSession:
        connector = aiohttp.UnixConnector(str(self._path), limit=0)
        return aiohttp.ClientSession(connector=connector, trace_configs=[self.hooks()])


class Scene:
    """An operator's watches beside their API server."""

    def __init__(self, api: Api, traffic: ApiTraffic, context: Context) -> None:
        self.api, self.traffic, self.context = api, traffic, context

    def knows(self, tenant: str) -> bool:
        return self.context.watched_state.tenants.get(tenant) is not None

    def age(self, watch: str) -> float:
        self.traffic.watch_ages.sample(self.traffic.now())
        found = REGISTRY.get_sample_value("relay_operator_watch_age_seconds", {"watch": watch})
        assert found is not None
        return found


@asynccontextmanager
async def watching(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Scene]:
    """Runs kopf as the operator does, against an API server of three kinds."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(KUBECONFIG))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    api, socket, stop = Api(), tmp_path / "api.sock", asyncio.Event()
    traffic = _OverUnix(socket, asyncio.get_running_loop().time)
    context, _ = a_context("legacy")
    settings, registry = kopf.OperatorSettings(), kopf.OperatorRegistry()
    configure(settings)
    Login(traffic).register(registry)
    followed = {
        resource: seen
        for resource, seen in watches.watched().items()
        if resource.plural in ("tenants", "providers", "relayroutes")
    }
    async with serving(api.application(), socket):
        traffic.watch_ages.begin(("tenants", "relayroutes"), now=traffic.now())
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            clusterwide=True,
            standalone=True,
            stop_flag=stop,
            _command=follow_all(followed, settings=settings, context=context),
        )
        running = asyncio.create_task(kopf.run_tasks(tasks, ignored=ours))
        try:
            yield Scene(api, traffic, context)
            assert not running.done(), "kopf has ended"
        finally:
            stop.set()
            await asyncio.gather(running, return_exceptions=True)


def played(story: Callable[[Scene], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def play() -> None:
        async with watching(tmp_path, monkeypatch) as scene:
            await story(scene)

    with asyncio.Runner(loop_factory=lambda: VirtualTimeLoop(_SocketsFirst)) as runner:
        runner.run(play())


@pytest.mark.parametrize("status", [500, 503, 504, 429, 403])
def test_watches_outlive_an_api_server_that_answers_with_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    async def story(scene: Scene) -> None:
        scene.api.trouble = status
        # such as a new leader among the members of etcd, or a new API server that is not ready yet
        await asyncio.sleep(60)
        scene.api.trouble = 0
        await asyncio.sleep(10)
        scene.api.tell("finance")
        await asyncio.sleep(1)
        assert scene.knows("finance")

    played(story, tmp_path, monkeypatch)


def test_bookmarks_keep_a_watch_young_and_a_connection_alone_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(400)
        assert scene.age("tenants") < 70
        asked = scene.api.asked
        scene.api.is_mute = True
        await asyncio.sleep(300)
        # kopf has connected anew each time, and was answered
        assert scene.api.asked >= asked + 9
        assert scene.age("tenants") >= 300
        scene.api.is_mute = False
        scene.api.tell("finance")
        await asyncio.sleep(1)
        assert scene.knows("finance")
        assert scene.age("tenants") <= 1.5
        assert scene.age("relayroutes") >= 300

    played(story, tmp_path, monkeypatch)


def test_an_object_that_cannot_be_taken_in_costs_itself_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(1)
        scene.api.show(
            {"kind": "Tenant", "metadata": {"name": "broken", "uid": "broken"}, "spec": 3}
        )
        scene.api.show({"kind": "Tenant"})
        scene.api.tell("finance")
        await asyncio.sleep(1)
        assert scene.knows("finance")

    played(story, tmp_path, monkeypatch)
    assert "an object was not taken in" in caplog.text


def test_what_a_watch_shows_takes_no_task_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(scene: Scene) -> None:
        await asyncio.sleep(1)
        before = len(asyncio.all_tasks())
        for number in range(50):
            scene.api.tell(f"t{number}")
        await asyncio.sleep(0.5)
        assert all(scene.knows(f"t{number}") for number in range(50))
        assert len(asyncio.all_tasks()) == before

    played(story, tmp_path, monkeypatch)
