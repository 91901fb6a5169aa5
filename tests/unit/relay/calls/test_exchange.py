"""One request's life, through the real connections and parsers, over transports in memory."""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.relay.documents import BACKUP, CANARY, STABLE, provider
from tests.unit.relay.memory import (
    COMPLETION,
    CONTENT,
    DONE,
    STREAM_HEAD,
    USAGE,
    MemoryRelay,
    call,
    chunk,
    dechunked,
    error,
    event,
    fields,
    get,
    reply,
    status,
)

from relay.admission.limiter import ANY_MODEL
from relay_contract.document import (
    LatencyObjective,
    Limits,
    ProviderAuth,
    ProviderModel,
    Queue,
    Route,
    Side,
)

STREAM_BODY = {"model": "gpt-4.1", "stream": True, "messages": []}
Make = Callable[..., MemoryRelay]


async def test_a_unary_call_is_one_write_each_way(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    assert client.send(call()) == b""
    asked = upstream.transport.taken()
    assert asked.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: legacy.test\r\n")
    assert b"authorization" not in asked.lower()

    upstream.send(reply())
    answer = client.transport.taken()
    assert status(answer) == 200
    assert json.loads(answer.partition(b"\r\n\r\n")[2]) == COMPLETION
    assert relay.log.events[0].outcome == "ok"


async def test_the_connection_takes_the_next_call(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    for _ in range(3):
        client.send(call())
        upstream.send(reply())
        assert status(client.transport.taken()) == 200
    assert not client.transport.closed
    assert not upstream.transport.closed


async def test_ids_go_in_and_out_and_the_providers_own_has_another_name(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    client.send(call(headers=f"X-Request-ID: mine-1\r\ntraceparent: {trace}\r\n"))
    asked = fields(upstream.transport.taken())
    assert asked["x-request-id"] == "mine-1"
    assert asked["traceparent"].startswith("00-4bf92f3577b34da6a3ce929d0e0e4736-")
    assert asked["traceparent"] != trace

    upstream.send(reply(headers="x-request-id: theirs-1\r\n"))
    answer = fields(client.transport.taken())
    assert (answer["x-request-id"], answer["x-upstream-request-id"]) == ("mine-1", "theirs-1")


@pytest.mark.parametrize("offered", ["has space", "a" * 129, 'quote"', "new\tline"])
async def test_an_id_that_is_unfit_for_logs_is_replaced(relay: MemoryRelay, offered: str) -> None:
    answer = relay.client().send(get("/v1/models", headers=f"X-Request-ID: {offered}\r\n"))
    assert fields(answer)["x-request-id"].startswith("req_")


async def test_what_is_for_the_relay_alone_stays_here(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    private = (
        "X-Tenant-ID: finance\r\nX-Request-Priority: low\r\nX-Task-Type: t\r\nCookie: a=b\r\n"
        "Connection: x-hop\r\nX-Hop: 1\r\nTE: trailers\r\nOpenAI-Organization: org\r\n"
    )
    client.send(call(headers=private + "OpenAI-Beta: assistants=v2\r\n"))
    asked = fields(upstream.transport.taken())
    assert asked["openai-beta"] == "assistants=v2"
    assert not asked.keys() & {
        *("x-tenant-id", "x-request-priority", "x-task-type", "cookie", "connection"),
        *("x-hop", "te", "openai-organization", "authorization"),
    }


async def test_the_providers_session_does_not_reach_the_client(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(headers="set-cookie: a=b\r\nopenai-version: 1\r\nkeep-alive: 5\r\n"))
    answer = fields(client.transport.taken())
    assert answer["openai-version"] == "1"
    assert not answer.keys() & {"set-cookie", "keep-alive"}


async def test_a_stream_passes_event_by_event_and_hides_the_usage_it_forced(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    assert b'{"stream_options":{"include_usage":true},' in upstream.transport.taken()

    upstream.send(STREAM_HEAD + chunk(CONTENT))
    first = client.transport.taken()
    assert fields(first)["x-accel-buffering"] == "no"
    assert dechunked(first.partition(b"\r\n\r\n")[2]) == CONTENT

    upstream.send(chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n")
    rest = client.transport.taken()
    assert dechunked(rest) == CONTENT + DONE
    assert rest.endswith(b"0\r\n\r\n")
    tokens = relay.log.events[0].tokens
    assert tokens is not None
    assert (tokens.input, tokens.output) == (9, 4)


async def test_usage_that_was_asked_for_is_shown(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY | {"stream_options": {"include_usage": True}}))
    upstream.send(STREAM_HEAD + chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n")
    assert USAGE in dechunked(client.transport.taken().partition(b"\r\n\r\n")[2])


async def test_a_stream_that_ends_early_says_so_in_an_event(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.transport.taken()
    upstream.hang_up()
    rest = dechunked(client.transport.taken())
    assert json.loads(rest.removeprefix(b"data: "))["error"]["code"] == "upstream_truncated"
    assert client.transport.closed
    assert relay.log.events[0].outcome == "truncated"


async def test_a_unary_answer_that_ends_early_is_a_clean_error(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply()[:-10])
    upstream.hang_up()
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "upstream_truncated")


async def test_a_large_unary_answer_that_ends_early_is_cut(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(b"x" * 100_000)[:-10])
    assert status(client.transport.taken()) == 200
    upstream.hang_up()
    assert client.transport.aborted


async def test_a_client_that_leaves_frees_its_provider_at_once(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.hang_up()
    assert upstream.transport.aborted
    left = relay.log.events[0]
    assert (left.outcome, left.client_gone, left.estimated) == ("cancelled", True, True)
    assert relay.admission.queue.in_flight == 0


async def test_a_slow_reader_stops_the_provider_and_a_fast_one_lets_it_go_on(
    relay: MemoryRelay,
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    client.protocol.pause_writing()
    assert upstream.transport.paused
    client.protocol.resume_writing()
    assert not upstream.transport.paused


ERRORS = {
    "bad request": (400, {"error": {"message": "no", "code": "context_length_exceeded"}}, 400),
    "not found": (404, {"error": {"message": "no"}}, 404),
    "server error": (500, {"error": {"message": "boom"}}, 500),
}


@pytest.mark.parametrize("name", ERRORS)
async def test_a_providers_own_error_is_passed_on(relay: MemoryRelay, name: str) -> None:
    theirs, body, ours = ERRORS[name]
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(body, status=f"{theirs} X"))
    answer = client.transport.taken()
    assert (status(answer), json.loads(answer.partition(b"\r\n\r\n")[2])) == (ours, body)


@pytest.mark.parametrize(("theirs", "ours"), [(500, 502), (502, 502), (418, 418)])
async def test_an_error_without_shape_gets_ours(relay: MemoryRelay, theirs: int, ours: int) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(b"<html>", status=f"{theirs} X"))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (ours, "upstream_error")


@pytest.mark.parametrize("theirs", [401, 403])
async def test_the_relays_own_credential_is_not_the_callers_fault(
    relay: MemoryRelay, theirs: int
) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply({"error": {"code": "invalid_api_key"}}, status=f"{theirs} X"))
    answer = client.transport.taken()
    assert (status(answer), error(answer)["code"]) == (502, "upstream_unauthorized")
    assert fields(answer)["x-should-retry"] == "false"


async def test_a_throttled_provider_says_when(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply({"error": {}}, status="429 X", headers="retry-after: 7\r\n"))
    answer = client.transport.taken()
    assert (status(answer), fields(answer)["retry-after"]) == (429, "7")
    side = relay.side("stable", STABLE.fingerprint)
    assert (side.throttled, side.failed, side.finished) == (1, 0, 1)


@pytest.mark.parametrize("refusal", ["429 X", "503 X"])
async def test_what_was_not_processed_is_tried_at_the_next(relay_with: Make, refusal: str) -> None:
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),))
    client, first, second = relay.client(), relay.provider(), relay.provider("backup")
    client.send(call())
    first.send(reply({"error": {}}, status=refusal))
    assert client.transport.taken() == b""
    second.send(reply())
    assert status(client.transport.taken()) == 200
    assert [e.subject.side for e in relay.log.events] == ["stable", "fallback"]


async def test_what_may_have_been_processed_is_never_repeated(relay_with: Make) -> None:
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),))
    client, first, second = relay.client(), relay.provider(), relay.provider("backup")
    client.send(call())
    first.hang_up(ConnectionResetError())
    assert status(client.transport.taken()) == 502
    assert second.transport.taken() == b""


