"""Tokens are compared in the service tier in which they were served, and money at that tier's prices."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.ledger.bills.test_reconciliation import FIRST, Reconciler, used
from tests.ledger.bills.usage_report_api import (
    ADMIN_KEY,
    UsageReportApi,
    anthropic_page,
    openai_cost,
    openai_page,
    openai_usage,
)
from tests.ledger.conftest import Books
from tests.ledger.shell import Shell

from relay_contract.billing.attempt_event import AttemptClosed
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.commands.reconcile_command import FLAGGED

TIERS = """
name: openai
currency: USD
entries:
- {models: [gpt-4.1], prices: {input: '2', output: '8'}}
- {models: [gpt-4.1], serviceTier: flex, prices: {input: '1', output: '4'}}
- {models: [gpt-4.1], serviceTier: batch, prices: {input: '1', output: '4'}}
- {models: [gpt-4.1], serviceTier: priority, prices: {input: '3.5', output: '14'}}
"""
MILLION = 1_000_000


@pytest.fixture
def reconciler(books: Books, address: str, shell: Shell, tmp_path: Path) -> Reconciler:
    books.store.load(TIERS, now=2)
    return Reconciler(books, address, shell, tmp_path)


def served(tier: str | None, millions: int = 1, **changes: Any) -> AttemptClosed:
    tokens = TokenBuckets(input=millions * MILLION)
    return used(f"in-{tier}", tokens, service_tier=tier, **changes)


def told(tier: str | None, millions: int = 1, **rest: Any) -> dict[str, Any]:
    """Returns a row of OpenAI's report."""
    usage = openai_usage(FIRST, input_tokens=millions * MILLION, service_tier=tier, **rest)
    (row,) = usage["results"]
    return dict(row)


def day(*rows: dict[str, Any]) -> dict[str, Any]:
    return openai_page([{**openai_usage(FIRST), "results": list(rows)}])


def cost(usd: float) -> dict[str, Any]:
    return openai_page([openai_cost(FIRST, usd)])


def causes(found: Any) -> dict[str, dict[str, int]]:
    """Returns the causes of each figure of the month that differs."""
    return {one["name"]: one["causes"] for one in found["tokens_in_all"] if one["difference"]}


def test_every_tier_is_compared_with_its_own_rows(reconciler: Reconciler) -> None:
    """What asked for priority and was served in the usual tier says `default`, and costs what that does."""
    attempts = [served(None), served("default", 2), served("flex", 4), served("priority", 8)]
    reconciler.book(attempts)
    rows = told("default", 3), told("flex", 4), told("priority", 8)
    code, found = reconciler.run(day(*rows), cost(3 * 2 + 4 * 1 + 8 * 3.5))
    assert (code, causes(found)) == (0, {})
    assert {(row["tier"], row["booked"]) for row in found["tokens"]} == {
        ("standard", 3 * MILLION),
        ("flex", 4 * MILLION),
        ("priority", 8 * MILLION),
    }
    assert found["money_in_all"]["booked"] == found["money_in_all"]["reported"] == "38.00"


def test_tokens_that_the_provider_counts_in_another_tier_are_flagged_though_all_tokens_agree(
    reconciler: Reconciler,
) -> None:
    reconciler.book([served(None, 5)])
    code, found = reconciler.run(day(told("default", 4), told("priority", 1)), cost(4 * 2 + 3.5))
    assert code == FLAGGED
    assert causes(found) == {
        "gpt-4.1 input": {"tier": MILLION},
        "gpt-4.1 priority input": {"tier": -MILLION},
    }
    # a million booked at 2 and billed at 3.5
    assert found["money_in_all"]["causes"] == {"tier": "-1.50"}


def test_lost_tokens_of_a_tier_have_its_price_and_their_own_cause(reconciler: Reconciler) -> None:
    failed = {"delivered": False, "outcome": "failed", "status": 500}
    again = used("again", TokenBuckets(input=MILLION), service_tier="priority", **failed)
    reconciler.book([served("priority"), served("default"), again])
    code, found = reconciler.run(day(told("default"), told("priority")), cost(2 + 3.5))
    assert code == FLAGGED
    assert causes(found) == {"gpt-4.1 priority input": {"retried": MILLION}}
    assert found["money_in_all"]["causes"] == {"retried": "3.50"}


def test_a_report_that_is_not_divided_by_tiers_is_compared_as_a_whole(
    reconciler: Reconciler,
) -> None:
    reconciler.book([served("default"), served("flex")])
    code, found = reconciler.run(day(told(None, 2)), cost(2 * 2))
    assert code == FLAGGED
    assert causes(found) == {}
    assert found["money_in_all"]["causes"] == {"tier": "-1.00"}


def test_batches_that_never_passed_a_relay_are_apart(reconciler: Reconciler) -> None:
    reconciler.book([served("default"), served("flex")])
    rows = told(None, 2, batch=False), told(None, 7, batch=True, api_key_id="key_elsewhere")
    _, found = reconciler.run(day(*rows), options=("--own-key", "key_ours"))
    assert causes(found) == {"gpt-4.1 batch input": {"unknown_key": -7 * MILLION}}


def anthropic_row(tier: str, millions: int) -> dict[str, Any]:
    return {
        "uncached_input_tokens": millions * MILLION,
        "cache_read_input_tokens": 0,
        "cache_creation": {},
        "output_tokens": 0,
        "model": "gpt-4.1",
        "api_key_id": "apikey_1",
        "service_tier": tier,
    }


def test_anthropics_costs_leave_out_the_priority_tier_and_its_report_knows_no_speed(
    reconciler: Reconciler, address: str, shell: Shell, tmp_path: Path
) -> None:
    reconciler.book([served("standard", 2), served("fast"), served("priority", 10)])
    rows = anthropic_row("standard", 3), anthropic_row("priority", 10)
    invoiced = {"currency": "USD", "amount": "400", "description": "usage"}
    command = ["reconcile", "openai", "--period", "2026-03", "--dialect", "anthropic"]
    for number, results in enumerate([rows, (invoiced,)]):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(anthropic_page("2026-03-10", "2026-03-11", *results)))
        command += ["--file", str(path)]
    _, out, _ = shell.run(address, *command, "--format", "json")
    found = json.loads(out)
    assert causes(found) == {}
    # what was fast has no price; 10 million at 3.5 are not in the costs
    assert found["money_in_all"]["booked"] == "39.00"
    assert found["money_in_all"]["causes"] == {"tier": "35.00"}


def test_openais_api_is_asked_for_tiers_and_batches(reconciler: Reconciler, tmp_path: Path) -> None:
    reconciler.book([served("flex")])
    api = UsageReportApi(
        {
            "/v1/organization/usage/completions": [day(told("flex"))],
            "/v1/organization/costs": [cost(1)],
        }
    )
    key = tmp_path / "admin-key"
    key.write_text(ADMIN_KEY)
    try:
        options = ("--api-key-file", str(key), "--api-base", api.base)
        code, found = reconciler.run(options=options)
    finally:
        api.close()
    assert (code, causes(found)) == (0, {})
    assert api.asked[0][1]["group_by[]"] == ["model", "api_key_id", "batch", "service_tier"]
