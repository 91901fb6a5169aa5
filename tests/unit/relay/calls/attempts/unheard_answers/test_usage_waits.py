"""A caller who leaves at the end of a stream does not take the provider's count of its tokens along."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.memory import (
    CONTENT,
    DONE,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    Peer,
    call,
    chunk,
    event,
)

from relay.calls.attempts.unheard_answers.usage_waits import (
    MOST_WAITING,
    MOST_WAITING_BYTES,
    WAIT_SECONDS,
)
from relay_contract.document import Queue

STREAM_BODY = {"model": "gpt-4.1", "stream": True, "messages": []}
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
END = chunk(USAGE + DONE) + b"0\r\n\r\n"
LATER = WAIT_SECONDS + 0.1


def left(relay: MemoryRelay, answered: bytes, **asked: Any) -> Peer:
    """Has a caller leave when this much of a stream has come; returns the provider."""
    client, upstream = relay.client(), relay.provider()
    client.send(call({**STREAM_BODY, **asked}))
    upstream.send(STREAM_HEAD + chunk(answered))
    client.hang_up()
    return upstream


async def test_the_usage_that_follows_the_last_piece_is_counted(relay: MemoryRelay) -> None:
    upstream = left(relay, CONTENT + FINISH)
    assert relay.log.events == []
    assert relay.admission.queue.in_flight == 0
    upstream.send(END)
    (ended,) = relay.log.events
    assert ended.tokens is not None
    assert (ended.tokens.input, ended.tokens.output, ended.estimated) == (9, 4, False)
    assert (ended.outcome, ended.client_gone, ended.charged_tokens) == ("ok", True, 13)
    # whose connection takes the next call
    assert not upstream.transport.closed
    relay.service.tick()
    assert len(relay.log.events) == 1


async def test_its_record_stands_on_the_providers_word(
    relay_with: Callable[..., MemoryRelay], tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    relay = relay_with(
        {
            "ledger_url": "https://ledger.test:8443",
            "ledger_token_file": tmp_path / "token",
            "outbox_directory": outbox,
        }
    )
    upstream = left(relay, CONTENT + FINISH)
    assert relay.service.records is not None
    assert (relay.service.records.opened, relay.service.records.closed) == (1, 0)
    upstream.send(END)
    assert relay.service.records.closed == 1


@pytest.mark.parametrize(
    "answered",
    [CONTENT, CONTENT + FINISH + USAGE, CONTENT + FINISH + DONE],
    ids=["middle", "usage", "end"],
)
async def test_nothing_is_waited_for_where_more_is_missing_or_nothing(
    relay: MemoryRelay, answered: bytes
) -> None:
    upstream = left(relay, answered)
    assert upstream.transport.aborted
    assert [one.outcome for one in relay.log.events] == ["cancelled"]


async def test_a_provider_that_tells_nothing_is_waited_for_a_moment(relay: MemoryRelay) -> None:
    upstream = left(relay, CONTENT + FINISH)
    relay.service.tick()
    assert not upstream.transport.closed
    relay.service.usage_waits.tick(time.monotonic() + LATER)
    assert upstream.transport.aborted
    (ended,) = relay.log.events
    assert (ended.outcome, ended.estimated, ended.client_gone) == ("cancelled", True, True)
    assert relay.admission.queue.in_flight == 0


async def test_a_provider_that_breaks_off_meanwhile_ends_it(relay: MemoryRelay) -> None:
    upstream = left(relay, CONTENT + FINISH)
    upstream.hang_up(ConnectionResetError())
    assert [one.outcome for one in relay.log.events] == ["truncated"]
    relay.service.usage_waits.tick(time.monotonic() + LATER)
    assert len(relay.log.events) == 1


async def test_a_caller_that_had_stopped_reading_is_no_reason_to_stop(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT + FINISH))
    client.protocol.pause_writing()
    assert upstream.transport.paused
    client.hang_up()
    assert not upstream.transport.paused


async def test_a_process_that_ends_waits_for_nobody(relay: MemoryRelay) -> None:
    before = left(relay, CONTENT + FINISH)
    relay.service.stop()
    assert before.transport.aborted
    after = left(relay, CONTENT + FINISH)
    assert after.transport.aborted
    assert [one.outcome for one in relay.log.events] == ["cancelled"] * 2


async def test_so_many_are_waited_for_and_no_more(
    relay_with: Callable[..., MemoryRelay],
) -> None:
    relay = relay_with(queue=Queue(concurrency=1024, max_depth=1024))
    upstreams = [left(relay, CONTENT + FINISH) for _ in range(MOST_WAITING + 1)]
    assert [one.transport.aborted for one in upstreams] == [False] * MOST_WAITING + [True]


async def test_so_much_of_their_calls_is_kept_and_no_more(
    relay_with: Callable[..., MemoryRelay],
) -> None:
    relay = relay_with(queue=Queue(concurrency=1024, max_depth=1024))
    words = [{"role": "user", "content": "x" * (MOST_WAITING_BYTES // 3)}]
    upstreams = [left(relay, CONTENT + FINISH, messages=words) for _ in range(3)]
    assert [one.transport.aborted for one in upstreams] == [False, False, True]
    upstreams[0].send(END)
    assert not left(relay, CONTENT + FINISH, messages=words).transport.aborted


@pytest.mark.parametrize(
    ("choices", "waits"), [((0,), False), ((0, 1), False), ((0, 1, 2), True), ((2, 0, 1), True)]
)
async def test_every_choice_has_to_be_there(
    relay: MemoryRelay, choices: tuple[int, ...], waits: bool
) -> None:
    answered = b"".join(
        event({"choices": [{"index": one, "delta": delta, "finish_reason": reason}]})
        for one in choices
        for delta, reason in (({"content": "hi"}, None), ({}, "stop"))
    )
    assert left(relay, answered, n=3).transport.aborted is not waits


async def test_one_that_raises_does_not_keep_the_others(relay: MemoryRelay) -> None:
    first, second = left(relay, CONTENT + FINISH), left(relay, CONTENT + FINISH)

    tried: set[int] = set()

    def failing(number: int) -> Callable[[], None]:
        def fail() -> None:
            tried.add(number)
            raise OSError("no transport")

        return fail

    for number, upstream in enumerate((first, second)):
        upstream.transport.abort = failing(number)  # type: ignore[method-assign]  # fails as a real one may
    relay.service.usage_waits.tick(time.monotonic() + LATER)
    assert tried == {0, 1}
    assert [name for name, _ in relay.log.lines] == ["internal_error"]
    relay.service.usage_waits.tick(time.monotonic() + LATER)
    assert tried == {0, 1}
