"""The tool server behind the gateway: it keeps what reaches it, and misbehaves where a call's arguments ask it to."""

import gzip
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any, Final

from tests.blackbox.session_server import SessionServer, Spoken
from tests.blackbox.tool_server import Reply, called, error, events, message, note, result

HUGE_BYTES: Final = 100 * 1024 * 1024
NESTING: Final = 100_000
OWN_TOOL, OTHER_TOOL, SHARED_TOOL, DENIED_TOOL = (
    "read_invoice",
    "pay",
    "list_orders",
    "list_secrets",
)
OWN_PROMPT, OTHER_PROMPT = "summarise", "remind"
OWN_RESOURCE, OTHER_RESOURCE = "memo://a/rates", "memo://b/debts"
ARGUMENTS: Final = {
    "type": "object",
    "properties": {
        "mark": {"type": "string"},
        "behave": {"type": "string"},
        "seconds": {"type": "number"},
    },
}


def tool(name: str, words: str = "") -> dict[str, Any]:
    """Returns a tool's definition."""
    return {
        "name": name,
        "description": words or f"Does {name}, as only its users know.",
        "inputSchema": ARGUMENTS,
    }


def prompt(name: str) -> dict[str, Any]:
    """Returns a prompt's definition."""
    return {"name": name, "description": f"Asks to {name}."}


def resource(uri: str) -> dict[str, Any]:
    """Returns a resource as it is listed."""
    return {"uri": uri, "name": uri.rpartition("/")[2], "mimeType": "text/plain"}


@dataclass(slots=True)
class WatchedServer(SessionServer):
    """Speaks both eras, in pages of `page_size`, with a tool, a prompt and a resource of each tenant's, a tool of both and one of neither's."""

    tools: list[dict[str, Any]] = field(
        default_factory=lambda: [
            tool(name) for name in (OWN_TOOL, OTHER_TOOL, SHARED_TOOL, DENIED_TOOL)
        ]
    )
    capabilities: dict[str, Any] = field(
        default_factory=lambda: {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": False},
            "resources": {"subscribe": False, "listChanged": False},
            "completions": {},
        }
    )
    prompts: list[dict[str, Any]] = field(
        default_factory=lambda: [prompt(OWN_PROMPT), prompt(OTHER_PROMPT)]
    )
    resources: list[dict[str, Any]] = field(
        default_factory=lambda: [resource(OWN_RESOURCE), resource(OTHER_RESOURCE)]
    )
    page_size: int = 100

    def executed(self, mark: str) -> list[str]:
        """Returns the tools that were called with this mark, by this server's names."""
        return [
            params["name"]
            for params in self.arrivals("tools/call")
            if (params.get("arguments") or {}).get("mark") == mark
        ]

    def arrivals(self, method: str) -> list[dict[str, Any]]:
        """Returns the parameters of all messages of a method, those in batches as well."""
        return [
            message.get("params") or {}
            for _, _, _, body in self.seen
            for message in (body if isinstance(body, list) else [body])
            if message is not None and message.get("method") == method
        ]

    def reply(self, body: dict[str, Any], session: str) -> Reply | Spoken | None:
        """Returns the answer to a request."""
        params = body.get("params") or {}
        if session not in self.streams and not _is_stateless(params):
            return 404, "application/json", b""
        method = body["method"]
        if method == "tools/call":
            behave = BEHAVIOURS.get(params.get("arguments", {}).get("behave", ""), answers)
            return behave(body)
        if method in ("tools/list", "prompts/list", "resources/list"):
            return result(body, self._page(method.partition("/")[0], params.get("cursor")))
        content = _CONTENTS.get(method)
        if content is None:
            return 200, "application/json", error(body, -32601, "Method not found")
        return result(body, {"resultType": "complete", **content(params)})

    def _page(self, kind: str, cursor: str | None) -> dict[str, Any]:
        entries = {"tools": self.tools, "prompts": self.prompts, "resources": self.resources}[kind]
        start = int(cursor or 0)
        end = start + self.page_size
        more = {"nextCursor": str(end)} if end < len(entries) else {}
        rest = {"ttlMs": 1000, "cacheScope": "public", "_meta": {"total": len(entries)}}
        return {"resultType": "complete", kind: entries[start:end], **rest, **more}


def _is_stateless(params: dict[str, Any]) -> bool:
    return "io.modelcontextprotocol/protocolVersion" in (params.get("_meta") or {})


def _text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


_CONTENTS: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "ping": lambda _: {},
    "resources/templates/list": lambda _: {"resourceTemplates": []},
    "prompts/get": lambda params: {
        "messages": [{"role": "user", "content": _text(f"said by {params['name']}")}]
    },
    "resources/read": lambda params: {
        "contents": [{"uri": params["uri"], "text": f"said by {params['uri']}"}]
    },
    "completion/complete": lambda params: {
        "completion": {"values": [f"said for {json.dumps(params['ref'])}"]}
    },
}


# -- how calls are answered ----------------------------------------------------------------------------------------


def answers(body: dict[str, Any]) -> Reply:
    """Answers with the tool's name and its arguments."""
    return result(body, called(body["params"]))


def _slow(body: dict[str, Any]) -> Reply:
    time.sleep(1)
    return answers(body)


def _progress(body: dict[str, Any]) -> Reply:
    params = body["params"]
    token = (params.get("_meta") or {}).get("progressToken")
    told = note(
        "notifications/progress",
        progressToken=token,
        progress=1,
        message=params["arguments"]["mark"],
    )
    return events(*[told] * 3, message(body, called(params)))


