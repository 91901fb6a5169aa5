"""The tenant's applications: some leave before their answer has come, and what fails is called again."""

import contextlib
import random
import threading
import time
from dataclasses import dataclass, field
from typing import Final

import orjson
from tests.blackbox.relays import CHAT, chat_body
from tests.blackbox.tenant import KEY
from tests.blackbox.wire import Answer, Wire, request_bytes

CALLERS: Final = 16
ABORTED: Final = 0.01
STREAMED: Final = 0.2
TRIES: Final = 5
PAUSE_SECONDS: Final = 0.2
LONGEST_STAY_SECONDS: Final = 0.02
"""A caller that leaves does so within this time."""
JOIN_SECONDS: Final = 120.0


@dataclass(slots=True)
class Answers:
    """What callers got. by_name holds the provider's id of each whole answer, by the name of its try."""

    by_name: dict[str, str] = field(default_factory=dict)
    errors: int = 0
    left: int = 0
    broken: int = 0


class Callers:
    """Threads that make so many calls together. A try has a name of its own, which is its X-Request-ID."""

    def __init__(self, port: int, *, calls: int, seed: int) -> None:
        self.answers = Answers()
        self.made = 0
        self._port = port
        self._numbers = iter(range(calls))
        self._turn = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(random.Random(f"{seed}/{number}"),))
            for number in range(CALLERS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def are_done(self) -> bool:
        return not any(thread.is_alive() for thread in self._threads)

    def join(self) -> None:
        deadline = time.monotonic() + JOIN_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        assert self.are_done, "callers that do not come to an end"

    def _next(self) -> int | None:
        with self._turn:
            number = next(self._numbers, None)
            self.made += number is not None
        return number

    def _run(self, chance: random.Random) -> None:
        caller = _Caller(self._port, self.answers, self._turn, chance)
        for number in iter(self._next, None):
            caller.call(f"c{number}")
        caller.hang_up()


class _Caller:
    """One application with one connection, made anew after each failure."""

    def __init__(
        self, port: int, answers: Answers, turn: threading.Lock, chance: random.Random
    ) -> None:
        self._port = port
        self._answers = answers
        self._turn = turn
        self._chance = chance
        self._wire: Wire | None = None

    def call(self, name: str) -> None:
        """Calls until there is an answer, or for the last time; a caller that has left does not come again."""
        leaves = self._chance.random() < ABORTED
        stream = self._chance.random() < STREAMED
        for number in range(TRIES):
            try:
                if self._try(f"{name}.{number}", stream=stream, leaves=leaves):
                    return
            except (OSError, AssertionError):
                # nobody listens, or the process has died with the call
                self._answers.broken += 1
            self.hang_up()
            time.sleep(PAUSE_SECONDS)

    def hang_up(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            with contextlib.suppress(OSError):
                wire.close()

    def _try(self, name: str, *, stream: bool, leaves: bool) -> bool:
        if self._wire is None:
            self._wire = Wire(self._port)
        headers = {"authorization": f"Bearer {KEY}", "x-request-id": name}
        self._wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=stream)))
        if leaves:
            self._leave(self._wire, stream)
            return True
        answer = self._wire.answer()
        if answer.header("connection") == "close":
            self.hang_up()
        if answer.status != 200:
            self._answers.errors += 1
            return False
        with self._turn:
            self._answers.by_name[name] = _answer_id(answer, stream)
        return True

    def _leave(self, wire: Wire, stream: bool) -> None:
        time.sleep(self._chance.uniform(0.0, LONGEST_STAY_SECONDS))
        if stream and self._chance.random() < 0.5:
            wire.until(b"data: ")
        self._answers.left += 1
        wire.reset()
        self._wire = None


def _answer_id(answer: Answer, stream: bool) -> str:
    """Returns the provider's serial number of a whole answer, as its headers have it; raises AssertionError."""
    body = answer.body
    if stream:
        assert body.rstrip().endswith(b"data: [DONE]"), body[-200:]
        body = body.partition(b"data: ")[2].partition(b"\n")[0]
    said = orjson.loads(body)
    assert "error" not in said, said
    return "req_" + str(said["id"]).rpartition("-")[2]