async def test_a_provider_that_says_nothing_is_slow_long_before_it_is_given_up(
    relay_with: Make,
) -> None:
    objectives = (
        LatencyObjective(signal="FirstToken", max_milliseconds=1500),
        LatencyObjective(signal="Total", max_milliseconds=9000),
    )
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, objectives=objectives),))
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    admission, began = relay.admission, time.monotonic()
    side = relay.side("stable", STABLE.fingerprint)
    for waited, slow in ((1.0, (0, 0)), (2.0, (1, 0)), (3.0, (1, 0)), (10.0, (1, 1))):
        admission.tick(began + waited)
        assert (side.slow["FirstToken"], side.slow["Total"]) == slow
    # it answers after all: what was counted is not counted twice
    upstream.send(reply())
    assert status(client.transport.taken()) == 200
    assert (side.timed["FirstToken"], side.timed["Total"]) == (1, 1)
    assert (side.slow["FirstToken"], side.slow["Total"]) == (1, 1)


@pytest.mark.parametrize(("reads", "slow"), [(False, 0), (True, 1)])
async def test_time_in_which_the_caller_does_not_read_is_none_of_the_providers(
    relay_with: Make, reads: bool, slow: int
) -> None:
    objectives = (LatencyObjective(signal="Total", max_milliseconds=100_000),)
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, objectives=objectives),))
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    upstream.send(STREAM_HEAD + chunk(CONTENT))
    if not reads:
        client.protocol.pause_writing()
    relay.admission.tick(time.monotonic() + 200)
    if not reads:
        client.protocol.resume_writing()
    upstream.send(chunk(DONE) + b"0\r\n\r\n")
    side = relay.side("stable", STABLE.fingerprint)
    assert (side.timed["Total"], side.slow["Total"]) == (1, slow)


