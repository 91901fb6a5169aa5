"""An answer that is read at once counts, costs and is recorded like one that is decoded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.unit.relay.dialect.body_scans import BodyReader
from tests.unit.relay.memory import COMPLETION, MemoryRelay, call, reply

from relay.calls.attempts import answer
from relay.dialect.body_fields import PlainAnswer
from relay.outbox.outbox_reader import OutboxReader
from relay_contract.spending import Rate, SessionCaps, Spending

PRICES: dict[str, Any] = {"input": 3, "cached": 1, "output": 12}


def at(price: int) -> dict[str, Any]:
    """Returns prices of which all are the same."""
    return dict.fromkeys(PRICES, price)


SPENDING = Spending(
    rates=(
        Rate(model="gpt-4.1", **PRICES),
        Rate(model="gpt-4.1-2025-04-14", **at(5)),
        Rate(model="gpt-4.1-2025-04-14", **at(7), tier="priority"),
    ),
    session_caps=SessionCaps(amount_micro=1000),
)
LABELS = {"model": "gpt-4.1-2025-04-14", "service_tier": "priority"}
USAGE = {
    "prompt_tokens": 90,
    "completion_tokens": 41,
    "total_tokens": 131,
    "prompt_tokens_details": {"cached_tokens": 30},
    "completion_tokens_details": {"reasoning_tokens": 11},
}
ANSWERS = {
    "labels": {**COMPLETION, "usage": USAGE, **LABELS},
    "no tier": {**COMPLETION, "usage": USAGE, "model": LABELS["model"]},
    "no labels": {**COMPLETION, "usage": USAGE},
    "another model": {**COMPLETION, "usage": USAGE, "model": "gpt-unpriced"},
    "in doubt": {**COMPLETION, "usage": {**USAGE, "total_tokens": 130}, **LABELS},
    "no usage": {**COMPLETION, "usage": None, **LABELS},
}
AT_ONCE = ("labels", "no tier", "no labels", "another model")
CHANGING = ("attemptId", "callId", "closedAt", "dispatchedAt", "id", "requestId")
"""Fields of a line that differ from call to call."""


def left_by(relay: MemoryRelay, outbox: Path, document: dict[str, Any]) -> tuple[Any, ...]:
    """Returns what a call leaves that is answered like this: its line for the ledger, its tokens for limits, and what its session has spent."""
    client, provider = relay.client(), relay.provider()
    client.send(call(headers="X-Session-ID: s\r\n"))
    provider.send(reply(document))
    reader = OutboxReader(outbox, "uid-1")
    (parcel,) = reader.read(0.0, most=2)
    reader.close()
    line = json.loads(parcel.line)
    spent = relay.tenant.spender.sessions.use(b"s").pico
    tokens = relay.log.events[0].tokens
    return {name: line[name] for name in line.keys() - {*CHANGING}}, tokens, spent


@pytest.mark.parametrize("name", ANSWERS)
async def test_an_answer_leaves_the_same_however_it_is_read(
    relay_with: Callable[..., MemoryRelay],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    compiled: BodyReader,
    name: str,
) -> None:
    left: list[tuple[Any, ...]] = []
    read_at_once: list[bool] = []

    def read(body: bytes) -> PlainAnswer | None:
        plain = compiled.plain_answer(body)
        read_at_once.append(plain is not None)
        return plain

    def leave(_: bytes) -> PlainAnswer | None:
        return None

    functions: tuple[Callable[[bytes], PlainAnswer | None], ...] = (leave, read)
    for function in functions:
        outbox = tmp_path / f"outbox-{len(left)}"
        outbox.mkdir()
        settings = {
            "ledger_url": "https://ledger.test:8443",
            "ledger_token_file": tmp_path / "token",
            "outbox_directory": outbox,
        }
        monkeypatch.setattr(answer, "plain_answer", function)
        left.append(left_by(relay_with(settings, spending=SPENDING), outbox, ANSWERS[name]))
    assert read_at_once == [name in AT_ONCE]
    assert left[0] == left[1]
    line, _, spent = left[1]
    if name == "labels":
        assert (line["answeredModel"], line["serviceTier"]) == tuple(LABELS.values())
        assert spent == 7 * 131
