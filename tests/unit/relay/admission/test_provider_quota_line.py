"""The line in front of a provider's quota, without a loop."""

from typing import Any

import pytest

from relay.admission.ask import Ask
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.priority_lanes import Ticket
from relay.admission.provider_quota_line import NO_QUOTA, ProviderQuotaLine
from relay.admission.tickets import Flow, TicketState
from relay.admission.token_buckets import Hold
from relay_contract.document import ProviderLimits
from relay_contract.quota_use import QuotaLevel

PRODUCTION = Flow(tenant="finance", key="production")
STAGING = Flow(tenant="finance", key="staging")


def line(
    *, max_depth: int = 10, max_wait_seconds: float = 120.0, **quota: Any
) -> ProviderQuotaLine:
    """Makes a line for 6 requests a minute: one at once, the next after 10 s."""
    limits = ProviderLimits(**({"requests_per_minute": 6} | quota))
    return ProviderQuotaLine(
        limits, share=1.0, max_depth=max_depth, max_wait_seconds=max_wait_seconds, now=0.0
    )


def ask(*, tokens: int = 1) -> Ask:
    return Ask(
        key="production",
        key_weight=1,
        priority="normal",
        model="gpt-4.1",
        provider="legacy",
        input_tokens=tokens,
        output_tokens=0,
    )


def enter(entered: ProviderQuotaLine, flow: Flow = PRODUCTION, *, now: float = 0.0) -> Ticket:
    answer = entered.enter(ask(), flow, owner=None, now=now)
    assert isinstance(answer, Ticket), answer
    return answer


def spent(**changes: Any) -> ProviderQuotaLine:
    """Makes a line whose quota is used up at 0 s."""
    used = line(**changes)
    assert isinstance(used.enter(ask(), PRODUCTION, owner=None, now=0.0), Hold)
    return used


def test_a_call_passes_at_once_while_the_quota_has_room() -> None:
    spent()


def test_the_first_in_line_is_told_when_to_try_again_and_passes_then() -> None:
    waiting = spent()
    first = enter(waiting)
    assert waiting.is_first(first)
    assert waiting.retry(ask(), first, 0.0) == pytest.approx(10.0)
    assert isinstance(waiting.retry(ask(), first, 10.0), Hold)
    assert waiting.leave(first, passed=True, now=10.0) == []
    assert first.state is TicketState.DONE


def test_those_behind_the_first_do_not_try_before_it_has_left() -> None:
    waiting = spent()
    first, second = enter(waiting), enter(waiting)
    # whoever comes later queues too, although the quota has room again
    third = enter(waiting, now=11.0)
    assert [waiting.is_first(ticket) for ticket in (first, second, third)] == [True, False, False]
    assert waiting.leave(first, passed=False, now=11.0) == [second]
    assert waiting.is_first(second)


def test_the_line_is_fair_between_keys() -> None:
    waiting = spent()
    first = enter(waiting)
    busy = [enter(waiting) for _ in range(5)]
    quiet = enter(waiting, STAGING)
    (second,) = waiting.leave(first, passed=True, now=10.0)
    assert second in (busy[0], quiet)
    (third,) = waiting.leave(second, passed=True, now=20.0)
    assert {second, third} == {busy[0], quiet}


def test_a_call_that_would_wait_too_long_is_refused_by_the_quota_itself() -> None:
    refused = spent(max_wait_seconds=5.0).enter(ask(), PRODUCTION, owner=None, now=0.0)
    assert isinstance(refused, NotAdmitted)
    assert refused.reason is NotAdmittedReason.PROVIDER_REQUESTS
    assert refused.retry_after_seconds == pytest.approx(10.0)


def test_a_first_in_line_that_cannot_pass_before_its_deadline_is_refused() -> None:
    waiting = spent(max_wait_seconds=12.0)
    first = enter(waiting)
    assert isinstance(waiting.try_now(1, 0, 10.0), Hold)
    refused = waiting.retry(ask(), first, 10.0)
    assert isinstance(refused, NotAdmitted)
    assert refused.reason is NotAdmittedReason.PROVIDER_REQUESTS


