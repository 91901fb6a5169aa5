"""Lists of tenants with several servers, and of servers with more than the tenant may see: each server costs its own entries alone."""

import base64
import json
from contextlib import ExitStack
from typing import Any

import pytest
from tests.blackbox.relays import Relay
from tests.blackbox.scripted import ScriptedProvider, scripted
from tests.blackbox.session_server import SessionServer, serving_sessions
from tests.blackbox.tenant import Platform
from tests.blackbox.test_tool_seats import two_servers
from tests.blackbox.test_tool_sessions import begun, names
from tests.blackbox.tool_calls import FINANCE, SECRET, TOOLS, ask, call, code, document, listed
from tests.blackbox.tool_server import Behaviour, Reply, ToolServer, error, result, serving
from tests.unit.relay.tools.protocol import raw, tool

HIDDEN = [tool(f"hidden_{number:02}") for number in range(20)]
NOBODY = "http://127.0.0.1:9/mcp"


class Naming(ToolServer):
    """A server whose cursors say which tool their page ended with, as those of an official SDK do."""

    def reply(self, body: dict[str, Any]) -> Reply:
        if body["method"] != "tools/list":
            return super().reply(body)
        last = json.loads(base64.b64decode(body["params"].get("cursor", "") or b"MA=="))
        place = [one["name"] for one in self.tools].index(last) + 1 if last else 0
        page: dict[str, Any] = {"resultType": "complete", "tools": self.tools[place : place + 1]}
        if place + 1 < len(self.tools):
            told = json.dumps(page["tools"][0]["name"]).encode()
            page["nextCursor"] = base64.b64encode(told).decode()
        return result(body, page)


def pages(relay: Relay) -> list[dict[str, Any]]:
    """Returns every page of the list of tools."""
    found = [listed(relay)]
    while "nextCursor" in found[-1]:
        found.append(listed(relay, cursor=found[-1]["nextCursor"]))
    return found


def named(page: dict[str, Any]) -> list[str]:
    return [one["name"] for one in page["tools"]]


@pytest.mark.parametrize(
    "tools", [TOOLS, [*HIDDEN, *TOOLS], [*TOOLS, *HIDDEN], [*TOOLS[:2], *HIDDEN, *TOOLS[2:]]]
)
def test_neither_number_nor_cursors_of_pages_tell_of_hidden_tools(
    relay: Relay, platform: Platform, tools: list[dict[str, Any]]
) -> None:
    relay.give_key("tools-erp", SECRET)
    with serving(Naming(tools=[*tools])) as erp:
        relay.push(document(platform, erp, FINANCE))
        found = pages(relay)
    assert [named(page) for page in found] == [[name] for name in FINANCE]
    told = json.dumps(found)
    for page in found[:-1]:
        cursor = page["nextCursor"]
        told += base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("latin-1")
    for one in (*HIDDEN, *TOOLS):
        name = one["name"]
        assert name in FINANCE or name not in told
        assert base64.b64encode(json.dumps(name).encode()).decode() not in told
    assert "erp" not in told


def failing(kind: str) -> Behaviour:
    """Returns what a server answers to every request."""

    def behave(body: dict[str, Any]) -> Reply:
        match kind:
            case "an error":
                return 500, "text/html", b"<h1>Internal Server Error</h1>"
            case "no list":
                return result(body, {"resultType": "complete", "tools": "none"})
            case "no JSON":
                return 200, "application/json", b"<html>"
            case "no such method":
                return 404, "application/json", error(body, -32601, "tools/list: upstream words")
            case _:
                return 200, "application/json", error(body, -32603, "the database is away")

    return behave


class Failing(ToolServer):
    """A server that answers every request for a list so."""

    def reply(self, body: dict[str, Any]) -> Reply:
        return self.behaviours["list"](body) if "list" in body["method"] else super().reply(body)


FAILURES = ["an error", "no list", "no JSON", "no such method", "its own error"]


@pytest.mark.parametrize("kind", FAILURES)
@pytest.mark.parametrize("first", [True, False])
def test_a_server_that_fails_hides_no_other_servers_tools(
    relay: Relay, platform: Platform, kind: str, first: bool
) -> None:
    relay.give_key("tools", SECRET)
    failing_one = Failing(tools=[*TOOLS], behaviours={"list": failing(kind)})
    with serving(failing_one) as broken, serving(ToolServer(tools=[*TOOLS])) as well:
        erp, mail = (broken, well) if first else (well, broken)
        relay.push(two_servers(platform, erp.url, mail.url))
        found = pages(relay)
    assert [name for page in found for name in named(page)] == ["pay" if first else "read_invoice"]


@pytest.mark.parametrize("first", [True, False])
def test_a_server_that_is_gone_or_silent_hides_no_other_servers_tools(
    relay: Relay, platform: Platform, first: bool
) -> None:
    relay.give_key("tools", SECRET)
    with ExitStack() as stack:
        well = stack.enter_context(serving(ToolServer(tools=[*TOOLS]))).url
        silent = stack.enter_context(scripted(ScriptedProvider([()])))
        for broken in (NOBODY, f"http://127.0.0.1:{silent.port}/mcp"):
            erp, mail = (broken, well) if first else (well, broken)
            relay.push(two_servers(platform, erp, mail))
            told = [name for page in pages(relay) for name in named(page)]
            assert told == ["pay" if first else "read_invoice"]
            assert call(relay, told[0]).status == 200


def test_a_list_of_which_nothing_can_be_had_is_an_error(
    relay: Relay, platform: Platform, erp: ToolServer
) -> None:
    relay.give_key("tools", SECRET)
    relay.push(two_servers(platform, NOBODY, NOBODY))
    assert code(ask(relay, raw("tools/list")), 502) == -32603
    relay.give_key("tools-erp", SECRET)
    with serving(Failing(tools=[], behaviours={"list": failing("no such method")})) as broken:
        relay.push(document(platform, broken, FINANCE))
        assert code(ask(relay, raw("tools/list")), 404) == -32601


def test_a_limit_of_requests_ends_a_search_for_entries_and_not_the_list(
    relay: Relay, platform: Platform
) -> None:
    relay.give_key("tools-erp", SECRET)
    with serving(Naming(tools=[*HIDDEN, *TOOLS])) as erp:
        relay.push(document(platform, erp, FINANCE, requests_per_minute=6))
        found = listed(relay)
        assert named(found) == []
        assert "nextCursor" in found
        answer = ask(relay, raw("tools/list", cursor=found["nextCursor"]))
        assert answer.status == 429
        assert answer.header("retry-after") is not None


class Dying(SessionServer):
    """A server that lists nothing any more in the sessions that it has."""

    def reply(self, body: dict[str, Any], session: str) -> Any:
        return 500, "text/html", b"<h1>Internal Server Error</h1>"


def test_a_server_that_dies_in_a_session_hides_no_other_servers_tools(
    relay: Relay, platform: Platform
) -> None:
    relay.give_key("tools", SECRET)
    with (
        serving_sessions(SessionServer(tools=[*TOOLS])) as mail,
        serving_sessions(Dying(tools=[*TOOLS])) as erp,
    ):
        relay.push(two_servers(platform, erp.url, mail.url))
        assert names(relay, begun(relay)) == ["pay"]
