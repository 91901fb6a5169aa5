"""A call is settled with what the ledger charges the tenant for it, however it ends."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.documents import BACKUP, STABLE, provider
from tests.unit.relay.memory import (
    COMPLETION,
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

from relay.budgets.purse import Slice
from relay.http.downstream import ClientConnection
from relay.http.upstream import UpstreamConnection
from relay.outbox.outbox_reader import OutboxReader
from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.event_line import read_event
from relay_contract.billing.token_buckets import TokenBuckets
from relay_contract.document import Drain, Route
from relay_contract.spending import OnAbandoned, Rate, Spending
from relay_ledger.booking.posting import posting_of
from relay_ledger.booking.price_book import Assignment, PriceBook
from relay_ledger.periods.zones import utc_text
from relay_ledger.prices.price_file import price_list_of

HOUR = 3600 * 10**6


def at(price: int) -> dict[str, Any]:
    """Returns prices of which all are the same, in micro-USD per million tokens, which are pico-USD for each."""
    return dict.fromkeys(("input", "cached", "output"), price)


def price_book(dated: list[tuple[str, dict[str, str]]], *, output: str | None = None) -> PriceBook:
    """Makes the tenant's prices of these: those of input, with their times; output costs as much where nothing is said."""
    entries = [
        {"models": ["gpt-4.1"], **span, "prices": {"input": read, "output": output or read}}
        for read, span in dated
    ]
    retail = price_list_of({"name": "retail", "currency": "USD", "entries": entries})
    return PriceBook({"retail": retail}, [Assignment("charge", "uid-1", 0, "retail")])


PRICES = price_book([("2", {})], output="8")
SPENDING = Spending(
    limits=("budget",), rates=(Rate(model="gpt-4.1", **at(2_000_000) | {"output": 8_000_000}),)
)
FAR = 2**53
UNARY = call()
STREAMED = call(
    {"model": "gpt-4.1", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
)
ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]})
FAILED = event({"error": {"message": "no", "type": "server_error"}})
WITHOUT_USAGE = {**COMPLETION, "usage": None}
IN_DOUBT = {**COMPLETION, "usage": {**COMPLETION["usage"], "total_tokens": 5}}
ERROR: dict[str, Any] = {"error": {"message": "no", "type": "server_error"}}
WHOLE = STREAM_HEAD + chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n"
ABANDONED = {
    "a caller that leaves before the answer",
    "a caller that leaves while the answer comes",
}
"""Ends of calls of which nothing has left for the caller, and that no provider has refused or failed."""
Play = tuple[bytes, bytes, str]
"""What is asked, what the provider says, and who leaves then: nobody, the caller, the provider, or the relay ends the caller's connection, or the provider falls silent."""
ENDS: dict[str, Play] = {
    "whole": (UNARY, reply(), ""),
    "whole without usage": (UNARY, reply(WITHOUT_USAGE), ""),
    "whole with a usage that cannot be": (UNARY, reply(IN_DOUBT), ""),
    "a whole stream": (STREAMED, WHOLE, ""),
    "a stream without usage": (STREAMED, STREAM_HEAD + chunk(CONTENT + DONE) + b"0\r\n\r\n", ""),
    "a refused call": (UNARY, reply(ERROR, status="400 Bad Request"), ""),
    "a failed call": (UNARY, reply(ERROR, status="500 Internal Server Error"), ""),
    "an error under 200": (UNARY, reply(ERROR), ""),
    "an error under 200 with usage": (UNARY, reply({**ERROR, "usage": COMPLETION["usage"]}), ""),
    "no answer of an API": (UNARY, reply(b"<html>"), ""),
    "a stream that fails at once": (STREAMED, STREAM_HEAD + chunk(FAILED) + b"0\r\n\r\n", ""),
    "a stream that fails after its role": (
        STREAMED,
        STREAM_HEAD + chunk(ROLE + FAILED) + b"0\r\n\r\n",
        "",
    ),
    "a caller that leaves before the answer": (UNARY, b"", "caller"),
    "a caller that leaves after the head": (STREAMED, STREAM_HEAD, "caller"),
    "a caller that leaves while the answer comes": (UNARY, reply()[:-20], "caller"),
    "a caller that leaves while a refusal comes": (
        UNARY,
        reply(ERROR, status="400 Bad Request")[:-5],
        "caller",
    ),
    "a caller that leaves while a failure comes": (
        UNARY,
        reply(ERROR, status="500 Internal Server Error")[:-5],
        "caller",
    ),
    "a caller whose connection the relay ends": (UNARY, b"", "relay"),
    "a caller that leaves after the role": (STREAMED, STREAM_HEAD + chunk(ROLE), "caller"),
    "a caller that leaves a stream": (STREAMED, STREAM_HEAD + chunk(CONTENT), "caller"),
    "a caller that leaves after the usage": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT + USAGE),
        "caller",
    ),
    "a provider that closes without a byte": (UNARY, b"", "provider"),
    "a provider that closes after the head": (STREAMED, STREAM_HEAD, "provider"),
    "a provider that closes after the role": (STREAMED, STREAM_HEAD + chunk(ROLE), "provider"),
    "a provider that breaks a stream off": (STREAMED, STREAM_HEAD + chunk(CONTENT), "provider"),
    "a provider that breaks an answer off": (UNARY, reply()[:-20], "provider"),
    "a provider that never answers": (UNARY, b"", "silence"),
    "a provider that falls silent after the head": (STREAMED, STREAM_HEAD, "silence"),
    "a provider that falls silent in a stream": (STREAMED, STREAM_HEAD + chunk(CONTENT), "silence"),
}


