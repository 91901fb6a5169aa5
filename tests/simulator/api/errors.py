"""Error objects worded like OpenAI's, and the model list."""

from typing import Any

import orjson

_TYPES: dict[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "The request was refused by the simulator."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: ("invalid_request_error", "forbidden", "The simulator forbids this."),
    404: ("invalid_request_error", "not_found", "There is nothing here."),
    429: ("requests", "rate_limit_exceeded", "Rate limit reached for requests."),
    500: ("server_error", None, "The server had an error while processing your request."),
    503: ("server_error", None, "The engine is currently overloaded, please try again later."),
}


def error_object(
    status: int, message: str | None = None, *, code: str | None = None, param: str | None = None
) -> dict[str, Any]:
    """Returns OpenAI's error object for a status; message and code override the usual ones."""
    nearest = status if status in _TYPES else (500 if status >= 500 else 400)
    kind, usual_code, usual_message = _TYPES[nearest]
    return {
        "error": {
            "message": message or usual_message,
            "type": kind,
            "param": param,
            "code": code or usual_code,
        }
    }


def model_object(name: str) -> dict[str, Any]:
    """Returns OpenAI's Model."""
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "simulator"}


def model_list(names: tuple[str, ...]) -> bytes:
    """Returns the answer of GET /v1/models."""
    return orjson.dumps({"object": "list", "data": [model_object(name) for name in names]})
