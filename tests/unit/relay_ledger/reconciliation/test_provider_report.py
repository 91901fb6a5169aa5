"""Pages of a provider's reports: each counts once."""

import json
from typing import Any

import pytest

from relay_ledger.reconciliation.provider_report import Page, UnreadableReport, read_pages

DAY = 86_400


def page(day: int, *results: dict[str, Any]) -> Page:
    bucket = {"start_time": day * DAY, "end_time": (day + 1) * DAY, "results": list(results)}
    return Page(json.dumps({"data": [bucket], "has_more": False}))


def cost(usd: float) -> dict[str, Any]:
    return {"amount": {"value": usd, "currency": "usd"}}


def test_a_page_that_is_given_twice_is_refused_and_not_added_up() -> None:
    once = page(1, cost(3.0))
    with pytest.raises(UnreadableReport, match="page 3 is page 1 once more"):
        read_pages([once, page(2, cost(3.0)), Page(once.text + "\n")], "openai")
    # two organisations' costs of one day are two pages of it
    report = read_pages([once, page(1, cost(3.5)), page(2), page(2)], "openai")
    assert sum(one.pico for one in report.costs) == 65 * 10**11