class Clock:
    """Both clocks of the process, which a test sets forward."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ahead = 0
        wall, steady = time.time_ns, time.monotonic
        monkeypatch.setattr(time, "time_ns", lambda: wall() + self._ahead * 1000)
        monkeypatch.setattr(time, "monotonic", lambda: steady() + self._ahead / 10**6)

    @property
    def wall(self) -> int:
        return time.time_ns() // 10**9 * 10**6

    def go_on(self, microseconds: int) -> None:
        self._ahead += microseconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize("on_abandoned", [None, "Waive", "Charge"])
@pytest.mark.parametrize("name", ENDS)
async def test_a_call_is_settled_with_what_the_ledger_charges_for_it(
    relay_with: Callable[..., MemoryRelay],
    tmp_path: Path,
    name: str,
    on_abandoned: OnAbandoned | None,
) -> None:
    spending = SPENDING.model_copy(update={"on_abandoned": on_abandoned})
    relay, part = bounded(relay_with, tmp_path, spending)
    await play(relay, *ENDS[name])
    assert (part.spent, part.held) == (charged_for(tmp_path, PRICES), 0)
    (record,) = closed_in(tmp_path)
    assert record.abandoned == (on_abandoned == "Charge" and name in ABANDONED)
    if record.abandoned:
        # the input in full, at the least
        assert part.spent >= 2_000_000 * (record.tokens or TokenBuckets()).input > 0
        assert record.usage_source in ("partial", "provider")


async def test_of_a_call_that_was_tried_again_only_the_last_attempt_is_paid_for(
    relay_with: Callable[..., MemoryRelay], tmp_path: Path
) -> None:
    relay, part = bounded(
        relay_with,
        tmp_path,
        SPENDING.model_copy(update={"on_abandoned": "Charge"}),
        routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),),
    )
    client, provider = relay.client(), relay.provider()
    client.send(UNARY)
    backup = relay.provider("backup")
    provider.send(reply(ERROR, status="429 Too Many Requests"))
    assert backup.transport.sent
    client.hang_up()
    await asyncio.sleep(0)
    assert part.spent == charged_for(tmp_path, PRICES) > 0
    assert [one.abandoned for one in closed_in(tmp_path)] == [False, True]


@pytest.mark.parametrize(("on_abandoned", "is_stopped"), [("Waive", False), ("Charge", True)])
async def test_a_hard_budget_stops_a_caller_that_always_leaves_where_it_pays_for_that(
    relay_with: Callable[..., MemoryRelay],
    tmp_path: Path,
    on_abandoned: OnAbandoned,
    is_stopped: bool,
) -> None:
    spending = SPENDING.model_copy(update={"on_abandoned": on_abandoned})
    relay, part = bounded(relay_with, tmp_path, spending)
    asked = call({"model": "gpt-4.1", "max_tokens": 1, "messages": [{"content": "x" * 4000}]})
    # of ten such calls
    part.allowance = 10 * 1000 * 2_000_000
    served = 0
    for _ in range(30):
        client, provider = relay.client(), relay.provider()
        refusal = client.send(asked)
        served += bool(provider.transport.sent)
        if refusal:
            assert status(refusal) == 429
            provider.hang_up()
        client.hang_up()
        await asyncio.sleep(0)
    assert (served < 30) is is_stopped
    assert part.spent == charged_for(tmp_path, PRICES) <= part.allowance
    assert (part.spent > 0) is is_stopped


REST = chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n"
DRAINED: dict[str, tuple[bytes, bytes, bytes, str, int]] = {
    # what is asked, what comes before the caller leaves and after it, who ends it, and the charge that is known by hand
    "a stream": (STREAMED, STREAM_HEAD + chunk(CONTENT), REST, "", 9 * 2_000_000 + 4 * 8_000_000),
    "a stream that the provider breaks off": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT),
        chunk(CONTENT),
        "provider",
        -1,
    ),
    "a stream in which it falls silent": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT),
        b"",
        "silence",
        -1,
    ),
    "a stream that takes too long": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT),
        chunk(CONTENT * 3),
        "seconds",
        -1,
    ),
    "a stream that is too long": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT),
        chunk(CONTENT * 50),
        "",
        -1,
    ),
    "a stream with a usage so far": (
        STREAMED,
        STREAM_HEAD + chunk(CONTENT + USAGE),
        chunk(CONTENT),
        "seconds",
        9 * 2_000_000 + 4 * 8_000_000,
    ),
    "a stream of which nothing had come": (STREAMED, b"", STREAM_HEAD + REST, "", 0),
    "a document": (UNARY, b"", reply(), "", 0),
    "a document of which a part had come": (UNARY, reply()[:-20], reply()[-20:], "", 0),
}


@pytest.mark.parametrize("on_abandoned", ["Waive", "Charge"])
@pytest.mark.parametrize("name", DRAINED)
async def test_so_is_one_that_is_read_on_for_a_caller_who_has_left(
    relay_with: Callable[..., MemoryRelay], tmp_path: Path, name: str, on_abandoned: OnAbandoned
) -> None:
    asked, before, after, ends, known = DRAINED[name]
    drained = provider("legacy", drain=Drain(max_seconds=20, max_tokens=20))
    relay, part = bounded(
        relay_with,
        tmp_path,
        SPENDING.model_copy(update={"on_abandoned": on_abandoned}),
        providers=(drained,),
        routes=(Route(name="chat", stable=STABLE),),
    )
    client, upstream = relay.client(), relay.provider()
    client.send(asked)
    if before:
        upstream.send(before)
    client.hang_up()
    # it goes on, and so does what it has reserved
    assert part.held > 0
    if after:
        upstream.send(after)
    end(relay, upstream, ends)
    await asyncio.sleep(0)
    assert (part.spent, part.held) == (charged_for(tmp_path, PRICES), 0)
    if known == 0 and on_abandoned == "Charge":
        # nothing had reached the caller, and the contract has it pay: the provider's own number
        known = 9 * 2_000_000 + 4 * 8_000_000
    assert (part.spent > 0) is (known != 0)
    assert known in (-1, part.spent)


async def test_a_price_that_changes_in_mid_stream_is_that_of_the_dispatch(
    relay_with: Callable[..., MemoryRelay], tmp_path: Path, clock: Clock
) -> None:
    relay, part, prices = repriced(relay_with, tmp_path, change=clock.wall + HOUR)
    client, provider = relay.client(), relay.provider()
    client.send(STREAMED)
    provider.send(STREAM_HEAD + chunk(CONTENT))
    clock.go_on(2 * HOUR)
    provider.send(chunk(USAGE + DONE) + b"0\r\n\r\n")
    assert part.spent == charged_for(tmp_path, prices) == 13 * 2_000_000


async def test_an_attempt_after_a_change_of_price_has_the_new_one(
    relay_with: Callable[..., MemoryRelay], tmp_path: Path, clock: Clock
) -> None:
    relay, part, prices = repriced(relay_with, tmp_path, change=clock.wall + HOUR)
    client, provider = relay.client(), relay.provider()
    client.send(UNARY)
    clock.go_on(2 * HOUR)
    backup = relay.provider("backup")
    # who has processed nothing is followed by the next one
    provider.send(reply(ERROR, status="429 Too Many Requests"))
    backup.send(reply())
    assert part.spent == charged_for(tmp_path, prices) == 13 * 5_000_000


def repriced(
    relay_with: Callable[..., MemoryRelay], directory: Path, *, change: int
) -> tuple[MemoryRelay, Slice, PriceBook]:
    """Makes a relay whose tenant's prices change at a time, with a fallback, and the ledger's prices beside it."""
    rates = (
        Rate(model="gpt-4.1", ends_at=change, **at(2_000_000)),
        Rate(model="gpt-4.1", starts_at=change, **at(5_000_000)),
    )
    relay, part = bounded(
        relay_with,
        directory,
        SPENDING.model_copy(update={"rates": rates}),
        routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),),
    )
    text = utc_text(change)
    return relay, part, price_book([("2", {"until": text}), ("5", {"from": text})])


def bounded(
    relay_with: Callable[..., MemoryRelay], directory: Path, spending: Spending, **changes: Any
) -> tuple[MemoryRelay, Slice]:
    """Makes a relay that records for a ledger and has leased enough, and returns it with what it has leased."""
    outbox = directory / "outbox"
    outbox.mkdir()
    settings = {
        "ledger_url": "https://ledger.test:8443",
        "ledger_token_file": directory / "token",
        "outbox_directory": outbox,
    }
    relay = relay_with(settings, spending=spending, **changes)
    part = relay.tenant.spender.purse.take(
        0, kind="budget", starts_at=0, ends_at=FAR, allowance=10**15, returns=0, until=float(FAR)
    )
    return relay, part


async def play(relay: MemoryRelay, asked: bytes, answered: bytes, ends: str) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(asked)
    assert relay.tenant.spender.purse.slice_of(0).held > 0  # type: ignore[union-attr]
    if answered:
        upstream.send(answered)
    if ends == "caller":
        client.hang_up()
    elif ends == "relay":
        assert isinstance(client.protocol, ClientConnection)
        client.protocol.abort()
        client.hang_up()
    else:
        end(relay, upstream, ends)
    await asyncio.sleep(0)


def end(relay: MemoryRelay, upstream: Peer, ends: str) -> None:
    """Has a provider break its answer off or fall silent, or the time be over in which it is read on."""
    if ends == "provider":
        upstream.hang_up()
    elif ends == "silence":
        assert isinstance(upstream.protocol, UpstreamConnection)
        upstream.protocol.expired(time.monotonic())
    elif ends == "seconds":
        relay.service.drained_answers.tick(time.monotonic() + 3600)


def charged_for(directory: Path, prices: PriceBook) -> int:
    """Returns what the ledger charges for all that is recorded, in pico-USD."""
    return sum(posting_of(one, prices).charge.pico for one in closed_in(directory))


def closed_in(directory: Path) -> list[AttemptClosed]:
    """Returns all that is recorded; every attempt has ended."""
    reader = OutboxReader(directory / "outbox", "uid-1")
    lines = [parcel.line for parcel in reader.read(0.0, most=10**4)]
    reader.close()
    records = [read_event(line) for line in lines]
    ended = [one for one in records if isinstance(one, AttemptClosed)]
    assert len(ended) == len(records), [json.loads(one) for one in lines]
    assert ended
    return ended