async def test_a_stream_that_reports_as_it_goes_is_charged_as_it_goes(relay_with: Make) -> None:
    relay = relay_with(limits=Limits(tokens_per_minute=6000, burst_seconds=600))
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    admission = relay.admission
    (bucket,) = admission.limiter._models[ANY_MODEL].tokens
    held, now = bucket.held, time.monotonic()
    choices = [{"index": 0, "delta": {"content": "hi"}}]
    so_far = {"prompt_tokens": 300, "completion_tokens": 400}
    upstream.send(STREAM_HEAD + chunk(event({"choices": choices, "usage": so_far})))
    admission.tick(now)
    assert bucket.spent(now) == pytest.approx(700, abs=20)
    assert 0 < bucket.held < held
    so_far["completion_tokens"] = 500
    ending = event({"choices": choices, "usage": so_far}) + DONE
    upstream.send(chunk(ending) + b"0\r\n\r\n")
    assert bucket.spent(now) == pytest.approx(800, abs=20)
    assert bucket.held == 0


async def test_a_silent_stream_is_kept_with_comments_between_events(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    admission, now = relay.admission, time.monotonic()
    asked_for = STREAM_BODY | {"stream_options": {"include_usage": True}}
    client.send(call(asked_for))
    admission.tick(now + 100)
    assert client.transport.taken() == b""  # the status is still open
    upstream.send(STREAM_HEAD)
    client.transport.taken()
    admission.tick(now + 10)
    assert client.transport.taken() == b""
    admission.tick(now + 20)
    admission.tick(now + 21)
    assert client.transport.taken() == chunk(b": keep-alive\n\n")
    upstream.send(chunk(CONTENT[:9]))
    client.transport.taken()
    admission.tick(now + 60)
    assert client.transport.taken() == b""  # inside an event
    upstream.send(chunk(CONTENT[9:]))
    client.transport.taken()
    client.protocol.pause_writing()
    admission.tick(now + 90)
    assert client.transport.taken() == b""  # nobody reads
    client.protocol.resume_writing()
    admission.tick(now + 90)
    assert client.transport.taken() == chunk(b": keep-alive\n\n")
    upstream.send(chunk(DONE) + b"0\r\n\r\n")
    admission.tick(now + 200)
    assert client.transport.taken() == chunk(DONE) + b"0\r\n\r\n"


async def test_a_unary_answer_is_never_commented(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply(b"x" * 100_000)[:90_000])
    client.transport.taken()
    admission = relay.admission
    admission.tick(time.monotonic() + 100)
    assert client.transport.taken() == b""


async def test_a_canary_falls_back_to_stable(relay_with: Make) -> None:
    relay = relay_with(
        routes=(Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100),)
    )
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    client.send(call())
    canary.send(reply({"error": {}}, status="503 X"))
    stable.send(reply())
    assert status(client.transport.taken()) == 200
    assert relay.side("canary", CANARY.fingerprint).failed == 1


