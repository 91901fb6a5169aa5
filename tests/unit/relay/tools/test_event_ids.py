"""Ids of events: good in the session that they were given in, for its caller, and nowhere else."""

import pytest

from relay.tools.sessions import MAX_EVENT_ID_CHARACTERS, NONCE_BYTES, PositionSeal, is_server_id

NONCE = b"n" * NONCE_BYTES
POSITIONS = {0: "a_17", 3: "_GET_stream-0009"}


def seal(*, secret: bytes = b"s", caller: str = "uid/app", session: str = "one") -> PositionSeal:
    return PositionSeal(secret=secret, caller=caller, session=session)


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
