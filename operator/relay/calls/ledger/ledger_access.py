"""The way to the ledger: a thread for each question, few at a time, each with a deadline. Off without RELAY_LEDGER_URL."""

import asyncio
import contextlib
import http.client
import threading
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from relay.calls.ledger.ledger_question import NO_ANSWER, LedgerAnswer, LedgerQuestion
from relay.settings import Settings
from relay_contract.billing.ledger_token import AUTHORIZATION_SCHEME
from relay_contract.billing.usage_reading import MAX_ANSWER_BYTES

MAX_QUESTIONS: Final = 4
"""In hand at a time, of one worker."""
_PIECE: Final = 64 * 1024
Done = Callable[[LedgerAnswer], None]


class LedgerAccess:
    """Asks in the name of this tenant. Everything but the thread's own work happens on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._in_hand = 0

    @property
    def is_on(self) -> bool:
        """Returns whether there is a ledger."""
        return self._settings.ledger_url is not None

    def ask(self, question: LedgerQuestion, done: Done) -> bool:
        """Asks, and calls `done` on the event loop, once; returns False, and asks nothing, if too much is in hand."""
        if self._in_hand >= MAX_QUESTIONS:
            return False
        self._in_hand += 1
        loop = asyncio.get_running_loop()
        told = _Once(done)
        # a look-up of a name has no deadline of its own: whoever asks does not wait for the thread
        timer = loop.call_later(question.seconds, told, LedgerAnswer(NO_ANSWER))

        def ended(answer: LedgerAnswer) -> None:
            self._in_hand -= 1
            timer.cancel()
            told(answer)

        def run() -> None:
            answer = self._fetch(question)
            # the loop of a worker that ends is closed
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(ended, answer)

        try:
            threading.Thread(target=run, name="ledger-question", daemon=True).start()
        except RuntimeError:
            # the pod has as many threads as it may have: nothing was asked
            self._in_hand -= 1
            timer.cancel()
            return False
        return True

    def _fetch(self, question: LedgerQuestion) -> LedgerAnswer:
        try:
            return self._answer(question, time.monotonic() + question.seconds)
        except (OSError, http.client.HTTPException, ValueError):
            return LedgerAnswer(NO_ANSWER)

    def _answer(self, question: LedgerQuestion, deadline: float) -> LedgerAnswer:
        settings = self._settings
        assert settings.ledger_url is not None
        assert settings.ledger_token_file is not None
        token = settings.ledger_token_file.read_text(encoding="ascii").strip()
        place = urlsplit(settings.ledger_url)
        secure = place.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        with contextlib.closing(
            kind(place.hostname or "", place.port, timeout=question.seconds)
        ) as connection:
            connection.request(
                question.method,
                question.target,
                body=question.body or None,
                headers={
                    "Authorization": f"{AUTHORIZATION_SCHEME} {token}",
                    "Content-Type": "application/json",
                    "Connection": "close",
                },
            )
            response = connection.getresponse()
            return LedgerAnswer(
                response.status, _body(response, deadline), _seconds(response.headers)
            )


class _Once:
    """Tells of the first answer."""

    def __init__(self, done: Done) -> None:
        self._done: Done | None = done

    def __call__(self, answer: LedgerAnswer) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(answer)


def _body(response: http.client.HTTPResponse, deadline: float) -> bytes:
    """Reads a body of bounded size in bounded time; raises ValueError."""
    body = bytearray()
    while piece := response.read1(_PIECE):
        body += piece
        if len(body) > MAX_ANSWER_BYTES or time.monotonic() > deadline:
            raise ValueError("the answer is too long")
    if response.length:
        raise ValueError("the answer was cut off")
    return bytes(body)


def _seconds(headers: http.client.HTTPMessage) -> float | None:
    text = headers.get("Retry-After", "")
    return float(text) if text.isascii() and text.isdigit() and len(text) < 6 else None
