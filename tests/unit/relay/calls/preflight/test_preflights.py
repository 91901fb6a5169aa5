"""Preflights of one worker: when they probe, what they ask, and that nothing of them stays behind."""

import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.relay.documents import CANARY, STABLE, document, provider
from tests.unit.relay.memory import (
    CONTENT,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    Peer,
    chunk,
    event,
    reply,
)

from relay.dialect.request_body import OutputBound
from relay_contract.document import Document, ProviderLimits, Route, Side
from relay_contract.tools.manifest import Manifest, revision

Make = Callable[..., MemoryRelay]
STREAM = (
    STREAM_HEAD
    + chunk(
        CONTENT
        + event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        + USAGE
        + b"data: [DONE]\n\n"
    )
    + b"0\r\n\r\n"
)


def asking(token: str | None = "t/1", *, name: str = "chat", canary: Side = CANARY) -> Route:
    return Route(name=name, stable=STABLE, canary=canary, preflight=token)


def state(relay: MemoryRelay) -> tuple[str, str]:
    (row,) = relay.service.preflights.rows()
    return row[3], row[4]


async def turns() -> None:
    for _ in range(4):
        await asyncio.sleep(0)


async def asked(peer: Peer) -> tuple[str, dict[str, Any]]:
    """Returns path and body of what the provider was asked last."""
    await turns()
    head, _, body = peer.transport.taken().partition(b"\r\n\r\n")
    return head.split()[1].decode(), json.loads(body)


def begin(relay: MemoryRelay) -> Peer:
    peer = relay.provider("holysheep")
    relay.service.preflights.take_duty(on_duty=True, passed=[])
    return peer


async def test_a_worker_without_the_duty_asks_nothing(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    peer = relay.provider("holysheep")
    relay.service.tick()
    await turns()
    assert peer.transport.sent == b""
    assert state(relay) == ("Running", "")


async def test_a_call_and_a_stream_that_are_answered_pass(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    heard: list[str] = []
    relay.service.preflights.watcher = lambda: heard.append(state(relay)[0])
    peer = begin(relay)
    path, body = await asked(peer)
    assert (path, body["model"]) == ("/v1/chat/completions", "gpt-4.1")
    peer.send(reply())
    await turns()
    path, body = await asked(peer)
    assert (path, body["stream"]) == ("/v1/chat/completions", True)
    peer.send(STREAM)
    await turns()
    assert heard[-1] == "Passed"
    relay.service.preflights.tick(time.monotonic() + 600)
    await turns()
    assert peer.transport.sent == b""
    assert [line.subject.side for line in relay.log.events] == ["preflight", "preflight"]
    assert [line.subject.manifest_revision for line in relay.log.events] == ["", ""]


async def test_what_a_probe_used_names_the_tenants_tool_manifest(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),), tools=Manifest())
    peer = begin(relay)
    await asked(peer)
    peer.send(reply())
    await turns()
    (line,) = relay.log.events
    assert line.subject.manifest_revision == revision(Manifest(), "uid-1")


