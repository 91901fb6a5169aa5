"""Every request for something of a tool server is booked once: who asked for what, under which rule, and how it ended."""

import json
import threading
from typing import Any

from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.test_tools import asking_first
from tests.blackbox.tool_calls import FINANCE, SECRET, ask, call, document, listed
from tests.blackbox.tool_server import ToolServer, called, error, result
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Wire, request_bytes
from tests.unit.relay.tools.protocol import raw

from relay_contract.tools.manifest import ToolLimit, revision


def records(relay: Relay, count: int) -> list[dict[str, Any]]:
    """Returns the records that the relay wrote in the order of their ends, once there are that many.

    Each worker writes what it has gathered for a tenth of a second, so the log itself has another order.
    """

    def found() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in relay.output().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["event"] == "tool_call"]

    written = eventually(found, lambda lines: len(lines) >= count, what=f"{count} records")
    assert len(written) == count
    return sorted(written, key=lambda line: float(line["ts"]))


def test_each_call_has_one_record_of_how_it_ended(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    relay = new_relay()
    relay.give_key("tools-erp", SECRET)
    granted = document(platform, erp, ("read_*", "list_orders"))
    relay.push(granted)
    erp.behaviours["list_orders"] = lambda body: (
        200,
        "application/json",
        error(body, -32602, "n is missing"),
    )
    call(relay, "read_invoice", x_request_id="mine")
    call(relay, "list_orders")
    erp.behaviours["read_invoice"] = lambda body: result(
        body, {**called(body["params"]), "isError": True}
    )
    call(relay, "read_invoice")
    erp.behaviours["read_invoice"] = lambda body: (200, "text/html", b"")
    call(relay, "read_invoice")
    call(relay, "pay", mcp_name="read_invoice")
    call(relay, "pay")
    call(relay, "no_such_tool")
    call(relay, "no tool", mcp_name="no tool")
    wanted = {"resourceSubscriptions": ["file:///reports/1"]}
    ask(relay, raw("subscriptions/listen", notifications=wanted))
    # nothing of a server's is used by these
    listed(relay)
    ask(relay, raw("server/discover"))
    ask(relay, raw("subscriptions/listen", notifications={"toolsListChanged": False}))
    written = records(relay, 9)
    assert [(line["outcome"], line["server"], line["rule"]) for line in written] == [
        ("ok", "erp", "read_*"),
        ("protocol_error", "erp", "list_orders"),
        ("tool_error", "erp", "read_*"),
        ("unavailable", "erp", "read_*"),
        ("refused", None, None),
        *[("denied", None, None)] * 4,
    ]
    assert written[-1]["method"] == "subscriptions/listen"
    # what no tool can be called is not repeated
    assert [line["name"] for line in written[4:]] == ["pay", "pay", "no_such_tool", None, None]
    first = written[0]
    assert (first["tenant"], first["key"], first["method"]) == (
        "finance",
        "production",
        "tools/call",
    )
    assert first["name"] == "read_invoice"
    assert first["request_id"] == "mine"
    manifest = granted.tenant.tools
    assert manifest is not None
    assert {line["manifest_revision"] for line in written} == {
        revision(manifest, granted.tenant.uid)
    }
    assert len({line["call_id"] for line in written}) == len(written)
    assert first["answer_bytes"] > 0 < first["request_bytes"]
    metrics = relay.metrics()
    assert metrics.total("relay_tool_calls_total", server="erp", outcome="ok") == 1
    assert metrics.total("relay_tool_calls_total", server="", outcome="denied") == 4
    assert metrics.total("relay_tool_call_duration_seconds_count", server="erp") == 4


def test_a_record_has_nothing_that_was_said(finance: Relay, erp: ToolServer) -> None:
    erp.behaviours["read_invoice"] = lambda body: result(
        body, {"resultType": "complete", "content": [{"type": "text", "text": "said-by-server"}]}
    )
    body = raw("tools/call", name="read_invoice", arguments={"iban": "said-by-client"})
    assert ask(finance, body).status == 200
    assert call(finance, "pay").status == 200
    eventually(lambda: finance.output().count('"outcome":"denied"'), bool, what="the second record")
    for said in ("said-by-client", "said-by-server", SECRET, KEY):
        assert said not in finance.output()


def test_rounds_of_a_call_are_booked_as_one(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    relay = new_relay()
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE))
    erp.behaviours["read_invoice"] = asking_first
    state = call(relay, "read_invoice").json()["result"]["requestState"]
    ask(relay, raw("tools/call", name="read_invoice", arguments={"n": 1}, requestState=state, id=2))
    call(relay, "read_invoice")
    first, second, other = records(relay, 3)
    assert (first["outcome"], second["outcome"]) == ("input_required", "ok")
    assert first["call_id"] == second["call_id"] != other["call_id"]
    assert first["event_id"] != second["event_id"]


def test_a_call_beyond_a_limit_of_tools_is_booked_with_that_limit(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    relay = new_relay()
    relay.give_key("tools-erp", SECRET)
    limits = (ToolLimit(name="read_*", requests_per_minute=6),)
    relay.push(document(platform, erp, FINANCE, tool_limits=limits))
    call(relay, "read_invoice")
    call(relay, "read_invoice")
    served, limited = records(relay, 2)
    assert (served["outcome"], served["limit"]) == ("ok", None)
    assert (limited["outcome"], limited["rule"], limited["limit"]) == (
        "limited",
        "read_invoice",
        "read_*",
    )


def test_limited_calls_and_callers_that_leave_are_booked(
    new_relay: NewRelay, platform: Platform, erp: ToolServer
) -> None:
    relay = new_relay()
    relay.give_key("tools-erp", SECRET)
    relay.push(document(platform, erp, FINANCE, requests_per_minute=6))
    release, asked = threading.Event(), threading.Event()

    def hangs(body: dict[str, Any]) -> Any:
        asked.set()
        release.wait(20)
        return result(body, called(body["params"]))

    erp.behaviours["read_invoice"] = hangs
    body = raw("tools/call", name="read_invoice")
    fields = {
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": "read_invoice",
    }
    try:
        with Wire(relay.port) as wire:
            wire.send(request_bytes("POST", "/mcp", fields, body))
            assert asked.wait(10)
        (left,) = records(relay, 1)
        assert call(relay, "list_orders").status == 429
    finally:
        release.set()
    _, limited = records(relay, 2)
    assert (left["outcome"], left["server"]) == ("cancelled", "erp")
    assert (limited["outcome"], limited["server"], limited["rule"]) == (
        "limited",
        "erp",
        "list_orders",
    )
