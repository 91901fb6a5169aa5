"""Pods that are no relays and mean harm, over real HTTP: each push ends in time, and is read up to a limit."""

import asyncio
import contextlib
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import pytest
from tests.unit.relay_operator.cluster.pods import a_pod

from relay_contract.document import MAX_DOCUMENT_BYTES
from relay_contract.preflight import Preflight
from relay_operator.cluster.relays import Relays
from relay_operator.errors import Unavailable

Script = Callable[[asyncio.StreamWriter], Awaitable[None]]

_DEADLINE_SECONDS = 0.3
_PATIENCE_SECONDS = 5.0
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
ANSWER = json.dumps({"digest": "d", "generation": 4, "workers": 2, "missingKeys": []}).encode()
POD = a_pod()


async def _drip(writer: asyncio.StreamWriter, text: bytes) -> None:
    for byte in text:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(_DEADLINE_SECONDS / 3)


async def drips_its_head(writer: asyncio.StreamWriter) -> None:
    await _drip(writer, _HEAD)


async def drips_its_body(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"content-length: 1000\r\n\r\n")
    await _drip(writer, ANSWER)


async def says_nothing(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_PATIENCE_SECONDS)


async def never_ends(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD + b"transfer-encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        await writer.drain()


async def sends_headers_without_end(writer: asyncio.StreamWriter) -> None:
    writer.write(_HEAD)
    while True:
        writer.write(b"x-more: " + b"x" * 1000 + b"\r\n")
        await writer.drain()


async def asks_to_wait_without_end(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 102 Processing\r\n\r\n" * 10)
        await writer.drain()


async def compresses(writer: asyncio.StreamWriter) -> None:
    body = gzip.compress(b" " * 64 * MAX_DOCUMENT_BYTES + ANSWER)
    length = f"content-length: {len(body)}\r\n".encode()
    writer.write(_HEAD + b"content-encoding: gzip\r\n" + length + b"\r\n" + body)
    await writer.drain()


class HostilePod:
    """Serves its script to every push; taken are the bytes that its last client took."""

    def __init__(self, script: Script, until: bytes) -> None:
        self._script = script
        self._until = until
        self._running: set[asyncio.Task[None]] = set()
        self.taken = 0
        self.left = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._play(reader, writer))
        self._running.add(task)

    async def _play(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        write = writer.write

        def counted(data: bytes) -> None:
            self.taken += len(data)
            write(data)

        writer.write = counted  # type: ignore[method-assign, assignment]
        try:
            await reader.readuntil(self._until)
            with contextlib.suppress(ConnectionError):
                await self._script(writer)
        finally:
            writer.transport.abort()
            self.left.set()

    async def end(self) -> None:
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        # the loop closes an aborted connection in its next turn
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def a_pod_that(
    script: Script, directory: Path, *, until: bytes = b"sealed"
) -> AsyncIterator[tuple[Relays, HostilePod]]:
    """Serves one pod; yields the adapter to push with."""
    # the script begins once that much of the request is there
    pod, path = HostilePod(script, until), str(directory / "pod.sock")
    server = await asyncio.start_unix_server(pod.serve, path)
    relays = Relays(timeout_seconds=_DEADLINE_SECONDS, transport=httpx.AsyncHTTPTransport(uds=path))
    try:
        yield relays, pod
    finally:
        await relays.close()
        server.close()
        await pod.end()


@pytest.mark.parametrize(
    "script",
    [
        drips_its_head,
        drips_its_body,
        says_nothing,
        never_ends,
        sends_headers_without_end,
        asks_to_wait_without_end,
        compresses,
    ],
)
async def test_a_push_to_it_ends_in_time_and_is_no_answer(script: Script, tmp_path: Path) -> None:
    async with a_pod_that(script, tmp_path) as (relays, _):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="pod relay-finance/relay-1"):
                await relays.push(POD, "sealed")


@pytest.mark.parametrize("script", [never_ends, sends_headers_without_end])
async def test_an_endless_answer_is_read_up_to_a_limit(script: Script, tmp_path: Path) -> None:
    async with a_pod_that(script, tmp_path) as (relays, pod):
        with pytest.raises(Unavailable):
            await relays.push(POD, "sealed")
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await pod.left.wait()
    # the limit, and what fits into the buffers of both ends
    assert pod.taken < 4 * MAX_DOCUMENT_BYTES


async def test_a_pod_leaves_no_cookies_behind(tmp_path: Path) -> None:
    async def sets_cookies(writer: asyncio.StreamWriter) -> None:
        cookies = b"".join(b"set-cookie: c%d=%s\r\n" % (n, b"x" * 500) for n in range(50))
        length = f"content-length: {len(ANSWER)}\r\n".encode()
        writer.write(_HEAD + cookies + length + b"\r\n" + ANSWER)
        await writer.drain()

    async with a_pod_that(sets_cookies, tmp_path) as (relays, _):
        await relays.push(POD, "sealed")
        assert len(relays._client.cookies) == 0


def answers(body: bytes, status: bytes = b"200 OK") -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()

    return script


@pytest.mark.parametrize(
    "script",
    [
        drips_its_head,
        says_nothing,
        never_ends,
        asks_to_wait_without_end,
        compresses,
        answers(b"404: Not Found", b"404 Not Found"),
        answers(b"[]"),
        answers(b"[" * 100_000),
        answers(b'{"tag": "a\\u000d", "open": []}'),
        answers(b'{"tag": "%s", "open": []}' % (b"a" * 65)),
        answers(b'{"tag": "a", "open": [{"route": "r", "fingerprint": "f", "failedProbes": -1}]}'),
        answers(
            b'{"tag": "a", "open": [{"route": "r", "fingerprint": "f", "failedProbes": 1e99}]}'
        ),
        answers(b'{"tag": "a", "open": [{"route": ["r"], "fingerprint": "f", "failedProbes": 1}]}'),
    ],
)
async def test_what_is_no_answer_about_breakers_is_none(script: Script, tmp_path: Path) -> None:
    async with a_pod_that(script, tmp_path, until=b"\r\n\r\n") as (relays, _):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="pod relay-finance/relay-1"):
                await relays.breakers(POD, seen="", wait_seconds=0)


