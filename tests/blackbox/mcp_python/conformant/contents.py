"""Tools whose results are of every kind of content, and prompts."""

import asyncio
from typing import Annotated, Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.shared.exceptions import MCPError
from mcp.types import (
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    EmbeddedResource,
    ImageContent,
    TextContent,
    TextResourceContents,
)
from pydantic import Field

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8DwHwAFBQIAX8jx0gAAAABJRU5ErkJggg=="
WAV = "UklGRiYAAABXQVZFZm10IBAAAAABAAEAQB8AAAB9AAACABAAZGF0YQIAAAA="
WAIT_SECONDS = 0.02
SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}
"""The keywords of JSON Schema 2020-12 that the suite looks for."""


def add_to(server: MCPServer) -> None:
    """Adds the tools and prompts."""
    for tool in (
        test_simple_text,
        test_image_content,
        test_audio_content,
        test_embedded_resource,
        test_multiple_content_types,
        test_tool_with_logging,
        test_logging_tool,
        test_tool_with_progress,
        test_error_handling,
        test_x_mcp_header,
        test_missing_capability,
        test_trigger_tool_change,
        test_trigger_prompt_change,
        json_schema_2020_12_tool,
    ):
        server.add_tool(tool)
    # the SDK makes schemas of a function's parameters alone
    server._tool_manager._tools["json_schema_2020_12_tool"].parameters = SCHEMA
    for prompt in (
        test_simple_prompt,
        test_prompt_with_arguments,
        test_prompt_with_embedded_resource,
        test_prompt_with_image,
    ):
        server.add_prompt(Prompt.from_function(prompt))


def test_simple_text() -> str:
    """Returns text."""
    return "This is a simple text response for testing."


def test_image_content() -> list[ImageContent]:
    """Returns an image."""
    return [ImageContent(type="image", data=PNG, mime_type="image/png")]


def test_audio_content() -> list[AudioContent]:
    """Returns a sound."""
    return [AudioContent(type="audio", data=WAV, mime_type="audio/wav")]


def test_embedded_resource() -> list[EmbeddedResource]:
    """Returns a resource."""
    return [_resource("test://embedded-resource", "This is an embedded resource content.")]


def test_multiple_content_types() -> list[TextContent | ImageContent | EmbeddedResource]:
    """Returns text, an image and a resource."""
    return [
        TextContent(type="text", text="Multiple content types test:"),
        *test_image_content(),
        _resource("test://mixed-content-resource", '{"test": "data", "value": 123}'),
    ]


async def test_tool_with_logging(ctx: Context) -> str:
    """Logs while it works."""
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(text)
        await asyncio.sleep(WAIT_SECONDS)
    return "Tool with logging executed successfully"


async def test_logging_tool(ctx: Context) -> str:
    """Logs what its client may not have asked for."""
    return await test_tool_with_logging(ctx)


async def test_tool_with_progress(ctx: Context) -> str:
    """Says how far it is."""
    for step in (0, 50, 100):
        await ctx.report_progress(step, 100, f"Completed step {step} of 100")
        await asyncio.sleep(WAIT_SECONDS)
    return "done"


def test_error_handling() -> str:
    """Fails."""
    raise RuntimeError("This tool intentionally returns an error for testing")


def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "<none>",  # noqa: PT028 - no test
) -> str:
    """Has a parameter that a header repeats."""
    return f"region={region}"


async def test_missing_capability(ctx: Context) -> str:
    """Wants a client that can sample."""
    capabilities = ctx.session.client_capabilities
    if capabilities is None or capabilities.sampling is None:
        raise MCPError(
            code=MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="This tool requires the client 'sampling' capability",
            data={"requiredCapabilities": {"sampling": {}}},
        )
    return "sampling is declared"


async def test_trigger_tool_change(ctx: Context) -> str:
    """Tells that the list of tools has changed."""
    await ctx.notify_tools_changed()
    return "tool list changed"


async def test_trigger_prompt_change(ctx: Context) -> str:
    """Tells that the list of prompts has changed."""
    await ctx.notify_prompts_changed()
    return "prompt list changed"


def json_schema_2020_12_tool() -> str:
    """Has a schema with all keywords."""
    return "json_schema_2020_12_tool"


def test_simple_prompt() -> list[UserMessage]:
    """Has no arguments."""
    return [_said("This is a simple prompt for testing.")]


def test_prompt_with_arguments(arg1: str, arg2: str) -> list[UserMessage]:
    """Has two arguments."""
    return [_said(f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'")]


def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:  # noqa: N803 - the name is the suite's
    """Holds a resource."""
    resource = _resource(resourceUri, "Embedded resource content for testing.")
    return [UserMessage(resource), _said("Please process the embedded resource above.")]


def test_prompt_with_image() -> list[UserMessage]:
    """Holds an image."""
    image = ImageContent(type="image", data=PNG, mime_type="image/png")
    return [UserMessage(image), _said("Please analyze the image above.")]


def _resource(uri: str, text: str) -> EmbeddedResource:
    contents = TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    return EmbeddedResource(type="resource", resource=contents)


def _said(text: str) -> UserMessage:
    return UserMessage(TextContent(type="text", text=text))