async def test_a_canary_that_fails_hard_loses_its_traffic(relay_with: Make) -> None:
    relay = relay_with(
        routes=(Route(name="chat", stable=STABLE, canary=CANARY, canary_percent=100),)
    )
    client, stable, canary = relay.client(), relay.provider(), relay.provider("holysheep")
    for _ in range(5):
        client.send(call())
        canary.send(reply({"error": {"message": "boom"}}, status="500 X"))
        assert status(client.transport.taken()) == 500
    canary.transport.taken()
    client.send(call())
    assert canary.transport.taken() == b""
    stable.send(reply())
    assert status(client.transport.taken()) == 200
    report = relay.service.report()
    name = ("uid-1", "chat", CANARY.fingerprint)
    assert report["relay_slo_breaker_open"] == [(name, 1)]
    assert report["relay_slo_breaker_trips_total"] == [(name, 1)]


async def test_a_missing_key_is_the_platforms_lack_and_counts_against_no_side(
    relay_with: Make,
) -> None:
    keyed = provider("legacy", auth=ProviderAuth(key_file="legacy"))
    relay = relay_with(providers=(keyed,), routes=(Route(name="chat", stable=STABLE),))
    relay.provider()
    answer = relay.client().send(call())
    assert (status(answer), error(answer)["code"]) == (503, "upstream_key_missing")
    side = relay.side("stable", STABLE.fingerprint)
    assert (side.started, side.finished, side.failed) == (0, 0, 0)
    assert [name for name, _ in relay.log.lines] == ["upstream_key_missing"]


async def test_a_key_is_read_at_the_moment_it_is_needed(relay_with: Make) -> None:
    keyed = provider("legacy", auth=ProviderAuth(header="api-key", scheme="", key_file="legacy"))
    relay = relay_with(providers=(keyed,), routes=(Route(name="chat", stable=STABLE),))
    upstream = relay.provider()
    (relay.settings.upstream_keys_directory / "legacy").write_text("secret-1\n")
    relay.client().send(call(headers="Api-Key: of the caller\r\n"))
    asked = upstream.transport.taken()
    assert fields(asked)["api-key"] == "secret-1"
    assert b"of the caller" not in asked


async def test_models_are_renamed_on_the_way(relay_with: Make) -> None:
    named = provider("legacy", models=(ProviderModel(name="gpt-4.1", upstream_name="up-1"),))
    relay = relay_with(providers=(named,), routes=(Route(name="chat", stable=STABLE),))
    upstream = relay.provider()
    relay.client().send(call(b'{"model" : "gpt-4.1", "seed": 1e0}'))
    assert upstream.transport.taken().endswith(b'{"model" : "up-1", "seed": 1e0}')


async def test_an_unknown_model_names_those_that_exist(relay: MemoryRelay) -> None:
    answer = relay.client().send(call({"model": "gpt-5", "messages": []}))
    assert (status(answer), error(answer)["code"]) == (404, "model_not_found")
    assert "gpt-4.1" in error(answer)["message"]


