"""The condition Reconciled says what was compared, and what it takes where nothing was."""

import json
from dataclasses import replace

import pytest

from relay_contract.billing.reconciliation_summary import Summary, read_summary
from relay_operator.decisions.ledger import reconciled_condition, standing
from relay_operator.decisions.ledger.standing import Reconciled

OCTOBER = 1_790_812_800 * 10**6
"""The beginning of October 2026."""
AGREES = Reconciled(
    start=OCTOBER,
    made_at=OCTOBER + 32 * 86_400 * 10**6,
    summary=Summary(
        compared=84,
        flagged=0,
        provisional=0,
        unit="USD",
        booked="123.45",
        reported="123.40",
        difference="0.05",
        percent="0.05",
        causes=("bucket_edge",),
    ),
)


@pytest.mark.parametrize(
    ("changes", "status", "reason", "words"),
    [
        (
            {},
            *("True", "WithinOnePercent"),
            "2026-10, compared at 2026-11-02T00:00:00Z: booked 123.45 USD, reported 123.40, difference 0.05, 0.05 % apart "
            "(bucket_edge); none of 84 figures is more than 1 % apart",
        ),
        ({"provisional": 4}, "True", "WithinOnePercent", "of 4 that are too young it is not known"),
        (
            {"flagged": 2, "names": ("USD", "gpt-4.1 input")},
            *("False", "DifferenceFound"),
            "2 figures are more than 1 % apart, of USD, gpt-4.1 input. relay-ledger reconcile openai --period 2026-10 shows",
        ),
        ({"provisional": 84}, "Unknown", "NotSettled", "compare again in two days"),
        ({"compared": 0}, "Unknown", "NothingCompared", "2026-10: nothing is booked"),
    ],
)
def test_what_was_found_is_told_with_period_and_difference(
    changes: dict[str, object], status: str, reason: str, words: str
) -> None:
    summary = replace(AGREES.summary, **changes)  # type: ignore[arg-type]
    told = reconciled_condition.of_provider("openai", replace(AGREES, summary=summary))
    assert (told.type, told.status, told.reason) == ("Reconciled", status, reason)
    assert words in told.message


def test_a_provider_that_nobody_has_compared_says_how_to() -> None:
    told = reconciled_condition.of_provider("openai", None)
    assert (told.status, told.reason) == ("Unknown", "NeverReconciled")
    assert "relay-ledger reconcile openai --period MONTH" in told.message


def test_a_ledger_that_tells_of_no_reconciliations_is_none_that_has_none() -> None:
    answer = {"book": "", "lists": {}, "tenants": {}}
    assert standing.read(answer).reconciled is None
    assert standing.read(answer | {"reconciliations": {}}).reconciled == {}


def test_what_the_ledger_tells_is_what_is_read_whatever_more_it_tells() -> None:
    told = AGREES.summary.told() | {"start": 1, "madeAt": 2, "later": "more"}
    assert read_summary(json.loads(json.dumps(told))) == AGREES.summary
    answer = {"book": "", "lists": {}, "tenants": {}, "reconciliations": {"openai": told}}
    assert standing.read(answer).reconciled == {"openai": Reconciled(1, 2, AGREES.summary)}
