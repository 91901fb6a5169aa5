"""Messages: what JSON-RPC and the protocol allow, and nothing that another reader could take for something else."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.tools.reading.eras import Era
from relay.tools.reading.messages import (
    CLIENT_BOUNDS,
    Kind,
    Message,
    Unusable,
    has_lookalikes,
    read_message,
)
from relay.tools.reading.protocol_errors import ProtocolError


def read(content: bytes | dict[str, Any]) -> Message | Unusable:
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return read_message(raw, CLIENT_BOUNDS)


def error(content: bytes | dict[str, Any]) -> ProtocolError:
    found = read(content)
    assert isinstance(found, Unusable)
    return found.error


CALL: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "x"}}


def test_a_request_is_read_with_its_id_as_it_was_written() -> None:
    found = read(b'{"jsonrpc":"2.0", "id" : "\\u0061\\/1" ,"method":"ping"}')
    assert isinstance(found, Message)
    assert (found.kind, found.id, found.id_text) == (Kind.REQUEST, "a/1", '"\\u0061\\/1"')
    assert found.params == {}
    assert found.params_members() == []


def test_a_notification_has_no_id_and_a_response_no_method() -> None:
    note = read({"jsonrpc": "2.0", "method": "notifications/initialized"})
    reply = read({"jsonrpc": "2.0", "id": 7, "result": {}})
    assert isinstance(note, Message)
    assert isinstance(reply, Message)
    assert (note.kind, reply.kind) == (Kind.NOTIFICATION, Kind.RESPONSE)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ProtocolError.not_json),
        (b" ", ProtocolError.not_json),
        (b"{", ProtocolError.not_json),
        (b"{} {}", ProtocolError.not_json),
        (b"\xff{}", ProtocolError.not_json),
        (b"null", ProtocolError.invalid_request),
        (b' "tools/call"', ProtocolError.invalid_request),
        (b"{}", ProtocolError.invalid_request),
        (b"[]", ProtocolError.batch),
        (b'\n[{"jsonrpc":"2.0","id":1,"method":"ping"}]', ProtocolError.batch),
        (b'{"jsonrpc":"2.0","id":1,"id":2,"method":"ping"}', ProtocolError.ambiguous),
        (b"x" * (CLIENT_BOUNDS.size + 1), ProtocolError.too_large),
        (b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", ProtocolError.too_deep),
    ],
)
def test_what_is_no_single_message_is_refused(content: bytes, expected: ProtocolError) -> None:
    assert error(content) is expected


@pytest.mark.parametrize("id", [None, True, 1.0, 1.5, [], {}, 2**53, -(2**53), "x" * 300])
def test_an_id_is_a_string_or_a_whole_number(id: Any) -> None:  # noqa: A002
    assert error({**CALL, "id": id}) is ProtocolError.invalid_request


@pytest.mark.parametrize(
    "change",
    [
        {"jsonrpc": "1.0"},
        {"jsonrpc": 2.0},
        {"method": 1},
        {"method": None},
        {"params": []},
        {"params": None},
        {"result": {}},
        {"Method": "tools/list"},
        {"method\0": "tools/list"},
        {"extra": 1},
    ],
)
def test_a_request_has_exactly_its_four_keys(change: dict[str, Any]) -> None:
    assert error({**CALL, **change}) is ProtocolError.invalid_request


@pytest.mark.parametrize(
    "content",
    [
        {"id": 1},
        {"id": 1, "result": {}, "error": {"code": 1, "message": ""}},
        {"id": 1, "result": []},
        {"result": {}},
        {"id": 1, "error": {"code": "1", "message": ""}},
        {"id": 1, "error": {"code": True, "message": ""}},
        {"id": 1, "error": {"code": 1}},
        {"id": 1, "error": "no"},
    ],
)
def test_a_response_has_a_result_or_an_error(content: dict[str, Any]) -> None:
    assert error({"jsonrpc": "2.0", **content}) is ProtocolError.invalid_request


@pytest.mark.parametrize(
    "key",
    [
        "Name",
        "NAME",
        "name\0",
        " name",
        "name ",
        "URI",
        "\uff4eame",
        "_Meta",
        "ta\u017fk",
    ],
)
def test_parameters_hide_no_second_spelling_of_a_key(key: str) -> None:
    assert error({**CALL, "params": {"name": "read_invoice", key: "x"}}) is ProtocolError.ambiguous
    assert error({**CALL, "params": {key: "x"}}) is ProtocolError.ambiguous


@pytest.mark.parametrize("place", ["_meta", "ref", "notifications"])
def test_objects_that_decide_hide_none_either(place: str) -> None:
    assert error({**CALL, "params": {place: {"Type": "x"}}}) is ProtocolError.ambiguous


def test_arguments_of_a_tool_may_be_named_in_any_way() -> None:
    arguments = {"Name": 1, "NAME": 2, "uri": 3, "URI": {"Ref": 4}}
    found = read({**CALL, "params": {"name": "x", "arguments": arguments}})
    assert isinstance(found, Message)


@pytest.mark.parametrize("key", ["argument", "context", "progressToken", "title", "names", "x"])
def test_keys_that_no_reader_could_mistake_are_free(key: str) -> None:
    assert not has_lookalikes([key])
    assert isinstance(read({**CALL, "params": {"name": "x", key: 1}}), Message)


def test_marks_stacked_on_a_letter_cost_no_more_than_others() -> None:
    marks = "\u0301" * 20_000 + "\u0323" * 20_000
    started = time.thread_time()
    found = read({**CALL, "params": {"name": "x", "a" + marks: 1}})
    assert time.thread_time() - started < 0.5
    # whoever leaves the marks out may read a name
    assert isinstance(found, Unusable)
    marks = marks[:100] + marks[-100:]
    assert isinstance(read({**CALL, "params": {"name": "x", "a" + marks: 1}}), Message)
    assert error({**CALL, "params": {"n" + marks + "ame": 1}}) is ProtocolError.ambiguous


@pytest.mark.parametrize("place", ["params", "_meta", "ref", "notifications"])
@pytest.mark.parametrize(
    "keys",
    [
        ["\u3000" * 250_000],
        ["name" + " " * 900_000],
        [f"{number:x}" + "\u3000" * 40 for number in range(5000)],
        [f"x{number}" for number in range(60_000)],
        ["name\0 and what a reader of C leaves out"],
    ],
    ids=["long", "blank", "many", "many in ASCII", "ended"],
)
def test_keys_that_would_take_long_to_tell_apart_are_refused(place: str, keys: list[str]) -> None:
    inner = dict.fromkeys(keys, 1)
    content = {**CALL, "params": inner if place == "params" else {place: inner}}
    raw = json.dumps(content, ensure_ascii=False).encode()
    assert len(raw) < CLIENT_BOUNDS.size
    started = time.thread_time()
    assert error(raw) is ProtocolError.ambiguous
    assert time.thread_time() - started < 0.5


@pytest.mark.parametrize(
    "key", ["Extensions", "EXTENSIONS", "exten\u017fions", "extensions\0", "extensions\0x"]
)
def test_a_client_offers_no_extensions_in_another_spelling(key: str) -> None:
    capabilities: dict[str, Any] = {"elicitation": {}, key: {"io.modelcontextprotocol/tasks": {}}}
    meta = {"io.modelcontextprotocol/clientCapabilities": capabilities}
    assert error({**CALL, "params": {"name": "x", "_meta": meta}}) is ProtocolError.ambiguous
    beside = {**capabilities, "extensions": {}}
    meta = {"io.modelcontextprotocol/clientCapabilities": beside}
    assert error({**CALL, "params": {"name": "x", "_meta": meta}}) is ProtocolError.ambiguous


@given(raw=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    assert isinstance(read(raw), Message | Unusable)


@given(id_text=st.sampled_from(["", "1", '"a"']), era=st.sampled_from(Era))
def test_errors_are_messages_of_the_protocol(id_text: str, era: Era) -> None:
    for one in ProtocolError:
        content = json.loads(one.body(id_text, era))
        assert content["jsonrpc"] == "2.0"
        assert ("id" in content) == bool(id_text)
        assert isinstance(content["error"]["code"], int)
        assert one.status(era) in {200, 400, 403, 404, 409, 413, 415, 429, 502, 503}


def test_errors_of_each_era_have_its_codes() -> None:
    unknown = ProtocolError.unknown_resource
    assert json.loads(unknown.body("1", Era.MODERN))["error"]["code"] == -32602
    assert json.loads(unknown.body("1", Era.LEGACY))["error"]["code"] == -32002
    assert ProtocolError.unknown_method.status(Era.MODERN) == 404
    assert ProtocolError.unknown_method.status(Era.LEGACY) == 200
