"""Answers are held to their requests; what a server sends on the way, to the table."""

import base64
import json
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import PERMISSIONS, answer, message, raw, seal

from relay.tools.answers import answer_text, bare_text, may_pass, said_outcome
from relay.tools.decisions import Passed, Question
from relay.tools.discovery import discover_body, unsupported_version_data
from relay.tools.gate import Gate
from relay.tools.list_filter import Page
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import LIFETIME_SECONDS, StateSeal
from relay.tools.sealed.sealing import key_for, sealed_text
from relay_contract.tools.manifest import Grant, Manifest

IDS = st.sampled_from([0, 1, -1, "", "1", "0", "a"])
CALLED = {"content": [{"type": "text", "text": "ok"}], "isError": False, "resultType": "complete"}


def question(method: str = "tools/call", *, id: Any = 1, era: Era = Era.MODERN) -> Question:  # noqa: A002
    names = {"tools/call": {"name": "read_invoice"}, "resources/read": {"uri": "memo://rates"}}
    asked = message(raw(method, id=id, **names.get(method, {})))
    decision = Gate(PERMISSIONS, era, seal(), "call1").decide(asked)
    assert isinstance(decision, Passed)
    return decision.question


def told(content: Any, asked: Question, *, by: StateSeal | None = None) -> str | ProtocolError:
    found = answer_text(answer(content), asked, PERMISSIONS, by or seal())
    assert not isinstance(found, Page)
    return found


def result(content: dict[str, Any], *, id: Any = 1) -> dict[str, Any]:  # noqa: A002
    return {"jsonrpc": "2.0", "id": id, "result": content}


@given(asked=IDS, answered=IDS)
def test_an_answer_passes_exactly_if_it_has_the_requests_id(asked: Any, answered: Any) -> None:
    content = json.dumps(result(CALLED, id=answered), indent=1)
    passed = told(content.encode(), question(id=asked))
    if type(asked) is type(answered) and asked == answered:
        assert passed == content
    else:
        assert passed is ProtocolError.invalid_answer


@pytest.mark.parametrize(
    "content",
    [
        {"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage"},
        {"jsonrpc": "2.0", "method": "notifications/message", "params": {}},
        {"jsonrpc": "2.0", "error": {"code": -32603, "message": "no id"}},
        result({"resultType": "task", "task": {"taskId": "1"}}),
        result({"resultType": 1}),
        result({"resultType": "input_required", "inputRequests": []}),
        result({"resultType": "input_required", "inputRequests": {"a": {"method": "tools/call"}}}),
        result({"resultType": "input_required", "inputRequests": {"a": None}}),
        result({"resultType": "input_required", "requestState": 1}),
    ],
)
def test_what_is_no_answer_to_a_call_is_not_passed_on(content: dict[str, Any]) -> None:
    assert told(content, question()) is ProtocolError.invalid_answer


def test_an_error_of_the_servers_is_passed_on() -> None:
    error = {"code": -32602, "message": "n has to be positive", "data": {"n": -1}}
    content = json.dumps({"jsonrpc": "2.0", "id": 1, "error": error})
    assert told(content.encode(), question()) == content


def test_only_some_methods_may_ask_for_input() -> None:
    asking = result({"resultType": "input_required", "requestState": "s"})
    assert isinstance(told(asking, question("resources/read")), str)
    assert told(asking, question("tools/list")) is ProtocolError.invalid_answer


def test_a_state_is_sealed_and_opens_for_the_same_call_alone() -> None:
    asked = question()
    content = result(
        {
            "resultType": "input_required",
            "inputRequests": {"login": {"method": "elicitation/create", "params": {}}},
            "requestState": "it's \u00e9.",
        }
    )
    text = told(content, asked)
    assert isinstance(text, str)
    sealed = json.loads(text)["result"]["requestState"]
    assert sealed != "it's é."
    assert seal().opened(sealed, asked.binding) == ("it's é.", "call1")
    assert seal().opened(sealed, question("resources/read").binding) is None


@given(state=st.text(max_size=20), at=st.integers(0, 200), sign=st.sampled_from("0aZ.é"))
def test_a_state_that_was_changed_anywhere_does_not_open(state: str, at: int, sign: str) -> None:
    sealed = seal().sealed(state, "b", "call1")
    assert sealed is not None
    at %= len(sealed)
    changed = sealed[:at] + sign + sealed[at + 1 :]
    opened = seal().opened(changed, "b")
    assert opened == ((state, "call1") if changed == sealed else None)


def test_without_a_secret_no_state_is_sealed_and_none_opens() -> None:
    nobody = seal(secret=b"")
    assert nobody.sealed("s", "b", "call1") is None
    asking = result({"resultType": "input_required", "requestState": "s"})
    assert told(asking, question(), by=nobody) is ProtocolError.invalid_answer
    bound = json.dumps(["production", "b"]).encode()
    for key in (b"", key_for(b"relay request state v2", b" ", b"production")):
        forged = sealed_text(key or bytes(32), b'[9999999999,"call1","s"]', bound, bytes(12))
        assert nobody.opened(forged, "b") is None


def test_what_a_server_writes_in_a_state_is_nobodys_to_read() -> None:
    sealed = seal().sealed("invoice 7 of press", "b", "call1")
    assert sealed is not None
    assert sealed != seal().sealed("invoice 7 of press", "b", "call1")
    for told_by in (sealed.encode(), base64.urlsafe_b64decode(sealed + "==")):
        assert b"invoice" not in told_by
        assert b64encode(b"invoice") not in told_by


