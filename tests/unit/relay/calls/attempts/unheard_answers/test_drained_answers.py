"""An answer whose caller left is read on, within bounds, where its Provider says so: what the call used is then the provider's own number."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.documents import CANARY, STABLE, provider
from tests.unit.relay.memory import (
    CONTENT,
    DONE,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    Peer,
    call,
    chunk,
    event,
    reply,
    status,
)

from relay.accounting.slo_counters import ATTEMPT_COUNTS, SideCounters
from relay.accounting.usage_event import UsageEvent
from relay.calls.attempts.answer import MOST_UNHEARD_BYTES
from relay.calls.attempts.unheard_answers.usage_waits import MOST_WAITING_BYTES, WAIT_SECONDS
from relay.http.upstream import UpstreamConnection
from relay_contract.document import Drain, LatencyObjective, Queue, Route

SECONDS, TOKENS = 20, 100
DRAIN = Drain(max_seconds=SECONDS, max_tokens=TOKENS)
STREAM_BODY = {"model": "gpt-4.1", "stream": True, "messages": []}
FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
FAILED = event({"error": {"message": "no", "type": "server_error"}})
REST = chunk(CONTENT + FINISH + USAGE + DONE) + b"0\r\n\r\n"
RelayWith = Callable[..., MemoryRelay]


def draining(
    relay_with: RelayWith,
    settings: dict[str, Any] | None = None,
    *,
    drain: Drain | None = DRAIN,
    **changes: Any,
) -> MemoryRelay:
    """A relay of which every provider is drained."""
    names = ("legacy", "holysheep", "backup")
    providers = tuple(provider(name, drain=drain) for name in names)
    return relay_with(settings, **{"providers": providers, **changes})


@pytest.fixture
def relay(relay_with: RelayWith) -> MemoryRelay:
    return draining(relay_with)


def left(relay: MemoryRelay, answered: bytes, name: str = "legacy", **asked: Any) -> Peer:
    """Has a caller leave when this much of the answer has come; returns the provider."""
    client, upstream = relay.client(), relay.provider(name)
    client.send(call({**STREAM_BODY, **asked}))
    if answered:
        upstream.send(answered)
    client.hang_up()
    return upstream


def ended(relay: MemoryRelay) -> UsageEvent:
    """The one attempt, which has ended and holds nothing any more."""
    (found,) = relay.log.events
    assert relay.admission.queue.in_flight == 0
    assert not relay.service.drained_answers.are_any
    assert found.client_gone
    return found


def ends(relay: MemoryRelay) -> dict[str, float]:
    rows = relay.service.report()["relay_drained_answers_total"]
    return {end: count for (_, end), count in rows}


def later(relay: MemoryRelay, seconds: float) -> None:
    relay.service.drained_answers.tick(time.monotonic() + seconds)


async def test_a_stream_is_read_to_its_usage(relay: MemoryRelay) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))
    assert relay.log.events == []
    later(relay, SECONDS - 1)
    upstream.send(chunk(CONTENT))
    upstream.send(REST)
    found = ended(relay)
    assert found.tokens is not None
    assert (found.tokens.input, found.tokens.output, found.estimated) == (9, 4, False)
    assert (found.outcome, found.charged_tokens) == ("cancelled", 13)
    assert ends(relay) == {"usage": 1}
    # whose connection takes the next call
    assert not upstream.transport.closed


async def test_its_caller_is_let_go_at_once_and_its_seat_is_not(relay_with: RelayWith) -> None:
    relay = draining(relay_with, queue=Queue(concurrency=1, max_depth=4))
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))
    assert relay.service.connections.open == set()
    assert relay.service.connections.buffered_bytes == 0
    assert relay.admission.queue.in_flight == 1
    client, second = relay.client(), relay.provider()
    client.send(call())
    assert relay.admission.queue.depth == 1
    upstream.send(REST)
    assert relay.admission.queue.depth == 0
    assert relay.admission.queue.in_flight == 1
    assert not second.transport.closed


@pytest.mark.parametrize("answered", [b"", reply()[:40], reply()[:-20]], ids=["no", "head", "part"])
async def test_a_document_is_read_to_its_usage(relay: MemoryRelay, answered: bytes) -> None:
    upstream = left(relay, answered, stream=False)
    upstream.send(reply()[len(answered) :])
    found = ended(relay)
    assert found.tokens is not None
    assert (found.tokens.input, found.tokens.output, found.estimated) == (9, 4, False)
    assert (found.outcome, found.status) == ("cancelled", 200)
    assert ends(relay) == {"usage": 1}


async def test_of_a_large_document_little_is_kept(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    answer = reply({"choices": [{"message": {"content": "x" * (4 * MOST_UNHEARD_BYTES)}}]})
    upstream.send(answer[: 2 * MOST_UNHEARD_BYTES])
    client.hang_up()
    (drained,) = relay.service.drained_answers._waiting
    assert drained.attempt is not None
    answered = drained.attempt.answer
    assert answered is not None
    assert answered.unary is not None
    assert answered.unary.kept is None
    assert len(answered.unary.head) + len(answered.unary.tail) <= MOST_UNHEARD_BYTES


async def test_after_so_many_seconds_it_is_cancelled(relay: MemoryRelay) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))
    later(relay, SECONDS - 0.5)
    assert not upstream.transport.closed
    later(relay, SECONDS)
    assert upstream.transport.aborted
    found = ended(relay)
    assert (found.outcome, found.estimated) == ("cancelled", True)
    assert found.tokens is not None
    assert found.tokens.input > 0
    assert ends(relay) == {"seconds": 1}


async def test_after_so_many_tokens_it_is_cancelled(relay: MemoryRelay) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT * TOKENS))
    for _ in range(TOKENS):
        assert not upstream.transport.closed
        upstream.send(chunk(CONTENT))
    upstream.send(chunk(CONTENT))
    assert upstream.transport.aborted
    found = ended(relay)
    assert found.outcome == "cancelled"
    assert found.tokens is not None
    # what was read for nobody is booked as well: the provider has made it
    assert found.tokens.output == 2 * TOKENS + 1
    assert ends(relay) == {"tokens": 1}


@pytest.mark.parametrize("answered", [b"", STREAM_HEAD + chunk(CONTENT)], ids=["head", "stream"])
async def test_a_provider_that_falls_silent_ends_it(relay: MemoryRelay, answered: bytes) -> None:
    upstream = left(relay, answered)
    assert isinstance(upstream.protocol, UpstreamConnection)
    # its own times hold on
    assert upstream.protocol.deadline < time.monotonic() + 3600
    upstream.protocol.expired(time.monotonic())
    assert (ended(relay).outcome, ended(relay).estimated) == ("cancelled", True)
    assert ends(relay) == {"unreported": 1}


async def test_a_provider_that_breaks_off_ends_it(relay: MemoryRelay) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))
    upstream.hang_up(ConnectionResetError())
    assert ended(relay).outcome == "cancelled"
    assert ends(relay) == {"unreported": 1}


async def test_no_other_provider_is_asked_for_nobody(relay_with: RelayWith) -> None:
    relay = draining(relay_with, routes=(Route(name="chat", stable=STABLE, fallback=(CANARY,)),))
    backup = relay.provider("holysheep")
    upstream = left(relay, b"")
    upstream.send(reply({"error": {"message": "later"}}, status="429 Too Many Requests"))
    assert ended(relay).outcome == "cancelled"
    assert backup.transport.sent == b""


async def test_a_caller_that_had_stopped_reading_does_not_hold_it(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.protocol.pause_writing()
    assert upstream.transport.paused
    client.hang_up()
    assert not upstream.transport.paused


async def test_and_it_is_read_to_its_usage(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.protocol.pause_writing()
    client.hang_up()
    upstream.send(REST)
    assert ends(relay) == {"usage": 1}


async def test_a_call_that_waits_for_a_connection_is_sent_for_nobody(relay: MemoryRelay) -> None:
    client = relay.client()
    client.send(call(STREAM_BODY))
    client.hang_up()
    assert ended(relay).outcome == "cancelled"
    assert ends(relay) == {}


async def test_nor_is_the_rest_of_a_call_that_the_provider_does_not_take(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    upstream.protocol.pause_writing()
    client.send(call({**STREAM_BODY, "messages": ["x" * 1_000_000]}))
    client.hang_up()
    assert upstream.transport.aborted
    assert ends(relay) == {}


OCTETS = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\ncontent-length: 99\r\n\r\n{"
REFUSED = reply({"error": {"message": "no"}}, status="400 Bad Request")[:-5]
NOTHING_TO_COME = {
    "another kind of stream": OCTETS,
    "an error": REFUSED,
    "a stream that failed": STREAM_HEAD + chunk(CONTENT + FAILED),
    "all but the end": STREAM_HEAD + chunk(CONTENT + FINISH + DONE),
    "the usage": STREAM_HEAD + chunk(CONTENT + FINISH + USAGE),
}


@pytest.mark.parametrize("name", NOTHING_TO_COME)
async def test_what_cannot_tell_of_usage_is_not_read_on(relay: MemoryRelay, name: str) -> None:
    assert left(relay, NOTHING_TO_COME[name]).transport.aborted
    ended(relay)
    assert ends(relay) == {}


async def test_without_the_policy_it_is_cancelled(relay_with: RelayWith) -> None:
    relay = draining(relay_with, drain=None)
    assert left(relay, STREAM_HEAD + chunk(CONTENT)).transport.aborted
    assert ended(relay).outcome == "cancelled"
    assert ends(relay) == {}


@pytest.mark.parametrize(("most", "workers", "kept"), [(3, 1, 3), (7, 2, 3), (0, 1, 0)])
async def test_so_many_are_read_on_in_the_pod_and_no_more(
    relay_with: RelayWith, most: int, workers: int, kept: int
) -> None:
    relay = draining(
        relay_with,
        {"max_drained_answers": most, "workers": workers},
        queue=Queue(concurrency=64, max_depth=64),
    )
    upstreams = [left(relay, STREAM_HEAD + chunk(CONTENT)) for _ in range(kept + 1)]
    assert [one.transport.aborted for one in upstreams] == [False] * kept + [True]
    assert ends(relay) == {"refused": 1}
    assert relay.admission.queue.in_flight == kept
    for one in upstreams[:kept]:
        one.send(REST)
    assert relay.admission.queue.in_flight == 0
    assert len(relay.log.events) == kept + 1


async def test_so_much_of_their_calls_is_kept_and_no_more(relay_with: RelayWith) -> None:
    relay = draining(relay_with)
    words = ["x" * (MOST_WAITING_BYTES // 3)]
    answered = STREAM_HEAD + chunk(CONTENT)
    upstreams = [left(relay, answered, messages=words) for _ in range(3)]
    assert [one.transport.aborted for one in upstreams] == [False, False, True]
    upstreams[0].send(REST)
    assert not left(relay, answered, messages=words).transport.aborted


async def test_a_process_that_ends_reads_nothing_on(relay: MemoryRelay) -> None:
    before = left(relay, STREAM_HEAD + chunk(CONTENT))
    relay.service.stop()
    assert before.transport.aborted
    assert ended(relay).outcome == "cancelled"
    assert ends(relay) == {"stopped": 1}
    assert left(relay, STREAM_HEAD + chunk(CONTENT)).transport.aborted
    assert relay.admission.queue.in_flight == 0


async def test_one_that_raises_frees_its_seat_and_keeps_none_of_the_others(
    relay: MemoryRelay,
) -> None:
    first, second = (left(relay, STREAM_HEAD + chunk(CONTENT)) for _ in range(2))
    tried: set[int] = set()

    def failing(number: int) -> Callable[[], None]:
        def fail() -> None:
            tried.add(number)
            raise OSError("no transport")

        return fail

    for number, upstream in enumerate((first, second)):
        upstream.transport.abort = failing(number)  # type: ignore[method-assign]  # fails as a real one may
    later(relay, SECONDS)
    assert tried == {0, 1}
    assert relay.admission.queue.in_flight == 0
    assert not relay.service.drained_answers.are_any


async def test_where_only_the_usage_is_missing_it_is_waited_for_as_ever_and_then_read_on(
    relay: MemoryRelay,
) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT + FINISH))
    side = relay.side("stable", STABLE.fingerprint)
    assert side.under_way == 1
    later(relay, WAIT_SECONDS)
    assert (side.under_way, side.cancelled) == (0, 1)
    assert not upstream.transport.closed
    upstream.send(chunk(USAGE + DONE) + b"0\r\n\r\n")
    assert (ended(relay).outcome, ended(relay).estimated) == ("cancelled", False)
    # in time it is an answer like any other
    left(relay, STREAM_HEAD + chunk(CONTENT + FINISH)).send(chunk(USAGE + DONE) + b"0\r\n\r\n")
    assert relay.log.events[-1].outcome == "ok"
    assert (side.finished, side.cancelled) == (1, 1)


ONWARD: dict[str, Callable[[Peer], object]] = {
    "tells its usage": lambda upstream: upstream.send(REST),
    "fails": lambda upstream: upstream.send(chunk(FAILED) + b"0\r\n\r\n"),
    "breaks off": lambda upstream: upstream.hang_up(ConnectionResetError()),
    "falls silent": lambda upstream: upstream.protocol.expired(time.monotonic()),
    "sends no HTTP": lambda upstream: upstream.send(b"\x00\r\n"),
}
BEGUN = {
    "nothing": b"",
    "the head": STREAM_HEAD,
    "content": STREAM_HEAD + chunk(CONTENT),
    "a usage so far": STREAM_HEAD + chunk(CONTENT + USAGE + CONTENT),
}


def counted(side: SideCounters) -> tuple[object, ...]:
    kinds = tuple(side.tokens.by_kind())
    counts = tuple(getattr(side, name) for name in ATTEMPT_COUNTS)
    return (*counts, dict(side.timed), dict(side.slow), kinds)


@pytest.mark.parametrize("onward", ONWARD)
@pytest.mark.parametrize("begun", BEGUN)
async def test_a_canary_is_judged_by_what_it_did_for_its_callers_whatever_the_policy(
    relay_with: RelayWith, begun: str, onward: str
) -> None:
    # a limit that everything is over, so that what is slow does not hang on the machine
    objectives = tuple(
        LatencyObjective(signal=signal, max_milliseconds=0.000001)
        for signal in ("FirstToken", "Total", "Overhead")
    )
    route = Route(
        name="chat", stable=STABLE, canary=CANARY, canary_percent=100, objectives=objectives
    )
    found: list[tuple[object, ...]] = []
    for drain in (None, DRAIN):
        relay = draining(relay_with, drain=drain, routes=(route,))
        upstream = left(relay, BEGUN[begun], "holysheep")
        side = relay.side("canary", CANARY.fingerprint)
        found.append(counted(side))
        breakers = relay.tenant.router.breakers
        if drain is not None:
            relay.service.tick()
            # as much as would trip a breaker that counted it
            ONWARD[onward](upstream)
            assert len(relay.log.events) == 1
            found.append(counted(side))
            assert not breakers.take_trips()
    assert found[0] == found[1] == found[2]


async def test_a_probe_of_an_open_breaker_is_free_again_when_its_caller_leaves(
    relay_with: RelayWith,
) -> None:
    route = Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100)
    relay = draining(relay_with, routes=(route,))
    relay.tenant.follow_trip("chat", CANARY.fingerprint, time.monotonic() - 3600)
    probe = left(relay, STREAM_HEAD + chunk(CONTENT), "holysheep")
    assert not probe.transport.closed
    # the next caller probes, and what becomes of the former one's answer lets nobody else do so
    client, upstream = relay.client(), relay.provider("holysheep")
    client.send(call())
    probe.send(REST)
    other, stable = relay.client(), relay.provider()
    other.send(call())
    stable.send(reply())
    assert status(other.transport.taken()) == 200
    upstream.send(reply())
    assert status(client.transport.taken()) == 200
    assert [(one.subject.side, one.probe) for one in relay.log.events] == [
        ("canary", True),
        ("stable", False),
        ("canary", True),
    ]


async def test_its_record_stands_on_the_providers_word(
    relay_with: RelayWith, tmp_path: Path
) -> None:
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    settings = {
        "ledger_url": "https://ledger.test:8443",
        "ledger_token_file": tmp_path / "token",
        "outbox_directory": outbox,
    }
    relay = draining(relay_with, settings)
    records = relay.service.records
    assert records is not None
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))
    assert (records.opened, records.closed) == (1, 0)
    upstream.send(REST)
    assert (records.opened, records.closed) == (1, 1)


async def test_one_whose_end_raises_is_read_on_no_more(relay: MemoryRelay) -> None:
    upstream = left(relay, STREAM_HEAD + chunk(CONTENT))

    def failing(event: UsageEvent) -> None:
        raise OSError("no pipe")

    relay.log.record = failing  # type: ignore[method-assign]  # fails as a real one may
    upstream.send(REST)
    assert [name for name, _ in relay.log.lines] == ["internal_error"]
    assert relay.admission.queue.in_flight == 0
    assert not relay.service.drained_answers.are_any
