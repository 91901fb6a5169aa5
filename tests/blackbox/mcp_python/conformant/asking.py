"""Tools that send requests to their client, which exist with sessions alone."""

from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.types import SamplingMessage, TextContent
from pydantic import BaseModel, Field, JsonValue

STATES: list[JsonValue] = ["active", "inactive", "pending"]


class Answer(BaseModel):
    """One text."""

    response: str


class Defaults(BaseModel):
    """A default of every primitive type (SEP-1034)."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": STATES})
    verified: bool = True


def _choices(**titles: str) -> list[JsonValue]:
    return [{"const": value, "title": title} for value, title in titles.items()]


class Choices(BaseModel):
    """A choice in every form (SEP-1330)."""

    untitledSingle: str = Field(json_schema_extra={"enum": STATES})  # noqa: N815 - a name of the suite's
    titledSingle: str = Field(json_schema_extra={"oneOf": _choices(low="Low", high="High")})  # noqa: N815 - as above
    untitledMulti: list[str] = Field(  # noqa: N815 - as above
        json_schema_extra={"items": {"type": "string", "enum": ["read", "write"]}}
    )
    titledMulti: list[str] = Field(  # noqa: N815 - as above
        json_schema_extra={"items": {"anyOf": _choices(bug="Bug Fix", docs="Documentation")}}
    )
    legacyEnum: str = Field(  # noqa: N815 - as above
        json_schema_extra={"enum": ["small", "large"], "enumNames": ["Small", "Large"]}
    )


def add_to(server: MCPServer) -> None:
    """Adds the tools."""
    for tool in (
        test_sampling,
        test_elicitation,
        test_elicitation_sep1034_defaults,
        test_elicitation_sep1330_enums,
    ):
        server.add_tool(tool)


async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    question = SamplingMessage(role="user", content=TextContent(type="text", text=prompt))
    # without the id of the call it goes to the stream by GET, and is lost if there is none
    result = await ctx.session.create_message(
        messages=[question], max_tokens=100, related_request_id=ctx.request_id
    )
    return f"LLM response: {result.content.text}"


async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the client's user."""
    return await _elicited(ctx, message, Answer)


async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks with defaults."""
    return await _elicited(ctx, "Who are you?", Defaults)


async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks for choices."""
    return await _elicited(ctx, "Choose.", Choices)


async def _elicited(ctx: Context, message: str, form: type[BaseModel]) -> str:
    result: Any = await ctx.elicit(message=message, schema=form)
    content = result.data.model_dump_json() if result.action == "accept" else "{}"
    return f"User response: action={result.action}, content={content}"
