"""Whatever a provider answers, in whatever pieces: the call ends, its answer is framed, and everything is counted once."""

import asyncio
import gzip
import itertools
import json
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, document
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    DONE,
    USAGE,
    MemoryRelay,
    call,
    chunk,
    event,
    reply,
)

from relay_contract.document import Limits, Route

ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
STOP = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
FAILURE = event({"error": {"message": "m", "type": "server_error"}})
MISTAKE = event({"error": {"message": "m", "code": 400}})
OVERLOAD = event({"error": {"message": "m", "type": "overloaded_error"}})
LARGE = event({"choices": [{"index": 0, "delta": {"content": "x" * 70_000}}]})
GOOD = ROLE + CONTENT + STOP + USAGE + DONE
DOCUMENT = json.dumps(COMPLETION).encode()

events = st.lists(
    st.sampled_from(
        [ROLE, CONTENT, STOP, USAGE, DONE, FAILURE, MISTAKE, OVERLOAD, LARGE, b": hi\n\n", b"\n", b"data", b"event: error\n\n"]
    ),
    max_size=6,
).map(b"".join)  # fmt: skip
documents = st.sampled_from(
    [DOCUMENT, b"", b" \n", b"{}", b"[]", b"null", b"<html></html>", DOCUMENT[:-9], b"\n" + DOCUMENT,
     b'{"choices":[]}', b'{"error":{"message":"m","code":429}}', b'{"error":"m"}', b'[{"error":{"code":400}}]',
     b'{"choices":[{"message":{"content":"' + b"x" * 70_000 + b'"}}]}', b"x" * 70_000]
)  # fmt: skip
bodies = st.just(GOOD) | events | documents | st.binary(max_size=40)


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


CODINGS: dict[bytes, Any] = {
    b"": bytes,
    b"identity": bytes,
    b"gzip": gzip.compress,
    b"deflate": zlib.compress,
    b"Deflate": raw_deflate,
    b"br": bytes,
}
TYPES = [b"", b"application/json", b"text/event-stream", b"TEXT/EVENT-STREAM; x=y", b"text/html", b"application/x-ndjson"]  # fmt: skip
STATUSES = [200, 200, 200, 200, 201, 204, 205, 302, 304, 400, 401, 402, 404, 429, 500, 503, 529]


@dataclass(frozen=True, slots=True)
class Play:
    """One call and what becomes of it. packed is the body as it is sent. leaves: the client is gone after so many pieces of the answer; cut: the provider is."""

    answer: bytes
    packed: bytes
    cuts: tuple[int, ...]
    streamed: bool
    http10: bool
    leaves: int | None
    cut: int | None
    is_good: bool


@st.composite
def plays(draw: st.DrawFn) -> Play:
    body, coding = draw(bodies), draw(st.sampled_from(sorted(CODINGS)))
    status = draw(st.sampled_from(STATUSES))
    type_ = draw(st.sampled_from(TYPES))
    packed = CODINGS[coding](body)
    head = b"HTTP/1.1 %d X\r\n" % status
    head += b"content-type: %b\r\n" % type_ if type_ else b""
    head += b"content-encoding: %b\r\n" % coding if coding else b""
    framing = draw(st.sampled_from(["length", "chunked", "close"]))
    if status in (204, 304):
        answer, framing = head + b"\r\n", "length"
    elif framing == "length":
        answer = head + b"content-length: %d\r\n\r\n" % len(packed) + packed
    elif framing == "chunked":
        size = draw(st.integers(1, 90_000))
        chunks = [chunk(packed[start : start + size]) for start in range(0, len(packed), size)]
        answer = head + b"transfer-encoding: chunked\r\n\r\n" + b"".join(chunks) + b"0\r\n\r\n"
    else:
        answer = head + b"\r\n" + packed
    places = draw(st.lists(st.integers(1, max(1, len(answer) - 1)), max_size=5))
    cut = len(answer) if framing == "close" else None
    if draw(st.integers(0, 4)) == 0:
        cut = draw(st.integers(0, len(answer)))
    streamed = draw(st.booleans())
    return Play(
        answer=answer,
        packed=packed,
        cuts=tuple(sorted(set(places))),
        streamed=streamed,
        http10=draw(st.integers(0, 5)) == 0,
        leaves=draw(st.none() | st.integers(0, 4)) if draw(st.integers(0, 3)) == 0 else None,
        cut=cut,
        is_good=status == 200
        and cut in (None, len(answer))
        and body == (GOOD if streamed else DOCUMENT)
        and (streamed or b"event-stream" not in type_.lower()),
    )


