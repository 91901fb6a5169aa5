"""Usage of answers that the relay does not read whole, and estimates where there is none."""

import base64
import json
import os
from typing import Any

import orjson
import pytest
from tests.blackbox.relays import CHAT, Relay, chat_body
from tests.blackbox.scripted import DONE, ScriptedProvider, scripted, stream, unary
from tests.blackbox.tenant import KEY, Platform, provider, route
from tests.blackbox.test_usage import usage_lines
from tests.blackbox.upstream import Upstream
from tests.blackbox.wire import request_bytes

from relay_contract.document import Provider, ProviderAuth

EMBEDDINGS = "/v1/embeddings"
VECTOR = base64.b64encode(os.urandom(6144)).decode()
VECTORS = [{"object": "embedding", "index": index, "embedding": VECTOR} for index in range(256)]
USAGE = {"prompt_tokens": 512, "total_tokens": 512}
CHUNK_BYTES = 354


def unknown_provider(name: str, url: str) -> Provider:
    """Returns a provider whose answers the relay has learnt nothing of, if its name is that of no other test."""
    return provider(name, url, auth=ProviderAuth(key_file="stable"))


def tokens_booked(
    relay: Relay, platform: Platform, answer: bytes, name: str, path: str, **fields: Any
) -> tuple[dict[str, int], bool]:
    """The tokens of a call that gets this answer, and whether they were estimated: nothing was learnt of its provider."""
    with scripted(ScriptedProvider([answer])) as other:
        providers = [unknown_provider(name, other.url)]
        relay.push(platform.document(providers=providers, routes=[route(name)]))
        body = orjson.dumps({"model": "gpt-4.1", **fields})
        relay.ask("POST", path, body=body, headers={"x-request-id": name})
        (line,) = usage_lines(relay, name)
    return line["tokens"], line["estimated"]


# --- large answers ---


def test_embeddings_in_base64_cost_what_the_provider_reports(
    relay: Relay, stable: Upstream
) -> None:
    stable.behave(prompt_tokens=512)
    inputs = {"input": ["word"] * 128, "dimensions": 1536, "encoding_format": "base64"}
    body = orjson.dumps({"model": "text-embedding-3-small", **inputs})
    answer = relay.ask("POST", EMBEDDINGS, body=body, headers={"x-request-id": "embedded"})
    assert len(answer.body) > 1024 * 1024
    (line,) = usage_lines(relay, "embedded")
    assert line["tokens"] == {"input": 512, "output": 0, "cached": 0, "reasoning": 0}
    assert (line["estimated"], line["outcome"]) == (False, "ok")


LARGE = {
    "at the end": {"object": "list", "data": VECTORS, "model": "m", "usage": USAGE},
    "at the beginning": {"object": "list", "model": "m", "usage": USAGE, "data": VECTORS},
    "before the last field": {"data": VECTORS, "usage": USAGE, "model": "m"},
    "as a total alone": {"data": VECTORS, "model": "m", "usage": {"total_tokens": 512}},
}


@pytest.mark.parametrize("document", LARGE.values(), ids=LARGE)
@pytest.mark.parametrize("indent", [None, 2], ids=["tight", "indented"])
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_usage_is_found_at_either_end_of_a_large_answer(
    relay: Relay, platform: Platform, document: dict[str, Any], indent: int | None, chunked: bool
) -> None:
    body = json.dumps(document, indent=indent).encode()
    answer = unary(body)
    if chunked:
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
        pieces = [body[start : start + 1000] for start in range(0, len(body), 1000)]
        answer = head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        answer += b"0\r\n\r\n"
    name = f"large-{os.urandom(4).hex()}"
    tokens, estimated = tokens_booked(relay, platform, answer, name, EMBEDDINGS, input="a")
    assert (tokens["input"], tokens["output"], estimated) == (512, 0, False)


