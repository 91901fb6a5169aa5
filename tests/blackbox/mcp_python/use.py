"""What the official SDK for Python makes of a server, as JSON: `python use.py URL KEY MODE`."""

import asyncio
import json
import sys
from typing import Any

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult


async def elicited(context: Any, params: Any) -> ElicitResult:
    return ElicitResult(action="accept", content={"year": 2025})


async def refused(call: Any) -> Any:
    try:
        return str(await call)
    except Exception as error:
        return [getattr(error, "code", type(error).__name__), str(error)]


async def seen(url: str, key: str, mode: str) -> dict[str, Any]:
    steps: list[float] = []

    async def progressed(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    http = httpx2.AsyncClient(headers={"authorization": f"Bearer {key}"}, timeout=15)
    transport = streamable_http_client(url, http_client=http)
    async with http, Client(transport, mode=mode, elicitation_callback=elicited) as client:
        found: dict[str, Any] = {
            "version": client.protocol_version,
            "instructions": client.instructions,
            "server": client.server_info.name if client.server_info else None,
            "tools": [one.name for one in (await client.list_tools()).tools],
            "prompts": [one.name for one in (await client.list_prompts()).prompts],
            "resources": [str(one.uri) for one in (await client.list_resources()).resources],
            "templates": [
                one.uri_template
                for one in (await client.list_resource_templates()).resource_templates
            ],
        }
        found["add"] = (await client.call_tool("add", {"a": 2, "b": 3})).structured_content
        counted = await client.call_tool("count", {"to": 3}, progress_callback=progressed)
        found["count"] = [counted.content[0].text, steps]
        found["fail"] = (await client.call_tool("fail", {})).is_error
        prompt = await client.get_prompt("summarise", {"topic": "x"})
        found["prompt"] = prompt.messages[0].content.text
        found["rates"] = (await client.read_resource("memo://rates")).contents[0].text
        found["book"] = (await client.read_resource("book://dune")).contents[0].text
        found["elicited"] = await refused(client.call_tool("report_year", {}))
        found["denied"] = await refused(client.call_tool("close_year", {}))
        found["unknown"] = await refused(client.call_tool("no_such_tool", {}))
        found["salaries"] = await refused(client.read_resource("memo://salaries"))
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(seen(*sys.argv[1:]))))
