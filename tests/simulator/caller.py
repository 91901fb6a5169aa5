"""A tenant's application: calls an OpenAI-compatible endpoint at a steady rate and counts the answers.

Open loop: calls start on schedule whether or not earlier ones were answered, unless --at-once bounds how many wait for an answer. Every
second, and at the end, one JSON line with the totals so far goes to standard output. `python -m tests.simulator.caller --url URL --rate 80`.
"""

import argparse
import asyncio
import json
import os
import random
import signal
import sys
import time
from dataclasses import asdict, dataclass, field

import aiohttp

CALL_TIMEOUT_SECONDS = 20.0
REPORT_SECONDS = 1.0
MAX_RATE = 2000
MAX_SECONDS = 3600
MAX_AT_ONCE = 10_000
TOLD_BYTES = 300
"""Of the answer that stands in the totals."""


@dataclass(slots=True)
class Totals:
    """Counts. answered: complete 2xx; failed: answered with an error; dropped: no answer or a broken one; left_out: not made, since as many as
    may be were under way.

    last_failed and last_drop have the latest of each as it was.
    """

    sent: int = 0
    answered: int = 0
    failed: int = 0
    dropped: int = 0
    left_out: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    last_drop: str = ""
    last_failed: str = ""


class Caller:
    """Calls until stopped; close() waits for calls under way."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        *,
        url: str,
        model: str,
        key: str,
        stream_percent: int = 50,
        at_once: int = MAX_AT_ONCE,
    ) -> None:
        self.totals = Totals()
        self._session = session
        self._url = url
        self._model = model
        self._headers = {"Authorization": f"Bearer {key}"}
        self._stream_percent = stream_percent
        self._at_once = at_once
        self._calls: set[asyncio.Task[None]] = set()

    def start_call(self) -> None:
        """Starts a call."""
        before = self.totals.sent * self._stream_percent // 100
        self.totals.sent += 1
        stream = self.totals.sent * self._stream_percent // 100 > before
        task = asyncio.create_task(self._call(stream=stream))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)

    def follow(self, due: float) -> None:
        """Starts the calls that are missing of so many; leaves those out for which too many are under way."""
        while self.totals.sent + self.totals.left_out < due:
            if len(self._calls) < self._at_once:
                self.start_call()
            else:
                self.totals.left_out += 1

    async def close(self) -> None:
        """Waits until every call has ended."""
        if self._calls:
            await asyncio.wait(self._calls)

    async def _call(self, *, stream: bool) -> None:
        prompt = f"conversation {random.getrandbits(64):x}"
        body = {
            "model": self._model,
            "stream": stream,
            "max_tokens": 8,
            "messages": [{"role": "user", "content": prompt}],
        }
        try:
            async with self._session.post(
                f"{self._url}/chat/completions", json=body, headers=self._headers
            ) as answer:
                content = await answer.read()
            self._count(answer.status, content, complete=not stream or b"data: [DONE]" in content)
        except (aiohttp.ClientError, TimeoutError) as error:
            self.totals.dropped += 1
            self.totals.last_drop = repr(error)

    def _count(self, status: int, content: bytes, *, complete: bool) -> None:
        self.totals.statuses[status] = self.totals.statuses.get(status, 0) + 1
        if status >= 400:
            self.totals.failed += 1
            self.totals.last_failed = f"{status}: {content[:TOLD_BYTES].decode(errors='replace')}"
        elif complete:
            self.totals.answered += 1
        else:
            self.totals.dropped += 1
            self.totals.last_drop = "a stream ended before [DONE]"


def client_session() -> aiohttp.ClientSession:
    """Returns a session for any number of calls at once."""
    timeout = aiohttp.ClientTimeout(total=CALL_TIMEOUT_SECONDS)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=15)
    return aiohttp.ClientSession(timeout=timeout, connector=connector)


async def run(*, url: str, model: str, rate: float, seconds: float, at_once: int, key: str) -> None:
    """Makes rate calls a second until seconds have passed or SIGTERM arrives."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with client_session() as session:
        caller = Caller(session, url=url, model=model, key=key, at_once=at_once)
        reporting = asyncio.create_task(_report(caller))
        started = time.monotonic()
        while not stopping.is_set() and (elapsed := time.monotonic() - started) < seconds:
            caller.follow(elapsed * rate)
            await asyncio.sleep(1 / rate)
        await caller.close()
        reporting.cancel()
        _print(caller)


async def _report(caller: Caller) -> None:
    while True:
        await asyncio.sleep(REPORT_SECONDS)
        _print(caller)


def _print(caller: Caller) -> None:
    sys.stdout.write(json.dumps({"at": time.time(), **asdict(caller.totals)}) + "\n")
    sys.stdout.flush()


def main() -> None:
    """Runs the command; the API key comes from CALLER_API_KEY."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator.caller")
    parser.add_argument("--url", required=True, help="base URL, ending in /v1")
    parser.add_argument("--model", default="gpt-4.1")
    parser.add_argument(
        "--rate", type=float, default=50.0, help=f"calls a second, at most {MAX_RATE}"
    )
    parser.add_argument(
        "--seconds", type=float, default=float(MAX_SECONDS), help=f"at most {MAX_SECONDS}"
    )
    parser.add_argument(
        "--at-once",
        type=int,
        default=MAX_AT_ONCE,
        help="calls without an answer so far; while there are as many, those that are due are left out",
    )
    arguments = parser.parse_args()
    asyncio.run(
        run(
            url=arguments.url,
            model=arguments.model,
            rate=min(arguments.rate, MAX_RATE),
            seconds=min(arguments.seconds, MAX_SECONDS),
            at_once=min(arguments.at_once, MAX_AT_ONCE),
            key=os.environ["CALLER_API_KEY"],
        )
    )


if __name__ == "__main__":
    main()
