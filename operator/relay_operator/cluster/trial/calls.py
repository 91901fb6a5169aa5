"""A provider that answers every call alike, and the call through a relay that is to reach it."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import httpx
from aiohttp import web

MODEL: Final = "trial"
_CALL_SECONDS: Final = 10.0


async def is_served(address: str, key: str, answer: str) -> bool:
    """Tells whether a call to the relay at this base URL is answered by the trial's own provider."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": "Are you there?"}]}
    headers = {"authorization": f"Bearer {key}"}
    try:
        async with httpx.AsyncClient(timeout=_CALL_SECONDS, trust_env=False) as client:
            url = f"{address}/chat/completions"
            answered = await client.post(url, json=body, headers=headers)
            content = answered.json()["choices"][0]["message"]["content"]
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError):
        return False
    return bool(content == answer)


@asynccontextmanager
async def provider(port: int) -> AsyncIterator[str]:
    """Serves an OpenAI-compatible provider until the end of the block; gives what it answers every call with."""
    answer = f"trial {uuid.uuid4().hex[:12]}"
    runner = web.AppRunner(_application(answer), access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
        yield answer
    finally:
        await runner.cleanup()


def _application(answer: str) -> web.Application:
    async def models(_: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    async def complete(_: web.Request) -> web.Response:
        return web.json_response(
            {
                "id": "trial",
                "object": "chat.completion",
                "created": 0,
                "model": MODEL,
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": answer},
                    }
                ],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
            }
        )

    application = web.Application()
    application.add_routes(
        [web.get("/v1/models", models), web.post("/v1/chat/completions", complete)]
    )
    return application