def redirects(location: bytes) -> Script:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(
            b"HTTP/1.1 307 Elsewhere\r\nlocation: " + location + b"\r\ncontent-length: 2\r\n\r\n{}"
        )
        await writer.drain()

    return script


@pytest.mark.parametrize(
    "location",
    [b"javascript:x", b"http://xn--/", b"http://a:99999999", b"http://[", b"\xff", b"/elsewhere"],
)
async def test_a_redirect_is_no_answer_to_any_question(location: bytes, tmp_path: Path) -> None:
    async with a_pod_that(redirects(location), tmp_path, until=b"\r\n\r\n") as (relays, _):
        for question in (
            lambda: relays.push(POD, "sealed"),
            lambda: relays.breakers(POD, seen="", wait_seconds=0),
            lambda: relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: ()),
            lambda: relays.probe_provider(POD, "legacy"),
            lambda: relays.quota_use(POD, seen="", wait_seconds=0),
        ):
            with pytest.raises(Unavailable, match="307"):
                await question()


ODD_WORDS = "no\\n\\u001b[31mroom \\u202e"


async def test_a_pods_words_become_one_line_of_what_can_be_printed(tmp_path: Path) -> None:
    served = b'{"digest": "d", "generation": 1, "workers": 1, "tls": {"problem": "%s"}}'
    async with a_pod_that(answers(served % ODD_WORDS.encode()), tmp_path) as (relays, _):
        acknowledged = (await relays.push(POD, "sealed")).acknowledgement
    assert acknowledged.tls is not None
    assert acknowledged.tls.problem == "no [31mroom"


async def test_what_a_pod_says_of_a_preflight_can_be_printed(tmp_path: Path) -> None:
    one = b'{"route": "r", "token": "f/1", "state": "Failed", "message": "%s"}' % ODD_WORDS.encode()
    body = b'{"tag": "", "preflights": [%s]}' % one
    async with a_pod_that(answers(body), tmp_path, until=b"\r\n\r\n") as (relays, _):
        told = await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: {("r", "f/1")})
    assert [preflight.message for preflight in told.preflights] == ["no [31mroom"]


async def test_open_breakers_are_read_as_the_relay_tells_them(tmp_path: Path) -> None:
    told = b'{"tag": "0f", "open": [{"route": "chat", "fingerprint": "f1", "failedProbes": 2}]}'
    async with a_pod_that(answers(told), tmp_path, until=b"\r\n\r\n") as (relays, _):
        breakers = await relays.breakers(POD, seen="", wait_seconds=0)
    assert (breakers.tag, dict(breakers.failed_probes)) == ("0f", {("chat", "f1"): 2})


_ASKED = ("chat", "0123456789ab/3")
_PREFLIGHT = (
    b'{"route": "chat", "token": "0123456789ab/3", "state": "Failed", "reason": "Unauthorized"'
)


