"""Tools and a prompt that ask for input in their result, and are called again with it (SEP-2322)."""

import json
from typing import Any

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.prompts.base import Prompt, UserMessage
from mcp.types import (
    CreateMessageRequest,
    CreateMessageRequestParams,
    ElicitRequest,
    ElicitRequestFormParams,
    InputRequiredResult,
    ListRootsRequest,
    SamplingMessage,
    TextContent,
)


def add_to(server: MCPServer) -> None:
    """Adds the tools and the prompt."""
    for tool in (
        test_input_required_result_elicitation,
        test_input_required_result_sampling,
        test_input_required_result_list_roots,
        test_input_required_result_request_state,
        test_input_required_result_multiple_inputs,
        test_input_required_result_multi_round,
        test_input_required_result_tampered_state,
        test_input_required_result_capabilities,
        test_streaming_elicitation,
    ):
        server.add_tool(tool)
    server.add_prompt(Prompt.from_function(test_input_required_result_prompt))


async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks the user."""
    answer = _answers(ctx).get("user_name")
    if answer is None:
        return InputRequiredResult(input_requests={"user_name": _form("name")})
    return f"Hello, {(answer.content or {}).get('name', 'stranger')}!"


async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    answer = _answers(ctx).get("capital_question")
    if answer is None:
        question = _sampling("What is the capital of France?")
        return InputRequiredResult(input_requests={"capital_question": question})
    return f"Model said: {answer.content.text}"


async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's directories."""
    answer = _answers(ctx).get("client_roots")
    if answer is None:
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
    return f"Client exposed {len(answer.roots)} root(s)."


async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Keeps a state between its rounds."""
    if "confirm" in _answers(ctx) and ctx.request_state == "first":
        return "state-ok: confirmation received"
    return InputRequiredResult(
        input_requests={"confirm": _form("ok", "boolean")}, request_state="first"
    )


async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks for three things at once."""
    requests = {
        "user_name": _form("name"),
        "greeting": _sampling("Generate a greeting"),
        "client_roots": ListRootsRequest(),
    }
    if requests.keys() <= _answers(ctx).keys():
        return "All inputs received."
    return InputRequiredResult(input_requests=requests, request_state="three")


async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks twice, the second time with what it was told the first time."""
    state = json.loads(ctx.request_state or "{}")
    answers = _answers(ctx)
    if "name" in state and "step2" in answers:
        return f"{state['name']} likes {(answers['step2'].content or {}).get('color')}."
    if state and "step1" in answers:
        name = (answers["step1"].content or {}).get("name")
        return InputRequiredResult(
            input_requests={"step2": _form("color")}, request_state=json.dumps({"name": name})
        )
    return InputRequiredResult(input_requests={"step1": _form("name")}, request_state='{"round":1}')


async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Has a state that the SDK does not let a client change."""
    if ctx.request_state is not None:
        return f"state-ok: {ctx.request_state}"
    return InputRequiredResult(
        input_requests={"confirm": _form("ok", "boolean")}, request_state="untampered"
    )


async def test_input_required_result_capabilities(ctx: Context) -> InputRequiredResult:
    """Asks for what the client declares that it can do."""
    declared = ctx.client_capabilities
    requests: dict[str, Any] = {}
    if declared is None or declared.sampling is not None:
        requests["sample"] = _sampling("Say hello")
    if declared is None or declared.elicitation is not None:
        requests["ask"] = _form("name")
    return InputRequiredResult(input_requests=requests, request_state="by capability")


async def test_streaming_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Says how far it is before it asks."""
    await ctx.report_progress(1, 2)
    return await test_input_required_result_elicitation(ctx)


async def test_input_required_result_prompt(
    ctx: Context,
) -> list[UserMessage] | InputRequiredResult:
    """Asks the user before it says anything."""
    answer = _answers(ctx).get("user_context")
    if answer is None:
        return InputRequiredResult(input_requests={"user_context": _form("context")})
    text = (answer.content or {}).get("context")
    return [UserMessage(TextContent(type="text", text=f"Use the following context: {text}"))]


def _answers(ctx: Context) -> dict[str, Any]:
    return dict(ctx.input_responses or {})


def _form(field: str, kind: str = "string") -> ElicitRequest:
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(
        params=ElicitRequestFormParams(message=f"What is your {field}?", requested_schema=schema)
    )


def _sampling(text: str) -> CreateMessageRequest:
    message = SamplingMessage(role="user", content=TextContent(type="text", text=text))
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[message], max_tokens=50)
    )
