"""The API server refuses budgets that bound nothing, or that nothing could count, with a message that a person can act on."""

from typing import Any

import pytest
from tests.cluster.session.clients import Client
from tests.contract.test_custom_resources import attempt

LIST = {"priceList": "standard"}


@pytest.mark.parametrize(
    "billing",
    [
        LIST | {"budget": {"amount": "250"}},
        LIST
        | {
            "budget": {
                "amount": "0.000001",
                "period": "Day",
                "hard": False,
                "alertAtPercent": [1, 1000],
            }
        },
        LIST | {"credit": {}, "onLedgerAway": "Serve"},
        LIST | {"credit": {"alertBelow": ["20", "5.5"]}, "budget": {"amount": "999999"}},
        {"sessionCaps": {"calls": 1, "tokens": 10_000_000_000}},
        LIST | {"sessionCaps": {"amount": "5"}},
        LIST | {"onUnpriced": "Refuse"},
        LIST | {"onUnpriced": "Serve", "budget": {"amount": "250"}},
        LIST | {"onAbandoned": "Waive"},
        LIST | {"onAbandoned": "Charge", "credit": {}},
    ],
)
def test_what_bounds_spending_is_accepted(
    kubectl: Client, crds: None, billing: dict[str, Any]
) -> None:
    assert attempt(kubectl, "Tenant", "t", {"billing": billing}) == ""


@pytest.mark.parametrize(
    ("billing", "words"),
    [
        ({"budget": {"amount": "250"}}, "counted by the prices of a list; set priceList"),
        ({"credit": {}}, "counted by the prices of a list; set priceList"),
        ({"sessionCaps": {"amount": "5"}}, "set priceList, or remove sessionCaps.amount"),
        (LIST | {"budget": {"amount": "0.00"}}, "a budget of 0 refuses every call"),
        (LIST | {"budget": {"amount": "-1"}}, "budget.amount"),
        (LIST | {"budget": {"amount": "NaN"}}, "budget.amount"),
        (LIST | {"budget": {"amount": "1.1234567"}}, "budget.amount"),
        (LIST | {"budget": {"amount": "1", "alertAtPercent": [50, 50]}}, "alertAtPercent"),
        (
            LIST | {"budget": {"amount": "1", "hard": False}, "onLedgerAway": "Serve"},
            "set budget.hard: true or credit",
        ),
        ({"onUnpriced": "Refuse"}, "that a list has no price for; set priceList"),
        (LIST | {"onUnpriced": "Allow"}, "onUnpriced"),
        ({"onAbandoned": "Charge"}, "what calls cost by a list; set priceList"),
        (LIST | {"onAbandoned": "Free"}, "onAbandoned"),
        (LIST | {"onLedgerAway": "Refuse"}, "set budget.hard: true or credit"),
        ({"sessionCaps": {}}, "sessionCaps"),
        (LIST | {"sessionCaps": {"amount": "0"}}, "a cap of 0 refuses every call of a session"),
    ],
)
def test_what_bounds_nothing_is_refused(
    kubectl: Client, crds: None, billing: dict[str, Any], words: str
) -> None:
    assert words in attempt(kubectl, "Tenant", "t", {"billing": billing})
