"""Postings: every attempt costs the platform, the delivered one earns, and nothing without a price is 0."""

from typing import Any

import pytest
from tests.unit.relay_contract.billing.records import NOON, closed, opened, tool_call

from relay_contract.billing.token_buckets import BilledUnits, TokenBuckets
from relay_ledger.booking.posting import (
    FIGURES,
    FREE,
    UNKNOWN,
    Amount,
    Posting,
    in_all,
    opened_posting,
    posting_of,
    repricing_of,
    reversal_of,
    swept_posting,
)
from relay_ledger.booking.price_book import Account, Assignment, PriceBook
from relay_ledger.booking.tool_posting import billed_call, tool_posting_of
from relay_ledger.prices.price_file import read_price_list


def prices(name: str, *entries: str) -> str:
    return f"name: {name}\ncurrency: USD\nentries:\n" + "".join(f"- {entry}\n" for entry in entries)


COST = read_price_list(
    prices(
        "cost",
        "{models: [gpt-4.1], prices: {input: '2', output: '8'}, perPiece: {webSearch: '0.01'}}",
        "{models: [claude], prices: {input: '3', output: '15'}}",
    )
)
RETAIL = read_price_list(
    prices("retail", "{models: [gpt, gpt-4.1-mini], prices: {input: '4', output: '16'}}")
)
BOOK = PriceBook(
    {"cost": COST, "retail": RETAIL},
    [
        Assignment("cost", "openai", 0, "cost"),
        Assignment("charge", "uid-a", NOON, "retail"),
        Assignment("charge", "uid-b", NOON, "nowhere"),
    ],
)
PRICED = Amount("priced", 2_800_000_000, COST.version, entry=0)
CHARGED = Amount("priced", 5_600_000_000, RETAIL.version, entry=0)


def booked(**changes: Any) -> Posting:
    return posting_of(closed(**changes), BOOK)


def test_a_delivered_attempt_costs_and_earns() -> None:
    posting = booked()
    assert (posting.cost, posting.charge) == (PRICED, CHARGED)
    assert posting.figures["cost_pico"] == 2_800_000_000
    assert posting.figures["charge_pico"] == 5_600_000_000
    assert posting.figures.keys() == set(FIGURES)
    assert {name for name, figure in posting.figures.items() if figure} == {
        *("attempts", "delivered", "input", "output", "cost_pico", "charge_pico")
    }


@pytest.mark.parametrize("side", ["stable", "shadow", "preflight"])
def test_an_attempt_whose_answer_nobody_got_costs_the_platform_alone(side: str) -> None:
    posting = booked(side=side, delivered=False, attempt_id="c0ffee-2")
    assert (posting.cost, posting.charge) == (PRICED, FREE)


def test_an_attempt_that_its_caller_left_earns_where_its_tenant_pays_for_that() -> None:
    left: dict[str, Any] = {"delivered": False, "outcome": "cancelled", "usage_source": "partial"}
    posting = booked(**left, abandoned=True)
    assert (posting.cost, posting.charge) == (PRICED, CHARGED)
    assert (posting.figures["delivered"], posting.figures["abandoned"]) == (0, 1)
    waived = booked(**left)
    assert (waived.cost, waived.charge, waived.figures["abandoned"]) == (PRICED, FREE, 0)


def test_the_model_that_answered_has_the_price() -> None:
    assert booked(answered_model="claude").cost.pico == 1000 * 3_000_000 + 100 * 15_000_000
    assert booked(answered_model=None).cost == PRICED
    # a tenant's list has the names that the tenant knows
    assert booked(answered_model="gpt-4.1-mini").charge == CHARGED
    assert booked(requested_model="other").charge.state == "unpriced"


@pytest.mark.parametrize(
    ("changes", "detail"),
    [
        ({"provider": "azure"}, "no price list of azure"),
        ({"answered_model": "gpt-0"}, "model gpt-0"),
        ({"service_tier": "flex"}, "tier flex"),
        ({"tokens": TokenBuckets(audio_output=1)}, "dimension audio_output"),
        ({"units": BilledUnits(web_fetch=1)}, "dimension web_fetch"),
    ],
)
def test_what_has_no_price_is_counted_as_such(changes: dict[str, Any], detail: str) -> None:
    posting = booked(**changes)
    assert posting.cost.state == "unpriced"
    assert posting.cost.detail == detail
    assert (posting.figures["cost_unpriced"], posting.figures["cost_pico"]) == (1, 0)


def test_a_tenant_without_a_list_is_not_billed_and_one_whose_list_is_missing_is_unpriced() -> None:
    assert booked(dispatched_at=NOON - 1).charge == FREE
    assert booked(tenant_uid="uid-c").charge == FREE
    assert booked(tenant_uid="uid-b").charge.state == "unpriced"


