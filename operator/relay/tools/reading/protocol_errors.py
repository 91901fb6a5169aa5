"""The errors that the relay itself answers to messages of the protocol, in one table.

What a tenant may not know of is worded as what does not exist: the row holds no name, so that its bytes are always the same.
"""

import json
from enum import Enum
from typing import Final

from relay.tools.reading.eras import Era

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603
SERVER_ERROR: Final = -32000
"""The first of the codes that JSON-RPC 2.0, section 5.1, leaves to implementations."""
SESSION_NOT_FOUND: Final = -32001
"""As the official SDK for TypeScript answers; the protocol defines the status alone."""
HEADER_MISMATCH: Final = -32020
UNSUPPORTED_VERSION: Final = -32022
LEGACY_RESOURCE_NOT_FOUND: Final = -32002


class ProtocolError(Enum):
    """HTTP status, JSON-RPC code and message.

    Statuses are those of MCP 2026-07-28, basic/transports/streamable-http; an error that the protocol knows as the outcome
    of a well-formed request has status 200.
    """

    not_json = (400, PARSE_ERROR, "The body is not JSON in UTF-8")
    too_large = (413, INVALID_REQUEST, "The message is too large")
    too_deep = (400, INVALID_REQUEST, "The message nests too deeply or holds too many values")
    ambiguous = (400, INVALID_REQUEST, "A key stands twice in the message, or in another spelling")
    batch = (400, INVALID_REQUEST, "Batches are not supported: send each message by itself")
    invalid_request = (400, INVALID_REQUEST, "Invalid Request")
    invalid_params = (400, INVALID_PARAMS, "Invalid params")
    header_mismatch = (400, HEADER_MISMATCH, "A header is missing or does not match the body")
    unsupported_version = (400, UNSUPPORTED_VERSION, "Unsupported protocol version")
    unknown_method = (404, METHOD_NOT_FOUND, "Method not found")
    unknown_tool = (200, INVALID_PARAMS, "Unknown tool")
    unknown_prompt = (200, INVALID_PARAMS, "Unknown prompt")
    unknown_resource = (200, INVALID_PARAMS, "Resource not found")
    invalid_cursor = (200, INVALID_PARAMS, "Invalid cursor")
    other_arguments = (
        200,
        INVALID_PARAMS,
        "The idempotency key was given to a call with other arguments",
    )
    still_under_way = (
        200,
        SERVER_ERROR,
        "The same call is still under way: make it again later, with the same idempotency key or arguments",
    )
    unknown_outcome = (
        200,
        SERVER_ERROR,
        "The same call was made before, and whether it was carried out is not known: it is not carried out again for now",
    )
    answer_not_kept = (
        200,
        SERVER_ERROR,
        "The same call was carried out before, and its answer is not kept: it is not carried out again for now",
    )
    withdrawn = (
        200,
        SERVER_ERROR,
        "The grant or the key that the request was made with is gone: its answer is not told",
    )
    missing_session = (400, INVALID_REQUEST, "Mcp-Session-Id is missing")
    unknown_event = (
        400,
        INVALID_REQUEST,
        "Unknown event id: open the stream without Last-Event-ID",
    )
    stream_taken = (
        409,
        INVALID_REQUEST,
        "The server still holds the stream of before: open it again later",
    )
    unknown_session = (404, SESSION_NOT_FOUND, "Session not found")
    forbidden_origin = (403, INVALID_REQUEST, "Requests of web pages are not accepted")
    unsupported_media_type = (415, INVALID_REQUEST, "The content type has to be application/json")
    busy = (429, INTERNAL_ERROR, "Too many calls are under way")
    limited = (429, SERVER_ERROR, "Rate limit reached: retry-after says when to call again")
    budget_spent = (
        200,
        SERVER_ERROR,
        "The tenant's budget is spent: what is left does not cover this call. Do not retry",
    )
    credit_spent = (
        200,
        SERVER_ERROR,
        "The tenant's credit is spent: what is left does not cover this call. Do not retry",
    )
    tool_unpriced = (
        200,
        SERVER_ERROR,
        "The tool has no price, and the tenant's calls without one are refused. Do not retry",
    )
    budget_pending = (
        429,
        SERVER_ERROR,
        "More of the tenant's budget was asked for: call again as retry-after says",
    )
    ledger_away = (
        503,
        SERVER_ERROR,
        "The tenant's budget cannot be asked for, and what was leased is spent",
    )
    server_unavailable = (502, INTERNAL_ERROR, "The tool server is not available")
    invalid_answer = (502, INTERNAL_ERROR, "The tool server gave an invalid answer")

    def status(self, era: Era) -> int:
        """Returns the status of the HTTP answer. To a legacy client 404 says that its session is over, 400 that HTTP failed."""
        if era is Era.LEGACY and self in _OUTCOMES:
            return 200
        status: int = self.value[0]
        return status

    def body(self, id_text: str, era: Era, data: str = "") -> bytes:
        """Returns the JSON-RPC message. id_text is the request's id as it was written, empty where none could be read.

        data is JSON for `error.data`, empty without any.
        """
        code: int = self.value[1]
        message: str = self.value[2]
        if self is ProtocolError.unknown_resource and era is Era.LEGACY:
            code = LEGACY_RESOURCE_NOT_FOUND
        members = f'"code":{code},"message":{json.dumps(message)}' + (data and f',"data":{data}')
        identity = id_text and f'"id":{id_text},'
        return f'{{"jsonrpc":"2.0",{identity}"error":{{{members}}}}}'.encode()


_OUTCOMES: Final = frozenset({ProtocolError.unknown_method, ProtocolError.invalid_params})
"""Errors that the legacy era knows as outcomes of a well-formed request."""
