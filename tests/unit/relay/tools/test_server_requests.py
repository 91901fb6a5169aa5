"""Requests of two servers with one id stay two requests, and each answer finds its server."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.tools.protocol import answer, message

from relay.tools.reading.messages import MAX_ID, MAX_ID_CHARACTERS
from relay.tools.server_requests import marked, unmarked

IDS = st.one_of(
    st.integers(-MAX_ID, MAX_ID),
    # a character takes up to 14 in JSON inside of JSON, and an id of more than MAX_ID_CHARACTERS is not passed on
    st.text(st.characters(codec="utf-8"), max_size=(MAX_ID_CHARACTERS - 8) // 14),
)


@given(own=IDS, place=st.integers(0, 15))
def test_an_answer_comes_back_to_its_server_by_the_servers_own_id(own: Any, place: int) -> None:
    asked = {"jsonrpc": "2.0", "id": own, "method": "roots/list"}
    seen = marked(answer(asked), place)
    assert seen is not None
    reply = {"jsonrpc": "2.0", "id": json.loads(seen)["id"], "result": {"roots": []}}
    target = unmarked(message(reply), 16)
    assert target is not None
    assert target[0] == place
    told = json.loads(target[1])
    assert told == {**reply, "id": own}
    assert type(told["id"]) is type(own)
    assert unmarked(message(reply), place) is None


def test_a_cancelled_request_is_named_as_the_client_knows_it() -> None:
    note = {
        "jsonrpc": "2.0",
        "method": "notifications/cancelled",
        "params": {"requestId": "a", "reason": "late"},
    }
    seen = marked(answer(note), 1)
    assert seen is not None
    assert json.loads(seen)["params"] == {"requestId": '1:"a"', "reason": "late"}
    assert marked(answer({**note, "params": {"reason": "late"}}), 1) is None


def test_other_notifications_stay_as_they_are() -> None:
    note = b'{"jsonrpc":"2.0", "method":"notifications/message","params":{"requestId":1}}'
    assert marked(answer(note), 1) == note.decode()


def test_a_request_with_an_id_too_long_for_a_client_does_not_pass() -> None:
    asked = {"jsonrpc": "2.0", "id": "x" * 250, "method": "roots/list"}
    assert marked(answer(asked), 1) is None


@pytest.mark.parametrize("odd", ["", "0", "0:", "x:1", "0:x", "0:{}", "0:true", "0:1.5", "16:1", 1])
def test_what_answers_no_server_is_none(odd: Any) -> None:
    assert unmarked(message({"jsonrpc": "2.0", "id": odd, "result": {}}), 16) is None
