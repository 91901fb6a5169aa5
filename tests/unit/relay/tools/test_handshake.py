"""The beginning of a session: what servers are told of a client, and a client of what it may use."""

import json
from typing import Any

import pytest
from tests.unit.relay.tools.protocol import ERP, MAIL, PERMISSIONS, answer

from relay.tools.handshake import (
    Greeting,
    common_version,
    greeting_of,
    greeting_text,
    initialized_body,
)
from relay.tools.permissions import ListKind, Permissions
from relay_contract.tools.manifest import Manifest

CLIENT = {"name": "client", "version": "1"}
ALL = {
    "tools": {"listChanged": False},
    "prompts": {},
    "resources": {"subscribe": True},
    "completions": {},
    "logging": {},
    "tasks": {"list": {}},
    "experimental": {"x": {}},
}


def greeted(params: dict[str, Any]) -> dict[str, Any]:
    text = greeting_text({"clientInfo": CLIENT, **params})
    assert text is not None
    content: dict[str, Any] = json.loads(text)["params"]
    return content


def told(**greetings: Greeting) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(initialized_body("1", PERMISSIONS, greetings, "1"))
    return content


def test_a_server_hears_of_what_can_pass_alone() -> None:
    offered: dict[str, Any] = {
        "roots": {},
        "sampling": {"tools": {}},
        "elicitation": {},
        "tasks": {},
        "x": {},
    }
    params = greeted({"protocolVersion": "2025-06-18", "capabilities": offered})
    assert params == {
        "protocolVersion": "2025-06-18",
        "capabilities": {"roots": {}, "sampling": {"tools": {}}, "elicitation": {}},
        "clientInfo": CLIENT,
    }


@pytest.mark.parametrize("asked", ["2026-07-28", "2024-11-05", "", None, 1])
def test_a_client_of_another_revision_is_offered_the_newest_with_sessions(asked: Any) -> None:
    params = greeted({"protocolVersion": asked, "capabilities": {}})
    assert params["protocolVersion"] == "2025-11-25"


@pytest.mark.parametrize(
    "params", [{}, {"capabilities": {}}, {"capabilities": 1, "clientInfo": {}}]
)
def test_a_greeting_that_lacks_something_is_none(params: dict[str, Any]) -> None:
    assert greeting_text(params) is None


@pytest.mark.parametrize(
    "result",
    [
        {"protocolVersion": "2026-07-28", "capabilities": {}},
        {"protocolVersion": "2024-11-05", "capabilities": {}},
        {"protocolVersion": 1, "capabilities": {}},
        {"protocolVersion": "2025-11-25", "capabilities": []},
        {},
    ],
)
def test_what_a_server_cannot_answer_to_a_greeting(result: dict[str, Any]) -> None:
    said = answer({"jsonrpc": "2.0", "id": "initialize", "result": result})
    assert greeting_of(said) is None


def test_an_answer_to_a_greeting_has_its_id() -> None:
    result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}}
    for name, greeting in (("initialize", Greeting("2025-06-18", {"tools": {}})), ("x", None)):
        said = answer({"jsonrpc": "2.0", "id": name, "result": result})
        assert greeting_of(said) == greeting


def test_a_client_is_told_what_the_manifest_has_and_a_server_can_do() -> None:
    everything = told(erp=Greeting("2025-11-25", ALL), mail=Greeting("2025-06-18", {}))["result"]
    assert everything == {
        "protocolVersion": "2025-06-18",
        "capabilities": {
            "tools": {"listChanged": True},
            "prompts": {"listChanged": True},
            "completions": {},
            "resources": {"listChanged": True, "subscribe": True},
            "logging": {},
        },
        "serverInfo": {"name": "relay", "version": "1"},
    }
    nothing = told(other=Greeting("2025-11-25", ALL))["result"]["capabilities"]
    assert nothing == {"logging": {}}


def test_a_session_speaks_the_oldest_revision_of_its_servers() -> None:
    greetings = {"a": Greeting("2025-11-25", {}), "b": Greeting("2025-06-18", {})}
    assert common_version(greetings) == "2025-06-18"


def test_a_server_out_of_reach_has_no_lists_and_its_names_stay_taken() -> None:
    reaching = Permissions(Manifest(grants=(ERP, MAIL)), "tenant-a", frozenset({"mail"}))
    assert reaching.servers(ListKind.TOOLS) == ("mail",)
    assert PERMISSIONS.all_servers() == ("erp", "mail")
    assert reaching.tools.keys() == PERMISSIONS.tools.keys()
    assert reaching.revision == PERMISSIONS.revision