@pytest.mark.parametrize(
    "script",
    [
        says_nothing,
        drips_its_body,
        never_ends,
        compresses,
        answers(b"{}", status=b"404 Not Found"),
        answers(b""),
        answers(b"null"),
        answers(b"[" * 100_000),
        answers(b'{"tag": "%s"}' % (b"a" * 65)),
        answers(b'{"tag": "x"}'),
        answers(b'{"tag": "a", "preflights": [{"route": "chat", "token": "t"}]}'),
        answers(b'{"tag": "a", "preflights": [%s, "message": "%s"}]}' % (_PREFLIGHT, b"m" * 401)),
        answers(b'{"tag": "a", "preflights": [%s, "token": "a b"}]}' % _PREFLIGHT),
        answers(b'{"tag": "a", "preflights": [%s, "state": "Done"}]}' % _PREFLIGHT),
        answers(b'{"tag": "a", "preflights": [%s, "reason": "Odd"}]}' % _PREFLIGHT),
        answers(b'{"tag": "a", "preflights": [%s]}' % b",".join([_PREFLIGHT + b"}"] * 1025)),
    ],
)
async def test_what_is_no_answer_about_preflights_is_none(script: Script, tmp_path: Path) -> None:
    async with a_pod_that(script, tmp_path, until=b"\r\n\r\n") as (relays, _):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="pod relay-finance/relay-1"):
                await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: {_ASKED})


async def test_preflights_are_read_as_the_relay_tells_them_and_what_a_newer_one_adds_is_left_out(
    tmp_path: Path,
) -> None:
    told = b'{"tag": "0f", "new": 1, "preflights": [%s, "message": "says 401", "new": 1}]}'
    async with a_pod_that(answers(told % _PREFLIGHT), tmp_path, until=b"\r\n\r\n") as (relays, _):
        preflights = await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: {_ASKED})
    assert preflights.tag == "0f"
    assert preflights.preflights == (
        Preflight(
            route="chat",
            token="0123456789ab/3",
            state="Failed",
            reason="Unauthorized",
            message="says 401",
        ),
    )


async def test_only_preflights_that_are_asked_for_are_kept_each_once(tmp_path: Path) -> None:
    one, other = _PREFLIGHT + b"}", _PREFLIGHT.replace(b"ab/3", b"ab/4") + b"}"
    body = b'{"tag": "0f", "preflights": [%s]}' % b",".join([one, other, one])
    async with a_pod_that(answers(body), tmp_path, until=b"\r\n\r\n") as (relays, _):
        told = await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: {_ASKED})
    assert [(one.route, one.token) for one in told.preflights] == [_ASKED]
    # the next question has all told once more, so that one asked for only then is not missed
    assert told.tag == ""
    assert told.size == len(body)


async def test_an_answer_is_read_up_to_what_those_asked_for_can_take(tmp_path: Path) -> None:
    line = b'%s, "message": "%s"}' % (_PREFLIGHT, b"m" * 400)
    body = b'{"tag": "0f", "preflights": [%s]}' % b",".join([line] * 300)
    many = {("chat", f"0123456789ab/{number}") for number in range(100)}
    async with a_pod_that(answers(body), tmp_path, until=b"\r\n\r\n") as (relays, _):
        told = await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: many)
        assert len(told.preflights) == 1
        with pytest.raises(Unavailable, match="more of its preflights than a relay does"):
            await relays.preflights(POD, seen="", wait_seconds=0, asked=lambda: {_ASKED})


@pytest.mark.parametrize(
    "script",
    [
        says_nothing,
        drips_its_body,
        never_ends,
        compresses,
        answers(b"{}", status=b"404 Not Found"),
        answers(b"null"),
        answers(b"[" * 100_000),
        answers(b'{"tag": "x"}'),
        answers(b'{"tag": "a", "uses": [{"provider": "legacy", "level": "All"}]}'),
        answers(b'{"uses": [%s]}' % b",".join([b'{"provider": "p", "level": "Busy"}'] * 257)),
    ],
)
async def test_what_is_no_answer_about_quotas_is_none(script: Script, tmp_path: Path) -> None:
    async with a_pod_that(script, tmp_path, until=b"\r\n\r\n") as (relays, _):
        async with asyncio.timeout(_PATIENCE_SECONDS):
            with pytest.raises(Unavailable, match="pod relay-finance/relay-1"):
                await relays.quota_use(POD, seen="", wait_seconds=0)


async def test_quota_use_is_read_as_the_relay_tells_it(tmp_path: Path) -> None:
    told = b'{"tag": "0f", "uses": [{"provider": "legacy", "level": "Short", "more": 1}], "x": 2}'
    async with a_pod_that(answers(told), tmp_path, until=b"\r\n\r\n") as (relays, _):
        use = await relays.quota_use(POD, seen="", wait_seconds=0)
    assert (use.tag, dict(use.levels)) == ("0f", {"legacy": "Short"})
