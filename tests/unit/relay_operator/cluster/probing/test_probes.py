"""Questions to relay pods about what they can connect to, over real HTTP: to a relay's own port, and to pods that mean harm."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests.unit.relay_operator.cluster.pods import a_pod
from tests.unit.relay_operator.cluster.unix_server import ScriptedServer, scripted, serving

from relay.process.document_acceptance import Acceptance
from relay.process.isolation_probe import IsolationProbe
from relay_contract.endpoints import ISOLATION_PATH
from relay_contract.isolation_probe import DECOY_PORT, Target, TargetKind
from relay_operator.cluster.probing.decoy import Decoy
from relay_operator.cluster.probing.probes import ROUND_SECONDS, Probes
from relay_operator.errors import Unavailable

KEY = Ed25519PrivateKey.generate()
DEADLINE_SECONDS = 0.3
CHALLENGE = {"challenge": "0" * 32}
TARGETS = (Target(kind=TargetKind.DECOY, address="10.244.0.7", port=DECOY_PORT),)
POD = a_pod()


@contextlib.asynccontextmanager
async def probes_to(path: Path) -> AsyncIterator[Probes]:
    asking = Probes(
        signing_key=KEY,
        decoy=Decoy(),
        timeout_seconds=DEADLINE_SECONDS,
        connector=aiohttp.UnixConnector(str(path), keepalive_timeout=ROUND_SECONDS),
    )
    try:
        yield asking
    finally:
        await asking.close()


def relay() -> web.Application:
    """Returns an admin port with the paths of the probe alone; it serves the tenant with UID `mine`."""
    probe = IsolationProbe(Acceptance((KEY.public_key(),), "mine"), lambda: True)

    async def challenge(_: web.Request) -> web.Response:
        return web.json_response({"challenge": probe.challenge})

    async def answer(request: web.Request) -> web.Response:
        answered = await probe.answer(await request.read())
        return web.json_response(answered.model_dump(mode="json", by_alias=True))

    application = web.Application()
    application.add_routes([web.get(ISOLATION_PATH, challenge), web.post(ISOLATION_PATH, answer)])
    return application


async def test_a_relay_takes_what_the_operator_signs(tmp_path: Path) -> None:
    async with serving(relay(), tmp_path / "relay") as path, probes_to(path) as asking:
        for _ in range(2):
            answer = await asking.ask(POD, "mine", ())
            assert (answer.outcomes, answer.serving) == ((), True)


async def test_a_round_takes_one_connection_and_the_next_round_another(tmp_path: Path) -> None:
    connections: list[asyncio.BaseTransport | None] = []

    @web.middleware
    async def noted(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        connections.append(request.transport)
        return await handler(request)

    application = relay()
    application.middlewares.append(noted)
    async with serving(application, tmp_path / "relay") as path, probes_to(path) as asking:
        for _ in range(2):
            await asking.ask(POD, "mine", ())
    first, second, third, fourth = connections
    assert first is second
    assert third is fourth
    assert third is not first


@pytest.mark.parametrize(
    "answers",
    [
        [(404, {}, "not found")],
        [(200, {}, CHALLENGE), (409, {}, {"error": {}})],
        [(200, {}, CHALLENGE), (500, {}, "boom")],
        [(200, {}, "[]")],
        [(200, {}, {"challenge": "../../x"})],
        [(200, {}, CHALLENGE), (200, {}, "{")],
        [(200, {}, CHALLENGE), (200, {}, {"outcomes": ["Open"], "serving": True})],
        [(200, {}, CHALLENGE), (200, {}, {"outcomes": [], "serving": True})],
        [(200, {}, CHALLENGE), (200, {}, {"outcomes": ["Connected"] * 25, "serving": True})],
        [(200, {}, CHALLENGE), (200, {}, {"outcomes": ["Connected"]})],
        [(200, {}, CHALLENGE), (200, {}, "[" * 100_000)],
        [(302, {"location": "http://10.96.0.1/"}, "")],
        [(307, {"location": "javascript:x"}, "")],
        [(200, {}, CHALLENGE), (302, {"location": "http://xn--/"}, "")],
    ],
)
async def test_an_answer_that_no_relay_gives_is_none(
    tmp_path: Path, answers: list[tuple[int, dict[str, str], Any]]
) -> None:
    server = ScriptedServer(*answers)
    async with serving(scripted(server), tmp_path / "pod") as path, probes_to(path) as asking:
        with pytest.raises(Unavailable) as refused:
            await asking.ask(POD, "mine", TARGETS)
    assert len(str(refused.value)) < 200
    # nothing is followed or repeated
    assert len(server.seen) == len(answers)


async def _says_nothing(_: asyncio.StreamWriter) -> None:
    await asyncio.sleep(2 * DEADLINE_SECONDS)


async def _never_ends(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def _drips(writer: asyncio.StreamWriter) -> None:
    for byte in b"HTTP/1.1 200 OK\r\ncontent-length: 48\r\n\r\n" + json.dumps(CHALLENGE).encode():
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(DEADLINE_SECONDS / 3)


@pytest.mark.parametrize("script", [_says_nothing, _never_ends, _drips])
async def test_a_pod_costs_a_bounded_time_whatever_it_does(
    tmp_path: Path, script: Callable[[asyncio.StreamWriter], Awaitable[None]]
) -> None:
    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                await script(writer)
        finally:
            writer.transport.abort()

    server = await asyncio.start_unix_server(serve, str(tmp_path / "pod"))
    try:
        async with probes_to(tmp_path / "pod") as asking, asyncio.timeout(5):
            with pytest.raises(Unavailable):
                await asking.ask(POD, "mine", TARGETS)
    finally:
        server.close()
        await asyncio.sleep(2 * DEADLINE_SECONDS)


class Transport:
    """A connection from an address."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.is_aborted = False
        self.transport = self

    def get_extra_info(self, _: str) -> tuple[str, int]:
        return self._address, 40000

    def abort(self) -> None:
        self.is_aborted = True


async def _arrive(decoy: Decoy, address: str) -> Transport:
    connection = Transport(address)
    await decoy._accept(cast(Any, None), cast(Any, connection))
    return connection


async def test_the_decoy_remembers_for_a_moment_who_came_and_closes_at_once() -> None:
    now = [0.0]
    decoy = Decoy(clock=lambda: now[0])
    assert (await _arrive(decoy, "::ffff:10.244.0.9")).is_aborted
    assert decoy.arrived("10.244.0.9", within_seconds=2)
    assert not decoy.arrived("10.244.0.8", within_seconds=2)
    now[0] = 3.0
    assert not decoy.arrived("10.244.0.9", within_seconds=2)
    # what whoever connects makes it keep is bounded
    for number in range(5000):
        await _arrive(decoy, f"10.{number // 250}.{number % 250}.1")
    assert len(decoy._arrived) <= 1024
    assert decoy.arrived("10.19.249.1", within_seconds=2)
