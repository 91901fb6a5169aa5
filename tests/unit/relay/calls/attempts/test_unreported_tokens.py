"""A stream that breaks off is booked by what the provider's counted answers to the same key were like."""

from typing import Any

import pytest
from tests.unit.relay.documents import API_KEY, STABLE, STAGING_KEY, document, provider
from tests.unit.relay.memory import (
    COMPLETION,
    DONE,
    STREAM_HEAD,
    MemoryRelay,
    call,
    chunk,
    event,
    reply,
)

from relay.accounting.token_estimates import MOST_OUTPUT_TOKENS
from relay.accounting.token_rates import LEAST_CALLS, LEAST_CALLS_OF_KEY, MOST_PER_PIECE
from relay.dialect.reported_usage import HIDDEN_INPUT_TOKENS, Tokens
from relay_contract.document import ProviderModel, Route

ROLE = event({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
WORDS = " the quick brown fox"
PROMPT = {"role": "user", "content": "word " * 200}


def piece(text: str) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}]})


def usage(**counts: int) -> bytes:
    return event({"choices": [], "usage": counts})


def asked(key: str, **changes: Any) -> bytes:
    return call({"model": "gpt-4.1", "stream": True, "messages": [PROMPT], **changes}, key=key)


def streamed(
    relay: MemoryRelay,
    pieces: int,
    *,
    counted: int = 0,
    given: int = 500,
    key: str = API_KEY,
    name: str = "legacy",
    **changes: Any,
) -> Tokens:
    """Has a stream of so many pieces answered; without a count it breaks off. Returns the tokens that are booked."""
    client, upstream = relay.client(), relay.provider(name)
    client.send(asked(key, **changes))
    upstream.send(STREAM_HEAD + chunk(ROLE))
    for _ in range(pieces):
        upstream.send(chunk(piece(WORDS)))
    if counted:
        end = usage(prompt_tokens=given, completion_tokens=counted) + DONE
        upstream.send(chunk(end) + b"0\r\n\r\n")
    else:
        upstream.hang_up()
    booked = relay.log.events[-1]
    assert booked.estimated == (not counted)
    assert booked.tokens is not None
    return booked.tokens


async def test_a_broken_stream_has_as_many_tokens_as_the_counted_ones_had_for_each_piece(
    relay: MemoryRelay,
) -> None:
    # five times four bytes of text in each piece
    assert streamed(relay, 10).output == 50
    for _ in range(LEAST_CALLS):
        streamed(relay, 40, counted=280)
    broken = streamed(relay, 10)
    assert broken.output == 70
    # and as many of input as the same call had
    assert broken.input == pytest.approx(500, rel=0.01)


async def test_the_count_of_one_provider_says_nothing_of_another(
    relay: MemoryRelay,
) -> None:
    for _ in range(LEAST_CALLS):
        streamed(relay, 40, counted=280)
    relay.install(
        document(
            generation=2,
            routes=(Route(name="chat", stable=STABLE.model_copy(update={"provider": "backup"})),),
        )
    )
    assert streamed(relay, 10, name="backup").output == 50


async def test_what_was_learnt_outlives_a_document(relay: MemoryRelay) -> None:
    for _ in range(LEAST_CALLS):
        streamed(relay, 40, counted=280)
    relay.install(document(generation=2, routes=(Route(name="chat", stable=STABLE),)))
    assert streamed(relay, 10).output == 70


async def test_each_key_has_its_own_texts(relay: MemoryRelay) -> None:
    for _ in range(LEAST_CALLS_OF_KEY):
        streamed(relay, 40, counted=280)
        streamed(relay, 40, counted=120, key=STAGING_KEY)
    assert streamed(relay, 10).output == 70
    assert streamed(relay, 10, key=STAGING_KEY).output == 30


async def test_documents_teach_by_their_text(relay: MemoryRelay) -> None:
    """A provider that refuses stream_options counts only what is no stream."""
    text = {"index": 0, "message": {"role": "assistant", "content": WORDS * 40}}
    counts = {"prompt_tokens": 500, "completion_tokens": 400, "total_tokens": 900}
    for _ in range(LEAST_CALLS):
        client, upstream = relay.client(), relay.provider()
        client.send(call())
        upstream.send(reply({**COMPLETION, "choices": [text], "usage": counts}))
    assert streamed(relay, 10).output == 100


async def test_an_estimate_stays_within_what_the_forwarded_request_allows(
    relay: MemoryRelay,
) -> None:
    for _ in range(LEAST_CALLS):
        streamed(relay, 40, counted=280)
    assert streamed(relay, 10, max_tokens=60).output == 60
    # the provider never got to know that bound
    dropping = ProviderModel(
        name="gpt-4.1", upstream_name="gpt-4.1", drop_parameters=("max_tokens",)
    )
    providers = tuple(
        provider(name, models=(dropping,)) for name in ("legacy", "holysheep", "backup")
    )
    relay.install(
        document(generation=2, providers=providers, routes=(Route(name="chat", stable=STABLE),))
    )
    assert streamed(relay, 10, max_tokens=60).output == 70


async def test_an_estimate_teaches_nothing(relay: MemoryRelay) -> None:
    for _ in range(3 * LEAST_CALLS):
        streamed(relay, 10)
    rates = relay.log.events[-1].subject.rates
    assert rates.output_tokens("production", pieces=0, text_bytes=4000) == 1000


async def test_an_answer_without_a_bound_that_its_provider_knew_is_no_larger_than_any_known(
    relay: MemoryRelay,
) -> None:
    dropping = ProviderModel(
        name="gpt-4.1", upstream_name="gpt-4.1", drop_parameters=("max_tokens",)
    )
    providers = tuple(
        provider(name, models=(dropping,)) for name in ("legacy", "holysheep", "backup")
    )
    relay.install(
        document(generation=2, providers=providers, routes=(Route(name="chat", stable=STABLE),))
    )
    for _ in range(LEAST_CALLS):
        streamed(relay, 20, counted=20 * int(MOST_PER_PIECE))
    pieces = MOST_OUTPUT_TOKENS // int(MOST_PER_PIECE) + 20
    assert streamed(relay, pieces, max_tokens=60).output == MOST_OUTPUT_TOKENS


async def test_attachments_are_no_more_input_than_a_provider_may_report(
    relay: MemoryRelay,
) -> None:
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{'QUJD' * 3000}"}}

    def of_images(count: int) -> list[dict[str, Any]]:
        return [{"role": "user", "content": [image] * count}]

    given = HIDDEN_INPUT_TOKENS
    streamed(relay, 20, counted=100, given=given, messages=of_images(1))
    sent = asked(API_KEY, messages=of_images(100))
    booked = streamed(relay, 20, messages=of_images(100))
    assert given <= booked.input <= given + len(sent)
