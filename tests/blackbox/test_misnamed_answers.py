"""Answers that are not what they call themselves, or not what was asked for, and good ones in an unusual spelling."""

import gzip
from typing import Any

import pytest
from tests.blackbox.measured import Measured, exactly
from tests.blackbox.relays import Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    END,
    GOOD_STREAM,
    Script,
    ScriptedProvider,
    chunk,
    piece,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import Platform, provider
from tests.blackbox.wire import Answer


def counted(
    relay: Relay, platform: Platform, script: Script, *, closes: bool = False, **body: Any
) -> tuple[Answer, dict[str, float]]:
    """Makes one call; returns its answer and what the SLO counters say of the side."""
    with scripted(ScriptedProvider([script], closes=closes)) as stable:
        providers = [provider("stable", stable.url), provider("canary", stable.url)]
        measured = Measured(relay, platform, providers=providers)
        answer = relay.chat(**body)
        measured.settled(1)
        return answer, measured.counts()


FAILED = exactly(started=1, finished=1, failed=1)
GOOD = exactly(started=1, finished=1)


def test_a_document_that_calls_itself_a_stream_is_the_sides_failure(
    relay: Relay, platform: Platform
) -> None:
    misnamed = unary(CHAT_ANSWER).replace(b"application/json", b"text/event-stream")
    answer, counts = counted(relay, platform, misnamed)
    assert answer.status == 502
    assert answer.error()["code"] == "upstream_invalid"
    assert counts == FAILED


@pytest.mark.parametrize("asked", [{}, {"stream": False}, {"stream": None}], ids=str)
def test_a_stream_for_a_call_that_asked_for_none_is_the_sides_failure(
    relay: Relay, platform: Platform, asked: dict[str, Any]
) -> None:
    _, counts = counted(relay, platform, stream(GOOD_STREAM), **asked)
    assert counts == FAILED


@pytest.mark.parametrize("asked", [True, 1, "true"])
def test_a_stream_for_a_call_that_may_have_asked_for_it_is_good(
    relay: Relay, platform: Platform, asked: Any
) -> None:
    answer, counts = counted(relay, platform, stream(GOOD_STREAM), stream=asked)
    assert answer.status == 200
    assert DONE in answer.body
    assert counts == GOOD


def test_a_stream_whose_lines_end_with_carriage_returns_is_whole(
    relay: Relay, platform: Platform
) -> None:
    events = (chunk('{"content":"hi"}') + DONE).replace(b"\n", b"\r")
    answer, counts = counted(relay, platform, stream(events), stream=True)
    assert answer.body == events
    assert counts == GOOD


def test_an_error_event_whose_lines_end_with_carriage_returns_is_an_error(
    relay: Relay, platform: Platform
) -> None:
    events = chunk('{"content":"hi"}') + b'event: error\ndata: {"message":"m"}\n\n'
    answer, counts = counted(
        relay, platform, stream(events.replace(b"\n", b"\r") + DONE), stream=True
    )
    assert answer.status == 200
    assert counts == FAILED


CODED = b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ntransfer-encoding: %b\r\n\r\n"


@pytest.mark.parametrize("media", [b"application/json", b"text/plain", b"application/x-ndjson"])
@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip", b"xchunked", b"chunked, identity"])
def test_a_transfer_coding_that_nobody_asked_for_is_no_answer(
    relay: Relay, platform: Platform, coding: bytes, media: bytes
) -> None:
    script = CODED % (media, coding) + piece(CHAT_ANSWER) + END
    answer, counts = counted(relay, platform, script, closes=True, stream=media != b"text/plain")
    assert answer.status == 502
    assert counts == FAILED


@pytest.mark.parametrize("coding", [b"Chunked", b"identity"])
def test_a_transfer_coding_that_changes_nothing_is_read(
    relay: Relay, platform: Platform, coding: bytes
) -> None:
    body = CHAT_ANSWER if coding == b"identity" else piece(CHAT_ANSWER) + END
    answer, counts = counted(
        relay, platform, CODED % (b"application/json", coding) + body, closes=True
    )
    assert (answer.status, answer.body) == (200, CHAT_ANSWER)
    assert counts == GOOD


@pytest.mark.parametrize("error", [b"null", b"{}", b'{"message":null,"code":null}', b'""', b"[]"])
@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
def test_an_error_field_that_says_nothing_is_no_error(
    relay: Relay, platform: Platform, error: bytes, streamed: bool
) -> None:
    plain = GOOD_STREAM if streamed else CHAT_ANSWER
    body = plain.replace(b'"id":"c"', b'"id":"c","error":%b' % error)
    script = stream(body) if streamed else unary(body)
    answer, counts = counted(relay, platform, script, stream=streamed)
    assert answer.status == 200
    assert counts == GOOD


@pytest.mark.parametrize(
    ("events", "asked"),
    [
        (GOOD_STREAM, False),
        (chunk('{"content":"hi"}'), True),
    ],
    ids=["not asked for", "without its end"],
)
def test_a_compressed_stream_that_is_no_answer_is_refused_as_long_as_nothing_of_it_has_left(
    relay: Relay, platform: Platform, events: bytes, asked: bool
) -> None:
    script = stream(gzip.compress(events), fields=b"content-encoding: gzip\r\n", length=True)
    answer, counts = counted(relay, platform, script, stream=asked)
    assert answer.status == 502
    assert answer.error()["type"] == "server_error"
    assert counts["failed"] == 1
