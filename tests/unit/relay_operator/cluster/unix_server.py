"""An HTTP server on a Unix socket, for clients that are tried over real HTTP without a network."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Seen:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    content_type: str
    accept: str
    body: bytes


class ScriptedServer:
    """Keeps what arrives and answers from a script, in order; the last answer is repeated."""

    def __init__(self, *answers: tuple[int, dict[str, str], Any]) -> None:
        self.seen: list[Seen] = []
        self._answers = list(answers)

    async def answer(self, request: web.Request) -> web.Response:
        """Handles one request, whatever its method and path."""
        body = await request.read()
        path = request.rel_url.raw_path
        self.seen.append(
            Seen(
                method=request.method,
                path=path,
                query=dict(request.query),
                content_type=request.content_type,
                accept=request.headers.get("Accept", ""),
                body=body,
            )
        )
        status, headers, content = self._answers[0]
        if len(self._answers) > 1:
            del self._answers[0]
        if isinstance(content, str):
            return web.Response(status=status, headers=headers, text=content)
        return web.json_response(content, status=status, headers=headers)


@contextlib.asynccontextmanager
async def serving(app: web.Application, path: Path) -> AsyncIterator[Path]:
    """Serves an application on a Unix socket."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.UnixSite(runner, str(path)).start()
    try:
        yield path
    finally:
        await runner.cleanup()


def scripted(server: ScriptedServer) -> web.Application:
    """Returns an application in which every request is the server's."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.answer)
    return app
