"""Requests of two servers with one id stay two requests, and each answer finds its server."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import answer, message

from relay.tools.reading.messages import MAX_ID, MAX_ID_CHARACTERS, Message
from relay.tools.sealed.sealing import SessionBinding
from relay.tools.server_requests import RequestMarks

MARKS = RequestMarks(SessionBinding(secret=b"s", caller="tenant/production", session="abc"))

IDS = st.one_of(
    st.integers(-MAX_ID, MAX_ID),
    # a character takes up to 14 in JSON inside of JSON, and an id of more than MAX_ID_CHARACTERS is not passed on
    st.text(st.characters(codec="utf-8"), max_size=(MAX_ID_CHARACTERS - 25) // 14),
)


@given(own=IDS, place=st.integers(0, 15))
def test_an_answer_comes_back_to_its_server_by_the_servers_own_id(own: Any, place: int) -> None:
    asked = {"jsonrpc": "2.0", "id": own, "method": "roots/list"}
    seen = MARKS.marked(answer(asked), place)
    assert seen is not None
    said = {"jsonrpc": "2.0", "id": json.loads(seen)["id"], "result": {"roots": []}}
    target = MARKS.unmarked(message(said), 16)
    assert target is not None
    assert target[0] == place
    told = json.loads(target[1])
    assert told == {**said, "id": own}
    assert type(told["id"]) is type(own)
    assert MARKS.unmarked(message(said), place) is None


def test_a_cancelled_request_is_named_as_the_client_knows_it() -> None:
    note = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "a", "reason": "late"},
    }
    seen = MARKS.marked(answer(note), 1)
    assert seen is not None
    asked = MARKS.marked(answer({"jsonrpc": "2.0", "id": "a", "method": "roots/list"}), 1)
    assert asked is not None
    assert json.loads(seen)["params"] == {"requestId": json.loads(asked)["id"], "reason": "late"}
    assert MARKS.marked(answer({**note, "params": {"reason": "late"}}), 1) is None


def test_other_notifications_stay_as_they_are() -> None:
    note = b'{"jsonrpc":"2.0", "method":"notifications/message","params":{"requestId":1}}'
    assert MARKS.marked(answer(note), 1) == note.decode()


def test_a_request_with_an_id_too_long_for_a_client_does_not_pass() -> None:
    asked = {"jsonrpc": "2.0", "id": "x" * 250, "method": "roots/list"}
    assert MARKS.marked(answer(asked), 1) is None


ODD = ["", "0", "0:", "x:1", "0:x", "0:{}", "0:true", "0:1.5", "16:1", "0:1", f"0:{'0' * 16}:1", 1]


def reply(identity: Any) -> Message:
    return message({"jsonrpc": "2.0", "id": identity, "result": {}})


@pytest.mark.parametrize("odd", ODD)
def test_what_answers_no_server_is_none(odd: Any) -> None:
    assert MARKS.unmarked(reply(odd), 16) is None


def test_nobody_answers_what_was_asked_of_another_or_of_nobody() -> None:
    text = MARKS.marked(answer({"jsonrpc": "2.0", "id": 7, "method": "roots/list"}), 0)
    assert text is not None
    asked = json.loads(text)["id"]
    assert MARKS.unmarked(reply(asked), 2) is not None
    place, seal, own = asked.split(":")
    for forged in (f"{place}:{seal}:8", f"1:{seal}:{own}", f"{place}:{seal[::-1]}:{own}"):
        assert MARKS.unmarked(reply(forged), 2) is None
    for other in (
        RequestMarks(SessionBinding(secret=b"s", caller="tenant/production", session="another")),
        RequestMarks(SessionBinding(secret=b"s", caller="tenant/another", session="abc")),
        RequestMarks(SessionBinding(secret=b"t", caller="tenant/production", session="abc")),
    ):
        assert other.unmarked(reply(asked), 2) is None
