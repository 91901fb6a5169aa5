"""What the official SDK for Python makes of a server by a plan, as JSON: `python use_plan.py URL KEY MODE PLAN`. mcp_node/use.mjs does the same."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client


async def each(names: Iterable[str], ask: Callable[[str], Awaitable[Any]]) -> dict[str, Any]:
    """Asks for each, and returns the answers, or code and words of the errors."""
    answers: dict[str, Any] = {}
    for name in names:
        try:
            answers[name] = await ask(name)
        except Exception as error:
            answers[name] = [getattr(error, "code", None), str(error)]
    return answers


async def listed(ask: Callable[..., Awaitable[Any]], kind: str) -> list[Any]:
    """Returns a list over all its pages."""
    found, cursor = [], None
    while True:
        page = await ask(cursor=cursor)
        found += getattr(page, kind)
        cursor = page.next_cursor
        if cursor is None:
            return found


async def seen(url: str, key: str, mode: str, plan: str) -> dict[str, Any]:
    wanted = json.loads(plan)
    sessions: list[str] = []

    async def note(response: httpx2.Response) -> None:
        sessions.extend(filter(None, [response.headers.get("mcp-session-id")]))

    http = httpx2.AsyncClient(
        headers={"authorization": f"Bearer {key}"}, timeout=30, event_hooks={"response": [note]}
    )
    transport = streamable_http_client(url, http_client=http)
    async with http, Client(transport, mode=mode) as client:

        async def call(name: str) -> dict[str, Any]:
            asked = wanted["calls"][name]
            result = await client.call_tool(asked["name"], asked["arguments"])
            text = result.content[0].text if result.content else ""
            return {"text": text, "isError": result.is_error}

        async def prompt(name: str) -> str:
            text: str = (await client.get_prompt(name)).messages[0].content.text
            return text

        async def resource(uri: str) -> str:
            text: str = (await client.read_resource(uri)).contents[0].text
            return text

        return {
            "version": client.protocol_version,
            "session": sessions[0] if sessions else "",
            "tools": [one.name for one in await listed(client.list_tools, "tools")],
            "prompts": [one.name for one in await listed(client.list_prompts, "prompts")],
            "resources": [str(one.uri) for one in await listed(client.list_resources, "resources")],
            "calls": await each(wanted["calls"], call),
            "prompts read": await each(wanted["prompts"], prompt),
            "resources read": await each(wanted["resources"], resource),
        }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(seen(*sys.argv[1:]))) + "\n")
