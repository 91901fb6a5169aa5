"""Headers repeat the body, or the request is refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import META, message, request

from relay.tools.reading.eras import MODERN_VERSION, Era
from relay.tools.reading.messages import Message
from relay.tools.reading.mirrored_headers import (
    MirroredHeaders,
    check,
    check_given,
    decoded,
    encoded,
    era_of,
    name_header,
)
from relay.tools.reading.protocol_errors import ProtocolError

CALL = request("tools/call", name="read_invoice")


def headers(**changes: str | None) -> MirroredHeaders:
    fields: dict[str, str | None] = {
        "version": MODERN_VERSION,
        "method": "tools/call",
        "name": "read_invoice",
    }
    return MirroredHeaders(**{**fields, **changes})


def with_meta(meta: dict[str, Any]) -> Message:
    return message({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}})


def test_headers_that_repeat_the_body_pass() -> None:
    assert check(CALL, headers()) is None
    listing = request("tools/list")
    assert check(listing, headers(method="tools/list", name=None)) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "list_orders"},
        {"name": None},
        {"name": "Read_invoice"},
        {"name": "read_invoice, read_invoice"},
        {"name": "=?base64?cmVhZF9pbnZvaWN?="},
        {"name": ""},
        {"method": "tools/list"},
        {"method": None},
        {"method": "Tools/call"},
        {"version": None},
        {"version": "2025-11-25"},
    ],
)
def test_a_header_that_is_missing_or_differs_refuses_the_call(changes: dict[str, Any]) -> None:
    assert check(CALL, headers(**changes)) is ProtocolError.header_mismatch


@pytest.mark.parametrize(
    ("asked", "changes", "fits"),
    [
        (CALL, {}, True),
        (CALL, {"method": None, "name": None}, True),
        (CALL, {"name": "pay"}, False),
        (CALL, {"method": "tools/list", "name": None}, False),
        (CALL, {"name": "=?base64?cmVhZF9pbnZvaWNl?="}, True),
        (CALL, {"name": "read_invoice, read_invoice"}, False),
        (request("resources/subscribe", uri="memo://rates"), {"name": "memo://rates"}, True),
        (request("tools/list"), {"name": "pay"}, False),
        (request("completion/complete", ref={"name": "a"}), {"name": "a"}, True),
        (request("tools/call", name=["pay"]), {"name": "pay"}, False),
        (message({"jsonrpc": "2.0", "method": "notifications/initialized"}), {"name": None}, True),
        (message({"jsonrpc": "2.0", "method": "notifications/initialized"}), {}, False),
    ],
)
def test_a_header_that_nobody_asked_for_must_not_say_anything_else(
    asked: Message, changes: dict[str, Any], fits: bool
) -> None:
    sent = headers(**{"method": asked.method, **changes})
    assert check_given(asked, sent) is (None if fits else ProtocolError.header_mismatch)


def test_a_name_may_come_encoded() -> None:
    asked = request("prompts/get", name="größe")
    sent = headers(method="prompts/get", name="=?base64?Z3LDtsOfZQ==?=")
    assert check(asked, sent) is None
    assert check(CALL, headers(name="=?base64?cmVhZF9pbnZvaWNl?=")) is None


@given(name=st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
def test_every_name_survives_its_header(name: str) -> None:
    value = encoded(name)
    assert decoded(value) == name
    assert value.isascii()
    assert value.isprintable()
    assert value == value.strip()


@pytest.mark.parametrize(
    "value", ["a\tb", "a\x7f", "é", " a", "a ", "=?base64?%%?=", "=?base64?/w==?=", "a\r\nb"]
)
def test_a_value_that_is_no_name_stands_for_none(value: str) -> None:
    assert decoded(value) is None


def test_a_name_that_looks_encoded_is_encoded() -> None:
    assert encoded("=?base64?literal?=") == "=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?="


@pytest.mark.parametrize(
    "meta",
    [
        {},
        {"io.modelcontextprotocol/protocolVersion": MODERN_VERSION},
        {"io.modelcontextprotocol/clientCapabilities": {}},
        {**META, "io.modelcontextprotocol/protocolVersion": 1},
        {**META, "io.modelcontextprotocol/clientCapabilities": []},
    ],
)
def test_metadata_of_a_modern_request_is_required(meta: dict[str, Any]) -> None:
    sent = headers(method="tools/list", name=None)
    assert check(with_meta(meta), sent) is ProtocolError.invalid_params


def test_a_revision_that_is_not_served_is_named_as_such() -> None:
    asked = with_meta({**META, "io.modelcontextprotocol/protocolVersion": "1900-01-01"})
    sent = headers(version="1900-01-01", method="tools/list", name=None)
    assert check(asked, sent) is ProtocolError.unsupported_version


def test_the_era_is_that_of_the_body_and_else_of_the_header() -> None:
    bare = message({"jsonrpc": "2.0", "id": 1, "method": "initialize"})
    assert era_of(bare, headers(version=None)) is Era.LEGACY
    assert era_of(bare, headers(version="2025-11-25")) is Era.LEGACY
    assert era_of(bare, headers(version=MODERN_VERSION)) is Era.MODERN
    assert era_of(bare, headers(version="2030-01-01")) is None
    # a body that says it is modern is held to that, whatever the header says
    assert era_of(CALL, headers(version="2025-11-25")) is Era.MODERN
    assert era_of(CALL, headers(version=None)) is Era.MODERN


def test_only_methods_that_need_it_carry_a_name_on() -> None:
    assert name_header(CALL, "x") == "x"
    assert name_header(request("tools/list"), "x") is None
