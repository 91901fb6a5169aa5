"""Answers that a client does not read: what is held for it does not grow with the calls that it sends."""

from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import ScriptedProvider, scripted, unary
from tests.blackbox.tenant import KEY, Platform, provider
from tests.blackbox.waiting import eventually, steady
from tests.blackbox.wire import request_bytes

CALLS = 60
SIZE = 200_000
"""Of an answer, which one read takes in: it is whole however slow its client reads."""
MOST_AHEAD = 40
"""Answers that may be under way: the kernel itself takes in up to 4 MB, the relay one answer beyond that."""
LARGE = b'{"choices":[{"index":0,"message":{"content":"%b"}}]}' % (b"x" * SIZE)
SMALL = b'{"choices":[{"index":0,"message":{"content":"hi"}}]}'


def test_calls_wait_for_a_client_that_does_not_read_its_answers(
    relay: Relay, platform: Platform
) -> None:
    with scripted(ScriptedProvider([unary(LARGE)])) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        call = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
        with relay.wire(receive_buffer_bytes=4096) as wire:
            wire.send(call * CALLS)
            eventually(lambda: len(stable.heads), lambda seen: seen > 1, what="the first calls")
            steady(lambda: len(stable.heads) <= MOST_AHEAD, for_seconds=1.0)
            for _ in range(CALLS):
                answer = wire.answer()
                assert (answer.status, answer.body) == (200, LARGE)
        assert len(stable.heads) == CALLS


def test_a_call_after_an_answer_that_was_read_late_is_served(
    relay: Relay, platform: Platform
) -> None:
    answers = [unary(LARGE)] * 30 + [unary(SMALL)]
    with scripted(ScriptedProvider(answers)) as stable:
        relay.push(platform.document(providers=[provider("stable", stable.url)]))
        call = request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body())
        with relay.wire(receive_buffer_bytes=4096) as wire:
            for _ in range(30):
                wire.send(call)
            eventually(lambda: len(stable.heads), lambda seen: seen > 1, what="the first calls")
            steady(lambda: len(stable.heads) <= MOST_AHEAD, for_seconds=0.5)
            assert {wire.answer().status for _ in range(30)} == {200}
            wire.send(call)
            assert wire.answer().body == SMALL
