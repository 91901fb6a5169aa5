"""Answers of /v1/embeddings."""

import base64
import struct
from typing import Any

import orjson
from tests.simulator.api.call import BadCall, Call, usage_of
from tests.simulator.behaviour import Behaviour

DIMENSIONS = 8


def embeddings(call: Call, behaviour: Behaviour) -> bytes:
    """Returns one vector per input, as floats or as base64 of little-endian 32-bit floats (the SDKs ask for that)."""
    inputs = call.payload.get("input")
    if inputs is None or inputs == []:
        raise BadCall("'input' is a required property", param="input")
    # a list of numbers is one tokenised input, a list of anything else is that many inputs
    count = len(inputs) if isinstance(inputs, list) and not isinstance(inputs[0], int) else 1
    dimensions = int(call.payload.get("dimensions") or DIMENSIONS)
    encoded = call.payload.get("encoding_format") == "base64"
    answer: dict[str, Any] = {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": _vector(dimensions, encoded)}
            for index in range(count)
        ],
        "model": call.model,
    }
    if behaviour.report_usage:
        tokens = usage_of(call, behaviour).prompt
        answer["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps(answer)


def _vector(dimensions: int, encoded: bool) -> list[float] | str:
    values = [1 / 2 ** (index % 16) for index in range(dimensions)]
    if not encoded:
        return values
    return base64.b64encode(struct.pack(f"<{dimensions}f", *values)).decode()
