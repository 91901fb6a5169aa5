"""An exception anywhere in a call ends that call, with all it held, and no other."""

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.relay.memory import (
    CONTENT,
    DONE,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    call,
    chunk,
    reply,
    status,
)

from relay.accounting.attempt_recorder import AttemptRecorder
from relay.accounting.metrics import WorkerMetrics
from relay.admission.admission import Admission
from relay.admission.fair_queue import FairQueue
from relay.admission.limiter import Limiter
from relay.calls.attempts.answer import Answer
from relay.calls.attempts.attempt import Attempt
from relay.calls.attempts.call import Call
from relay.calls.attempts.provider_access import ProviderAccess
from relay.calls.attempts.unary_body import UnaryBody
from relay.calls.response_writer import ResponseWriter
from relay.calls.tenants.tenant_runtime import TenantRuntime
from relay.dialect.answers.event_stream import SseScan
from relay.routing.router import Router
from relay_contract.document import Limits, Queue

Make = Callable[..., MemoryRelay]
PLACES: list[tuple[type, str]] = [
    (Router, "routed"),
    (Router, "targets"),
    (Admission, "enter"),
    (Admission, "leave"),
    (Limiter, "admit"),
    (Limiter, "view"),
    (FairQueue, "submit"),
    (FairQueue, "release"),
    (Call, "pieces"),
    (ProviderAccess, "auth_line"),
    (ProviderAccess, "pool"),
    (AttemptRecorder, "subject"),
    (AttemptRecorder, "started"),
    (AttemptRecorder, "record"),
    (TenantRuntime, "attempt_ended"),
    (Attempt, "start"),
    (Attempt, "response"),
    (Attempt, "body_received"),
    (Attempt, "read_ended"),
    (SseScan, "feed"),
    (SseScan, "rest"),
    (UnaryBody, "keep"),
    (Answer, "feed"),
    (Answer, "judge"),
    (ResponseWriter, "begin"),
    (ResponseWriter, "body"),
    (ResponseWriter, "flush"),
    (ResponseWriter, "end"),
    (WorkerMetrics, "calls"),
]


def raise_once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[str]:
    """Makes the method raise at its next call only; the list is empty until it has."""
    original: Callable[..., Any] = getattr(owner, name)
    raised: list[str] = []

    def raising(*arguments: Any, **named: Any) -> Any:
        if not raised:
            raised.append(name)
            raise LookupError("what a caller sent")
        return original(*arguments, **named)

    monkeypatch.setattr(owner, name, raising)
    return raised


@pytest.mark.parametrize("stream", [False, True], ids=["unary", "stream"])
@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[f"{o.__name__}.{n}" for o, n in PLACES])
async def test_an_exception_ends_its_call_and_nothing_else(
    relay_with: Make,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    stream: bool,
) -> None:
    relay = relay_with(queue=Queue(concurrency=1), limits=Limits(tokens_per_minute=100_000))
    client, upstream = relay.client(), relay.provider()
    raised = raise_once(monkeypatch, owner, name)
    body = {"model": "gpt-4.1", "stream": stream, "messages": []}
    client.send(call(body))
    if not upstream.transport.closed:
        if stream:
            upstream.send(STREAM_HEAD + chunk(CONTENT + CONTENT[:9]))
            upstream.send(chunk(CONTENT[9:] + USAGE + DONE) + b"0\r\n\r\n")
        else:
            upstream.send(reply())
    answer = client.transport.taken()
    if not raised:
        assert status(answer) == 200
        return
    assert client.transport.closed or status(answer) in (200, 500)
    if answer and status(answer) == 500:
        assert b'"code":"internal_error"' in answer
        assert b"x-should-retry: false" in answer
    for peer in (client, upstream):
        if peer.transport.closed:
            peer.hang_up()
    assert relay.admission.queue.in_flight == 0
    assert relay.admission.queue.depth == 0
    assert relay.service.connections.buffered_bytes == 0
    # one line, without what a caller sent
    (line,) = [fields for event, fields in relay.log.lines if event == "internal_error"]
    assert line["type"] == "LookupError"
    assert "what a caller sent" not in str(line)

    second, upstream = relay.client(), relay.provider()
    second.send(call())
    assert upstream.transport.taken()
    upstream.send(reply())
    assert status(second.transport.taken()) == 200


@pytest.mark.parametrize("name", ["response", "body_received", "read_ended"])
async def test_an_attempt_that_the_provider_saw_is_reported_once_whatever_raises(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    relay = relay_with(limits=Limits(tokens_per_minute=100_000))
    raise_once(monkeypatch, Attempt, name)
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply())
    (event,) = relay.log.events
    assert event.outcome == "cancelled"
    assert upstream.transport.aborted
    assert relay.side("stable", event.subject.fingerprint).started == 1


async def test_one_kind_of_exception_is_one_line_in_ten_seconds(
    relay_with: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = relay_with()

    def raising(*_: Any, **__: Any) -> Any:
        raise LookupError

    monkeypatch.setattr(Router, "routed", raising)
    for _ in range(50):
        assert status(relay.client().send(call())) == 500
    assert len(relay.log.lines) == 1
