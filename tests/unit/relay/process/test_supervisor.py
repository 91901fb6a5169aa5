"""What a worker had said before it was gone is taken in before its end, and nothing after it."""

import asyncio
import base64
import contextlib
import socket
import struct
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from relay.accounting.logs import Log
from relay.process.document_acceptance import Acceptance
from relay.process.supervisor import Supervisor, WorkerHandle
from relay.settings import Settings

CLAIM = ["uid", "production", 1, "call", "arguments", 60, "id"]
PUBLIC_KEY = Ed25519PrivateKey.generate().public_key()


class Workers:
    """Two workers of a supervisor, whose ends of the channels the test has."""

    def __init__(self, directory: Path) -> None:
        settings = Settings(
            tenant_uid="uid",
            document_public_keys=base64.b64encode(PUBLIC_KEY.public_bytes_raw()).decode(),
            workers=2,
            document_path=directory / "document",
            state_directory=directory,
            tls_directory=directory / "tls",
            kept_tls_directory=directory / "kept",
            upstream_keys_directory=directory,
        )
        self.log = Log(level="error", pod="", process="supervisor")
        acceptance = Acceptance((PUBLIC_KEY,), "uid")
        self.listeners = [socket.socket(socket.AF_UNIX) for _ in range(2)]
        self.supervisor = Supervisor(settings, acceptance, self.listeners, self.log)
        # no other process is begun in the place of one that is gone
        self.supervisor.draining = True
        self.ends: dict[int, socket.socket] = {}

    async def begin(self, number: int) -> WorkerHandle:
        ours, theirs = socket.socketpair()
        theirs.setblocking(False)
        handle = WorkerHandle(number, 0, self.listeners[number])
        self.supervisor._workers[number] = handle
        await self.supervisor._connect(handle, ours)
        self.ends[number] = theirs
        return handle

    def say(self, number: int, kind: str, **fields: Any) -> None:
        data = orjson.dumps({"kind": kind, **fields})
        self.ends[number].sendall(struct.pack(">I", len(data)) + data)

    async def heard(self, number: int, kind: str) -> list[dict[str, Any]]:
        """Returns what a worker was told of this kind."""
        for _ in range(5):
            await asyncio.sleep(0)
        data, told = b"", []
        with contextlib.suppress(BlockingIOError):
            data = self.ends[number].recv(1024 * 1024)
        while data:
            (length,) = struct.unpack_from(">I", data)
            told.append(orjson.loads(data[4 : 4 + length]))
            data = data[4 + length :]
        return [one for one in told if one["kind"] == kind]


@pytest.fixture
async def workers(tmp_path: Path) -> Any:
    both = Workers(tmp_path)
    yield both
    for handle in both.supervisor._workers.values():
        if handle.channel is not None:
            handle.channel.close()
    for one in (*both.ends.values(), *both.listeners):
        one.close()
    await asyncio.sleep(0)


async def test_a_call_that_a_dead_worker_had_claimed_is_nobodys(workers: Workers) -> None:
    dead = await workers.begin(0)
    await workers.begin(1)
    workers.say(0, "tool_claim", id=1, claim=CLAIM)
    workers.ends[0].close()
    workers.supervisor._ended(dead, -9)
    await workers.heard(1, "tool_verdict")
    workers.say(1, "tool_claim", id=2, claim=CLAIM)
    (told,) = await workers.heard(1, "tool_verdict")
    assert told["verdict"][0] == "unknown"


async def test_the_answer_that_a_worker_told_of_before_it_died_is_told_again(
    workers: Workers,
) -> None:
    dead = await workers.begin(0)
    await workers.begin(1)
    workers.say(0, "tool_claim", id=1, claim=CLAIM)
    workers.say(0, "tool_ended", id=1, call="call", how="answered", answer=[200, "{}", 60])
    workers.ends[0].close()
    workers.supervisor._ended(dead, -9)
    workers.say(1, "tool_claim", id=2, claim=CLAIM)
    (told,) = await workers.heard(1, "tool_verdict")
    finding, answer, *_ = told["verdict"]
    assert (finding, answer[:2]) == ("answered", [200, "{}"])


async def test_another_worker_hears_of_the_end_of_a_worker_after_all_that_it_said(
    workers: Workers,
) -> None:
    dead = await workers.begin(0)
    await workers.begin(1)
    workers.say(0, "kept_call", to=1, what="claim", call="one", said=["1.x", "uid/key", 7])
    workers.ends[0].close()
    workers.supervisor._ended(dead, -9)
    told = await workers.heard(1, "kept_call")
    assert [one["what"] for one in told] == ["claim", "gone"]


async def test_nothing_that_a_dead_worker_said_is_taken_for_what_the_next_one_says(
    workers: Workers,
) -> None:
    dead = await workers.begin(0)
    await workers.begin(1)
    workers.ends[0].close()
    workers.supervisor._ended(dead, -9)
    await workers.begin(0)
    await workers.heard(1, "kept_call")
    workers.supervisor._received(
        dead, {"kind": "kept_call", "to": 1, "what": "claim", "call": "one", "said": []}
    )
    assert await workers.heard(1, "kept_call") == []


async def test_money_is_given_back_once_no_worker_can_be_called_any_more(workers: Workers) -> None:
    for number in (0, 1):
        await workers.begin(number)
    for number, expected in ((0, False), (1, True)):
        workers.say(number, "last_call")
        await workers.heard(number, "last_call")
        assert workers.supervisor._releases_money() is expected