async def test_what_another_worker_has_passed_is_not_repeated(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    peer = relay.provider("holysheep")
    relay.service.preflights.take_duty(on_duty=True, passed=[("uid-1", "chat", "t/1")])
    await turns()
    assert (peer.transport.sent, state(relay)) == (b"", ("Passed", ""))


async def test_pauses_after_failures_double_up_to_a_minute(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    peer = begin(relay)
    for pause in (5, 10, 20, 40, 60, 60):
        await asked(peer)
        peer.send(reply({"error": {"message": "no"}}, status="500 X"))
        await turns()
        assert state(relay) == ("Failed", "ServerError")
        relay.service.preflights.tick(time.monotonic() + pause - 1)
        await turns()
        assert peer.transport.sent == b""
        relay.service.preflights.tick(time.monotonic() + pause)
        await turns()
        assert peer.transport.sent != b""


async def test_another_token_or_another_address_is_probed_at_once_and_other_limits_are_not(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=(asking(),))
    peer = begin(relay)
    failing = reply({"error": {"message": "no"}}, status="500 X")

    def renewed(generation: int, **changes: Any) -> Document:
        fields = {"generation": generation, "routes": (asking(),)}
        return document(**(fields | changes))

    await asked(peer)
    peer.send(failing)
    await turns()
    limited = provider("holysheep", limits=ProviderLimits(requests_per_minute=100))
    relay.install(renewed(2, providers=(provider("legacy"), limited)))
    await turns()
    assert peer.transport.sent == b""
    relay.install(renewed(3, routes=(asking("t/2"),)))
    await asked(peer)
    peer.send(failing)
    await turns()
    moved = Side(provider="holysheep", model="gpt-5", fingerprint="dddddddddddd")
    relay.install(renewed(4, routes=(asking("t/2", canary=moved),)))
    assert (await asked(peer))[1]["model"] == "gpt-5"


async def test_a_passed_preflight_is_probed_again_at_another_address_and_under_other_limits_is_not(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=(asking(),))
    relay.service.preflights.take_duty(on_duty=True, passed=[("uid-1", "chat", "t/1")])

    def renewed(generation: int, **fields: Any) -> Document:
        providers = (provider("legacy"), provider("holysheep", **fields))
        return document(generation=generation, providers=providers, routes=(asking(),))

    peer = relay.provider("holysheep")
    relay.install(renewed(2, limits=ProviderLimits(requests_per_minute=100)))
    await turns()
    assert (peer.transport.sent, state(relay)) == (b"", ("Passed", ""))
    relay.install(renewed(3, headers={"x-region": "eu"}))
    await asked(peer)
    assert state(relay) == ("Running", "")
    peer.send(reply({"error": {"message": "no"}}, status="500 X"))
    await turns()
    assert state(relay) == ("Failed", "ServerError")
    relay.install(renewed(4))
    assert relay.service.preflights.rows() == [("uid-1", "chat", "t/1", "Running", "", "")]
    assert (await asked(peer))[0] == "/v1/chat/completions"


async def test_a_quota_without_room_delays_no_probe_and_one_with_room_is_charged(
    relay_with: Make,
) -> None:
    limited = provider("holysheep", limits=ProviderLimits(requests_per_minute=1))
    relay = relay_with(providers=(provider("legacy"), limited), routes=(asking(),))
    peer = begin(relay)
    for answer in (reply(), STREAM):
        await asked(peer)
        peer.send(answer)
        await turns()
    assert state(relay) == ("Passed", "")


async def test_probes_teach_nothing_about_the_calls_of_the_tenant(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    estimator = relay.tenant.recorder.estimator

    def held() -> int:
        open_bound = OutputBound(tokens=None, choices=1)
        return estimator.estimate(
            "gpt-4.1", text_bytes=400, attachments=0, bound=open_bound
        ).output_tokens

    before = held()
    peer = begin(relay)
    await asked(peer)
    peer.send(reply())
    await turns()
    assert relay.log.events
    assert held() == before


async def test_a_provider_that_asks_to_be_left_alone_is_not_passed_over_by_callers_for_a_probe(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=(asking(),))
    peer = begin(relay)
    await asked(peer)
    headers = "content-type: application/json\r\nretry-after: 30\r\n"
    peer.send(reply({"error": {"message": "later"}}, status="429 X", headers=headers))
    await turns()
    assert state(relay) == ("Failed", "Throttled")
    assert not relay.tenant.router.cool_downs.any


async def test_a_call_whose_time_is_up_is_given_up(relay_with: Make) -> None:
    relay = relay_with(routes=(asking(),))
    peer = begin(relay)
    await asked(peer)
    relay.service.preflights.tick(time.monotonic() + 31)
    assert state(relay) == ("Failed", "Unreachable")
    assert peer.transport.aborted
    assert [line.outcome for line in relay.log.events] == ["timeout"]


async def test_a_route_that_names_no_model_passes_with_any_answer_of_the_provider(
    relay_with: Make,
) -> None:
    bare = provider("holysheep", models=())
    relay = relay_with(providers=(provider("legacy", models=()), bare), routes=(asking(),))
    peer = begin(relay)
    await asked(peer)
    peer.send(reply({"error": {"message": "no such model"}}, status="404 X"))
    await turns()
    assert state(relay) == ("Passed", "")


async def test_few_probes_are_under_way_at_once(relay_with: Make) -> None:
    routes = tuple(asking(f"t/{number}", name=f"chat-{number}") for number in range(20))
    relay = relay_with(routes=routes)
    peers = [relay.provider("holysheep") for _ in range(20)]
    relay.service.preflights.take_duty(on_duty=True, passed=[])
    await turns()
    assert sum(peer.transport.sent != b"" for peer in peers) == 4
    assert relay.service.preflights.under_way == 4
    # those that hang give way to those that were not probed yet
    for turn in (1, 2, 3, 4):
        relay.service.preflights.tick(time.monotonic() + 31 * turn)
        await turns()
    assert sum(peer.transport.sent != b"" for peer in peers) == 20


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("document"), st.sampled_from(["t/1", "t/2", None])),
        st.tuples(st.just("duty"), st.booleans()),
        st.tuples(st.just("tick"), st.sampled_from([0, 6, 31, 61])),
        st.tuples(
            st.just("answer"),
            st.sampled_from(
                [
                    reply(),
                    STREAM,
                    STREAM[:200],
                    reply(b""),
                    reply(b"<html>", headers="content-type: text/html\r\n"),
                    reply({"error": {"message": "max_tokens"}}, status="400 X"),
                    reply({"error": {"message": "not a chat model"}}, status="404 X"),
                    reply({"error": {}}, status="429 X"),
                    b"garbage\r\n\r\n",
                ]
            ),
        ),
        st.tuples(st.just("hang up"), st.none()),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(steps=STEPS)
def test_whatever_happens_every_gauge_is_back_at_zero_once_nothing_is_asked_for(
    steps: list[tuple[str, Any]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_play(steps, Path(directory)))


async def _play(steps: list[tuple[str, Any]], directory: Path) -> None:
    limits = ProviderLimits(requests_per_minute=600, tokens_per_minute=60_000)
    providers = (provider("legacy"), provider("holysheep", limits=limits))
    relay = MemoryRelay(document(providers=providers, routes=(asking(None),)), directory)
    peers: list[Peer] = []
    generation, shift = 1, 0.0

    def stock() -> None:
        # what a probe asks for is there, so that none is opened
        while len(peers) < 200 and len(relay.pool("holysheep")._idle) < 4:
            peers.append(relay.provider("holysheep"))

    stock()
    for step, value in steps:
        if step == "document":
            generation += 1
            relay.install(
                document(providers=providers, routes=(asking(value),), generation=generation)
            )
        elif step == "duty":
            relay.service.preflights.take_duty(on_duty=value, passed=[])
        elif step == "tick":
            shift += value
            relay.service.preflights.tick(time.monotonic() + shift)
        else:
            busy = [peer for peer in peers if peer.transport.sent and not peer.transport.closed]
            if busy:
                busy[0].transport.taken()
                busy[0].hang_up() if step == "hang up" else busy[0].send(value)
        await turns()
        stock()
    relay.install(document(providers=providers, routes=(asking(None),), generation=generation + 1))
    await turns()
    assert relay.service.preflights.rows() == []
    assert relay.service.preflights.under_way == 0
    assert relay.tenant.recorder.slo.side("chat", "preflight", CANARY.fingerprint).under_way == 0
    assert relay.side("canary", CANARY.fingerprint).started == 0
    assert not relay.pool("holysheep")._waiting
    events = relay.log.events
    assert len({line.attempt_id for line in events}) == len(events)
    errors = [fields for name, fields in relay.log.lines if name == "internal_error"]
    assert errors == []
