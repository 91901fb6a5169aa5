"""The bill at the demonstration's end, made of what relay-ledger prints and drawn for a terminal and for a file."""

import io
import json
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console
from tests.demo.view import bill as bills
from tests.demo.view.screen import show_bill

from relay_contract.billing.token_buckets import BUCKETS
from relay_ledger.booking.posting import FIGURES
from relay_ledger.reports.cost_report import cost_json
from relay_ledger.reports.figures import Group
from relay_ledger.reports.what_if import Comparison

USD = 10**12


def group(names: Mapping[str, str], **figures: int) -> Group:
    return Group(dict(names), dict.fromkeys(FIGURES, 0) | figures)


def printed(groups: list[Group], *by: str) -> dict[str, Any]:
    """Returns what `relay-ledger report` prints of sums."""
    found: dict[str, Any] = json.loads(cost_json(groups, by, {}, start=0, end=900_000_000))
    return found


BY_MODEL = [
    group(
        {"model": "gpt-4.1", "provider": "legacy"},
        attempts=3000,
        delivered=2990,
        input=30_000,
        output=24_000,
        cost_pico=252 * USD // 1000,
        charge_pico=3 * USD // 10,
    ),
    group(
        {"model": "gpt-4.1-2025", "provider": "holysheep"},
        attempts=2000,
        delivered=2000,
        input=15_000,
        cache_read=5_000,
        output=15_000,
        reasoning=1_000,
        cost_pico=104 * USD // 1000,
        charge_pico=2 * USD // 10 + 1,
    ),
]
BY_SOURCE = [
    group({"usage_source": "none"}, attempts=100),
    group({"usage_source": "partial"}, attempts=2),
    group({"usage_source": "provider"}, attempts=4898),
]


def bill(*, other_pico: int = 42 * USD // 100, unpriced: int = 0) -> bills.Bill:
    rest = [group({"model": "new", "provider": "legacy"}, charge_unpriced=unpriced)]
    compared = Comparison(attempts=4898, booked_pico=356 * USD // 1000, other_pico=other_pico)
    return bills.read(
        tenant="finance",
        month="2026-11",
        by_model=printed([*BY_MODEL, *(rest if unpriced else ())], "model", "provider"),
        by_source=printed(BY_SOURCE, "source"),
        compared={"total": compared.fields()},
        incumbent="legacy",
    )


def shown(found: bills.Bill, *, width: int = 120, terminal: bool) -> list[str]:
    console = Console(
        file=io.StringIO(), width=width, color_system=None, force_terminal=terminal, _environ={}
    )
    show_bill(console, found)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_a_line_has_all_tokens_of_a_model_and_its_exact_money() -> None:
    line = bill().lines[1]
    assert (line.calls, line.input_tokens, line.output_tokens) == (2000, 20_000, 16_000)
    assert (line.cost, line.charge) == ("0.104", "0.200000000001")


def test_every_bucket_of_tokens_is_in_one_of_the_two_columns() -> None:
    everything = [group({"model": "all", "provider": "any"}, **dict.fromkeys(BUCKETS, 1))]
    found = bills.read(
        tenant="finance",
        month="2026-11",
        by_model=printed(everything, "model", "provider"),
        by_source=printed([], "source"),
        compared={"total": Comparison().fields()},
        incumbent="legacy",
    )
    assert found.total.input_tokens + found.total.output_tokens == len(BUCKETS)
    assert found.evidence == "nothing was used"


def test_the_total_is_that_of_the_ledger() -> None:
    total = bill().total
    assert (total.calls, total.cost, total.charge) == (4990, "0.356", "0.500000000001")


def test_what_used_nothing_is_in_no_share_and_a_share_that_is_not_all_is_not_shown_as_all() -> None:
    assert (
        bill().evidence
        == "of 4,900 attempts that used tokens, providers counted 99.9 % themselves; 2 partial"
    )


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (42 * USD // 100, "0.42 USD at legacy: 0.064 USD saved by the migration"),
        (3 * USD // 10, "0.30 USD at legacy: 0.056 USD lost by the migration"),
        (356 * USD // 1000, "0.356 USD at legacy: 0.00 USD saved by the migration"),
    ],
)
def test_what_the_migration_saves_or_costs_is_said(other: int, says: str) -> None:
    told = bill(other_pico=other).savings
    assert told == f"4,898 attempts cost 0.356 USD, and would have cost {says}"


def test_what_has_no_price_is_said_where_there_is_any() -> None:
    assert list(bill(unpriced=7).notes())[1] == "7 attempts have no price, and are in no amount"
    assert len(list(bill().notes())) == 2


def test_without_a_terminal_it_is_lines_of_text() -> None:
    assert shown(bill(), terminal=False) == [
        "The bill of tenant finance for 2026-11, as the ledger has it",
        "  model         provider   calls  tokens in  tokens out  platform pays USD  tenant owes USD",
        "  gpt-4.1       legacy     2,990     30,000      24,000              0.252             0.30",
        "  gpt-4.1-2025  holysheep  2,000     20,000      16,000              0.104   0.200000000001",
        "  total                    4,990     50,000      40,000              0.356   0.500000000001",
        "  of 4,900 attempts that used tokens, providers counted 99.9 % themselves; 2 partial",
        "  4,898 attempts cost 0.356 USD, and would have cost 0.42 USD at legacy: 0.064 USD saved by the migration",
    ]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_a_terminal_gets_all_of_it_at_every_usual_width(width: int) -> None:
    rows = shown(bill(), width=width, terminal=True)
    assert max(map(len, rows)) <= width
    text = " ".join(" ".join(rows).split())
    for wanted in (
        "tenant finance for 2026-11",
        "gpt-4.1-2025",
        "holysheep",
        "30,000",
        "4,990",
        "of 4,900 attempts that used tokens, providers counted 99.9 %",
        "0.064 USD saved by the migration",
    ):
        assert wanted in text
    if width >= 100:
        assert "0.500000000001" in text
