"""The official Python SDK works against the relay with base_url alone, for every call the relay supports."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, MODEL, MODELS, TENANT, Platform
from tests.blackbox.upstream import Upstream

from relay_contract.document import Limits

TEXT = "a relay moves "
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
TOOLS: list[ChatCompletionToolParam] = [
    {"type": "function", "function": {"name": "get_weather", "parameters": {}}}
]


@pytest.fixture
def client(relay: Relay, stable: Upstream) -> Iterator[OpenAI]:
    """Returns an unmodified client that does not retry; the provider answers three words."""
    stable.behave(completion_tokens=3)
    with OpenAI(base_url=base_url(relay), api_key=KEY, max_retries=0) as client:
        yield client


def base_url(relay: Relay) -> str:
    return f"http://127.0.0.1:{relay.port}/v1"


def test_a_chat_call_is_answered(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


def test_a_streamed_chat_call_yields_every_delta(client: OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    chunks = list(stream)
    texts = [chunk.choices[0].delta.content or "" for chunk in chunks]
    assert "".join(texts) == TEXT
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_streamed_chat_call_reports_usage_when_asked(client: OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    last = list(stream)[-1]
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.completion_tokens == 3


def test_the_sdk_skips_comments_on_a_silent_stream(new_relay: NewRelay, stable: Upstream) -> None:
    stable.behave(completion_tokens=3, token_interval_ms=1300)
    relay = new_relay(stream_keepalive_seconds="0.2")
    with (
        OpenAI(base_url=base_url(relay), api_key=KEY, max_retries=0) as client,
        ThreadPoolExecutor() as pool,
    ):
        raw = pool.submit(relay.chat, stream=True)
        stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        texts = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(texts) == TEXT
    assert b"\n\n: keep-alive\n\ndata: " in raw.result().body


def test_the_stream_helper_assembles_the_answer(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES) as stream:
        assert stream.get_final_completion().choices[0].message.content == TEXT


def test_a_tool_call_is_returned(client: OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, tools=TOOLS)
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert (calls[0].function.name, calls[0].function.arguments) == (
        "get_weather",
        '{"city": "Paris"}',
    )


def test_a_streamed_tool_call_is_assembled(client: OpenAI) -> None:
    with client.chat.completions.stream(model=MODEL, messages=MESSAGES, tools=TOOLS) as stream:
        calls = stream.get_final_completion().choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].function.arguments == '{"city": "Paris"}'


def test_a_legacy_completion_is_answered_and_streamed(client: OpenAI) -> None:
    assert client.completions.create(model=MODEL, prompt="hello").choices[0].text == TEXT
    stream = client.completions.create(model=MODEL, prompt="hello", stream=True)
    assert "".join(part.choices[0].text for part in stream) == TEXT


def test_embeddings_are_decoded(client: OpenAI) -> None:
    answer = client.embeddings.create(model="text-embedding-3-small", input=["a", "b"])
    assert [item.embedding[:2] for item in answer.data] == [[1.0, 0.5], [1.0, 0.5]]


def test_a_responses_call_is_answered(client: OpenAI) -> None:
    answer = client.responses.create(model=MODEL, input="hello")
    assert answer.output_text == TEXT
    assert answer.usage is not None
    assert answer.usage.output_tokens == 3


def test_a_streamed_responses_call_yields_typed_events(client: OpenAI) -> None:
    events = list(client.responses.create(model=MODEL, input="hello", stream=True))
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "".join(deltas) == TEXT


def test_the_model_list_holds_the_tenants_models_only(client: OpenAI) -> None:
    assert sorted(model.id for model in client.models.list()) == sorted(MODELS)
    assert client.models.retrieve(MODEL).id == MODEL


def test_a_wrong_key_raises_an_authentication_error_with_a_request_id(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-relay-finance-wrong").models.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id


def test_an_unknown_model_raises_a_not_found_error_that_names_the_models(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="absent", messages=MESSAGES)
    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    for name in MODELS:
        assert name in caught.value.message


def test_another_tenants_header_raises_a_permission_error(client: OpenAI) -> None:
    with pytest.raises(openai.PermissionDeniedError):
        client.models.list(extra_headers={"X-Tenant-ID": "marketing"})
    assert client.models.list(extra_headers={"X-Tenant-ID": TENANT}).data


def test_the_tenants_limit_raises_a_rate_limit_error(
    client: OpenAI, relay: Relay, platform: Platform
) -> None:
    limits = Limits(requests_per_minute=6, burst_seconds=10)
    relay.push(platform.document(limits=limits))
    client.chat.completions.create(model=MODEL, messages=MESSAGES)
    with pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["retry-after"]) <= 10


def test_a_providers_refusal_of_a_bad_call_is_passed_on_unchanged(
    client: OpenAI, stable: Upstream
) -> None:
    stable.behave(error_percent=100, error_status=400)
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert "refused by the simulator" in caught.value.message


def test_a_failing_provider_raises_an_internal_server_error(
    client: OpenAI, stable: Upstream
) -> None:
    stable.behave(error_percent=100, error_status=500)
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert caught.value.status_code in (500, 502)
    assert caught.value.request_id


def test_a_call_that_timed_out_is_not_paid_three_times(client: OpenAI, stable: Upstream) -> None:
    stable.behave(fault="no_answer")
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert caught.value.status_code == 504
    assert stable.calls() == 1


def test_an_error_event_in_a_stream_raises(client: OpenAI, stable: Upstream) -> None:
    stable.behave(fault="error_event", fault_after_events=2)
    stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError, match="The server had an error"):
        list(stream)


def test_a_stream_that_breaks_off_raises_and_never_looks_complete(
    client: OpenAI, stable: Upstream
) -> None:
    stable.behave(fault="die", fault_after_events=2)
    stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)


def test_the_sdk_retries_a_429_with_retry_after_and_succeeds(
    client: OpenAI, stable: Upstream
) -> None:
    stable.behave(error_first=1, error_status=429, retry_after="1")
    patient = client.with_options(max_retries=2)
    answer = patient.chat.completions.create(model=MODEL, messages=MESSAGES)
    assert answer.choices[0].message.content == TEXT
    assert stable.calls() == 2


def test_raw_responses_carry_request_id_and_limits(
    client: OpenAI, relay: Relay, platform: Platform
) -> None:
    relay.push(platform.document(limits=Limits(requests_per_minute=600)))
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES)
    assert raw.request_id == raw.headers["x-request-id"]
    assert raw.headers["x-ratelimit-limit-requests"] == "600"
    assert raw.parse().choices[0].message.content == TEXT


async def test_the_asynchronous_client_streams(relay: Relay, stable: Upstream) -> None:
    stable.behave(completion_tokens=3)
    async with AsyncOpenAI(base_url=base_url(relay), api_key=KEY, max_retries=0) as client:
        stream = await client.chat.completions.create(model=MODEL, messages=MESSAGES, stream=True)
        texts = [chunk.choices[0].delta.content or "" async for chunk in stream]
    assert "".join(texts) == TEXT
