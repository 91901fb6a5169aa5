"""The clients of a fuzzer: play a connection, and read what the relay answers with a strict parser of another make."""

import asyncio
import contextlib
import json
from dataclasses import dataclass, field
from typing import Final

import h11
from tests.blackbox.fuzzing.plays import MARKER, Play
from tests.blackbox.fuzzing.provider import reset

PLAY_SECONDS: Final = 25.0
"""The relay's own deadlines in these tests are 1 to 2 s; what takes longer than this hangs."""
STALL_SECONDS: Final = 0.5
READ_BYTES: Final = 65536
HEAD_BYTES: Final = 512 * 1024
BODILESS: Final = (204, 304)
"""205 may say that its body has no bytes."""
_STREAM_ENDS: Final = (b"[DONE]", b'"finish_reason": "', b'"finish_reason":"', b"error", b"response.completed", b"response.incomplete", b"response.failed")  # fmt: skip


class BadAnswer(Exception):
    """Something that the relay must not answer."""


@dataclass(slots=True)
class Answered:
    """One answer as the client has read it so far."""

    status: int
    headers: dict[bytes, bytes]
    body: bytearray = field(default_factory=bytearray)


class AnswerReader:
    """Reads the answers of one connection; raises BadAnswer for what breaks HTTP or belongs to another call."""

    def __init__(self, play: Play, strangers: frozenset[bytes]) -> None:
        self._play = play
        # the markers of the other connections: what a damaged request calls itself is nobody's
        self._strangers = strangers - {play.marker.encode()}
        self.received = 0
        self.cut_off = False
        self.answers: list[Answered] = []
        self.poor: list[tuple[bytes, str]] = []
        self._current: Answered | None = None
        self._parser = self._next_parser()

    def _next_parser(self) -> h11.Connection:
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=HEAD_BYTES)
        head = len(self.answers) in self._play.heads_only
        parser.send(
            h11.Request(method="HEAD" if head else "GET", target="/", headers=[("host", "a")])
        )
        parser.send(h11.EndOfMessage())
        return parser

    def feed(self, data: bytes) -> None:
        """Reads on; empty data is the end of the connection."""
        self.received += len(data)
        self._check_owner(data)
        if not data and self._current is None and self._parser.trailing_data[0] == b"":
            return
        self._parser.receive_data(data)
        try:
            while self._take(self._parser.next_event()):
                pass
        except h11.RemoteProtocolError as error:
            if data:
                raise BadAnswer(f"{error}: {data[:600]!r}") from error
            # inside an answer, which tells the client that it is not whole
            self.cut_off = True

    def _check_owner(self, data: bytes) -> None:
        others = {mark for mark in MARKER.findall(data) if mark[:10] in self._strangers}
        if others:
            raise BadAnswer(f"an answer of {others} reached {self._play.marker}")

    def _take(self, event: object) -> bool:
        """Takes one event of the parser; returns whether there may be more in what was read."""
        if isinstance(event, h11.Response):
            self._begin(event)
        elif isinstance(event, h11.Data):
            assert self._current is not None
            self._current.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            self._end()
        else:
            return isinstance(event, h11.InformationalResponse)
        return True

    def _begin(self, response: h11.Response) -> None:
        names = [name for name, _ in response.headers]
        if {b"content-length", b"transfer-encoding"} <= set(names):
            raise BadAnswer(f"two framings: {response}")
        repeated = {
            name
            for name in (b"content-length", b"content-type", b"x-request-id")
            if names.count(name) > 1
        }
        if repeated and repeated != {b"content-type"}:
            raise BadAnswer(f"{repeated} stand twice: {response}")
        self._current = Answered(response.status_code, dict(response.headers))
        number = len(self.answers)
        name = self._current.headers.get(b"x-request-id", b"")
        if self._play.orderly and name != self._play.marker_of(number):
            raise BadAnswer(f"answer {number} is that of {name!r}: {response}")

    def _end(self) -> None:
        answer, self._current = self._current, None
        assert answer is not None
        self._check_whole(answer)
        self.answers.append(answer)
        rest, _ = self._parser.trailing_data
        self._parser = self._next_parser()
        if rest:
            self._parser.receive_data(rest)

    def check_served(self, number: int) -> None:
        """Notes a call that has no good answer; whether it is to have one the provider knows."""
        answer = self.answers[number] if number < len(self.answers) else None
        marker = self._play.marker_of(number)
        if answer is None:
            self.poor.append((marker, "no answer"))
        elif answer.status != 200 or marker not in answer.body:
            self.poor.append((marker, f"{answer.status} {bytes(answer.body[:600])!r}"))

    def _check_whole(self, answer: Answered) -> None:
        """Checks an answer that a client takes for whole."""
        number = len(self.answers)
        if answer.status in BODILESS and {b"transfer-encoding", b"content-length"} & set(
            answer.headers
        ):
            raise BadAnswer(f"{answer.status} has framing for a body: {answer.headers}")
        if self._play.orderly:
            owner = self._play.marker_of(number)
            others = {mark for mark in MARKER.findall(bytes(answer.body)) if mark != owner}
            if others:
                raise BadAnswer(f"answer {number} holds that of {others}")
        if number in self._play.heads_only or b"content-encoding" in answer.headers:
            return
        media = answer.headers.get(b"content-type", b"").lower()
        if answer.status >= 400:
            self._check_error(answer)
        elif media.startswith(b"text/event-stream") and not any(
            mark in answer.body for mark in _STREAM_ENDS
        ):
            raise BadAnswer(f"a stream without an end looks whole: {bytes(answer.body[-600:])!r}")

    def _check_error(self, answer: Answered) -> None:
        try:
            document = json.loads(answer.body)
        except ValueError as error:
            raise BadAnswer(
                f"{answer.status} with a body that is no JSON: {bytes(answer.body[:600])!r}"
            ) from error
        if not isinstance(document, dict) or "error" not in document:
            raise BadAnswer(
                f"{answer.status} in a shape of no client: {bytes(answer.body[:600])!r}"
            )


