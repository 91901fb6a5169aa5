"""Answers of /v1/chat/completions and /v1/completions."""

from collections.abc import Iterator
from typing import Any

import orjson
from tests.simulator.api.call import (
    DONE,
    Call,
    Identity,
    Usage,
    event,
    finish_reason,
    output_tokens,
    pieces,
    text_of,
    usage_of,
)
from tests.simulator.behaviour import Behaviour

TOOL_ARGUMENTS = ('{"city"', ': "Par', 'is"}')
FINGERPRINT = "fp_simulator"


def usage_object(usage: Usage) -> dict[str, Any]:
    """Returns OpenAI's CompletionUsage."""
    return {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.prompt + usage.completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.cache_write,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def chat_completion(call: Call, behaviour: Behaviour, identity: Identity) -> bytes:
    """Returns the unary answer."""
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None}
    if call.wants_tool:
        function = {"name": call.tool_name, "arguments": "".join(TOOL_ARGUMENTS)}
        message["tool_calls"] = [_tool_call(identity, function)]
        reason = "tool_calls"
    else:
        message["content"] = text_of(output_tokens(call, behaviour))
        reason = finish_reason(call, behaviour)
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": reason}
    return _unary("chatcmpl", "chat.completion", choice, call, behaviour, identity)


def chat_events(call: Call, behaviour: Behaviour, identity: Identity) -> Iterator[bytes]:
    """Yields the streamed answer: a role, a piece per event, a finish, usage if asked for, [DONE]."""
    head = _chunk_head("chatcmpl", "chat.completion.chunk", call, identity)

    def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
        return event({**head, "choices": [choice]})

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    if call.wants_tool:
        function = {"name": call.tool_name, "arguments": ""}
        yield chunk({"tool_calls": [{"index": 0, **_tool_call(identity, function)}]})
        for part in TOOL_ARGUMENTS:
            yield chunk({"tool_calls": [{"index": 0, "function": {"arguments": part}}]})
        yield chunk({}, "tool_calls")
    else:
        for piece in pieces(call, behaviour):
            yield chunk({"content": piece})
        yield chunk({}, finish_reason(call, behaviour))
    yield from _ending(head, call, behaviour)


def completion(call: Call, behaviour: Behaviour, identity: Identity) -> bytes:
    """Returns the unary answer of the older endpoint."""
    choice = {
        "index": 0,
        "text": text_of(output_tokens(call, behaviour)),
        "logprobs": None,
        "finish_reason": finish_reason(call, behaviour),
    }
    return _unary("cmpl", "text_completion", choice, call, behaviour, identity)


def completion_events(call: Call, behaviour: Behaviour, identity: Identity) -> Iterator[bytes]:
    """Yields the streamed answer of the older endpoint."""
    head = _chunk_head("cmpl", "text_completion", call, identity)

    def chunk(text: str, reason: str | None = None) -> bytes:
        choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
        return event({**head, "choices": [choice]})

    for piece in pieces(call, behaviour):
        yield chunk(piece)
    yield chunk("", finish_reason(call, behaviour))
    yield from _ending(head, call, behaviour)


def _unary(
    prefix: str,
    kind: str,
    choice: dict[str, Any],
    call: Call,
    behaviour: Behaviour,
    identity: Identity,
) -> bytes:
    answer = {
        "id": f"{prefix}-{identity.serial}",
        "object": kind,
        "created": identity.created,
        "model": call.model,
        "choices": [choice],
        "system_fingerprint": FINGERPRINT,
    }
    if behaviour.report_usage:
        answer["usage"] = usage_object(usage_of(call, behaviour))
    if behaviour.service_tier is not None:
        answer["service_tier"] = behaviour.service_tier
    return orjson.dumps(answer)


def _chunk_head(prefix: str, kind: str, call: Call, identity: Identity) -> dict[str, Any]:
    head = {
        "id": f"{prefix}-{identity.serial}",
        "object": kind,
        "created": identity.created,
        "model": call.model,
        "system_fingerprint": FINGERPRINT,
    }
    if call.include_usage:
        head["usage"] = None
    return head


def _ending(head: dict[str, Any], call: Call, behaviour: Behaviour) -> Iterator[bytes]:
    if call.include_usage and behaviour.report_usage:
        yield event({**head, "choices": [], "usage": usage_object(usage_of(call, behaviour))})
    yield DONE


def _tool_call(identity: Identity, function: dict[str, str]) -> dict[str, Any]:
    return {"id": f"call_{identity.serial}", "type": "function", "function": function}
