"""A tool server with sessions that answers each call with a stream of events, ends it before the answer, and tells the rest to whoever asks for it."""

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.blackbox.session_server import SessionServer, Spoken
from tests.blackbox.tool_server import called, message

STEPS = 3
"""Messages of a call's progress on the way to its answer."""
EVENTS = STEPS + 2
"""Of a whole stream: the one that only names its beginning, the steps and the answer."""


@dataclass(slots=True)
class BreakingServer(SessionServer):
    """`breaks` says after how many events the streams of a call end, one after the other; those after them go to the end.

    The answer waits for `may_answer`. With `abruptly` a stream is lost rather than ended. `refusals` are the statuses with which it first answers who asks for a rest.
    """

    breaks: tuple[int, ...] = ()
    abruptly: bool = False
    retry: int | None = 0
    refusals: list[int] = field(default_factory=list)
    is_error: bool = False
    may_answer: threading.Event = field(default_factory=threading.Event)
    calls: list[list[bytes]] = field(default_factory=list)
    opened: list[int] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The events after which the rest was asked for."""

    def reply(self, body: dict[str, Any], session: str) -> Any:
        if session not in self.streams:
            return 404, "application/json", b""
        if body["method"] == "tools/list":
            answer: dict[str, Any] = {"tools": self.tools}
        else:
            answer = {**called(body["params"]), "isError": self.is_error}
            answer.pop("resultType")
        steps = [
            {
                "jsonrpc": "2.0",
                "method": "notifications/progress",
                "params": {"progressToken": 1, "progress": step + 1},
            }
            for step in range(STEPS)
        ]
        self.calls.append(
            [b"", *(json.dumps(one).encode() for one in steps), message(body, answer)]
        )
        self.opened.append(0)
        return self._telling(len(self.calls) - 1, 0)

    def rest(self, last: str) -> Spoken | None:
        self.asked.append(last)
        if self.refusals:
            return _refusing(self.refusals.pop(0))
        number, _, place = last.partition("-")
        return self._telling(int(number), int(place) + 1)

    def _telling(self, number: int, start: int) -> Spoken:
        streams = self.opened[number]
        self.opened[number] += 1
        end = self.breaks[streams] if streams < len(self.breaks) else EVENTS

        def tell(handler: BaseHTTPRequestHandler) -> None:
            _begin(handler)
            for place in range(start, end):
                if place == EVENTS - 1:
                    self.may_answer.wait(20)
                retry = "" if self.retry is None or place else f"retry: {self.retry}\n"
                head = f"id: {number}-{place}\n{retry}event: message\ndata: ".encode()
                _chunk(handler, head + self.calls[number][place] + b"\n\n")
            if not self.abruptly or end == EVENTS:
                handler.wfile.write(b"0\r\n\r\n")

        return tell


def _begin(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.send_header("content-type", "text/event-stream")
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    handler.wfile.flush()


def _chunk(handler: BaseHTTPRequestHandler, content: bytes) -> None:
    handler.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
    handler.wfile.flush()


def _refusing(status: int) -> Spoken:
    def refuse(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("content-length", "0")
        handler.end_headers()

    return refuse
