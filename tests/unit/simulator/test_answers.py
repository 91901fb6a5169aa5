"""The simulator's answers satisfy the types of the official SDK and contain what the call asked for."""

import base64
import struct
from typing import Annotated, Any

import orjson
import pytest
from openai.types import Completion, CreateEmbeddingResponse, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import Field, TypeAdapter
from tests.simulator.api import chat, errors, responses
from tests.simulator.api.call import DONE, BadCall, Call, Endpoint, Identity, parsed
from tests.simulator.api.embeddings import embeddings
from tests.simulator.behaviour import Behaviour

IDENTITY = Identity("00ff", 1_700_000_000)
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {}}}]
STREAM_EVENT: TypeAdapter[ResponseStreamEvent] = TypeAdapter(
    Annotated[ResponseStreamEvent, Field(discriminator="type")]
)


def a_call(endpoint: Endpoint = Endpoint.CHAT, **fields: Any) -> Call:
    payload = {"model": "gpt-4.1", "messages": [{"role": "user", "content": "hi"}], **fields}
    return parsed(endpoint, orjson.dumps(payload))


def data_of(event: bytes) -> bytes:
    return event.partition(b"data: ")[2].rstrip(b"\n")


def chunks_of(events: list[bytes]) -> list[ChatCompletionChunk]:
    assert events[-1] == DONE
    return [ChatCompletionChunk.model_validate_json(data_of(event)) for event in events[:-1]]


def test_unary_chat_is_the_sdks_chat_completion() -> None:
    answer = ChatCompletion.model_validate_json(
        chat.chat_completion(a_call(), Behaviour(completion_tokens=3), IDENTITY)
    )
    assert answer.model == "gpt-4.1"
    assert answer.choices[0].message.content == "a relay moves "
    assert answer.choices[0].finish_reason == "stop"


def test_a_smaller_max_tokens_cuts_the_answer_and_says_length() -> None:
    answer = ChatCompletion.model_validate_json(
        chat.chat_completion(a_call(max_tokens=1), Behaviour(completion_tokens=3), IDENTITY)
    )
    assert answer.choices[0].message.content == "a "
    assert answer.choices[0].finish_reason == "length"


def test_usage_counts_cached_within_prompt_and_reasoning_within_completion() -> None:
    behaviour = Behaviour(
        prompt_tokens=100, cached_tokens=40, completion_tokens=5, reasoning_tokens=7
    )
    usage = ChatCompletion.model_validate_json(
        chat.chat_completion(a_call(), behaviour, IDENTITY)
    ).usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (100, 12, 112)
    assert usage.prompt_tokens_details is not None
    assert usage.prompt_tokens_details.cached_tokens == 40
    assert usage.completion_tokens_details is not None
    assert usage.completion_tokens_details.reasoning_tokens == 7


def test_a_streamed_chat_has_one_event_per_token_between_role_and_finish() -> None:
    chunks = chunks_of(list(chat.chat_events(a_call(), Behaviour(completion_tokens=3), IDENTITY)))
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].delta.content for chunk in chunks[1:-1]] == ["a ", "relay ", "moves "]
    assert chunks[-1].choices[0].finish_reason == "stop"


@pytest.mark.parametrize("asked", [True, False])
def test_the_usage_chunk_comes_only_when_asked_for(asked: bool) -> None:
    call = a_call(stream_options={"include_usage": asked})
    chunks = chunks_of(list(chat.chat_events(call, Behaviour(), IDENTITY)))
    assert [chunk.choices == [] for chunk in chunks].count(True) == int(asked)
    assert (chunks[-1].usage is not None) is asked


def test_no_usage_anywhere_when_the_provider_does_not_report_it() -> None:
    silent = Behaviour(report_usage=False)
    call = a_call(stream_options={"include_usage": True})
    chunks = chunks_of(list(chat.chat_events(call, silent, IDENTITY)))
    assert all(chunk.usage is None for chunk in chunks)
    assert b"usage" not in chat.chat_completion(a_call(), silent, IDENTITY)


