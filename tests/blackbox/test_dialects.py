"""The relay reads a provider's stream by the standard, not by one provider's way of writing it."""

import itertools

import openai
import pytest
from tests.blackbox.relays import Relay
from tests.blackbox.tenant import KEY, MODEL
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually

DIALECTS = ("plain", "crlf", "compact", "comments", "multiline")
FRAGMENTS = (0, 1, 7, 100)
"""Bytes per packet; 0 sends whole events."""
PACE_MS = 0.2
"""Between packets, so that they arrive as several reads."""


@pytest.fixture(
    params=itertools.product(DIALECTS, FRAGMENTS), ids=lambda pair: f"{pair[0]}-{pair[1]}"
)
def spoken(request: pytest.FixtureRequest, stable: Upstream) -> str:
    """Makes the provider write its events in that way and in packets of that size."""
    dialect, size = request.param
    pace = PACE_MS if size else 0
    stable.behave(
        dialect=dialect,
        fragment_bytes=size,
        token_interval_ms=pace,
        prompt_tokens=10,
        completion_tokens=3,
    )
    return str(dialect)


def test_the_sdk_reads_a_stream_of_every_dialect(relay: Relay, spoken: str) -> None:
    url = f"http://127.0.0.1:{relay.port}/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0) as client:
        stream = client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "hello"}], stream=True
        )
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "a relay moves "
    assert all(chunk.usage is None for chunk in chunks)


def test_usage_is_found_and_hidden_in_a_stream_of_every_dialect(relay: Relay, spoken: str) -> None:
    name = f"dialect-{spoken}"
    before = relay.output().count(name)
    answer = relay.chat(stream=True, headers={"x-request-id": name})
    assert b"prompt_tokens" not in answer.body
    assert b"[DONE]" in answer.body
    log = eventually(relay.output, lambda text: text.count(name) > before, what="the usage line")
    line = [line for line in log.splitlines() if name in line][-1]
    assert '"tokens":{"input":10,"output":3' in line.replace(" ", "")
    assert '"outcome":"ok"' in line.replace(" ", "")
