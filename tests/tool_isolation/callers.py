"""A tenant's client of a gateway, at any URL and by any credential, in both eras of the protocol."""

import http.client
import json
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final
from urllib.parse import urlsplit

from tests.blackbox.wire import Answer

DEADLINE_SECONDS: Final = 15.0
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of an answer that are read: who sends more has shown enough."""
NO_ANSWER: Final = Answer(0, ())
SESSION_HEADER: Final = "mcp-session-id"
Headers = Mapping[str, str | list[str] | None]
"""Values by name; None leaves a header out, a list repeats it."""


class Era(Enum):
    """The revision that stands for an era of the protocol."""

    STATELESS = "2026-07-28"
    SESSIONS = "2025-11-25"


META: Final = {
    "io.modelcontextprotocol/protocolVersion": Era.STATELESS.value,
    "io.modelcontextprotocol/clientInfo": {"name": "isolation-suite", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
}
GREETING: Final = {
    "protocolVersion": Era.SESSIONS.value,
    "capabilities": {"elicitation": {}},
    "clientInfo": {"name": "isolation-suite", "version": "1"},
}


@dataclass(slots=True)
class Caller:
    """Where a tenant calls and by what: the whole value of a header. Keeps what it was answered, for what must be in no answer.

    seconds is how long it waits for an answer.
    """

    url: str
    credential: str
    header: str = "authorization"
    seconds: float = DEADLINE_SECONDS
    answers: list[Answer] = field(default_factory=list)

    def send(
        self,
        body: bytes,
        headers: Headers,
        *,
        method: str = "POST",
        path: str | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Sends a request on a connection of its own; None leaves a header out, a list repeats it. NO_ANSWER if there is none."""
        fields = {self.header: self.credential, "host": urlsplit(self.url).netloc, **headers}
        seconds = self.seconds if seconds is None else seconds
        connection = _connection(self.url, seconds)
        try:
            _put(connection, method, path or _target(self.url), fields, body)
            answer = _read(connection.getresponse(), time.monotonic() + seconds)
        except (OSError, http.client.HTTPException):
            return NO_ANSWER
        finally:
            connection.close()
        self.answers.append(answer)
        return answer


def _connection(url: str, seconds: float) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https":
        context = ssl.create_default_context()
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=context)
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _target(url: str) -> str:
    parts = urlsplit(url)
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _put(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    fields: Headers,
    body: bytes,
) -> None:
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in fields.items():
        for one in [value] if isinstance(value, str) else value or []:
            connection.putheader(name, one.encode())
    if body or method == "POST":
        connection.putheader("content-length", str(len(body)))
    connection.endheaders(body)


def _read(response: http.client.HTTPResponse, deadline: float) -> Answer:
    """Reads an answer, of a stream as far as the message that ends it; what came before a break is kept."""
    headers = tuple((name.lower(), value) for name, value in response.getheaders())
    streamed = (response.headers.get("content-type") or "").startswith("text/event-stream")
    body = b""
    try:
        while len(body) < MOST_BYTES and time.monotonic() < deadline:
            data = response.read1(65536)
            body += data
            if not data or (streamed and _has_ended(body)):
                break
    except (OSError, http.client.HTTPException):
        pass
    return Answer(response.status, headers, body)


def _has_ended(body: bytes) -> bool:
    return any("method" not in one for one in messages(body))


def messages(body: bytes) -> list[dict[str, Any]]:
    """Returns the messages of an answer: one, or those of a stream's whole events."""
    lines = [line[5:] for line in body.splitlines(keepends=True) if line.startswith(b"data:")]
    found = []
    for text in lines or [body]:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            continue
        found += [content] if isinstance(content, dict) else []
    return found


def result_of(answer: Answer) -> dict[str, Any] | None:
    """Returns the result in an answer; None for an error, of the protocol or of the tool, and for what is no answer."""
    if not 200 <= answer.status < 300:
        return None
    for one in messages(answer.body):
        result = one.get("result")
        if isinstance(result, dict):
            return None if result.get("isError") is True else result
    return None


@dataclass(frozen=True, slots=True)
class Client:
    """A caller in one era; session is the id of its session, "" for a gateway that gave none, None without sessions."""

    caller: Caller
    era: Era
    session: str | None = None

    def ask(self, method: str, *, id: Any = 1, **params: Any) -> Answer:  # noqa: A002 - the protocol's word
        """Sends a request with the headers that belong to it."""
        return self.say(self.message(method, id=id, **params))

    def message(self, method: str, *, id: Any = 1, **params: Any) -> dict[str, Any]:  # noqa: A002
        """Returns a request, a notification if it has no id."""
        if self.era is Era.STATELESS:
            params["_meta"] = {**META, **params.get("_meta", {})}
        named = {} if id is None else {"id": id}
        return {"jsonrpc": "2.0", **named, "method": method, "params": params}

    def say(
        self,
        content: Any,
        headers: Headers | None = None,
        *,
        raw: bytes | None = None,
        seconds: float | None = None,
    ) -> Answer:
        """Sends a message, or raw in its place, with the headers of its era; headers change or, by None, leave out some."""
        body = json.dumps(content).encode() if raw is None else raw
        fields = {**self._headers(content), **(headers or {})}
        return self.caller.send(body, fields, seconds=seconds)

    def call(self, name: str, *, id: Any = 1, **arguments: Any) -> Answer:  # noqa: A002
        """Calls a tool."""
        return self.ask("tools/call", id=id, name=name, arguments=arguments)

    def _headers(self, content: Any) -> Headers:
        fields: dict[str, str | list[str] | None] = {
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
        }
        if self.session is None and self.era is Era.SESSIONS:
            return fields
        fields["mcp-protocol-version"] = self.era.value
        if self.session:
            fields[SESSION_HEADER] = self.session
        if self.era is Era.STATELESS and isinstance(content, dict):
            fields["mcp-method"] = content["method"]
            named = content["params"].get("name") or content["params"].get("uri")
            if isinstance(named, str) and named.isascii() and named.isprintable():
                fields["mcp-name"] = named
        return fields


def entered(caller: Caller) -> list[Client]:
    """Returns a client for each era that the gateway speaks with this caller; the one with sessions has begun its own."""
    found = []
    stateless = Client(caller, Era.STATELESS)
    if result_of(stateless.ask("server/discover")) is not None:
        found.append(stateless)
    greeting = Client(caller, Era.SESSIONS)
    answer = greeting.ask("initialize", **GREETING)
    if result_of(answer) is not None:
        client = Client(caller, Era.SESSIONS, answer.header(SESSION_HEADER) or "")
        client.say(client.message("notifications/initialized", id=None))
        found.append(client)
    return found
