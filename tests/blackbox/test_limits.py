"""The tenant's rate limits, and the correct time to retry in each refusal."""

from typing import Any

from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.tenant import (
    KEY,
    MODEL,
    MODELS,
    OTHER_KEY,
    WIDE_QUEUE,
    Platform,
    api_key,
    route,
)
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer, request_bytes

from relay_contract.document import Breaker, Document, Limits, ModelLimit, ProviderLimits, Queue

ONE_SEAT = {"concurrency": 1, "max_depth": 100, "max_wait_seconds": 30}


def limited(relay: Relay, platform: Platform, **fields: Any) -> None:
    relay.push(platform.document(limits=Limits(**fields)))


def waits(answer: Answer) -> float:
    """Returns the seconds to wait from the refusal; asserts that both headers agree."""
    seconds = int(answer.header("retry-after") or "-1")
    milliseconds = answer.header("retry-after-ms")
    if milliseconds is not None:
        assert seconds - 1 <= int(milliseconds) / 1000 <= seconds
        return int(milliseconds) / 1000
    return float(seconds)


def test_calls_within_the_burst_pass_and_the_next_is_refused_with_429(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    limited(relay, platform, requests_per_minute=60, burst_seconds=5)
    statuses = [relay.chat().status for _ in range(7)]
    assert statuses[:5] == [200] * 5
    assert statuses[-1] == 429
    assert stable.calls() == statuses.count(200) <= 6


def test_a_refusal_names_the_limit_and_the_time_after_which_a_call_passes(
    relay: Relay, platform: Platform
) -> None:
    limited(relay, platform, requests_per_minute=60, burst_seconds=1)
    relay.chat()
    refused = relay.chat()
    assert (refused.status, refused.error()["code"]) == (429, "rate_limit_exceeded")
    assert refused.error()["type"] == "requests"
    assert 0 < waits(refused) <= 1
    assert refused.header("x-ratelimit-remaining-requests") == "0"
    eventually(
        lambda: relay.chat().status,
        lambda status: status == 200,
        within_seconds=waits(refused) + 1,
        what="the call after retry-after",
    )


def test_refused_calls_do_not_delay_the_time_to_retry(relay: Relay, platform: Platform) -> None:
    limited(relay, platform, requests_per_minute=60, burst_seconds=1)
    relay.chat()
    assert all(waits(relay.chat()) <= 1 for _ in range(20))


def test_a_models_limit_applies_to_that_model_only(relay: Relay, platform: Platform) -> None:
    one = ModelLimit(name=MODEL, requests_per_minute=6)
    limited(relay, platform, models=(one,), burst_seconds=10)
    assert [relay.chat().status for _ in range(2)] == [200, 429]
    assert [relay.chat(model=MODELS[1]).status for _ in range(5)] == [200] * 5


def test_a_keys_limit_applies_to_that_key_only(relay: Relay, platform: Platform) -> None:
    keys = (api_key("production", KEY, requests_per_minute=6), api_key("staging", OTHER_KEY))
    relay.push(platform.document(keys=keys, limits=Limits(requests_per_minute=6000)))
    assert [relay.chat().status for _ in range(2)] == [200, 429]
    assert [relay.chat(key=OTHER_KEY).status for _ in range(5)] == [200] * 5
    refused = relay.chat()
    assert "this API key" in refused.error()["message"]
    assert refused.header("x-ratelimit-limit-requests") == "6"
    assert 0 < waits(refused) <= 10
    me = relay.ask("GET", "/v1/me").json()
    assert me["api_key"]["limits"] == {"requests_per_minute": 6, "tokens_per_minute": None}


def test_tokens_are_held_before_a_call_and_charged_after_it(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    limited(relay, platform, tokens_per_minute=6000, burst_seconds=10)
    stable.behave(prompt_tokens=400, completion_tokens=100)
    first = relay.chat(max_tokens=100)
    assert first.status == 200
    second = relay.chat(max_tokens=100)
    # 1,000 tokens of burst less 500 charged, less what the second holds
    assert int(second.header("x-ratelimit-remaining-tokens") or "-1") <= 500
    refusals = [relay.chat(max_tokens=100) for _ in range(4)]
    assert refusals[-1].status == 429
    assert refusals[-1].error()["type"] == "tokens"
    assert waits(refusals[-1]) <= 60


def test_a_call_above_the_burst_but_within_the_minute_passes_and_leaves_debt(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    limited(relay, platform, tokens_per_minute=6000, burst_seconds=10)
    stable.behave(prompt_tokens=1000, completion_tokens=2000)
    assert relay.chat(max_tokens=3000).status == 200
    refused = relay.chat(max_tokens=10)
    assert refused.status == 429
    # 2,000 tokens of debt are paid back at 100 a second
    assert 15 <= waits(refused) <= 40


def test_a_call_above_a_whole_minutes_limit_is_refused_without_a_time_to_retry(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    limited(relay, platform, tokens_per_minute=60, burst_seconds=10)
    long = [{"role": "user", "content": "word " * 20_000}]
    answer = relay.chat(messages=long, max_tokens=1)
    assert (answer.status, answer.header("x-should-retry")) == (429, "false")
    assert stable.calls() == 0


def test_a_pods_share_is_the_limit_divided_by_the_pods(relay: Relay, platform: Platform) -> None:
    limits = Limits(requests_per_minute=60, burst_seconds=10)
    relay.push(platform.document(limits=limits, replicas=5))
    statuses = [relay.chat().status for _ in range(6)]
    assert statuses.count(200) in (2, 3)


def test_a_new_document_does_not_refill_what_was_spent(relay: Relay, platform: Platform) -> None:
    limited(relay, platform, requests_per_minute=60, burst_seconds=3)
    while relay.chat().status == 200:
        pass
    limited(relay, platform, requests_per_minute=60, burst_seconds=3)
    assert [relay.chat().status for _ in range(2)].count(200) <= 1


def test_a_malformed_or_unauthorised_call_uses_no_quota(relay: Relay, platform: Platform) -> None:
    limited(relay, platform, requests_per_minute=6, burst_seconds=10)
    for _ in range(5):
        relay.chat(key=None)
        relay.chat(model="absent")
        relay.ask("GET", "/v1/models")
    assert relay.chat().status == 200


def test_calls_wait_for_the_tenants_part_of_a_providers_quota_instead_of_failing(
    relay: Relay, platform: Platform, stable: Upstream
) -> None:
    limits = ProviderLimits(requests_per_minute=600)
    relay.push(platform.document(providers=platform.providers(limits=limits)))
    assert {relay.chat().status for _ in range(30)} == {200}
    assert stable.calls() == 30


def test_rejections_are_counted_by_reason(relay: Relay, platform: Platform) -> None:
    def rejected() -> float:
        return relay.metrics().total("relay_rejections_total", reason="requests_limited")

    before = rejected()
    limited(relay, platform, requests_per_minute=6, burst_seconds=10)
    statuses = [relay.chat().status for _ in range(5)]
    eventually(
        rejected,
        lambda seen: seen - before == statuses.count(429),
        what="the count of refused calls",
    )


def tripping(platform: Platform, queue: Queue = WIDE_QUEUE, **requests_per_minute: int) -> Document:
    """Returns a document by which the first failure of the canary, which gets all calls, opens its breaker; with quotas of providers."""
    quotas = {
        name: ProviderLimits(requests_per_minute=quota)
        for name, quota in requests_per_minute.items()
    }
    providers = [
        one.model_copy(update={"limits": quotas.get(one.name, one.limits)})
        for one in platform.providers()
    ]
    breaker = Breaker(min_failures=1, open_seconds=60)
    routes = [route(canary="canary", canary_percent=100, breaker=breaker)]
    return platform.document(providers=providers, routes=routes, queue=queue)


def test_calls_that_an_open_breaker_sends_to_stable_are_charged_to_stables_quota(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    canary.behave(fault="reset")
    queue = WIDE_QUEUE.model_copy(update={"max_wait_seconds": 1})
    relay.push(tripping(platform, stable=2, queue=queue))
    assert relay.chat().status == 502
    assert relay.chat().status == 200
    refused = relay.chat()
    assert (refused.status, refused.error()["code"]) == (429, "upstream_rate_limited")
    assert 1 < waits(refused) <= 30
    assert (stable.calls(), canary.calls()) == (1, 1)


def test_calls_do_not_wait_for_the_quota_of_a_canary_whose_breaker_is_open(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    canary.behave(fault="reset")
    relay.push(tripping(platform, canary=1))
    assert relay.chat().status == 502
    assert [relay.chat().status for _ in range(3)] == [200] * 3
    assert (stable.calls(), canary.calls()) == (3, 1)


def test_calls_that_wait_for_the_quota_of_a_canary_go_to_stable_when_it_fails(
    relay: Relay, platform: Platform, stable: Upstream, canary: Upstream
) -> None:
    # silent for a second, then a failure
    canary.behave(fault="no_answer")
    queue = WIDE_QUEUE.model_copy(update={"max_wait_seconds": 120})
    relay.push(tripping(platform, canary=1, queue=queue))
    with relay.wire() as first, relay.wire() as second, relay.wire() as third:
        for wire in (first, second, third):
            wire.send(request_bytes("POST", CHAT, {"authorization": f"Bearer {KEY}"}, chat_body()))
        # whichever came first
        statuses = [wire.answer().status for wire in (first, second, third)]
    assert sorted(statuses) == [200, 200, 504]
    assert (stable.calls(), canary.calls()) == (2, 1)
