"""Numbers that a provider reports are believed only as far as the call can have used so much."""

import os
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import Metrics, Relay
from tests.blackbox.scripted import (
    CHAT_ANSWER,
    DONE,
    GOOD_STREAM,
    USAGE_CHUNK,
    ScriptedProvider,
    chunk,
    scripted,
    stream,
    unary,
)
from tests.blackbox.tenant import Platform, provider, route
from tests.blackbox.test_usage import usage_lines

from relay_contract.document import Limits

ABSURD = {
    "the largest of 64 bits": b"9223372036854775807",
    "beyond 64 bits": b"36893488147419103232",
    "a large fraction": b"1e30",
    "32 bits around": b"4294967295",
    "a trillion": b"1000000000000",
    "below zero": b"-1",
    "a part": b"0.5",
    "text": b'"3"',
    "thousands of digits": b"9" * 5000,
}
DIALECTS: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "OpenAI": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95, "prompt_tokens_details": {"cached_tokens": 60}}, {"input": 90, "output": 5, "cached": 60, "reasoning": 0}),
    "DeepSeek": ({"prompt_tokens": 90, "completion_tokens": 5, "prompt_cache_hit_tokens": 60, "prompt_cache_miss_tokens": 30}, {"input": 90, "output": 5, "cached": 60, "reasoning": 0}),
    "Moonshot": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95, "cached_tokens": 60}, {"input": 90, "output": 5, "cached": 60, "reasoning": 0}),
    "vLLM without a count": ({"prompt_tokens": 90, "completion_tokens": 5, "prompt_tokens_details": None}, {"input": 90, "output": 5, "cached": 0, "reasoning": 0}),
    "a gateway to Anthropic": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95, "cache_read_input_tokens": 60}, {"input": 90, "output": 5, "cached": 60, "reasoning": 0}),
    "Anthropic": ({"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 60, "cache_creation_input_tokens": 20}, {"input": 90, "output": 5, "cached": 60, "reasoning": 0}),
    "Gemini, whose total alone has the thoughts": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 150}, {"input": 90, "output": 60, "cached": 0, "reasoning": 0}),
    "xAI": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 150, "completion_tokens_details": {"reasoning_tokens": 55}}, {"input": 90, "output": 60, "cached": 0, "reasoning": 55}),
    "Voyage": ({"total_tokens": 90}, {"input": 90, "output": 0, "cached": 0, "reasoning": 0}),
    "a cached count that cannot be": ({"prompt_tokens": 90, "completion_tokens": 5, "cached_tokens": 91}, {"input": 90, "output": 5, "cached": 0, "reasoning": 0}),
    "a total that cannot be": ({"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 10**15}, {"input": 90, "output": 5, "cached": 0, "reasoning": 0}),
}  # fmt: skip
MOST_BELIEVED = 100_000_000


def asked_thrice(
    relay: Relay, platform: Platform, answer: bytes, **fields: Any
) -> tuple[list[int], Metrics]:
    """The statuses of three calls and one more under a limit of tokens, and what is counted then."""
    with scripted(ScriptedProvider([answer] * 3 + [unary(CHAT_ANSWER)])) as other:
        relay.push(
            platform.document(
                providers=[provider("stable", other.url)],
                routes=[route("stable", "stable")],
                limits=Limits(tokens_per_minute=600_000),
            )
        )
        name = f"absurd-{os.urandom(4).hex()}"
        statuses = [relay.chat(headers={"x-request-id": name}, **fields).status for _ in range(3)]
        lines = usage_lines(relay, name, 3)
        assert [line["estimated"] for line in lines] == [True] * 3
        for line in lines:
            assert all(0 <= count < 10_000 for count in line["tokens"].values())
        relay.metrics()
        metrics = relay.metrics()
        statuses.append(relay.chat(stream=False).status)
    return statuses, metrics


@pytest.mark.parametrize("number", ABSURD.values(), ids=ABSURD)
@pytest.mark.parametrize("name", [b"prompt_tokens", b"completion_tokens"])
@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
def test_a_number_that_cannot_be_true_ends_no_worker_and_shuts_no_limit(
    relay: Relay, platform: Platform, number: bytes, name: bytes, streamed: bool
) -> None:
    former = b'"%b":%d' % (name, 3 if name == b"prompt_tokens" else 1)
    assert former in CHAT_ANSWER
    assert former in GOOD_STREAM
    fresh = b'"%b":%b' % (name, number)
    answer = (
        stream(GOOD_STREAM.replace(former, fresh))
        if streamed
        else unary(CHAT_ANSWER.replace(former, fresh))
    )
    before = relay.metrics().total("relay_usage_unreadable_total")
    statuses, metrics = asked_thrice(relay, platform, answer, stream=streamed)
    assert statuses == [200] * 4
    assert metrics.total("relay_usage_unreadable_total") - before == 3
    assert metrics.total("relay_tokens_total") < MOST_BELIEVED
    assert relay.slo().total("relay_slo_tokens_total") < MOST_BELIEVED
    assert "worker_ended" not in relay.output()


def test_an_absurd_number_on_the_way_is_not_charged_either(
    relay: Relay, platform: Platform
) -> None:
    absurd = USAGE_CHUNK.replace(b'"prompt_tokens":3', b'"prompt_tokens":9223372036854775807')
    with_choice = absurd.replace(b'"choices":[]', b'"choices":[{"index":0,"delta":{}}]')
    events = chunk('{"content":"hi"}') + with_choice + chunk("{}", '"stop"') + USAGE_CHUNK + DONE
    with scripted(ScriptedProvider([stream(events)])) as other:
        relay.push(
            platform.document(
                providers=[provider("stable", other.url)],
                routes=[route("stable")],
                limits=Limits(tokens_per_minute=600_000),
            )
        )
        relay.chat(stream=True, headers={"x-request-id": "absurd-on-the-way"})
        (line,) = usage_lines(relay, "absurd-on-the-way")
        assert (line["tokens"]["input"], line["estimated"]) == (3, False)
        assert relay.chat(stream=True).status == 200


BESIDE = {
    "in its choice, as with Moonshot": '"choices":[{"index":0,"delta":{},"finish_reason":"stop","usage":%s}]',
    "in a field of Groq's own": '"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"x_groq":{"usage":%s}',
}


@pytest.mark.parametrize("place", BESIDE.values(), ids=BESIDE)
def test_usage_of_a_stream_is_found_where_the_provider_has_it(
    relay: Relay, platform: Platform, place: str
) -> None:
    fields = place % '{"prompt_tokens":30,"completion_tokens":10,"total_tokens":40}'
    events = chunk('{"content":"hi"}') + b'data: {"id":"c",%b}\n\n' % fields.encode() + DONE
    name = f"beside-{os.urandom(4).hex()}"
    with scripted(ScriptedProvider([stream(events)])) as other:
        relay.push(platform.document(providers=[provider("stable", other.url)]))
        assert relay.chat(headers={"x-request-id": name}, stream=True).body == events
        (line,) = usage_lines(relay, name)
    assert (line["tokens"]["input"], line["tokens"]["output"]) == (30, 10)
    assert not line["estimated"]


@pytest.mark.parametrize(("usage", "tokens"), DIALECTS.values(), ids=DIALECTS)
@pytest.mark.parametrize("streamed", [False, True], ids=["unary", "stream"])
def test_usage_is_read_in_each_dialect(
    relay: Relay,
    platform: Platform,
    usage: dict[str, Any],
    tokens: dict[str, int],
    streamed: bool,
) -> None:
    report = orjson.dumps(usage)
    old = CHAT_ANSWER[CHAT_ANSWER.index(b'"usage":') + 8 : -1]
    whole = GOOD_STREAM if streamed else CHAT_ANSWER
    answer = whole.replace(old, report)
    name = f"dialect-{os.urandom(4).hex()}"
    with scripted(ScriptedProvider([stream(answer) if streamed else unary(answer)])) as other:
        relay.push(platform.document(providers=[provider("stable", other.url)]))
        assert relay.chat(headers={"x-request-id": name}, stream=streamed).status == 200
        (line,) = usage_lines(relay, name)
    assert (line["tokens"], line["estimated"]) == (tokens, False)
