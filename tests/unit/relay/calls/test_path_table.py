"""Who handles a request, by path and method."""

from collections.abc import Callable

import pytest
from tests.unit.relay.memory import MemoryRelay, error, fields, get, status

from relay.calls.path_table import HandlerFactory, PathEntry, PathTable
from relay.http.downstream import ClientConnection
from relay.http.message import Request
from relay.http.request_handler import RequestHandler

Make = Callable[..., MemoryRelay]
CHAT = "/v1/chat/completions"


@pytest.mark.parametrize(
    ("path", "method", "code", "allow"),
    [
        (CHAT, "OPTIONS", 204, "POST, OPTIONS"),
        (CHAT, "GET", 405, "POST, OPTIONS"),
        ("/v1/models", "OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ("/v1/models", "DELETE", 405, "GET, HEAD, OPTIONS"),
        ("/v1/models/gpt-4.1", "PUT", 405, "GET, HEAD, OPTIONS"),
        ("/v1/me", "OPTIONS", 204, "GET, HEAD, OPTIONS"),
        ("/v1/unknown", "OPTIONS", 404, None),
        ("/v1/chat", "GET", 404, None),
    ],
)
async def test_a_method_that_a_path_does_not_take_is_told_which_it_does(
    relay: MemoryRelay, path: str, method: str, code: int, allow: str | None
) -> None:
    answer = relay.client().send(get(path, method=method, key=None))
    assert (status(answer), fields(answer).get("allow")) == (code, allow)


async def test_a_model_is_found_by_its_quoted_name(relay: MemoryRelay) -> None:
    assert status(relay.client().send(get("/v1/models/gpt%2D4.1"))) == 200
    answer = relay.client().send(get("/v1/models/gpt-5"))
    assert (status(answer), error(answer)["code"]) == (404, "model_not_found")


async def test_what_is_answered_here_is_counted_under_its_endpoint(relay: MemoryRelay) -> None:
    client = relay.client()
    client.send(get("/v1/models"))
    client.send(get(CHAT))
    client.send(get("/nowhere"))
    counted = dict(relay.service.report()["relay_requests_total"])
    assert counted == {
        ("other", "", "200"): 1,
        ("chat.completions", "", "405"): 1,
        ("other", "", "404"): 1,
    }


async def test_only_callers_may_ask_for_what_is_the_tenants(relay: MemoryRelay) -> None:
    for path in ("/v1/models", "/v1/models/gpt-4.1", "/v1/me"):
        answer = relay.client().send(get(path, key=None))
        assert (status(answer), error(answer)["code"]) == (401, "invalid_api_key")


class Named(HandlerFactory):
    """A factory that notes that it was asked, and makes what another makes."""

    def __init__(self, table: PathTable) -> None:
        self.asked: list[bytes] = []
        self._table = table

    def handler(self, connection: ClientConnection, request: Request) -> RequestHandler:
        self.asked.append(request.method + b" " + request.path)
        return self._table.handler(connection, request)


async def test_another_kind_of_handler_is_registered_and_nothing_else_changes(
    relay: MemoryRelay,
) -> None:
    connections = relay.service.connections
    own, others, unknown = (Named(connections.paths) for _ in range(3))
    table = PathTable(unknown=unknown)
    table.register(b"/mcp", PathEntry(frozenset({b"POST"}), own, others))
    table.register_prefix(b"/mcp/", PathEntry(frozenset({b"GET"}), own, others))
    connections.paths = table
    client = relay.client()
    for path, method in (("/mcp", "POST"), ("/mcp/a", "GET"), ("/mcp", "GET"), ("/mc", "GET")):
        client.send(get(path, method=method, headers="Content-Length: 0\r\n"))
    assert own.asked == [b"POST /mcp", b"GET /mcp/a"]
    assert others.asked == [b"GET /mcp"]
    assert unknown.asked == [b"GET /mc"]
