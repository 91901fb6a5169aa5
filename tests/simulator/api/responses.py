"""Answers of /v1/responses."""

from collections.abc import Iterator
from typing import Any

import orjson
from tests.simulator.api.call import (
    Call,
    Identity,
    Usage,
    event,
    output_tokens,
    pieces,
    text_of,
    usage_of,
)
from tests.simulator.api.chat import TOOL_ARGUMENTS
from tests.simulator.behaviour import Behaviour


def response_id(identity: Identity) -> str:
    """Returns the id that a later call may give as previous_response_id."""
    return f"resp_{identity.serial}"


def response(call: Call, behaviour: Behaviour, identity: Identity) -> bytes:
    """Returns the unary answer."""
    item = _item(call, text_of(output_tokens(call, behaviour)), identity, status="completed")
    return orjson.dumps(_response(call, behaviour, identity, status="completed", output=[item]))


def response_events(call: Call, behaviour: Behaviour, identity: Identity) -> Iterator[bytes]:
    """Yields the streamed answer; each event carries its name twice and a sequence number, as OpenAI's do."""
    steps = _tool_steps if call.wants_tool else _text_steps
    for number, step in enumerate(
        _life(call, behaviour, identity, steps(call, behaviour, identity))
    ):
        yield event({**step, "sequence_number": number}, name=step["type"])


def _life(
    call: Call, behaviour: Behaviour, identity: Identity, steps: Iterator[dict[str, Any]]
) -> Iterator[dict[str, Any]]:
    opening = _response(call, behaviour, identity, status="in_progress", output=[])
    yield {"type": "response.created", "response": opening}
    yield {"type": "response.in_progress", "response": opening}
    item: dict[str, Any] = {}
    for step in steps:
        item = step.get("item", item)
        yield {"output_index": 0, **step}
    done = _response(call, behaviour, identity, status="completed", output=[item])
    yield {"type": "response.completed", "response": done}


def _text_steps(call: Call, behaviour: Behaviour, identity: Identity) -> Iterator[dict[str, Any]]:
    place = {"item_id": f"msg_{identity.serial}", "content_index": 0}
    opening = {**_item(call, "", identity, status="in_progress"), "content": []}
    yield {"type": "response.output_item.added", "item": opening}
    yield {"type": "response.content_part.added", **place, "part": _part("")}
    # with stream_bytes the complete text would be the volume that a stream avoids holding
    whole = "" if behaviour.stream_bytes else text_of(output_tokens(call, behaviour))
    for piece in pieces(call, behaviour):
        yield {"type": "response.output_text.delta", **place, "delta": piece, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": whole, "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": _part(whole)}
    item = _item(call, whole, identity, status="completed")
    yield {"type": "response.output_item.done", "item": item}


def _tool_steps(call: Call, behaviour: Behaviour, identity: Identity) -> Iterator[dict[str, Any]]:
    del behaviour
    place = {"item_id": f"fc_{identity.serial}"}
    opening = {**_item(call, "", identity, status="in_progress"), "arguments": ""}
    yield {"type": "response.output_item.added", "item": opening}
    kind = "response.function_call_arguments"
    for part in TOOL_ARGUMENTS:
        yield {"type": f"{kind}.delta", **place, "delta": part}
    whole = "".join(TOOL_ARGUMENTS)
    yield {"type": f"{kind}.done", **place, "name": call.tool_name, "arguments": whole}
    yield {
        "type": "response.output_item.done",
        "item": _item(call, "", identity, status="completed"),
    }


def _response(
    call: Call,
    behaviour: Behaviour,
    identity: Identity,
    *,
    status: str,
    output: list[dict[str, Any]],
) -> dict[str, Any]:
    finished = status == "completed" and behaviour.report_usage
    return {
        "id": response_id(identity),
        "object": "response",
        "created_at": identity.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "instructions": call.payload.get("instructions"),
        "metadata": call.payload.get("metadata") or {},
        "model": call.model,
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": call.payload.get("previous_response_id"),
        "temperature": 1.0,
        "tool_choice": call.payload.get("tool_choice", "auto"),
        "tools": call.payload.get("tools", []),
        "top_p": 1.0,
        "usage": _usage_object(usage_of(call, behaviour)) if finished else None,
    }


def _item(call: Call, text: str, identity: Identity, *, status: str) -> dict[str, Any]:
    if call.wants_tool:
        return {
            "id": f"fc_{identity.serial}",
            "type": "function_call",
            "status": status,
            "call_id": f"call_{identity.serial}",
            "name": call.tool_name,
            "arguments": "".join(TOOL_ARGUMENTS),
        }
    return {
        "id": f"msg_{identity.serial}",
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": [_part(text)],
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _usage_object(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.prompt + usage.completion,
    }
