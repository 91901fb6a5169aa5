"""The webhook's page shows the message about a budget as the operator writes it."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from relay_contract.billing.budget import Alert
from relay_operator.cluster.webhook.budget_message import TYPE, of_alert

PAGE = (Path(__file__).resolve().parents[5] / "docs" / "webhook.md").read_text()
USD = 10**12


def microseconds(day: int, month: int = 11, **time: int) -> int:
    return int(datetime(2026, month, day, tzinfo=UTC, **time).timestamp()) * 10**6


def alert(**changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "kind": "budget",
        "starts_at": microseconds(1),
        "ends_at": microseconds(1, month=12),
        "amount": 250 * USD,
        "threshold": 80,
        "spent": 200 * USD + 41_599_000_000,
        "crossed_at": microseconds(19, hour=8, minute=12, second=40),
    }
    return Alert(**fields | changes)


def shown() -> dict[str, Any]:
    [block] = [one for one in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL) if TYPE in one]
    found: dict[str, Any] = json.loads(block)
    return found


def test_the_page_shows_the_alert_of_a_budget_as_it_is_sent() -> None:
    message = of_alert("finance", "...", alert())
    assert json.loads(message.body) == shown()
    assert message.type == TYPE


def test_the_page_says_what_is_another_of_credit() -> None:
    credit = alert(kind="credit", threshold=20 * USD, spent=231 * USD)
    data = json.loads(of_alert("finance", "...", credit).body)["data"]
    assert data.keys() == shown()["data"].keys()
    assert (data["limit"], data["threshold"], data["periodEnd"]) == (
        "credit",
        "below 20.00 USD",
        None,
    )
    assert f"or `credit` with an amount such as `{data['threshold']}`" in PAGE


@pytest.mark.parametrize("field", [*shown()["data"], "timestamp"])
def test_the_page_explains_every_field(field: str) -> None:
    explained = PAGE[PAGE.index("### A threshold") :]
    if field in ("tenant", "uid", "currency", "message"):
        return
    assert f"`{field}`" in explained or f"`data.{field}`" in explained
