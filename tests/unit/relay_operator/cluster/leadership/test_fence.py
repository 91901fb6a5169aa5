"""The fence: nothing leaves an operator that may not be the leader, over real HTTP."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import httpx
import pytest
from kubernetes.aio import client as kubernetes_client
from tests.unit.relay_operator.cluster.pods import a_pod
from tests.unit.relay_operator.cluster.unix_server import ScriptedServer, scripted, serving

from relay_operator.cluster.api_server import KubernetesApiServer
from relay_operator.cluster.leadership.fence import Brake, FencedRequest, boot_seconds
from relay_operator.cluster.relays import Relays
from relay_operator.cluster.webhook.message import Message
from relay_operator.cluster.webhook.sender import Receiver, Webhook
from relay_operator.errors import NotLeading

TENANT = {
    "apiVersion": "relay-operator.dev/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "finance"},
}
POD = a_pod()
ACKNOWLEDGED = {"digest": "d", "generation": 1, "workers": 1}


@dataclass(slots=True)
class Rests:
    """A lease with these rests, one for each time that the fence is asked; the last one stays."""

    rests: list[float]
    epoch: int = 1
    asked: Iterator[float] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = iter(self.rests)

    def rest_seconds(self) -> float:
        return next(self.asked, self.rests[-1])


@asynccontextmanager
async def api_of(path: Path, fence: Rests) -> AsyncIterator[KubernetesApiServer]:
    configuration = kubernetes_client.Configuration(host="http://api.test")
    connector = aiohttp.UnixConnector(str(path))
    configuration.client_session_kwargs = {
        "connector": connector,
        "trust_env": False,
        "request_class": FencedRequest,
    }
    api = KubernetesApiServer(kubernetes_client.ApiClient(configuration=configuration))
    yield api.fenced(fence)
    await api.close()
    await connector.close()


@pytest.mark.parametrize(
    "rests",
    [[0.0], [-60.0], [5.0, 0.0], [5.0, -60.0]],
    ids=["at-its-end", "over", "ends", "stopped"],
)
async def test_no_write_leaves_without_the_lease(tmp_path: Path, rests: list[float]) -> None:
    server = ScriptedServer((200, {}, TENANT))
    async with (
        serving(scripted(server), tmp_path / "api.sock") as path,
        api_of(path, Rests(rests)) as api,
    ):
        for write in (api.create, api.apply):
            with pytest.raises(NotLeading):
                await write(TENANT)
    async with (
        serving(scripted(server), tmp_path / "api2.sock") as path,
        api_of(path, Rests(rests)) as api,
    ):
        with pytest.raises(NotLeading):
            await api.patch("Tenant", "finance", {"status": {}}, subresource="status")
    async with (
        serving(scripted(server), tmp_path / "api3.sock") as path,
        api_of(path, Rests(rests)) as api,
    ):
        with pytest.raises(NotLeading):
            await api.delete("Tenant", "finance", uid="u")
        assert server.seen == []
        assert await api.get("Tenant", "finance") == TENANT


async def test_no_attempt_of_a_throttled_write_follows_without_the_lease(tmp_path: Path) -> None:
    server = ScriptedServer((429, {"Retry-After": "0"}, {}))
    async with (
        serving(scripted(server), tmp_path / "api.sock") as path,
        api_of(path, Rests([5.0, 5.0, 0.0])) as api,
    ):
        with pytest.raises(NotLeading):
            await api.apply(TENANT)
    assert len(server.seen) == 1


async def test_a_write_has_no_longer_than_the_lease(tmp_path: Path) -> None:
    server = ScriptedServer((200, {}, TENANT))
    async with (
        serving(scripted(server), tmp_path / "api.sock") as path,
        api_of(path, Rests([1.5])) as api,
    ):
        await api.apply(TENANT)
        assert server.seen[0].query["timeout"] == "1500ms"


@pytest.mark.parametrize("rests", [[0.0], [5.0, -60.0]], ids=["over", "stopped"])
async def test_no_push_leaves_without_the_lease(tmp_path: Path, rests: list[float]) -> None:
    server = ScriptedServer((200, {}, ACKNOWLEDGED))
    async with serving(scripted(server), tmp_path / "pod.sock") as path:
        relays = Relays(
            timeout_seconds=2,
            transport=httpx.AsyncHTTPTransport(uds=str(path)),
            fence=Rests(rests),
        )
        with pytest.raises(NotLeading):
            await relays.push(POD, "sealed")
        await relays.close()
    assert server.seen == []


@dataclass(slots=True)
class Ended:
    """A lead whose lease ran out; may_brake answers in turn, the last one for good."""

    brakes: list[bool]
    epoch: int = 1
    asked: Iterator[bool] = field(init=False)

    def __post_init__(self) -> None:
        self.asked = iter(self.brakes)

    def rest_seconds(self) -> float:
        return -1.0

    def may_brake(self) -> bool:
        return next(self.asked, self.brakes[-1])


@pytest.mark.parametrize(
    ("brakes", "lowers", "leaves"),
    [([True], True, 1), ([True], False, 0), ([False], True, 0), ([True, False], True, 0)],
    ids=["takes-away", "anything-else", "may-not", "stopped"],
)
async def test_only_a_push_that_takes_weight_away_leaves_by_the_brake(
    tmp_path: Path, brakes: list[bool], lowers: bool, leaves: int
) -> None:
    server, lead = ScriptedServer((200, {}, ACKNOWLEDGED)), Ended(brakes)
    async with serving(scripted(server), tmp_path / "pod.sock") as path:
        relays = Relays(
            timeout_seconds=2,
            transport=httpx.AsyncHTTPTransport(uds=str(path)),
            fence=lead,
            brake=Brake(lead),
        )
        if leaves:
            await relays.push(POD, "sealed", lowers=lowers)
        else:
            with pytest.raises(NotLeading):
                await relays.push(POD, "sealed", lowers=lowers)
        await relays.close()
    assert len(server.seen) == leaves


async def test_a_push_leaves_with_the_lease(tmp_path: Path) -> None:
    server = ScriptedServer((200, {}, ACKNOWLEDGED))
    async with serving(scripted(server), tmp_path / "pod.sock") as path:
        relays = Relays(
            timeout_seconds=2,
            transport=httpx.AsyncHTTPTransport(uds=str(path)),
            fence=Rests([5.0]),
        )
        assert (await relays.push(POD, "sealed")).acknowledgement.generation == 1
        await relays.close()
    assert len(server.seen) == 1


async def test_no_message_leaves_without_the_lease(tmp_path: Path) -> None:
    server = ScriptedServer((200, {}, {}))
    secret = tmp_path / "secret"
    secret.write_text("whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    async with serving(scripted(server), tmp_path / "hook.sock") as path:

        def transport(_: ssl.SSLContext) -> httpx.AsyncHTTPTransport:
            return httpx.AsyncHTTPTransport(uds=str(path))

        for rests in ([0.0], [5.0, -60.0]):
            webhook = Webhook(
                Receiver(url="http://hooks.test/", secret_file=str(secret)),
                transport=transport,
                fence=Rests(rests),
            )
            webhook.tell(Message(id="1", type="t", body=b"{}"))
            running = asyncio.create_task(webhook.run())
            await asyncio.sleep(0.2)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
    assert server.seen == []


def test_the_clock_goes_on() -> None:
    assert boot_seconds() <= boot_seconds()
