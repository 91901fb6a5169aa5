"""A tool server of the official SDK for Python, both eras on one path: `python -m tests.blackbox.mcp_python.serve PORT`."""

import asyncio
import sys

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

server = MCPServer("books", instructions="Use close_year at any time.")


class Choice(BaseModel):
    """What the client is asked for."""

    year: int


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def count(to: int, ctx: Context) -> str:
    """Counts, and says how far it is."""
    for step in range(1, to + 1):
        await ctx.report_progress(step, to)
    return f"counted to {to}"


@server.tool()
async def report_year(ctx: Context) -> str:
    """Asks its caller for a year."""
    answer = await ctx.elicit("Which year?", Choice)
    return f"{answer.action}: {answer.data.year if answer.action == 'accept' else None}"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("no such book")


@server.tool()
def close_year() -> str:
    """Closes the year."""
    return "closed"


@server.prompt()
def summarise(topic: str) -> str:
    """Asks for a summary."""
    return f"Summarise {topic}."


@server.resource("memo://rates")
def rates() -> str:
    """The rates."""
    return "7 %"


@server.resource("memo://salaries")
def salaries() -> str:
    """The salaries."""
    return "many"


@server.resource("book://{title}")
def book(title: str) -> str:
    """One book."""
    return f"text of {title}"


if __name__ == "__main__":
    asyncio.run(server.run_streamable_http_async(port=int(sys.argv[1])))
