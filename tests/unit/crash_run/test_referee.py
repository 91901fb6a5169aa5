"""The referee of the crash run finds what it is there to find: each fault of a ledger is a difference."""

from dataclasses import replace

import pytest
from tests.ledger.crash_run.referee import Booked, Noted, Verdict, booked_attempts, compare

TOKENS = (10, 6)
COST = 10 * 2_000_000 + 6 * 8_000_000
CHARGE = 10 * 4_000_000 + 6 * 16_000_000
NOTED = Noted("stable", "c1.0", "req_1", 200, "answered", TOKENS)
BOOKED = Booked(
    "e1", "stable", "c1.0", "req_1", 200, "ok", "provider", True, TOKENS, COST, CHARGE
)  # fmt: skip
ANSWERED = {"c1.0": "req_1"}
KILLED = Noted("stable", "c2.0", "req_2", 200, "aborted", TOKENS)
LEFT_OPEN = Booked("e2", "stable", "c2.0")


def judged(noted: list[Noted], booked: list[Booked]) -> Verdict:
    return compare(noted, booked, ANSWERED)


def test_books_that_agree_have_no_difference() -> None:
    verdict = judged([NOTED, KILLED], [BOOKED, LEFT_OPEN])
    assert verdict.differences == []
    assert (verdict.noted, verdict.booked, verdict.closed, verdict.left_open) == (2, 2, 1, 1)
    assert (verdict.by_answer, verdict.reported, verdict.never_sent) == (1, 1, 0)
    assert verdict.cost == COST


def test_an_attempt_that_was_opened_and_never_sent_is_counted_and_is_no_difference() -> None:
    verdict = judged([NOTED], [BOOKED, LEFT_OPEN])
    assert (verdict.differences, verdict.never_sent) == ([], 1)


def test_what_a_relay_cannot_prove_to_be_unused_is_counted_apart() -> None:
    verdict = judged([NOTED], [BOOKED, replace(LEFT_OPEN, source="unknown")])
    assert (verdict.differences, verdict.never_sent, verdict.unproven) == ([], 0, 1)


@pytest.mark.parametrize(
    ("noted", "booked", "found"),
    [
        ([NOTED], [], "noted and not booked"),
        ([NOTED, KILLED], [BOOKED], "noted and not booked"),
        ([NOTED], [BOOKED, replace(BOOKED, event_id="e9")], "booked twice"),
        ([NOTED], [BOOKED, replace(BOOKED, event_id="e9")], "delivered twice"),
        ([NOTED], [BOOKED, replace(LEFT_OPEN, source="provider")], "booked and never noted"),
        (
            [NOTED],
            [BOOKED, replace(LEFT_OPEN, source="partial", delivered=True)],
            "booked and never noted",
        ),
        ([NOTED], [replace(BOOKED, tokens=(10, 7))], "other tokens"),
        ([NOTED], [replace(BOOKED, status=500)], "booked as another call"),
        ([NOTED], [replace(BOOKED, name="c7.0")], "booked as another call"),
        ([NOTED], [replace(BOOKED, cost=COST + 1)], "pico-USD expected"),
        ([NOTED], [replace(BOOKED, charge=0)], "pico-USD expected"),
        ([NOTED], [replace(BOOKED, source="none")], "booked as nothing"),
        ([NOTED], [replace(BOOKED, source="estimated")], "is not the provider's"),
        ([NOTED], [replace(BOOKED, delivered=False, charge=0)], "is billed for"),
        ([NOTED, KILLED], [BOOKED, replace(LEFT_OPEN, source="none")], "served and booked"),
        ([NOTED, replace(NOTED, name="c3.0")], [BOOKED], "two answers one id"),
    ],
)  # fmt: skip
def test_each_fault_is_found(noted: list[Noted], booked: list[Booked], found: str) -> None:
    assert any(found in one for one in judged(noted, booked).differences)


def test_records_of_an_attempt_are_put_together_in_whatever_order_they_come() -> None:
    opened = {"id": "e1", "phase": "opened", "provider": "stable", "requestId": "c1.0"}
    closed = {
        **opened,
        "phase": "closed",
        "upstreamRequestId": "req_1",
        "status": 200,
        "outcome": "ok",
        "usageSource": "provider",
        "delivered": True,
        "tokens": {"input": 8, "cacheRead": 2, "output": 5, "reasoning": 1},
    }
    money = {"e1": (COST, CHARGE)}
    assert booked_attempts([opened, closed], money) == [BOOKED]
    assert booked_attempts([closed, opened], money) == [BOOKED]
    assert booked_attempts([opened], {}) == [Booked("e1", "stable", "c1.0")]
