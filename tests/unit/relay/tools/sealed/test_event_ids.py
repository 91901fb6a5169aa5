"""Ids of events: good in the session that they were given in, for its caller, and nowhere else."""

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import PERMISSIONS

from relay.tools.decisions import passed_at, permitted_at
from relay.tools.sealed.event_ids import (
    CALL_MARK,
    MAX_EVENT_ID_CHARACTERS,
    CallPosition,
    CallPositionSeal,
    PositionSeal,
    is_server_id,
)
from relay.tools.sealed.sealing import NONCE_BYTES, SessionBinding

NONCE = b"n" * NONCE_BYTES
POSITIONS = {0: "a_17", 3: "_GET_stream-0009"}


def seal(*, secret: bytes = b"s", caller: str = "uid/app", session: str = "one") -> PositionSeal:
    return PositionSeal(SessionBinding(secret=secret, caller=caller, session=session))


def test_positions_are_opened_as_they_were_sealed() -> None:
    sealed = seal().sealed(POSITIONS, NONCE)
    assert seal().opened(sealed) == POSITIONS
    for shown in POSITIONS.values():
        assert shown not in sealed


@pytest.mark.parametrize(
    "other",
    [
        seal(secret=b"t"),
        seal(caller="uid/other"),
        seal(caller="uid", session="app/one"),
        seal(session="two"),
        seal(secret=b""),
    ],
)
def test_another_session_caller_or_secret_opens_nothing(other: PositionSeal) -> None:
    sealed = seal().sealed(POSITIONS, NONCE)
    assert other.opened(sealed) is None


def test_each_session_has_a_key_of_its_own() -> None:
    one, other = (
        base64.urlsafe_b64decode(seal(session=session).sealed(POSITIONS, NONCE) + "===")
        for session in ("one", "two")
    )
    # under one key the same nonce would have hidden the same text in the same bytes
    assert one[:NONCE_BYTES] == other[:NONCE_BYTES]
    assert one[NONCE_BYTES : 2 * NONCE_BYTES] != other[NONCE_BYTES : 2 * NONCE_BYTES]


@pytest.mark.parametrize("shown", ["", "x", "\u00e4", "=" * 8, "A" * 64, "A" * 10_000])
def test_what_was_not_sealed_opens_nothing(shown: str) -> None:
    assert seal().opened(shown) is None


def test_where_nothing_can_be_sealed_an_event_has_no_id() -> None:
    assert seal(secret=b"").sealed(POSITIONS, NONCE) == ""
    assert seal().sealed({}, NONCE) == ""
    many = dict.fromkeys(range(16), "x" * 256)
    assert seal().sealed(many, NONCE) == ""
    assert len(seal().sealed({0: "x" * 256}, NONCE)) < MAX_EVENT_ID_CHARACTERS


def test_a_server_is_shown_nothing_that_is_no_value_of_a_header() -> None:
    assert is_server_id("a:1_%7E")
    for shown in ("", "a b", "a\r\nx: y", "\u00e4", "x" * 257):
        assert not is_server_id(shown)


# -- of calls ------------------------------------------------------------------------------------------------------

POSITION = CallPosition(
    worker="0.a1",
    call="c1",
    place=0,
    server="erp",
    method="tools/call",
    name="read_invoice",
    own_name="read_invoice",
    id_text='"1"',
    server_id="a_17",
)


def call_seal(
    *, secret: bytes = b"s", caller: str = "uid/app", session: str = "one"
) -> CallPositionSeal:
    return CallPositionSeal(SessionBinding(secret=secret, caller=caller, session=session))


def test_the_position_of_a_call_is_opened_as_it_was_sealed() -> None:
    sealed = call_seal().sealed(POSITION, NONCE)
    assert call_seal().opened(sealed) == POSITION
    assert sealed.startswith(CALL_MARK)
    assert is_server_id(sealed[:256])
    for shown in POSITION:
        assert str(shown) not in sealed.removeprefix(CALL_MARK) or len(str(shown)) < 3


@pytest.mark.parametrize(
    "other",
    [
        call_seal(secret=b"t"),
        call_seal(caller="uid/other"),
        call_seal(session="two"),
        call_seal(secret=b""),
    ],
)
def test_in_another_session_the_position_of_a_call_opens_nothing(other: CallPositionSeal) -> None:
    assert other.opened(call_seal().sealed(POSITION, NONCE)) is None


def test_an_event_of_a_call_is_none_of_the_sessions_stream() -> None:
    of_call, of_stream = call_seal().sealed(POSITION, NONCE), seal().sealed(POSITIONS, NONCE)
    assert seal().opened(of_call.removeprefix(CALL_MARK)) is None
    assert call_seal().opened(CALL_MARK + of_stream) is None
    assert call_seal().opened(of_call.removeprefix(CALL_MARK)) is None


@given(shown=st.text(max_size=80))
def test_no_text_that_was_not_sealed_opens(shown: str) -> None:
    for text in (shown, CALL_MARK + shown):
        assert call_seal().opened(text) is None
        assert seal().opened(text) is None


@given(place=st.integers(0, 399), put=st.characters(max_codepoint=0x2FF))
def test_an_id_that_was_changed_anywhere_opens_nothing(place: int, put: str) -> None:
    sealed = call_seal().sealed(POSITION, NONCE)
    place %= len(sealed)
    changed = sealed[:place] + put + sealed[place + 1 :]
    found = call_seal().opened(changed)
    assert found == (POSITION if changed == sealed else None)


@pytest.mark.parametrize("length", range(1, 8))
def test_an_id_whose_last_digit_was_changed_opens_nothing(length: int) -> None:
    sealed = seal().sealed({0: "x" * length}, NONCE)
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    opened = [digit for digit in digits if seal().opened(sealed[:-1] + digit) is not None]
    assert opened == [sealed[-1]]


def test_a_call_has_no_position_that_would_be_too_long_or_is_none() -> None:
    assert call_seal(secret=b"").sealed(POSITION, NONCE) == ""
    assert call_seal().sealed(POSITION._replace(server_id=""), NONCE) == ""
    long = POSITION._replace(method="resources/read", name="file:///" + "x" * 4000)
    assert call_seal().sealed(long, NONCE) == ""


@pytest.mark.parametrize(
    ("changes", "is_granted"),
    [
        ({}, True),
        ({"name": "pay"}, False),
        ({"own_name": "pay"}, False),
        ({"server": "mail"}, False),
        ({"server": "mail", "name": "mail__send", "own_name": "send"}, True),
        ({"server": "mail", "name": "mail__send"}, False),
        ({"method": "prompts/get"}, False),
        ({"method": "prompts/get", "name": "summarise", "own_name": "summarise"}, True),
        ({"method": "resources/read"}, False),
        ({"method": "resources/read", "name": "memo://rates", "own_name": "memo://rates"}, True),
        ({"method": "resources/read", "name": "memo://x", "own_name": "memo://x"}, False),
    ],
)
def test_a_stream_goes_on_with_what_is_granted_now(
    changes: dict[str, Any], is_granted: bool
) -> None:
    position = POSITION._replace(**changes)
    assert (permitted_at(position, PERMISSIONS) is not None) is is_granted


def test_the_rest_of_an_answer_is_held_to_the_question() -> None:
    passed = passed_at(POSITION, "r1")
    assert (passed.question.id, passed.question.method) == ("1", "tools/call")
    assert passed.revision == "r1"
    assert (passed.server, passed.name, passed.question.call_id) == ("erp", "read_invoice", "c1")
    assert passed_at(POSITION._replace(id_text="7"), "r1").question.id == 7