def large_chat(**fields: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": "word " * 300_000}}
    return unary(orjson.dumps({"id": "c", "choices": [choice], **fields}))


def test_text_that_speaks_of_usage_is_not_taken_for_it(relay: Relay, platform: Platform) -> None:
    text = "x" * 2_000_000 + '"usage": {"prompt_tokens": 7000, "completion_tokens": 7000}'
    choice = {"index": 0, "message": {"role": "assistant", "content": text}}
    usage = {"prompt_tokens": 3, "completion_tokens": 4}
    body = orjson.dumps({"id": "c", "usage": usage, "choices": [choice]})
    tokens, estimated = tokens_booked(relay, platform, unary(body), "speaks", CHAT, messages=[])
    assert (tokens["input"], tokens["output"], estimated) == (3, 4, False)


@pytest.mark.parametrize(
    ("fields", "most"),
    [
        ({"max_tokens": 100}, 100),
        ({"max_completion_tokens": 100, "n": 2}, 200),
        ({}, 150_000),
    ],
)
def test_an_unread_answer_is_estimated_within_what_was_asked(
    relay: Relay, platform: Platform, fields: dict[str, Any], most: int
) -> None:
    name = f"asked-{os.urandom(4).hex()}"
    tokens, estimated = tokens_booked(
        relay, platform, large_chat(), name, CHAT, messages=[], **fields
    )
    assert estimated
    assert most / 2 <= tokens["output"] <= most


def test_embeddings_without_usage_are_booked_without_output(
    relay: Relay, platform: Platform
) -> None:
    answer = unary(orjson.dumps({"object": "list", "data": VECTORS}))
    tokens, estimated = tokens_booked(
        relay, platform, answer, "unreported", EMBEDDINGS, input="word " * 400
    )
    assert estimated
    assert tokens["output"] == 0
    # at most a token for each byte, whatever the calls before have taught
    assert 100 <= tokens["input"] <= 2100


def test_the_frame_of_a_short_answer_is_no_text(relay: Relay, platform: Platform) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Yes, it is."}}
    body = orjson.dumps({"id": "c" * 100, "choices": [choice], "system_fingerprint": "f" * 200})
    tokens, estimated = tokens_booked(relay, platform, unary(body), "short", CHAT, messages=[])
    assert estimated
    assert 1 <= tokens["output"] <= 5


BASE64 = base64.b64encode(bytes(range(256)) * 2000).decode()
ATTACHED = {
    "an image in a chat": (CHAT, {"choices": [{"index": 0, "message": {"role": "assistant", "content": "A cat.", "images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{BASE64}"}}]}}]}),
    "a recording": (CHAT, {"choices": [{"index": 0, "message": {"role": "assistant", "audio": {"id": "a", "data": BASE64, "transcript": "A cat."}}}]}),
    "an image as an output": ("/v1/responses", {"id": "r", "status": "completed", "output": [{"type": "image_generation_call", "id": "i", "result": BASE64}]}),
}  # fmt: skip


@pytest.mark.parametrize(("path", "document"), ATTACHED.values(), ids=ATTACHED)
def test_an_image_or_a_recording_that_nobody_counted_is_no_text(
    relay: Relay, platform: Platform, path: str, document: dict[str, Any]
) -> None:
    name = f"attached-{os.urandom(4).hex()}"
    call: dict[str, Any] = {"messages": []} if path == CHAT else {"input": "a"}
    answer = unary(orjson.dumps(document))
    tokens, estimated = tokens_booked(relay, platform, answer, name, path, **call)
    assert estimated
    # its base64 alone would be 170,000
    assert 1 <= tokens["output"] <= 5000


# --- streams that are left, or report nothing ---


def padded(**delta: str) -> bytes:
    """An event of CHUNK_BYTES, as providers pad them."""
    choice = {"index": 0, "delta": delta, "finish_reason": None}
    event = {"id": "c", "object": "chat.completion.chunk", "choices": [choice], "obfuscation": ""}
    missing = CHUNK_BYTES - len(b"data: " + orjson.dumps(event) + b"\n\n")
    event["obfuscation"] = "x" * missing
    return b"data: " + orjson.dumps(event) + b"\n\n"


WORDS = ("The", " relay", " moves", " traffic")
TOKENS = 40
TEXT = [padded(role="assistant", content="")] + [
    padded(content=WORDS[index % len(WORDS)]) for index in range(TOKENS)
]


def test_a_chunk_of_a_stream_that_is_left_is_a_token(relay: Relay, platform: Platform) -> None:
    events = b"".join(TEXT)
    assert len(events) == (TOKENS + 1) * CHUNK_BYTES
    whole = stream(events)
    unfinished = whole[: -len(b"0\r\n\r\n")]
    with scripted(ScriptedProvider([unfinished])) as other:
        providers = [unknown_provider("left-early", other.url)]
        relay.push(platform.document(providers=providers, routes=[route("left-early")]))
        with relay.wire() as wire:
            headers = {"authorization": f"Bearer {KEY}", "x-request-id": "left-early"}
            wire.send(request_bytes("POST", CHAT, headers, chat_body(stream=True)))
            wire.head()
            received = b""
            while len(received) < len(events):
                received += wire.chunk()
        (line,) = usage_lines(relay, "left-early")
    assert (line["client_gone"], line["estimated"]) == (True, True)
    assert line["tokens"]["output"] == TOKENS


@pytest.mark.parametrize(("words", "most"), [(1, 1), (30, 30)])
def test_a_stream_without_usage_is_estimated_by_its_text(
    relay: Relay, platform: Platform, words: int, most: int
) -> None:
    """Some providers send a token with each event, some a sentence."""
    text = "word " * words
    events = [padded(role="assistant", content="")]
    events += [padded(content=text)] * 20
    finish = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    answer = stream(b"".join(events) + finish + DONE)
    tokens, estimated = tokens_booked(
        relay, platform, answer, f"sentences-{words}", CHAT, messages=[], stream=True
    )
    assert estimated
    assert 0.8 * 20 * most <= tokens["output"] <= 1.4 * 20 * most


def test_an_estimate_of_a_stream_stays_within_what_was_asked(
    relay: Relay, platform: Platform
) -> None:
    answer = stream(b"".join(TEXT) + DONE)
    tokens, _ = tokens_booked(
        relay, platform, answer, "bounded", CHAT, messages=[], stream=True, max_tokens=5
    )
    assert tokens["output"] == 5
