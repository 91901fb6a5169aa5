"""What a month would have cost elsewhere: the same attempts by another list, exactly, and an old relay's history beside them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.conftest import Books
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import closed

from relay_contract.billing.token_buckets import TokenBuckets

OTHER = """
name: elsewhere
currency: USD
entries:
- models: [gpt-4.1]
  prices: {input: '1', output: '4'}
- models: [mini]
  prices: {input: '0.4', output: '1.6'}
- models: [dated]
  until: '2026-03-10'
  prices: {input: '1', output: '1'}
  perPiece: {call: '0.5'}
"""
MARCH = int(datetime(2026, 3, 5, tzinfo=UTC).timestamp()) * 10**6


def used(name: str, **changes: Any) -> Any:
    return closed(attempt_id=name, **{"dispatched_at": MARCH, **changes})


def compare(shell: Shell, address: str, *options: str) -> Any:
    code, out, said = shell.run(
        address, "compare", "--price-list", "elsewhere", "--month", "2026-03", *options
    )
    assert code == 0, said
    return json.loads(out)


def test_what_a_month_would_have_cost_elsewhere(books: Books, address: str, shell: Shell) -> None:
    books.store.load(OTHER, now=1)
    records = [
        used("one"),
        used("cached", tokens=TokenBuckets(cache_read=1000)),
        used("unpriced", answered_model="gpt-0"),
        used("only-elsewhere", answered_model="mini"),
        used("nothing", usage_source="none", tokens=None, delivered=False),
        used("april", dispatched_at=MARCH + 31 * 86_400 * 10**6),
    ]
    books.ledger.book("uid-a", records, books.prices, now=1)
    books.ledger.book("uid-b", [used("other", tenant_uid="uid-b")], books.prices, now=1)
    found = compare(shell, address)
    # 2 and 0.5 and 8 USD per million at home; 1 for either input and 4 elsewhere
    assert found["total"] == {
        "attempts": 3,
        "booked_usd": "0.0061",
        "other_usd": "0.0038",
        "difference_usd": "-0.0023",
        "other_of_booked": "0.6229",
        "unpriced_attempts": 2,
        "unpriced_attempts_of_other": 1,
    }
    assert [one["model"] for one in found["by_model"]] == ["gpt-0", "gpt-4.1", "mini"]
    alone = compare(shell, address, "--tenant", "uid-b", "--model", "gpt-4.1=mini")
    # 1,000 at 0.4 and 100 at 1.6
    assert (alone["total"]["attempts"], alone["total"]["other_usd"]) == (1, "0.00056")


def test_prices_elsewhere_are_those_of_the_time(books: Books, address: str, shell: Shell) -> None:
    books.store.load(OTHER, now=1)
    late = MARCH + 6 * 86_400 * 10**6
    records = [used("early"), used("late", dispatched_at=late)]
    books.ledger.book("uid-a", records, books.prices, now=1)
    total = compare(shell, address, "--model", "gpt-4.1=dated")["total"]
    assert (total["attempts"], total["unpriced_attempts_of_other"]) == (1, 1)
    assert total["other_usd"] == "0.5011"


def test_an_old_relays_history_stands_beside(
    books: Books, address: str, shell: Shell, tmp_path: Path
) -> None:
    books.store.load(OTHER, now=1)
    points = [
        ("2026-02-28T23:59:59Z", 1, 1, 1, 1),
        ("2026-03-01T00:00:00Z", 2_000_000, 1_000_000, 1200, 0.01),
        ("2026-03-31T23:59:59Z", 3_000_000_000_000, 0, 800.5, None),
        ("2026-04-01T00:00:00Z", 1, 1, 1, 1),
    ]
    names = ("timestamp", "input_tokens", "output_tokens", "latency_p99", "error_rate")
    history = tmp_path / "history.json"
    history.write_text(json.dumps({"data": [dict(zip(names, one, strict=True)) for one in points]}))
    found = compare(shell, address, "--baseline", str(history), "--baseline-model", "gpt-4.1")
    assert found["baseline"] == {
        "points": 2,
        "input_tokens": 3_000_002_000_000,
        "output_tokens": 1_000_000,
        "worst_latency_p99": 1200,
        "worst_error_rate": 0.01,
        "usd_by_price_list": "3000006.00",
    }
    unknown = compare(shell, address, "--baseline", str(history), "--baseline-model", "gpt-0")
    assert unknown["baseline"]["usd_by_price_list"] is None


def test_tokens_of_a_baseline_cost_what_they_did_at_their_time_and_no_call_for_each_token(
    books: Books, address: str, shell: Shell, tmp_path: Path
) -> None:
    # a cent for each call, and another price from the 20th on
    books.store.load(
        """
