"""A tool call as a line of the log."""

import json

from relay.accounting.tool_call_event import ToolCallEvent, tool_call_line
from relay_contract.billing.tool_call import tool_call_id


def test_a_line_tells_who_called_what_under_which_rule() -> None:
    event = ToolCallEvent(
        method="tools/call",
        name='odd"name',
        key="production",
        revision="r" * 32,
        round_id="c" * 32,
        called_at=1_500_000,
        request_id="req_1",
        request_bytes=120,
    )
    event.server, event.rule, event.outcome = "erp", "read_*", "tool_error"
    event.answer_bytes, event.seconds = 64, 0.1234567
    text = tool_call_line(event, tenant="finance", tenant_uid="uid-1", timestamp=1.5, pod="relay-1")
    assert text.endswith(b"}\n")
    line = json.loads(text)
    assert line.pop("event_id") == tool_call_id(
        tenant_uid="uid-1", round_id="c" * 32, called_at=1_500_000
    )
    assert line == {
        "ts": 1.5,
        "event": "tool_call",
        "call_id": "c" * 32,
        "pod": "relay-1",
        "tenant": "finance",
        "tenant_uid": "uid-1",
        "key": "production",
        "method": "tools/call",
        "server": "erp",
        "name": 'odd"name',
        "manifest_revision": "r" * 32,
        "rule": "read_*",
        "limit": None,
        "outcome": "tool_error",
        "duration_seconds": 0.123457,
        "request_bytes": 120,
        "answer_bytes": 64,
        "request_id": "req_1",
    }
