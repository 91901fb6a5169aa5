"""Clients that call tools at single relay pods, for a pod of the provider simulator's image; runs by itself (python3 -c).

`revoked PLAN` opens streams at every pod and calls a tool until no pod carries it out any more. `beside PLAN` has callers call side
by side for some seconds. PLAN is JSON; both print `asking` once they have begun, and then what they saw.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import aiohttp

ASK_SECONDS = 0.02
REFUSED_SECONDS = 2.0
"""A pod that refused the tool for that long, in all its workers, does not carry it out any more."""
LONGEST_SECONDS = 60.0
OPEN_SECONDS = 120
"""For which a call goes on that nobody ends."""
MODERN, LEGACY = "2026-07-28", "2025-11-25"
CHAT = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 4}


def message(method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}


def fields(key: str, **more: str) -> dict[str, str]:
    accepted = "application/json, text/event-stream"
    given = {"authorization": f"Bearer {key}", "accept": accepted}
    return given | {name.replace("_", "-"): value for name, value in more.items()}


def stateless(key: str, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns what a client without a session says to call a tool, as arguments of a POST."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": name, "arguments": arguments, "_meta": meta}
    mirrored = {"mcp_protocol_version": MODERN, "mcp_method": "tools/call", "mcp_name": name}
    return {"json": message("tools/call", params), "headers": fields(key, **mirrored)}


class Stream:
    """An answer that goes on: what it brought, and when."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.last: dict[str, Any] = {}
        self.last_at = self.ended_at = 0.0
        self.told_at: dict[str, float] = {}
        self.end = ""
        self.task: asyncio.Task[None] | None = None

    def read(self, answer: aiohttp.ClientResponse) -> "Stream":
        """Reads it from now on."""
        self.task = asyncio.create_task(self._read(answer))
        return self

    async def _read(self, answer: aiohttp.ClientResponse) -> None:
        try:
            async for line in answer.content:
                if line.startswith(b"data: {"):
                    self.last, self.last_at = json.loads(line[6:]), time.time()
                    method = self.last.get("method", "answer")
                    self.methods.append(method)
                    self.told_at.setdefault(method, self.last_at)
            self.end = "in order"
        except aiohttp.ClientError as error:
            self.end = repr(error)
        self.ended_at = time.time()

    def report(self) -> dict[str, Any]:
        return {
            "messages": Counter(self.methods),
            "told_at": self.told_at,
            "last": self.last,
            "last_at": self.last_at,
            "ended_at": self.ended_at,
            "end": self.end,
        }


class Watched:
    """One relay pod with a session's stream and a call under way in each era, whose tool is called again and again."""

    def __init__(self, session: aiohttp.ClientSession, url: str, key: str, tool: str) -> None:
        self._session = session
        self._url = url
        self._key = key
        self._tool = tool
        self.streams: dict[str, Stream] = {}
        self.first_refused = self.last_allowed = 0.0
        self.refusals: Counter[str] = Counter()

    async def open(self) -> None:
        """Opens the streams; each has brought something when it returns."""
        within = await self.begin()
        self.streams["session"] = await self._opened("GET", headers=within)
        if self._tool:
            arguments = {"behave": "endless", "seconds": OPEN_SECONDS}
            asked = message("tools/call", {"name": self._tool, "arguments": arguments})
            self.streams["call in the session"] = await self._opened(
                "POST", json=asked, headers=within
            )
            asked = stateless(self._key, self._tool, arguments)
            self.streams["stateless call"] = await self._opened("POST", **asked)
        for name, stream in self.streams.items():
            while not stream.methods and name != "session":
                assert not stream.ended_at, name
                await asyncio.sleep(ASK_SECONDS)

    async def begin(self) -> dict[str, str]:
        """Begins a session; returns the fields of its messages."""
        greeting = {
            "protocolVersion": LEGACY,
            "capabilities": {},
            "clientInfo": {"name": "client", "version": "1"},
        }
        asked = message("initialize", greeting)
        async with self._session.post(self._url, json=asked, headers=fields(self._key)) as answer:
            found = answer.headers["mcp-session-id"]
        within = fields(self._key, mcp_session_id=found, mcp_protocol_version=LEGACY)
        begun = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        async with self._session.post(self._url, json=begun, headers=within) as answer:
            assert answer.status == 202, answer.status
        return within

    async def _opened(self, verb: str, **asked: Any) -> Stream:
        answer = await self._session.request(verb, self._url, **asked)
        assert answer.status == 200, (answer.status, await answer.text())
        assert answer.content_type == "text/event-stream", await answer.text()
        return Stream().read(answer)

    async def call(self, name: str) -> str:
        """Calls a tool on a connection of its own; returns `result`, or how it was refused."""
        asked = stateless(self._key, name, {"mark": "polled"})
        asked["headers"]["connection"] = "close"
        async with self._session.post(self._url, **asked) as answer:
            return outcome(answer.status, await answer.text())

    async def ask_until_refused(self) -> None:
        """Calls the tool until it was refused for long enough."""
        ends = time.time() + LONGEST_SECONDS
        while time.time() < ends:
            asked_at = time.time()
            found = await self.call(self._tool)
            if found == "result":
                self.last_allowed = asked_at
            else:
                self.refusals[found] += 1
                self.first_refused = self.first_refused or asked_at
                if asked_at - max(self.first_refused, self.last_allowed) > REFUSED_SECONDS:
                    return
            await asyncio.sleep(ASK_SECONDS)

    def report(self) -> dict[str, Any]:
        return {
            "first_refused": self.first_refused,
            "last_allowed": self.last_allowed,
            "refusals": self.refusals,
            "streams": {name: stream.report() for name, stream in self.streams.items()},
        }