def well_framed(answer: bytes, *, closed: bool) -> tuple[int, bytes]:
    """Returns status and body of the one answer on the connection; fails where a client would misread it."""
    head, separator, rest = answer.partition(b"\r\n\r\n")
    assert separator, answer
    lines = head.lower().split(b"\r\n")
    status = int(lines[0].split()[1])
    named = dict(line.split(b": ", 1) for line in lines[1:])
    if b"transfer-encoding" in named:
        assert b"content-length" not in named
        return status, unchunked(rest, closed=closed)
    if b"content-length" in named:
        length = int(named[b"content-length"])
        assert len(rest) == length or (len(rest) < length and closed)
    elif status in (204, 304):
        assert rest == b""
    else:
        assert closed
    return status, rest


def unchunked(rest: bytes, *, closed: bool) -> bytes:
    body = b""
    while rest:
        size, _, after = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            assert after == b"\r\n"
            return body
        body += after[:length]
        assert after[length : length + 2] in (b"\r\n", b"\r", b"")
        rest = after[length + 2 :]
    assert closed, "a chunked answer without an end on an open connection"
    return body


class Stage:
    """A relay with a fallback, a client, and the providers' connections."""

    def __init__(self, play: Play, directory: Path) -> None:
        route = Route(
            name="chat", stable=STABLE, canary=CANARY, canary_percent=100, fallback=(BACKUP,)
        )
        limits = Limits(tokens_per_minute=10_000_000)
        self.relay = MemoryRelay(document(routes=(route,), limits=limits), directory)
        self.play = play
        self.client = self.relay.client()
        self.canary = self.relay.provider("holysheep")
        self.others = [self.relay.provider(), self.relay.provider("backup")]
        self.answer = b""
        self.gone = False

    def run(self) -> None:
        body = {"model": "gpt-4.1", "stream": self.play.streamed, "messages": []}
        request = call(body)
        if self.play.http10:
            request = request.replace(b"HTTP/1.1", b"HTTP/1.0")
        self.answer = self.client.send(request)
        self._play_provider()
        for other in self.others:
            if other.transport.taken():
                other.send(reply())
        self._read()

    def _play_provider(self) -> None:
        play = self.play
        sent = play.answer if play.cut is None else play.answer[: play.cut]
        places = [0, *[place for place in play.cuts if place < len(sent)], len(sent)]
        for number, (start, end) in enumerate(itertools.pairwise(places)):
            if play.leaves == number:
                self._leave()
            if end > start and not self.canary.transport.closed:
                self.canary.send(sent[start:end])
            self._read()
        if play.cut is not None and not self.canary.transport.closed:
            self.canary.hang_up()
        self._read()

    def _leave(self) -> None:
        if not self.client.transport.closed:
            self.gone = True
            self.client.hang_up()

    def _read(self) -> None:
        self.answer += self.client.transport.taken()

    def sides(self) -> list[Any]:
        sides = (("canary", CANARY), ("stable", STABLE), ("fallback", BACKUP))
        return [self.relay.side(label, side.fingerprint) for label, side in sides]

    def end(self) -> None:
        """Ends what only its deadline would."""
        if self.relay.admission.queue.in_flight and not self.canary.transport.closed:
            self.canary.hang_up()
            self._read()

    def check_answer(self) -> None:
        """Checks what the client got."""
        closed, play = self.client.transport.closed, self.play
        if not self.answer:
            assert closed
            return
        status, body = well_framed(self.answer, closed=closed)
        if play.is_good:
            assert status == 200
            assert not closed or play.http10 or play.cut is not None
            # usage that the relay asked for is hidden where it can be
            assert body in (play.packed, play.packed.replace(USAGE, b""))
        outcome = self.relay.log.events[-1].outcome
        if status == 200 and outcome in ("truncated", "timeout"):
            assert closed or b'"error"' in body

    def check_counts(self) -> None:
        """Checks that nothing is held any more, and that every attempt was counted once."""
        relay = self.relay
        assert [line for line in relay.log.lines if line[0] == "internal_error"] == []
        assert relay.admission.queue.in_flight == 0
        assert relay.service.connections.buffered_bytes == 0
        assert len(relay.log.events) == sum(side.started for side in self.sides())
        for side in self.sides():
            assert side.started == side.finished + side.cancelled
            assert side.failed + side.throttled + side.refused <= side.finished
            assert side.truncated <= side.failed
        if self.play.is_good and not self.gone:
            assert [one.outcome for one in relay.log.events] == ["ok"]


def whole(body: bytes, *, streamed: bool) -> Play:
    """The usual answer, in one piece."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
    return Play(answer, body, (), streamed, http10=False, leaves=None, cut=None, is_good=True)


@given(play=plays())
@example(play=whole(GOOD, streamed=True))
@example(play=whole(DOCUMENT, streamed=False))
def test_any_answer_ends_its_call(play: Play) -> None:
    async def run() -> Stage:
        with tempfile.TemporaryDirectory() as name:
            stage = Stage(play, Path(name))
            stage.run()
            return stage

    stage = asyncio.run(run())
    stage.end()
    if not stage.gone:
        stage.check_answer()
    stage.check_counts()