def test_a_tenant_of_whom_the_operator_has_not_told_is_unpriced() -> None:
    book = PriceBook(
        BOOK.lists, [Assignment("charge", "uid-a", NOON, "retail")], unbilled={"uid-c"}
    )
    charges = {
        uid: posting_of(closed(tenant_uid=uid), book).charge for uid in ("uid-a", "uid-c", "uid-d")
    }
    assert charges == {
        "uid-a": CHARGED,
        "uid-c": FREE,
        "uid-d": Amount("unpriced", detail="no price list of uid-d"),
    }
    # before its first list it was not billed
    before = closed(dispatched_at=NOON - 1)
    assert posting_of(before, book).charge == FREE
    calls = {
        uid: tool_posting_of(found, book).charge.state
        for uid in ("uid-c", "uid-d")
        if (found := billed_call(tool_call(tenant_uid=uid))) is not None
    }
    assert calls == {"uid-c": "free", "uid-d": "unpriced"}


def test_nothing_used_is_free_and_nobody_knows_is_not() -> None:
    none = booked(usage_source="none", tokens=None, delivered=False, reserved_pico=5)
    assert (none.cost, none.figures["held_pico"]) == (FREE, 0)
    unknown = booked(usage_source="unknown", tokens=None, delivered=False, reserved_pico=5)
    assert (unknown.cost, unknown.figures["held_pico"]) == (UNKNOWN, 5)
    assert booked(usage_source="unknown", tokens=None).charge == UNKNOWN


def test_an_attempt_of_unknown_use_is_held_at_the_price_of_what_was_expected_of_it() -> None:
    expected = TokenBuckets(input=1000, output=100)
    unknown = {"usage_source": "unknown", "tokens": None, "delivered": False}
    posting = booked(**unknown, reserved_tokens=expected)
    assert posting.cost == Amount("unknown", version=COST.version)
    assert posting.figures["held_pico"] == 1000 * 2_000_000 + 100 * 8_000_000
    assert posting.figures["input"] == posting.figures["cost_pico"] == 0
    # the relay's own word counts before, and without a price there is none
    assert booked(**unknown, reserved_tokens=expected, reserved_pico=5).figures["held_pico"] == 5
    for nowhere in ({"answered_model": "gpt-0"}, {"provider": "nobody"}):
        assert booked(**unknown, **nowhere, reserved_tokens=expected).figures["held_pico"] == 0


def test_a_correction_holds_an_attempt_of_unknown_use_at_the_new_price() -> None:
    unknown = closed(
        usage_source="unknown",
        tokens=None,
        delivered=False,
        reserved_tokens=TokenBuckets(input=1000, output=100),
    )
    amounts: dict[Account, Amount] = {"cost": UNKNOWN, "charge": FREE}
    posting = repricing_of(unknown, amounts, BOOK, sequence=2, held=2_000_000)
    assert posting is not None
    assert posting.figures["held_pico"] == 2_800_000_000 - 2_000_000
    assert repricing_of(unknown, amounts, BOOK, sequence=3, held=2_800_000_000) is None


def test_an_attempt_under_way_holds_what_it_may_cost_and_is_none_yet() -> None:
    begun = opened(reserved_tokens=TokenBuckets(input=1000, output=100))
    posting = opened_posting(begun, BOOK)
    assert (posting.cost, posting.charge) == (Amount("unknown", version=COST.version), FREE)
    assert {name: figure for name, figure in posting.figures.items() if figure} == {
        "held_pico": 2_800_000_000
    }
    assert opened_posting(opened(provider="nobody"), BOOK).cost == UNKNOWN
    # a correction finds what it holds by today's prices
    amounts: dict[Account, Amount] = {"cost": UNKNOWN, "charge": FREE}
    repriced = repricing_of(begun, amounts, BOOK, sequence=2, held=1_000_000_000)
    assert repriced is not None
    assert repriced.figures["held_pico"] == 1_800_000_000


@pytest.mark.parametrize("is_held", [True, False])
def test_what_was_swept_and_taken_back_is_nothing(is_held: bool) -> None:
    begun = opened(reserved_pico=7)
    booked = [opened_posting(begun, BOOK)] if is_held else []
    booked.append(swept_posting(begun, in_all(booked) if is_held else None))
    swept = in_all(booked)
    assert (swept.figures["attempts"], swept.figures["held_pico"]) == (1, 7)
    back = reversal_of(swept, sequence=swept.sequence + 1)
    assert {swept.figures[name] + back.figures[name] for name in FIGURES} == {0}
    assert (back.sequence, back.kind, back.dimensions) == (
        len(booked) + 1,
        "reversal",
        swept.dimensions,
    )


def test_a_correction_is_the_difference_to_what_is_booked() -> None:
    unpriced = Amount("unpriced")
    posting = repricing_of(closed(), {"cost": unpriced, "charge": CHARGED}, BOOK, sequence=2)
    assert posting is not None
    changed = {name: figure for name, figure in posting.figures.items() if figure}
    assert changed == {"cost_pico": 2_800_000_000, "cost_unpriced": -1}
    assert repricing_of(closed(), {"cost": PRICED, "charge": CHARGED}, BOOK, sequence=2) is None
