"""What is booked, as a reconciliation looks at it: repetitions are found a day later, a month of requests takes no memory, and
what nobody knows is bounded by what was expected."""

import tracemalloc
from typing import Any

from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptClosed, AttemptOpened
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.reconciliation.own_use import OwnUse
from relay_ledger.reconciliation.provider_report import DAY, Tokens
from relay_ledger.reconciliation.reported_tiers import NOT_TOLD_APART, reported_tiers

START = 20_000 * DAY
MONTH = [(START + day * DAY, START + (day + 1) * DAY) for day in range(30)]


def own_use() -> OwnUse:
    return OwnUse(MONTH, reported_tiers(()))


def sent(at: int, request: str, **changes: Any) -> AttemptClosed:
    return closed(dispatched_at=at, upstream_request_id=request, **changes)


def duplicates(own: OwnUse, start: int) -> int:
    found = own.evidence(start, "gpt-4.1", NOT_TOLD_APART, "input")
    return found["duplicate"].more if "duplicate" in found else 0


def test_a_request_that_comes_again_is_found_over_midnight() -> None:
    own = own_use()
    for at, request in (
        (START + DAY - 2, "one"),
        (START + DAY - 1, "one"),
        (START + DAY, "one"),
        (START + DAY + 1, "two"),
        (START + 2 * DAY - 1, "one"),
    ):
        own.add(sent(at, request))
    assert [duplicates(own, start) for start, _ in MONTH[:3]] == [1000, 2000, 0]


def test_requests_of_a_month_are_not_held() -> None:
    own = own_use()
    few = closed(upstream_request_id="none")
    tracemalloc.start()
    try:
        for day in range(30):
            for number in range(300):
                request = f"request-{day}-{number}-{'x' * 1000}"
                one = few.model_copy(
                    update={"dispatched_at": START + day * DAY, "upstream_request_id": request}
                )
                own.add(one)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 9,000 ids of a KiB would be nine MiB
    assert held < 2_000_000


def test_attempts_of_unknown_use_may_have_used_what_was_expected_of_them() -> None:
    own = own_use()
    expected = TokenBuckets(input=700, output=90)
    for number in range(3):
        own.add(lost(START + number, reserved_tokens=expected))

    def missing(kind: Tokens) -> int:
        return own.evidence(START, "gpt-4.1", NOT_TOLD_APART, kind)["not_reported"].less

    assert (missing("input"), missing("output")) == (3 * 700, 3 * 90)
    # of one that tells nothing as much is likely as the others used
    own.add(sent(START + 3, "one"))
    own.add(lost(START + 4))
    assert missing("input") == 3 * 700 + 1000


def test_attempts_without_an_end_may_have_used_what_was_expected_of_them() -> None:
    own = own_use()
    own.add(begun(START, reserved_tokens=TokenBuckets(input=700, output=90)))
    # of a time that nothing is compared in
    own.add(begun(START - 1, reserved_tokens=TokenBuckets(input=5)))
    evidence = own.evidence(START, "gpt-4.1", NOT_TOLD_APART, "output")
    assert evidence["not_reported"].less == 90
    # a former version of the relay did not tell
    own.add(begun(START + 1))
    own.add(sent(START + 3, "one"))
    found = own.evidence(START, "gpt-4.1", NOT_TOLD_APART, "input")
    assert found["not_reported"].less == 700 + 1000


def begun(at: int, **changes: Any) -> AttemptOpened:
    return opened(dispatched_at=at, **changes)


def lost(at: int, **changes: Any) -> AttemptClosed:
    return sent(at, "", usage_source="unknown", tokens=None, delivered=False, **changes)