def outcome(status: int, text: str) -> str:
    """Returns `result`, or the status and what is said of the error."""
    told = [line[6:] for line in text.splitlines() if line.startswith("data: {")]
    try:
        content = json.loads(told[-1] if told else text)
    except ValueError:
        return f"{status} {text[:80]}"
    if status == 200 and ("result" in content or "choices" in content):
        return "result"
    return f"{status} {content.get('error', {}).get('message')}"


async def revoked(plan: dict[str, Any]) -> dict[str, Any]:
    """Prints `asking` once every stream is open, then what every pod did when the tool was taken away.

    key and tool are those of the calls, urls the pods; stays is a tool that the tenant keeps, called at the end. bystander is the
    pod and key of another tenant, whose stream is open meanwhile.
    """
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connections) as session:
        pods = [Watched(session, url, plan["key"], plan["tool"]) for url in plan["urls"]]
        other = Watched(session, plan["bystander"]["url"], plan["bystander"]["key"], "")
        for one in (*pods, other):
            await one.open()
        for one in pods:
            assert await one.call(plan["tool"]) == "result"
        print("asking", flush=True)
        await asyncio.gather(*(one.ask_until_refused() for one in pods))
        kept = [await one.call(plan["stays"]) for one in pods for _ in range(5)]
        return {
            "pods": [one.report() for one in pods],
            "kept": kept,
            "bystander": other.report(),
        }


async def caller(session: aiohttp.ClientSession, one: dict[str, Any], ends: float) -> list[str]:
    """Calls one after the other until the time is up; returns the outcomes."""
    found: list[str] = []
    while time.time() < ends:
        if "tool" in one:
            asked = stateless(one["key"], one["tool"], one["arguments"])
        else:
            asked = {"json": CHAT, "headers": fields(one["key"])}
        try:
            async with session.post(one["url"], **asked) as answer:
                found.append(outcome(answer.status, await answer.text()))
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            found.append(repr(error))
        await asyncio.sleep(ASK_SECONDS)
    return found


async def beside(plan: dict[str, Any]) -> dict[str, Any]:
    """Has all callers call for some seconds, and returns the outcomes of each."""
    within = aiohttp.ClientTimeout(total=plan["seconds"] + OPEN_SECONDS)
    connections = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connections, timeout=within) as session:
        ends = time.time() + plan["seconds"]
        asking = [asyncio.create_task(caller(session, one, ends)) for one in plan["callers"]]
        print("asking", flush=True)
        found = await asyncio.gather(*asking)
    return {"outcomes": [Counter(told) for told in found]}


if __name__ == "__main__":
    play = {"revoked": revoked, "beside": beside}[sys.argv[1]]
    print(json.dumps(asyncio.run(play(json.loads(sys.argv[2])))), flush=True)