def test_a_call_larger_than_the_quota_is_refused_for_good() -> None:
    answer = line(tokens_per_minute=100).enter(ask(tokens=101), PRODUCTION, owner=None, now=0.0)
    too_large = NotAdmittedReason.PROVIDER_REQUEST_TOO_LARGE
    assert answer == NotAdmitted(too_large, 0.0, waiting_helps=False)


def test_a_full_line_names_the_quota() -> None:
    waiting = spent(max_depth=1)
    enter(waiting)
    enter(waiting)
    refused = waiting.enter(ask(), PRODUCTION, owner=None, now=0.0)
    assert isinstance(refused, NotAdmitted)
    assert refused.reason is NotAdmittedReason.PROVIDER_QUEUE_FULL


def test_a_call_whose_time_in_line_is_over_is_told_when_the_quota_is_full_again() -> None:
    waiting = spent(max_wait_seconds=60.0)
    enter(waiting)
    behind = enter(waiting)
    assert isinstance(waiting.try_now(1, 0, 59.0), Hold)
    assert waiting.queue.expire(60.0) == [behind]
    refused = waiting.lapse_reason(behind, 60.0)
    assert refused.reason is NotAdmittedReason.PROVIDER_QUEUE_TIMEOUT
    assert refused.retry_after_seconds == pytest.approx(9.0)


def test_another_quota_counts_for_calls_that_wait() -> None:
    waiting = spent()
    first = enter(waiting)
    waiting.reconfigure(
        ProviderLimits(requests_per_minute=60),
        share=1.0,
        max_depth=10,
        max_wait_seconds=120.0,
        now=0.0,
    )
    assert isinstance(waiting.retry(ask(), first, 0.0), Hold)


def used_steadily(part: float, *, seconds: int) -> tuple[ProviderQuotaLine, QuotaLevel]:
    """Makes calls at a part of 600 requests a minute, and looks every second as a worker does."""
    quota = line(requests_per_minute=600)
    level: QuotaLevel = "Usual"
    calls = 0
    for tick in range(1, seconds * 100 + 1):
        now = tick / 100
        while calls < part * 10 * now:
            calls += 1
            quota.enter(ask(), PRODUCTION, owner=None, now=now)
        if tick % 97 == 0:
            # not in step with the calls
            level = quota.look(now)
    return quota, level


@pytest.mark.parametrize(
    ("part", "level"), [(0.0, "Quiet"), (0.02, "Quiet"), (0.25, "Usual"), (0.6, "Busy"), (0.99, "Short")]
)  # fmt: skip
def test_the_level_follows_the_rate_of_calls(part: float, level: QuotaLevel) -> None:
    assert used_steadily(part, seconds=400)[1] == level


def test_a_line_is_quiet_only_after_a_while_and_loud_within_seconds() -> None:
    quota = line(requests_per_minute=600)
    levels = [quota.look(float(second)) for second in range(600)]
    assert levels.index("Quiet") == 300
    for tick in range(1000):
        # as much as there is
        quota.enter(ask(), PRODUCTION, owner=None, now=600 + tick / 100)
        if tick % 100 == 99:
            levels.append(quota.look(600 + tick / 100))
    assert levels.index("Short", 600) <= 606
    assert quota.look(700.0) == "Short"


def test_a_call_that_waits_makes_the_quota_short() -> None:
    waiting = spent()
    enter(waiting)
    assert waiting.look(0.5) == "Short"


def test_without_a_quota_there_is_nothing_to_tell() -> None:
    quota = line()
    assert quota.has_quota
    quota.reconfigure(NO_QUOTA, share=1.0, max_depth=1, max_wait_seconds=1.0, now=1.0)
    assert not quota.has_quota
