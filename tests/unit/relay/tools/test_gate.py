"""The gate: one decision for every message, the same bytes for what is denied and what does not exist."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import (
    ERP,
    MAIL,
    MANIFEST,
    META,
    PERMISSIONS,
    cursor_to,
    gate,
    message,
    raw,
    request,
    seal,
)

from relay.tools.cursors import Place
from relay.tools.decisions import Own, Passed, Spread
from relay.tools.gate import Gate, still_passes
from relay.tools.methods import Rule
from relay.tools.permissions import Permissions
from relay.tools.reading.eras import Era
from relay.tools.reading.messages import Message
from relay.tools.reading.protocol_errors import ProtocolError
from relay.tools.request_state import StateSeal, binding_of
from relay_contract.tools.manifest import Grant, Manifest

NAMES = st.sampled_from([*PERMISSIONS.tools, "send", "pay", "mail__", "list_", "Read_invoice", ""])


def passed(asked: Message, era: Era = Era.MODERN) -> Passed:
    decision = gate(era).decide(asked)
    assert isinstance(decision, Passed), decision
    return decision


def content(decision: Passed) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(decision.text)
    return read


# -- tools ---------------------------------------------------------------------------------------------------------


def test_a_granted_call_goes_on_as_it_came() -> None:
    text = (
        b' {"id" : "a\\u0062", "jsonrpc":"2.0",\n "method":"tools/call","params":'
        b'{"name":"read_\\u0069nvoice","arguments":{"n":1.50, "s":"\xc3\xa9"},"x":null} }\n'
    )
    decision = passed(message(text), Era.LEGACY)
    assert decision.server == "erp"
    assert decision.text.encode() == text
    assert decision.permitted is PERMISSIONS.tools["read_invoice"]


def test_a_prefixed_name_is_the_only_thing_that_changes() -> None:
    text = raw("tools/call", name="mail__send", arguments={"name": "mail__send"})
    decision = passed(message(text))
    assert (decision.server, decision.name) == ("mail", "send")
    assert decision.text.encode() == text.replace(b'"mail__send"', b'"send"', 1)


@given(name=NAMES, era=st.sampled_from(Era))
def test_a_call_passes_exactly_if_its_name_is_granted(name: str, era: Era) -> None:
    decision = gate(era).decide(request("tools/call", name=name))
    if name in PERMISSIONS.tools:
        assert isinstance(decision, Passed)
        assert decision.permitted is PERMISSIONS.tools[name]
    else:
        assert decision is ProtocolError.unknown_tool


@pytest.mark.parametrize(
    "name",
    [
        "delete_invoice",  # not covered by a pattern
        "list_suppliers",  # covered, and not approved
        "send",  # another server's, without its prefix
        "mail__delete",
        "erp__read_invoice",
        "no_such_tool",
        "read_invoice ",
        "READ_INVOICE",
        "re\u0430d_invoice",
        "x" * 5000,
        "\ud800",
    ],
)
def test_denied_unknown_and_another_tenants_tools_are_refused_with_the_same_bytes(
    name: str,
) -> None:
    decision = gate().decide(request("tools/call", name=name, arguments={}))
    other = gate().decide(request("tools/call", name="nothing", arguments={"a": 1}))
    assert isinstance(decision, ProtocolError)
    assert isinstance(other, ProtocolError)
    assert decision.body("1", Era.MODERN) == other.body("1", Era.MODERN)
    assert decision.status(Era.MODERN) == other.status(Era.MODERN)


@pytest.mark.parametrize("name", [None, 1, ["read_invoice"], {"name": "read_invoice"}])
@pytest.mark.parametrize("method", ["tools/call", "prompts/get", "resources/read"])
def test_a_name_that_is_no_string_is_refused(method: str, name: Any) -> None:
    key = "uri" if method == "resources/read" else "name"
    assert gate().decide(request(method, **{key: name})) is ProtocolError.invalid_params
    assert gate().decide(request(method)) is ProtocolError.invalid_params


def test_a_tenant_without_grants_has_nothing() -> None:
    nothing = gate(permissions=Permissions(Manifest(), "t"))
    for method in ("tools/list", "prompts/list", "resources/list", "resources/templates/list"):
        assert nothing.decide(request(method)) is ProtocolError.unknown_method
    call = request("tools/call", name="read_invoice")
    assert nothing.decide(call) is ProtocolError.unknown_tool


def test_a_task_is_not_asked_for_upstream() -> None:
    for era in Era:
        asked = request("tools/call", name="read_invoice", task={"ttl": 1}, arguments={"a": 1})
        params = content(passed(asked, era))["params"]
        assert params == {"name": "read_invoice", "arguments": {"a": 1}, "_meta": META}


def test_extensions_that_a_client_offers_are_taken_back() -> None:
    capabilities: dict[str, Any] = {
        "elicitation": {},
        "extensions": {"io.modelcontextprotocol/tasks": {}},
    }
    meta = {**META, "io.modelcontextprotocol/clientCapabilities": capabilities}
    decision = passed(message(raw("tools/call", meta=meta, name="read_invoice")))
    sent = content(decision)["params"]["_meta"]
    assert sent["io.modelcontextprotocol/clientCapabilities"] == {
        "elicitation": {},
        "extensions": {},
    }


# -- the other methods ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "params", "server"),
    [
        ("prompts/get", {"name": "summarise"}, "erp"),
        ("prompts/get", {"name": "mail__reply"}, "mail"),
        ("resources/read", {"uri": "file:///reports/q3"}, "erp"),
        ("completion/complete", {"ref": {"type": "ref/prompt", "name": "mail__reply"}}, "mail"),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "file:///reports/{name}"}},
            "erp",
        ),
    ],
)
def test_what_is_granted_passes_by_every_method(
    method: str, params: dict[str, Any], server: str
) -> None:
    for era in Era:
        decision = passed(request(method, **params), era)
        assert decision.server == server
        assert "mail__" not in decision.text


@pytest.mark.parametrize(
    ("method", "params", "error"),
    [
        ("prompts/get", {"name": "reply"}, ProtocolError.unknown_prompt),
        ("prompts/get", {"name": "read_invoice"}, ProtocolError.unknown_prompt),
        ("resources/read", {"uri": "file:///etc/passwd"}, ProtocolError.unknown_resource),
        (
            "completion/complete",
            {"ref": {"type": "ref/prompt", "name": "hidden"}},
            ProtocolError.unknown_prompt,
        ),
        (
            "completion/complete",
            {"ref": {"type": "ref/resource", "uri": "file:///{+path}"}},
            ProtocolError.unknown_resource,
        ),
        ("completion/complete", {"ref": {"type": "ref/tool"}}, ProtocolError.invalid_params),
        ("completion/complete", {"ref": {"type": "ref/prompt"}}, ProtocolError.invalid_params),
        ("completion/complete", {"ref": "ref/prompt"}, ProtocolError.invalid_params),
        ("completion/complete", {}, ProtocolError.invalid_params),
    ],
)
def test_what_is_not_granted_passes_by_none(
    method: str, params: dict[str, Any], error: ProtocolError
) -> None:
    for era in Era:
        assert gate(era).decide(request(method, **params)) is error


@pytest.mark.parametrize("method", ["resources/subscribe", "resources/unsubscribe"])
def test_legacy_subscriptions_are_held_to_the_grants(method: str) -> None:
    assert passed(request(method, uri="mail://inbox/1"), Era.LEGACY).server == "mail"
    denied = gate(Era.LEGACY).decide(request(method, uri="mail://sent/1"))
    assert denied is ProtocolError.unknown_resource


def test_a_subscription_is_parted_among_the_servers_it_concerns() -> None:
    wanted = {
        "toolsListChanged": True,
        "promptsListChanged": False,
        "taskIds": ["7"],
        "resourceSubscriptions": ["mail://inbox/1", "mail://inbox/2"],
    }
    decision = gate().decide(request("subscriptions/listen", notifications=wanted))
    assert isinstance(decision, Spread)
    assert {part.server: content(part)["params"]["notifications"] for part in decision.parts} == {
        "erp": {"toolsListChanged": True},
        "mail": {
            "toolsListChanged": True,
            "resourceSubscriptions": ["mail://inbox/1", "mail://inbox/2"],
        },
    }


@pytest.mark.parametrize(
    ("wanted", "error"),
    [
        (None, ProtocolError.invalid_params),
        ([], ProtocolError.invalid_params),
        ({"toolsListChanged": 1}, ProtocolError.invalid_params),
        ({"resourceSubscriptions": "memo://rates"}, ProtocolError.invalid_params),
        ({"resourceSubscriptions": [1]}, ProtocolError.invalid_params),
        ({"resourceSubscriptions": ["memo://rates"] * 65}, ProtocolError.invalid_params),
        ({"resourceSubscriptions": ["memo://rates", "memo://x"]}, ProtocolError.unknown_resource),
    ],
)
def test_a_subscription_to_anything_else_is_refused(wanted: Any, error: ProtocolError) -> None:
    assert gate().decide(request("subscriptions/listen", notifications=wanted)) is error


def test_a_subscription_to_nothing_needs_no_server() -> None:
    decision = gate().decide(request("subscriptions/listen", notifications={}))
    assert isinstance(decision, Own)
    assert decision.rule is Rule.SUBSCRIPTION


def _passed(asked: Message, permissions: Permissions = PERMISSIONS) -> Passed:
    decision = gate(permissions=permissions).decide(asked)
    assert isinstance(decision, Passed)
    return decision


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (request("tools/call", name="list_orders"), True),
        (request("tools/call", name="read_invoice"), False),
        (request("prompts/get", name="summarise"), False),
        (request("prompts/get", name="mail__reply"), True),
        (request("resources/read", uri="memo://rates"), True),
        (request("resources/read", uri="file:///reports/a"), False),
        (request("completion/complete", ref={"type": "ref/prompt", "name": "summarise"}), False),
        (request("completion/complete", ref={"type": "ref/prompt", "name": "mail__reply"}), True),
        (request("tools/list"), True),
        (request("tools/list", cursor=cursor_to("mail")), False),
    ],
)
def test_what_passed_is_decided_on_again_by_another_manifest(asked: Message, kept: bool) -> None:
    erp = ERP.model_copy(
        update={
            "tools": ("list_*",),
            "tool_definitions": ERP.tool_definitions[1:],
            "prompts": (),
            "prompt_definitions": (),
            "resources": ("memo://rates",),
        }
    )
    left = Permissions(Manifest(grants=(erp, MAIL)), "tenant-a")
    assert still_passes(asked, _passed(asked), left, seal()) is kept
    again = Permissions(MANIFEST, "tenant-a")
    assert still_passes(asked, _passed(asked), again, seal())


def test_a_tool_that_another_server_has_by_the_same_name_is_another() -> None:
    asked = request("tools/call", name="mail__send")
    moved = MAIL.model_copy(update={"server": "post"})
    assert not still_passes(
        asked, _passed(asked), Permissions(Manifest(grants=(ERP, moved)), "tenant-a"), seal()
    )


def test_a_session_that_knows_a_part_of_its_manifest_is_not_held_to_the_rest() -> None:
    part = Permissions(MANIFEST, "tenant-a", frozenset({"mail"}))
    asked = request("tools/list")
    assert _passed(asked, part).server == "mail"
    assert still_passes(asked, _passed(asked, part), Permissions(MANIFEST, "tenant-a"), seal())


def test_responses_exist_in_sessions_alone() -> None:
    reply = message({"jsonrpc": "2.0", "id": 1, "result": {}})
    assert gate(Era.MODERN).decide(reply) is ProtocolError.invalid_request
    decision = gate(Era.LEGACY).decide(reply)
    assert isinstance(decision, Own)
    assert decision.rule is Rule.PAIRED


# -- lists and their cursors ---------------------------------------------------------------------------------------


def test_a_list_begins_at_the_first_server_that_has_some() -> None:
    assert passed(request("tools/list")).server == "erp"
    grants = (Grant(server="a", resources=("a:*",)), Grant(server="b", resources=("b:*",)))
    permissions = Permissions(Manifest(grants=grants), "t")
    decision = gate(permissions=permissions).decide(request("resources/list"))
    assert isinstance(decision, Passed)
    assert decision.server == "a"


@pytest.mark.parametrize("cursor", ["", "x", "eyJwYWdlIjogM30=", "..", "erp", "\ud800", "a" * 9000])
def test_a_cursor_that_is_not_ours_is_invalid(cursor: str) -> None:
    assert gate().decide(request("tools/list", cursor=cursor)) is ProtocolError.invalid_cursor


def test_a_cursor_to_a_server_that_is_not_granted_is_invalid() -> None:
    for server in ("another", ""):
        cursor = cursor_to(server, "1")
        assert gate().decide(request("tools/list", cursor=cursor)) is ProtocolError.invalid_cursor


@pytest.mark.parametrize("by", [seal(caller="another"), seal(secret=b"another")])
def test_a_cursor_of_another_caller_is_invalid(by: StateSeal) -> None:
    for cursor in (cursor_to("mail", by=by), cursor_to("erp", "2", by=by)):
        assert gate().decide(request("tools/list", cursor=cursor)) is ProtocolError.invalid_cursor


@pytest.mark.parametrize(
    "asked",
    [
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}',
        b'{"jsonrpc":"2.0", "params":{ "_meta":{} } ,"id":1,"method":"tools/list"}',
        b'{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"x", "_meta":{}}}',
    ],
)
def test_a_request_for_a_list_goes_on_at_any_place(asked: bytes) -> None:
    said = json.loads(asked)
    for cursor in ("page \u00e9", None):
        onwards = content(gate(Era.LEGACY).passed_at(message(asked), Place("mail", cursor)))
        params = {**said.get("params", {}), "cursor": cursor}
        kept = {key: value for key, value in params.items() if value is not None}
        assert onwards == {**said, **({"params": kept} if "params" in said or cursor else {})}


def test_a_cursor_has_to_be_a_string() -> None:
    assert gate().decide(request("tools/list", cursor=1)) is ProtocolError.invalid_params


# -- state of calls in several rounds ------------------------------------------------------------------------------


def state_for(method: str = "tools/call", **params: Any) -> str:
    asked = request(method, **params)
    sealed = seal().sealed("upstream state", binding_of("erp", method, asked.params), "call1")
    assert sealed is not None
    return sealed


def test_a_state_comes_back_to_its_server_as_it_was() -> None:
    state = state_for(name="read_invoice", arguments={"n": 1})
    asked = request(
        "tools/call",
        name="read_invoice",
        arguments={"n": 1},
        requestState=state,
        inputResponses={"login": {"action": "accept"}},
    )
    params = content(passed(asked))["params"]
    assert params["requestState"] == "upstream state"
    assert params["inputResponses"] == {"login": {"action": "accept"}}


def test_a_round_belongs_to_the_call_that_its_state_was_sealed_for() -> None:
    asked: dict[str, Any] = {"name": "read_invoice", "arguments": {"n": 1}}
    again = request("tools/call", **asked, requestState=state_for(**asked))
    for asking, call_id in ((request("tools/call", **asked), "call2"), (again, "call1")):
        decision = Gate(PERMISSIONS, Era.MODERN, seal(), "call2").decide(asking)
        assert isinstance(decision, Passed)
        assert decision.question.call_id == call_id


@pytest.mark.parametrize(
    "change",
    [
        {"name": "list_orders"},
        {"arguments": {"n": 2}},
        {"arguments": {}},
        {"requestState": "upstream state"},
        {"requestState": ""},
        {"requestState": None},
        {"requestState": 1},
    ],
)
def test_a_state_of_another_call_is_refused(change: dict[str, Any]) -> None:
    state = state_for(name="read_invoice", arguments={"n": 1})
    fields = {"name": "read_invoice", "arguments": {"n": 1}, "requestState": state} | change
    assert gate().decide(request("tools/call", **fields)) is ProtocolError.invalid_params


def test_a_state_of_another_caller_or_tenant_is_refused() -> None:
    state = state_for(name="read_invoice")
    asked = request("tools/call", name="read_invoice", requestState=state)
    for other in (seal(caller="staging"), seal(secret=b"other"), seal(now=1_800_000_600.0)):
        decision = Gate(PERMISSIONS, Era.MODERN, other).decide(asked)
        assert decision is ProtocolError.invalid_params


def test_a_session_has_no_states() -> None:
    decision = passed(request("tools/call", name="read_invoice", requestState="x"), Era.LEGACY)
    assert "requestState" not in content(decision)["params"]
