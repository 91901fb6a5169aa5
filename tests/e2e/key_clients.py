"""Clients of a relay that hold API keys, for a pod of the provider simulator's image; runs by itself (python3 -c).

`steady SECRET_URL RELAY_URL RATE` calls at a steady rate with the key that it last read from the API server, as it reads it
every 50 ms, and prints its counts every half second. `refused KEY URL...` prints when each of these relay pods first refused
the key after it had accepted it, once none accepts it any more.
"""

import asyncio
import base64
import json
import ssl
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
READ_SECONDS = 0.05
ASK_SECONDS = 0.01
REFUSED_SECONDS = 1.0
"""A pod that refused the key for that long, in all its workers, does not accept it any more."""
LONGEST_SECONDS = 120.0
CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


class Steady:
    """An application that calls with the newest key that it knows."""

    def __init__(self, session: aiohttp.ClientSession, relay: str) -> None:
        self._session = session
        self._relay = relay
        self._calls: set[asyncio.Task[None]] = set()
        self.key = ""
        self.statuses: Counter[str] = Counter()
        self.keys: Counter[str] = Counter()
        self.problem = ""

    async def follow(self, secret: str) -> None:
        """Reads the key again and again."""
        trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
        headers = {"authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
        while True:
            try:
                async with self._session.get(secret, headers=headers, ssl=trusted) as answer:
                    found = await answer.json()
                    self.key = base64.b64decode(found["data"]["web"]).decode()
            except (aiohttp.ClientError, KeyError, TimeoutError, OSError) as error:
                self.problem = f"the key could not be read: {error!r}"
            await asyncio.sleep(READ_SECONDS)

    async def call(self, rate: float) -> None:
        """Calls on schedule."""
        due = time.monotonic()
        while True:
            if self.key:
                task = asyncio.create_task(self._one(self.key))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
            due = max(due + 1 / rate, time.monotonic() - 1.0)
            await asyncio.sleep(max(due - time.monotonic(), 0.0))

    async def _one(self, key: str) -> None:
        self.keys[key[-6:]] += 1
        try:
            headers = {"authorization": f"Bearer {key}"}
            async with self._session.post(self._relay, json=CHAT, headers=headers) as answer:
                await answer.read()
                self.statuses[str(answer.status)] += 1
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            self.statuses["dropped"] += 1
            self.problem = repr(error)


async def steady(secret: str, relay: str, rate: float) -> None:
    """Calls until it is killed."""
    within = aiohttp.ClientTimeout(total=20)
    async with aiohttp.ClientSession(timeout=within) as session:
        client = Steady(session, relay)
        tasks = [asyncio.create_task(client.follow(secret)), asyncio.create_task(client.call(rate))]
        while not any(task.done() for task in tasks):
            report: dict[str, Any] = {
                "at": time.time(),
                "statuses": client.statuses,
                "keys": client.keys,
                "problem": client.problem,
            }
            print(json.dumps(report), flush=True)
            await asyncio.sleep(0.5)


async def refused_at(session: aiohttp.ClientSession, url: str, key: str) -> float:
    """Asks a pod on new connections until it refuses the key for good; returns when it did so first, 0 if it never did."""
    first = 0.0
    headers = {"authorization": f"Bearer {key}", "connection": "close"}
    ends = time.monotonic() + LONGEST_SECONDS
    while time.monotonic() < ends:
        async with session.get(f"{url}/v1/models", headers=headers) as answer:
            status = answer.status
        if status != 401:
            first = 0.0
        elif not first:
            first = time.time()
        if first and time.time() - first > REFUSED_SECONDS:
            return first
        await asyncio.sleep(ASK_SECONDS)
    return 0.0


async def refused(key: str, urls: list[str]) -> None:
    """Prints `asking` once every pod accepted the key, then when each refused it."""
    async with aiohttp.ClientSession() as session:
        headers = {"authorization": f"Bearer {key}"}
        for url in urls:
            async with session.get(f"{url}/v1/models", headers=headers) as answer:
                if answer.status != 200:
                    print(json.dumps({"accepted": False, "status": answer.status}), flush=True)
                    return
        print("asking", flush=True)
        times = await asyncio.gather(*(refused_at(session, url, key) for url in urls))
        print(json.dumps({"accepted": True, "refused": times}), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "steady":
        asyncio.run(steady(sys.argv[2], sys.argv[3], float(sys.argv[4])))
    else:
        asyncio.run(refused(sys.argv[2], sys.argv[3:]))