def _asks_first(body: dict[str, Any]) -> Reply:
    params = body["params"]
    state = params.get("requestState")
    if state is None:
        return result(body, {"resultType": "input_required", "requestState": "step 1"})
    return result(body, called({"name": params["name"], "arguments": {"state": state}}))


def _tells_the_credential(_: dict[str, Any]) -> Spoken:
    def spoken(handler: BaseHTTPRequestHandler) -> None:
        told = handler.headers.get("authorization", "")
        content = {"code": -32001, "message": f"bad token {told}"}
        _write(handler, 401, json.dumps({"jsonrpc": "2.0", "id": None, "error": content}).encode())

    return spoken


def _crashes(_: dict[str, Any]) -> Spoken:
    return _closes


def _seconds(body: dict[str, Any]) -> float:
    """Returns how long the caller wants to be kept waiting."""
    return float(body["params"]["arguments"]["seconds"])


def _hangs(body: dict[str, Any]) -> Spoken:
    def spoken(handler: BaseHTTPRequestHandler) -> None:
        time.sleep(_seconds(body))
        _closes(handler)

    return spoken


def _drips(body: dict[str, Any]) -> Spoken:
    def spoken(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, [("content-type", "application/json"), ("content-length", "1000000")])
        _endlessly(handler, b" ", 0.5, _seconds(body))

    return spoken


def _never_ends(body: dict[str, Any]) -> Spoken:
    told = b"data: %b\n\n" % note("notifications/progress", progressToken=1, progress=1)

    def spoken(handler: BaseHTTPRequestHandler) -> None:
        _head(handler, 200, [("content-type", "text/event-stream")])
        _endlessly(handler, told, 0.01, _seconds(body))

    return spoken


def _huge(body: dict[str, Any]) -> Spoken:
    start, _, end = message(body, called(body["params"])).partition(b'"content"')
    pieces = [b" " * (1024 * 1024)] * (HUGE_BYTES // (1024 * 1024))

    def spoken(handler: BaseHTTPRequestHandler) -> None:
        length = len(start) + HUGE_BYTES + len(b'"content"' + end)
        _head(handler, 200, [("content-type", "application/json"), ("content-length", str(length))])
        for piece in (start, *pieces, b'"content"' + end):
            handler.wfile.write(piece)

    return _until_it_breaks(spoken)


def _bomb(body: dict[str, Any]) -> Spoken:
    inside = message(body, {"content": [_text(" " * (32 * 1024 * 1024))]})
    packed = gzip.compress(inside)

    def spoken(handler: BaseHTTPRequestHandler) -> None:
        _write(handler, 200, packed, ("content-encoding", "gzip"))

    return _until_it_breaks(spoken)


def _deep(body: dict[str, Any]) -> Reply:
    nested = b'{"a":' * NESTING + b"1" + b"}" * NESTING
    text = b'{"jsonrpc":"2.0","id":%b,"result":{"content":[],"structuredContent":%b}}'
    return 200, "application/json", text % (json.dumps(body["id"]).encode(), nested)


def _as_text(
    text: str, content_type: str = "application/json"
) -> Callable[[dict[str, Any]], Reply]:
    def reply(body: dict[str, Any]) -> Reply:
        return 200, content_type, text.replace("ID", json.dumps(body["id"])).encode()

    return reply


LASTING: Final = ("hang", "drip", "endless")
HOSTILE: Final = ("crash", "huge", "bomb", "deep")
MALFORMED: Final = {
    "wrong_id": _as_text('{"jsonrpc":"2.0","id":"another call\'s","result":{"content":[]}}'),
    "html": _as_text("<html>It works</html>", "text/html"),
    "truncated": _as_text('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"ty'),
    "number": _as_text("7"),
    "both": _as_text('{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"x"}}'),
    "null_result": _as_text('{"jsonrpc":"2.0","id":ID,"result":null}'),
    "odd_error": _as_text('{"jsonrpc":"2.0","id":ID,"error":[1]}'),
    "odd_content": _as_text('{"jsonrpc":"2.0","id":ID,"result":{"content":[{"type":7}]}}'),
    "cut_event": _as_text('data: {"jsonrpc":"2.0","id":ID,"resu', "text/event-stream"),
    "no_bytes": _as_text(""),
}
BEHAVIOURS: Final[dict[str, Callable[[dict[str, Any]], Reply | Spoken]]] = {
    "slow": _slow,
    "progress": _progress,
    "asks_first": _asks_first,
    "tells": _tells_the_credential,
    "crash": _crashes,
    "hang": _hangs,
    "drip": _drips,
    "endless": _never_ends,
    "huge": _huge,
    "bomb": _bomb,
    "deep": _deep,
    **MALFORMED,
}


def _head(handler: BaseHTTPRequestHandler, status: int, fields: list[tuple[str, str]]) -> None:
    handler.close_connection = True
    handler.send_response(status)
    for name, value in (*fields, ("connection", "close")):
        handler.send_header(name, value)
    handler.end_headers()


def _write(
    handler: BaseHTTPRequestHandler, status: int, content: bytes, *more: tuple[str, str]
) -> None:
    fields = [("content-type", "application/json"), ("content-length", str(len(content))), *more]
    _head(handler, status, fields)
    handler.wfile.write(content)


def _closes(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def _until_it_breaks(spoken: Spoken) -> Spoken:
    def tried(handler: BaseHTTPRequestHandler) -> None:
        try:
            spoken(handler)
        except OSError:
            handler.close_connection = True

    return tried


def _endlessly(
    handler: BaseHTTPRequestHandler, piece: bytes, pause_seconds: float, seconds: float
) -> None:
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause_seconds)
    except OSError:
        handler.close_connection = True