async def test_limits_are_told_on_every_answer(relay_with: Make) -> None:
    relay = relay_with(limits=Limits(requests_per_minute=6, tokens_per_minute=60_000))
    client, upstream = relay.client(), relay.provider()
    client.send(call())
    upstream.send(reply())
    answer = fields(client.transport.taken())
    assert answer["x-ratelimit-limit-requests"] == "6"
    assert answer["x-ratelimit-remaining-requests"] == "0"
    assert answer["x-ratelimit-limit-tokens"] == "60000"
    refused = client.send(call())
    assert (status(refused), error(refused)["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(fields(refused)["retry-after"]) <= 10
    assert int(fields(refused)["retry-after-ms"]) <= 10_000


async def test_a_full_queue_refuses_and_a_free_seat_calls_the_next(relay_with: Make) -> None:
    relay = relay_with(queue=Queue(concurrency=1, max_depth=1))
    clients = [relay.client() for _ in range(3)]
    first, second = relay.provider(), relay.provider()
    answers = [client.send(call()) for client in clients]
    assert [status(a) if a else 0 for a in answers] == [0, 0, 429]
    assert error(answers[2])["code"] == "queue_full"
    asked = [p for p in (first, second) if p.transport.taken()]
    assert len(asked) == 1


async def test_a_client_that_leaves_the_queue_leaves_nothing(relay_with: Make) -> None:
    relay = relay_with(queue=Queue(concurrency=1, max_depth=1))
    clients = [relay.client() for _ in range(2)]
    relay.provider()
    for client in clients:
        client.send(call())
    for client in clients:
        client.hang_up()
    admission = relay.admission
    assert (admission.queue.depth, admission.queue.in_flight) == (0, 0)


async def test_a_request_ends_with_the_snapshot_it_began_with(relay: MemoryRelay) -> None:
    from tests.unit.relay.documents import document

    client, upstream = relay.client(), relay.provider()
    former = relay.pool("legacy")
    request = call()
    client.send(request[:-5])
    relay.install(
        document(
            generation=2,
            providers=(provider("other"),),
            routes=(Route(name="r", stable=Side(provider="other", fingerprint="dddddddddddd")),),
        )
    )
    assert upstream.transport.closed
    upstream.hang_up()
    assert former.closed
    client.send(request[-5:])
    # a connection is being opened for it
    assert not former.closed


async def test_without_a_document_calls_are_told_so(tmp_path: Path) -> None:
    relay = MemoryRelay(None, tmp_path)
    answer = relay.client().send(call())
    assert (status(answer), error(answer)["code"]) == (503, "relay_not_ready")


async def test_head_gets_a_head(relay: MemoryRelay) -> None:
    answer = relay.client().send(get("/v1/models", method="HEAD"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert (status(answer), body) == (200, b"")
    assert b"content-length:" in head


async def test_me_says_who_and_what_is_left(relay_with: Make) -> None:
    relay = relay_with(limits=Limits(requests_per_minute=60), replicas=2)
    answer = relay.client().send(get("/v1/me"))
    me = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert me["tenant"] == "finance"
    no_limits = {"requests_per_minute": None, "tokens_per_minute": None}
    assert me["api_key"] == {
        "name": "production",
        "generation": "current",
        "priority": "high",
        "limits": no_limits,
    }
    assert (me["limits"]["scope"], me["limits"]["share"]) == ("PerReplicaShare", 0.5)


async def test_an_error_event_inside_a_200_is_a_failure(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    client.send(call(STREAM_BODY))
    late = event({"error": {"message": "overloaded", "type": "server_error"}})
    upstream.send(STREAM_HEAD + chunk(CONTENT + late) + b"0\r\n\r\n")
    assert late in client.transport.taken()
    assert relay.log.events[0].outcome == "failed"


async def test_neither_prompts_nor_keys_are_in_what_is_logged(relay: MemoryRelay) -> None:
    client, upstream = relay.client(), relay.provider()
    secret = {"role": "user", "content": "planted-secret"}
    client.send(
        call({"model": "gpt-4.1", "messages": [secret]}, headers="X-Odd: planted-secret\r\n")
    )
    upstream.send(reply())
    logged = repr(relay.log.events) + repr(relay.log.lines) + repr(relay.service.report())
    assert "planted-secret" not in logged
    assert "sk-relay-finance" not in logged


async def test_no_call_waits_for_the_collector(relay_with: Make) -> None:
    relay = relay_with(
        routes=(
            Route(
                name="chat", stable=STABLE, canary=CANARY, canary_percent=100, fallback=(BACKUP,)
            ),
        )
    )
    client, stable = relay.client(), relay.provider()
    canary, backup = relay.provider("holysheep"), relay.provider("backup")

    def calls() -> None:
        client.send(call())
        canary.send(reply())
        client.send(call(STREAM_BODY))
        canary.send(STREAM_HEAD + chunk(CONTENT + USAGE + DONE) + b"0\r\n\r\n")
        client.send(call())
        for provider_peer in (canary, stable):
            provider_peer.send(reply({"error": {}}, status="503 X"))
        backup.send(reply())
        client.send(call({"model": "unknown", "messages": []}) + get("/v1/models"))
        leaving = relay.client()
        leaving.send(call())
        leaving.hang_up()
        canary_again = relay.provider("holysheep")
        canary.protocol = canary_again.protocol
        canary.transport = canary_again.transport

    calls()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            calls()
        assert gc.collect() == 0
    finally:
        gc.enable()


async def test_nothing_of_an_answer_that_was_given_up_leaves_with_the_next(
    relay_with: Make,
) -> None:
    relay = relay_with(routes=(Route(name="chat", stable=STABLE, fallback=(BACKUP,)),))
    client, first, second = relay.client(), relay.provider(), relay.provider("backup")
    client.send(call(STREAM_BODY))
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    full = json.dumps({"error": {"message": "of the first", "type": "rate_limit_error"}})
    first.send(head + chunk(full.encode()) + b"0\r\n\r\n")
    # a head without a type, and silence: what it is the first bytes will tell
    second.send(head)
    relay.admission.tick(time.monotonic() + 60)
    relay.service.outbox.flush()
    assert client.transport.taken() == b""
    second.send(chunk(CONTENT + DONE) + b"0\r\n\r\n")
    answer = client.transport.taken()
    assert status(answer) == 200
    assert dechunked(answer.partition(b"\r\n\r\n")[2]) == CONTENT + DONE
    assert [one.outcome for one in relay.log.events] == ["throttled", "ok"]