def test_a_state_ends_with_its_time() -> None:
    sealed = seal(now=1000.0).sealed("s", "b", "call1")
    assert sealed is not None
    assert seal(now=1000.0 + LIFETIME_SECONDS - 1).opened(sealed, "b") == ("s", "call1")
    assert seal(now=1000.0 + LIFETIME_SECONDS).opened(sealed, "b") is None


@pytest.mark.parametrize(
    ("content", "outcome", "in_a_session"),
    [
        (result({"content": []}), "ok", "ok"),
        (result({"content": [], "isError": True}), "tool_error", "tool_error"),
        (result({"content": [], "isError": "true"}), "ok", "ok"),
        # sessions have no rounds, so a server that says so has carried the call out
        (result({"resultType": "input_required"}), "input_required", "ok"),
        (result({"resultType": "input_required", "isError": True}), "input_required", "tool_error"),
        (
            {"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": ""}},
            "protocol_error",
            "protocol_error",
        ),
    ],
)
def test_an_answer_says_how_its_request_ended(
    content: dict[str, Any], outcome: str, in_a_session: str
) -> None:
    assert said_outcome(answer(content), Era.MODERN) == outcome
    assert said_outcome(answer(content), Era.LEGACY) == in_a_session


# -- on the way to an answer ---------------------------------------------------------------------------------------


def passes(method: str, era: Era, *, server: str = "erp", **params: Any) -> bool:
    note = answer({"jsonrpc": "2.0", "method": method, "params": params})
    return may_pass(note, era, server, PERMISSIONS)


@pytest.mark.parametrize("era", Era)
def test_notifications_of_a_request_pass(era: Era) -> None:
    assert passes("notifications/progress", era, progressToken=1, progress=1)
    assert passes("notifications/message", era, level="info", data="x")
    assert not passes("notifications/tasks/status", era)
    assert not passes("notifications/unheard_of", era)


@pytest.mark.parametrize("era", Era)
def test_news_of_a_resource_pass_if_it_is_granted_at_this_server(era: Era) -> None:
    assert passes("notifications/resources/updated", era, uri="memo://rates")
    assert not passes("notifications/resources/updated", era, uri="memo://other")
    assert not passes("notifications/resources/updated", era, uri="memo://rates", server="mail")
    assert not passes("notifications/resources/updated", era)


@pytest.mark.parametrize("era", Era)
def test_of_a_change_nothing_is_told_but_where_it_is(era: Era) -> None:
    more = {"_meta": {"added": ["delete_all"]}, "total": 57}
    for kind in ("tools", "prompts", "resources"):
        told = {"jsonrpc": "2.0", "method": f"notifications/{kind}/list_changed"}
        for said in ({**told, "params": more}, told):
            assert json.loads(bare_text(answer(said), era) or "") == told
    updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated"}
    news = answer({**updated, "params": {"uri": "memo://rates", "title": "Rates", **more}})
    assert json.loads(bare_text(news, era) or "") == {**updated, "params": {"uri": "memo://rates"}}
    for other in ("notifications/message", "notifications/progress"):
        assert bare_text(answer({"jsonrpc": "2.0", "method": other, "params": more}), era) is None


@pytest.mark.parametrize("era", Era)
def test_news_of_lists_reach_only_who_has_something_in_them(era: Era) -> None:
    for kind in ("tools", "prompts", "resources"):
        method = f"notifications/{kind}/list_changed"
        assert passes(method, era)
        assert not passes(method, era, server="another")


def test_requests_of_a_server_exist_in_sessions_alone() -> None:
    ask = answer({"jsonrpc": "2.0", "id": 1, "method": "sampling/createMessage", "params": {}})
    assert may_pass(ask, Era.LEGACY, "erp", PERMISSIONS)
    assert not may_pass(ask, Era.MODERN, "erp", PERMISSIONS)
    task = answer({"jsonrpc": "2.0", "id": 1, "method": "tasks/list", "params": {}})
    assert not may_pass(task, Era.LEGACY, "erp", PERMISSIONS)


# -- what the relay says of itself ---------------------------------------------------------------------------------


def test_discovery_tells_what_is_granted_and_nothing_of_servers() -> None:
    body = discover_body('"d"', PERMISSIONS, ("2026-07-28",), "1.2.3")
    content = json.loads(body)
    assert content["id"] == "d"
    assert content["result"]["supportedVersions"] == ["2026-07-28"]
    assert content["result"]["capabilities"] == {
        "tools": {"listChanged": True},
        "prompts": {"listChanged": True},
        "resources": {"listChanged": True, "subscribe": True},
        "completions": {},
    }
    assert content["result"]["cacheScope"] == "private"
    assert b"erp" not in body
    assert b"mail" not in body


def test_a_kind_of_which_nothing_is_granted_is_no_capability() -> None:
    permissions = Permissions(Manifest(grants=(Grant(server="a", tools=("x",)),)), "t")
    content = json.loads(discover_body("1", permissions, ("2026-07-28",), "1"))
    assert content["result"]["capabilities"] == {}


def test_the_revisions_that_are_served_are_named_to_who_asks_for_another() -> None:
    data = unsupported_version_data("1900-01-01", ("2026-07-28",))
    error = json.loads(ProtocolError.unsupported_version.body("1", Era.MODERN, data))["error"]
    assert error["data"] == {"supported": ["2026-07-28"], "requested": "1900-01-01"}