name: elsewhere
currency: USD
entries:
- {models: [gpt-4.1], until: '2026-03-20', prices: {input: '1', output: '2'}, perPiece: {call: '0.01'}}
- {models: [gpt-4.1], from: '2026-03-20', prices: {input: '3', output: '4'}, perPiece: {call: '0.01'}}
- {models: [gpt-5], prices: {input: '10', output: '20'}}
""",
        now=1,
    )
    points = [
        {"timestamp": "2026-03-04T00:00:00Z", "input_tokens": 10**6, "output_tokens": 0},
        {"timestamp": "2026-03-21T00:00:00Z", "input_tokens": 10**6, "output_tokens": 10**6},
        {"timestamp": "2026-03-22T00:00:00Z", "model": "gpt-5", "input_tokens": 10**6, "output_tokens": 0},
    ]  # fmt: skip
    history = tmp_path / "history.json"
    history.write_text(json.dumps({"data": points}))
    told = compare(shell, address, "--baseline", str(history), "--baseline-model", "gpt-4.1")
    assert told["baseline"]["usd_by_price_list"] == "18.00"
    assert told["baseline"]["input_tokens"] == 3 * 10**6
    # of points that all name their model none is asked for
    history.write_text(json.dumps({"data": points[2:]}))
    told = compare(shell, address, "--baseline", str(history))
    assert told["baseline"]["usd_by_price_list"] == "10.00"
    history.write_text(json.dumps({"data": points}))
    assert (
        compare(shell, address, "--baseline", str(history))["baseline"]["usd_by_price_list"] is None
    )


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"data": {}}',
        '{"data": [{"timestamp": "2026-03-01", "input_tokens": 1, "output_tokens": 1}]}',
        '{"data": [{"timestamp": 1772582400, "input_tokens": -1, "output_tokens": 1}]}',
        '{"data": [{"timestamp": 1772582400, "input_tokens": 1.5, "output_tokens": 1}]}',
        '{"data": [{"timestamp": 1772582400, "input_tokens": 1, "output_tokens": 1, "error_rate": NaN}]}',
    ],
)
def test_what_is_no_history_is_told(
    text: str, books: Books, address: str, shell: Shell, tmp_path: Path
) -> None:
    books.store.load(OTHER, now=1)
    path = tmp_path / "history.json"
    path.write_text(text)
    code, _, said = shell.run(
        address, "compare", "--price-list", "elsewhere", "--month", "2026-03", "--baseline", str(path)
    )  # fmt: skip
    assert (code, "no usage history" in said, "Traceback" in said) == (1, True, False)


BY_DIMENSION = """
name: openai
currency: USD
entries:
- {models: [gpt-4.1], prices: {input: '2', output: '8'}}
- {models: [gpt-4.1], region: us, prices: {input: '2.2', output: '8.8'}}
- {models: [gpt-4.1], serviceTier: flex, prices: {input: '1', output: '4'}}
- {models: [gpt-4.1], aboveInputTokens: 200000, prices: {input: '4', output: '12'}}
- {models: [gpt-4.1], provider: openai, prices: {input: '3', output: '9'}}
- {models: [gpt-4.1], provider: openai, region: eu, prices: {input: '3.3', output: '9.9'}}
- {models: [gpt-4.1], provider: openai, serviceTier: priority, prices: {input: '6', output: '18'}}
"""
"""Prices that differ by whatever an entry can be told apart by."""


@pytest.mark.parametrize(
    "changes",
    [
        {"region": "us"},
        {"region": "eu"},
        {"service_tier": "flex"},
        {"service_tier": "priority"},
        {"tokens": TokenBuckets(input=300_000, output=1)},
    ],
)
@pytest.mark.parametrize("of_the_provider", [True, False])
def test_a_list_compared_with_itself_differs_by_nothing(
    of_the_provider: bool, changes: dict[str, Any], books: Books, address: str, shell: Shell
) -> None:
    entries = BY_DIMENSION.splitlines(keepends=True)
    listed = [one for one in entries if of_the_provider or "provider:" not in one]
    books.store.load("".join(listed), now=2)
    books.ledger.book("uid-a", [used("usual"), used("other", **changes)], books.prices, now=2)
    code, out, said = shell.run(address, "compare", "--price-list", "openai", "--month", "2026-03")
    assert code == 0, said
    total = json.loads(out)["total"]
    assert total["difference_usd"] == "0.00", total
    assert total["unpriced_attempts"] == total["unpriced_attempts_of_other"]
    assert total["attempts"] + total["unpriced_attempts"] == 2


def test_a_list_that_is_not_loaded_is_told(address: str, shell: Shell) -> None:
    code, _, said = shell.run(address, "compare", "--price-list", "x", "--month", "2026-03")
    assert (code, "there is no price list x" in said) == (1, True)
