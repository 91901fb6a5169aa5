"""Records of tool calls as lines: written and read back, and everything that is not one refused with its reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from tests.unit.relay_contract.billing.records import NOON, closed, tool_call, tool_calls

from relay_contract.billing.attempt_event import event_id
from relay_contract.billing.event_line import (
    MAX_EVENT_BYTES,
    UnreadableEvent,
    event_line,
    read_event,
)
from relay_contract.billing.tool_call import (
    ToolCall,
    read_tool_call,
    tool_call_id,
    tool_call_line,
)


@given(call=tool_calls())
def test_a_record_is_read_as_it_was_written(call: ToolCall) -> None:
    line = tool_call_line(call)
    assert read_tool_call(line) == call
    assert b"\n" not in line
    assert len(line) <= MAX_EVENT_BYTES


def test_the_longest_labels_fit_a_line() -> None:
    label = "\U0001f4b6" * 256
    names = ("tenant", "relay", "key_name", "method", "server", "name", "rule", "revision")
    call = tool_call(**dict.fromkeys((*names, "request_id"), label))
    assert read_tool_call(tool_call_line(call)) == call


def test_an_id_is_for_ever_and_of_no_attempt() -> None:
    computed = tool_call_id(tenant_uid="5b6a", round_id="c0ffee-1", called_at=NOON)
    assert computed == "2fbc1fdcc5b2ea7243a42e9f69f820d8"
    assert computed != event_id(
        tenant_uid="5b6a", attempt_id="c0ffee-1", dispatched_at=NOON, kind="usage"
    )


def line_with(**changes: Any) -> bytes:
    content = json.loads(tool_call_line(tool_call()))
    return json.dumps({**content, **changes}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "no JSON: Expecting value at character 0"),
        (b'{"v":1,"v":1}', "'v' stands twice"),
        (line_with(v=2), "v is 2, and this ledger reads version 1"),
        (line_with(v=True), "v is True"),
        (line_with(kind="usage"), "kind: Input should be 'tool'"),
        (line_with(tenantUid="uid-b"), "the id of this call is "),
        (line_with(calledAt=1), "the id of this call is "),
        (line_with(roundId="other"), "the id of this call is "),
        (line_with(endedAt=1), "endedAt is before calledAt"),
        (line_with(server=""), "a call that ended as ok has a server and a rule"),
        (line_with(outcome="lucky"), "outcome: Input should be 'ok'"),
        (line_with(requestBytes=-1), "requestBytes: Input should be greater than"),
        (line_with(requestBytes=2**63), "requestBytes: Input should be less than"),
        (line_with(requestBytes="1"), "requestBytes: Input should be a valid integer"),
        (line_with(name="a\0b"), "name: String should match"),
        (line_with(name="n" * 257), "name: String should have at most 256"),
        (line_with(tenant=""), "tenant: String should have at least 1"),
        (line_with(arguments={"n": 1}), "arguments: Extra inputs are not permitted"),
        (event_line(closed()), "kind: Field required"),
    ],
)
def test_what_is_no_record_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(UnreadableEvent) as refused:
        read_tool_call(line)
    assert reason in str(refused.value)


def test_a_tool_call_is_no_record_of_an_attempt() -> None:
    with pytest.raises(UnreadableEvent):
        read_event(tool_call_line(tool_call()))
