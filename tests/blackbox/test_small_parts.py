"""Bodies in the smallest chunks: taking them apart costs a relay thousands of times a plain read, and holds up nobody."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import CHAT_ANSWER, END, ScriptedProvider, scripted
from tests.blackbox.tenant import KEY, Platform, provider
from tests.blackbox.wire import request_bytes

MIB = 1024 * 1024
SENDERS = 3
LEAST_MEANWHILE = 20
"""Calls of a neighbour while such a body is read, which takes seconds. Without turns there were 1 to 3."""


@contextmanager
def neighbour(relay: Relay) -> Iterator[list[int]]:
    """Asks for the models again and again while the block runs; yields the statuses."""
    over = threading.Event()
    statuses: list[int] = []

    def ask() -> None:
        with relay.wire(deadline_seconds=50) as wire:
            while not over.is_set():
                wire.send(request_bytes("GET", "/v1/models", {"authorization": f"Bearer {KEY}"}))
                statuses.append(wire.answer().status)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield statuses
    finally:
        over.set()
        thread.join()


def upload(relay: Relay, chunks: bytes) -> int:
    fields = {"authorization": f"Bearer {KEY}", "transfer-encoding": "chunked"}
    with relay.wire(deadline_seconds=50) as wire:
        wire.send(request_bytes("POST", CHAT, fields))
        wire.send(chunks)
        wire.send(b"0\r\n\r\n")
        return wire.answer().status


def test_uploads_in_the_smallest_chunks_leave_others_their_turns(relay: Relay) -> None:
    chunks = b"2\r\n  \r\n" * (2 * MIB)
    with neighbour(relay) as statuses, ThreadPoolExecutor(SENDERS) as pool:
        answered = list(pool.map(lambda _: upload(relay, chunks), range(SENDERS)))
        meanwhile = len(statuses)
    assert answered == [400] * SENDERS
    assert set(statuses) == {200}
    assert meanwhile > LEAST_MEANWHILE


def test_small_chunks_are_read_like_large_ones(patient_relay: Relay) -> None:
    body = chat_body(padding="x" * 60_000)
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    fields = {"authorization": f"Bearer {KEY}", "transfer-encoding": "chunked"}
    call = request_bytes("POST", CHAT, fields) + chunks + END
    with patient_relay.wire() as wire:
        wire.send(call * 3)
        assert [wire.answer().status for _ in range(3)] == [200] * 3


def test_an_answer_in_the_smallest_chunks_leaves_others_their_turns(
    patient_relay: Relay, platform: Platform
) -> None:
    size = 2 * MIB
    body = CHAT_ANSWER[:-1] + b',"padding":"' + b"x" * size + b'"}'
    head = (
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    chunks = b"".join(b"1\r\n%b\r\n" % body[at : at + 1] for at in range(len(body)))
    with scripted(ScriptedProvider([head + chunks + END])) as stable:
        patient_relay.push(platform.document(providers=[provider("stable", stable.url)]))
        with neighbour(patient_relay) as statuses:
            answer = patient_relay.ask("POST", CHAT, body=chat_body(), deadline_seconds=50)
            meanwhile = len(statuses)
    assert (answer.status, answer.body) == (200, body)
    assert set(statuses) == {200}
    assert meanwhile > LEAST_MEANWHILE
