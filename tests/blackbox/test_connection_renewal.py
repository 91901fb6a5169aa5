"""Connections are made anew once callers were taken away: no engine asks a connection again that is there."""

from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import KEY, Platform
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

AUTHORISED = {"authorization": f"Bearer {KEY}"}
CALL = request_bytes("POST", CHAT, AUTHORISED, chat_body())
STREAM = request_bytes("POST", CHAT, AUTHORISED, chat_body(stream=True))


def test_an_idle_connection_is_closed_and_one_with_a_call_after_its_answer(
    relay: Relay, stable: Upstream, platform: Platform
) -> None:
    with relay.wire() as busy, relay.wire() as idle, relay.wire() as fresh:
        idle.send(CALL)
        assert idle.answer().header("connection") != "close"
        stable.behave(hold_after_events=1)
        busy.send(STREAM)
        busy.until(b"\n\n")
        relay.push(platform.document(renewals=1))
        busy.pending(0.3)
        assert not busy.has_ended
        stable.behave(hold_after_events=None)
        stable.release()
        assert b"[DONE]" in busy.rest()
        assert idle.rest() == b""
        assert fresh.rest() == b""


def test_a_connection_made_before_the_policy_may_be_enforced_is_closed_too_and_later_ones_stay(
    relay: Relay, platform: Platform
) -> None:
    relay.push(platform.document(renewals=1))
    with relay.wire() as early:
        early.send(CALL)
        assert early.answer().status == 200
        assert early.rest() == b""
    with relay.wire() as late:
        late.send(CALL)
        assert late.answer().header("connection") != "close"
        # another document that takes nobody away
        relay.push(platform.document(renewals=1))
        assert (late.pending(3), late.has_ended) == (b"", False)
        late.send(CALL)
        assert late.answer().header("connection") != "close"


def test_the_next_answer_is_the_last_of_a_connection_in_use(
    relay: Relay, platform: Platform
) -> None:
    with relay.wire() as wire:
        wire.send(CALL)
        assert wire.answer().status == 200
        relay.push(platform.document(renewals=1))
        wire.send(CALL)
        answer = wire.answer()
        assert (answer.status, answer.header("connection")) == (200, "close")
        assert wire.rest() == b""


def test_a_pod_that_starts_with_a_renewed_document_closes_nothing(
    relay: Relay, platform: Platform
) -> None:
    relay.push(platform.document(renewals=3))
    relay.restart()
    relay.wait_ready()
    with relay.wire() as wire:
        wire.send(CALL)
        assert wire.answer().header("connection") != "close"
        assert (wire.pending(2), wire.has_ended) == (b"", False)
