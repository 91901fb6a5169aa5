"""A ledger that was taken over: what it answers costs the operator a bounded time and memory, and no crash."""

import asyncio
import contextlib
import gzip
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from relay_operator.cluster.ledger.connection import MOST_ANSWER_BYTES, LedgerConnection
from relay_operator.cluster.ledger.key_file import KeyFile
from relay_operator.errors import LedgerUnavailable

MEBIBYTE = 1024 * 1024


def head(status: str, *fields: str) -> bytes:
    return "\r\n".join((f"HTTP/1.1 {status}", *fields, "\r\n")).encode()


ANSWERS = {
    "longer than any": head("200 OK", f"content-length: {2**40}")
    + bytes(MOST_ANSWER_BYTES + MEBIBYTE),
    "a redirect to nowhere": head("307 X", "location: http://[::1", "content-length: 0"),
    "a redirect to no port": head("307 X", "location: http://a:99999999/", "content-length: 0"),
}


@contextlib.asynccontextmanager
async def ledger(directory: Path, answer: bytes) -> AsyncIterator[LedgerConnection]:
    """Returns a connection to a ledger that answers so, and leaves its side open."""

    async def answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            await reader.read()
        writer.close()

    (directory / "keys").write_text("k" * 40)
    path = str(directory / "s")
    async with await asyncio.start_unix_server(answers, path):
        yield LedgerConnection(
            "http://ledger",
            KeyFile(str(directory / "keys")),
            transport=lambda: httpx.AsyncHTTPTransport(uds=path),
        )


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_whatever_it_answers_is_told_as_its_fault(tmp_path: Path, answer: bytes) -> None:
    async with ledger(tmp_path, answer) as connection, asyncio.timeout(10):
        with pytest.raises(LedgerUnavailable) as caught:
            await connection.ask("GET", "/v1/budgets")
        assert len(str(caught.value)) < 1000


async def test_what_it_compresses_although_nobody_asked_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(bytes(8 * MEBIBYTE))
    fields = ("content-encoding: gzip", f"content-length: {len(packed)}")
    async with ledger(tmp_path, head("200 OK", *fields) + packed) as connection:
        assert await connection.ask("GET", "/v1/budgets") == packed