def test_offered_tools_are_called_with_valid_json() -> None:
    answer = ChatCompletion.model_validate_json(
        chat.chat_completion(a_call(tools=TOOLS), Behaviour(), IDENTITY)
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert calls[0].function.name == "get_weather"
    assert orjson.loads(calls[0].function.arguments) == {"city": "Paris"}


def test_streamed_tool_arguments_join_to_the_unary_ones() -> None:
    chunks = chunks_of(list(chat.chat_events(a_call(tools=TOOLS), Behaviour(), IDENTITY)))
    parts = [
        call.function.arguments
        for chunk in chunks
        for call in chunk.choices[0].delta.tool_calls or []
        if call.function is not None and call.function.arguments is not None
    ]
    assert "".join(parts) == "".join(chat.TOOL_ARGUMENTS)
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_a_tools_result_is_answered_with_text() -> None:
    turns = [{"role": "user", "content": "hi"}, {"role": "tool", "content": "22 degrees"}]
    assert not a_call(tools=TOOLS, messages=turns).wants_tool


def test_older_completions_are_the_sdks_completion() -> None:
    call = a_call(Endpoint.COMPLETIONS, prompt="hi")
    behaviour = Behaviour(completion_tokens=2)
    answer = Completion.model_validate_json(chat.completion(call, behaviour, IDENTITY))
    assert answer.choices[0].text == "a relay "
    events = list(chat.completion_events(call, behaviour, IDENTITY))
    texts = [orjson.loads(data_of(event))["choices"][0]["text"] for event in events[:-1]]
    assert texts == ["a ", "relay ", ""]


def test_responses_are_the_sdks_response() -> None:
    call = a_call(Endpoint.RESPONSES, input="hi")
    answer = Response.model_validate_json(responses.response(call, Behaviour(), IDENTITY))
    assert answer.status == "completed"
    assert answer.output_text.startswith("a relay moves ")
    assert answer.usage is not None
    assert answer.usage.output_tokens == 16


def test_streamed_responses_are_the_sdks_events_in_sequence() -> None:
    call = a_call(Endpoint.RESPONSES, input="hi", stream=True)
    events = [
        STREAM_EVENT.validate_json(data_of(event))
        for event in responses.response_events(call, Behaviour(completion_tokens=2), IDENTITY)
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[0].type == "response.created"
    assert "".join(e.delta for e in events if e.type == "response.output_text.delta") == "a relay "
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "a relay "


def test_a_streamed_response_calls_the_tool_offered() -> None:
    tools = [{"type": "function", "name": "get_weather", "parameters": {}, "strict": True}]
    call = a_call(Endpoint.RESPONSES, input="hi", stream=True, tools=tools)
    events = [
        STREAM_EVENT.validate_json(data_of(event))
        for event in responses.response_events(call, Behaviour(), IDENTITY)
    ]
    done = next(e for e in events if e.type == "response.function_call_arguments.done")
    assert orjson.loads(done.arguments) == {"city": "Paris"}


@pytest.mark.parametrize(
    ("given", "vectors"),
    [("one", 1), (["one", "two"], 2), ([1, 2, 3], 1), ([[1, 2], [3]], 2)],
    ids=["text", "texts", "tokens", "token-lists"],
)
def test_embeddings_give_one_vector_per_input(given: Any, vectors: int) -> None:
    answer = CreateEmbeddingResponse.model_validate_json(
        embeddings(a_call(Endpoint.EMBEDDINGS, input=given), Behaviour())
    )
    assert [item.index for item in answer.data] == list(range(vectors))


def test_base64_vectors_decode_to_the_floats() -> None:
    floats = orjson.loads(embeddings(a_call(Endpoint.EMBEDDINGS, input="x"), Behaviour()))
    encoded = orjson.loads(
        embeddings(a_call(Endpoint.EMBEDDINGS, input="x", encoding_format="base64"), Behaviour())
    )
    text = encoded["data"][0]["embedding"]
    assert list(struct.unpack("<8f", base64.b64decode(text))) == floats["data"][0]["embedding"]


@pytest.mark.parametrize(
    ("body", "param"),
    [(b"{", None), (b"[]", None), (b"{}", "model"), (b'{"model":7}', "model")],
)
def test_a_malformed_call_is_a_400_that_names_the_parameter(body: bytes, param: str | None) -> None:
    with pytest.raises(BadCall) as refusal:
        parsed(Endpoint.CHAT, body)
    assert (refusal.value.status, refusal.value.param) == (400, param)


def test_volume_is_asked_for_in_bytes() -> None:
    events = chat.chat_events(a_call(), Behaviour(stream_bytes=1_000_000), IDENTITY)
    size = sum(len(event) for event in events)
    assert 1_000_000 <= size < 1_100_000


def test_listed_models_are_the_sdks_models() -> None:
    listed = orjson.loads(errors.model_list(("a", "b")))
    assert [Model.model_validate(item).id for item in listed["data"]] == ["a", "b"]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 418, 429, 500, 503, 529])
def test_every_error_has_openais_four_fields(status: int) -> None:
    error = errors.error_object(status)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