async def perform(play: Play, port: int, strangers: frozenset[bytes]) -> list[tuple[bytes, str]]:
    """Plays the connection; returns the markers of calls that were not served, with what came in place of an answer.

    Raises BadAnswer, also where the relay does not end it in time.
    """
    answers = AnswerReader(play, strangers)
    try:
        async with asyncio.timeout(PLAY_SECONDS):
            await _perform(play, port, answers)
    except TimeoutError as error:
        raise BadAnswer(
            f"hung after {len(answers.answers)} answers and {answers.received} bytes"
        ) from error
    if play.fair:
        for number in range(play.calls):
            answers.check_served(number)
    return answers.poor


async def _perform(play: Play, port: int, answers: AnswerReader) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    sending = asyncio.ensure_future(_send(play, writer))
    try:
        ended = await _read(play, reader, answers)
    finally:
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sending
        if play.ending == "reset":
            reset(writer)
        elif play.ending == "stall":
            await asyncio.sleep(STALL_SECONDS)
        writer.close()
    if ended and play.orderly and len(answers.answers) < play.calls and not _aborted(answers):
        seen = [(answer.status, dict(answer.headers)) for answer in answers.answers]
        raise BadAnswer(f"closed in order after {len(seen)} of {play.calls} answers: {seen}")


def _aborted(answers: AnswerReader) -> bool:
    """Returns whether the relay had a reason to close: the last answer said so, was cut off, or ended with an error."""
    if answers.cut_off or not answers.answers:
        return answers.cut_off
    last = answers.answers[-1]
    return last.headers.get(b"connection") == b"close" or b"error" in last.body


async def _send(play: Play, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        for piece in play.sends:
            if isinstance(piece, bytes):
                writer.write(piece)
                await writer.drain()
            else:
                await asyncio.sleep(piece)


async def _read(play: Play, reader: asyncio.StreamReader, answers: AnswerReader) -> bool:
    """Reads until the play is over; returns whether the relay has ended the connection."""
    while len(answers.answers) < play.calls or not play.orderly:
        if play.reads is not None and answers.received >= play.reads:
            return False
        try:
            data = await asyncio.wait_for(reader.read(play.reads or READ_BYTES), play.patience)
        except TimeoutError:
            return False
        except OSError:
            answers.cut_off = True
            return True
        answers.feed(data)
        if not data:
            return True
    return False
