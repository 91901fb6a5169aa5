"""A request to one relay pod costs what it costs, however many others are asked at the same time."""

import asyncio
import ssl
from pathlib import Path

import httpcore
import httpx
from aiohttp import web
from tests.unit.relay_operator.cluster.unix_server import serving
from tests.unit.relay_operator.counted_lines import Lines

from relay_operator.cluster.connecting.pod_connections import Spread

FEW, MANY = 4, 200
MOST_GROWTH = 1.25


def spread(path: Path) -> Spread:
    """Returns connections to a server on a socket, as many as anybody asks for."""
    unused = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=1)
    return Spread(lambda: httpx.AsyncHTTPTransport(uds=str(path), verify=unused, limits=limits))


def pods(answers: asyncio.Event) -> web.Application:
    """Returns pods that hold back what they are asked until all may answer, and take what is pushed at once."""

    async def held(_: web.Request) -> web.Response:
        await answers.wait()
        return web.Response()

    async def taken(_: web.Request) -> web.Response:
        return web.Response()

    app = web.Application()
    app.add_routes([web.get("/", held), web.put("/", taken)])
    return app


async def lines_of_a_push(path: Path, *, asked: int, answers: asyncio.Event) -> int:
    """Counts the lines of the client's pools that a push runs while so many pods are asked."""
    counted = Lines(package=Path(httpcore.__file__).parent)
    async with httpx.AsyncClient(transport=spread(path), timeout=None) as client:
        held = [
            asyncio.create_task(client.get(f"http://10.0.{number // 250}.{number % 250}/"))
            for number in range(asked)
        ]
        await asyncio.sleep(0.1)
        await client.put("http://10.9.9.8/")
        with counted.being_counted():
            await client.put("http://10.9.9.9/")
        answers.set()
        assert {one.status_code for one in await asyncio.gather(*held)} <= {200}
    return counted.count


async def test_a_push_costs_as_much_beside_many_questions_as_beside_few(tmp_path: Path) -> None:
    found = []
    for asked in (FEW, MANY):
        answers = asyncio.Event()
        async with serving(pods(answers), tmp_path / f"pods-{asked}") as path:
            found.append(await lines_of_a_push(path, asked=asked, answers=answers))
    few, many = found
    assert few > 50
    assert many <= MOST_GROWTH * few


async def test_requests_to_one_pod_share_its_connections(tmp_path: Path) -> None:
    used: list[asyncio.BaseTransport | None] = []

    async def noted(request: web.Request) -> web.Response:
        used.append(request.transport)
        return web.Response()

    app = web.Application()
    app.add_routes([web.put("/", noted)])
    async with (
        serving(app, tmp_path / "pod") as path,
        httpx.AsyncClient(transport=spread(path)) as client,
    ):
        for _ in range(3):
            await client.put("http://10.0.0.1/")
    assert len(set(used)) == 1
