"""Properties R1 to R4 of docs/limits.md, all limits or none, and what a new document leaves of them."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.relay.admission.limiters import (
    MODEL,
    TOKENS_PER_MINUTE,
    admitted,
    ask,
    keyed,
    left,
    limiter,
    limits,
    refused,
    token_limiter,
)

from relay.admission.limiter import (
    PROVIDER,
    Limiter,
    RateView,
    quota_limits,
)
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.token_buckets import Hold
from relay_contract.document import ApiKey, ModelLimit, ProviderLimits

fast = settings(deadline=None, database=None)


# --- requests ---


@fast
@given(
    per_minute=st.integers(1, 3000),
    burst_seconds=st.floats(0.1, 120.0),
    share=st.sampled_from([1.0, 0.5, 1 / 3, 0.1]),
    gaps=st.lists(st.floats(0.0, 5.0), min_size=1, max_size=150),
)
def test_r1_no_window_admits_more_than_the_burst_and_the_refill(
    per_minute: int, burst_seconds: float, share: float, gaps: list[float]
) -> None:
    meter = limiter(limits(requests=per_minute, burst_seconds=burst_seconds), share=share)
    now, times = 0.0, []
    for gap in gaps:
        now += gap
        if isinstance(ask(meter, now=now), Hold):
            times.append(now)
    rate = per_minute * share / 60
    burst = max(1.0, rate * burst_seconds)
    for first in range(len(times)):
        for last in range(first, len(times)):
            assert last - first + 1 <= burst + rate * (times[last] - times[first]) + 1e-6


@fast
@given(
    per_minute=st.integers(1, 3000),
    burst_seconds=st.floats(0.1, 120.0),
    spent=st.integers(1, 200),
    at=st.floats(0.0, 1e6),
)
def test_a_refused_caller_that_waits_as_told_is_admitted_and_one_that_comes_sooner_is_not(
    per_minute: int, burst_seconds: float, spent: int, at: float
) -> None:
    meter = Limiter(limits(requests=per_minute, burst_seconds=burst_seconds), share=1.0, now=at)
    for _ in range(spent):
        answer = ask(meter, now=at)
    if isinstance(answer, Hold):
        return
    told = answer.retry_after_seconds
    assert isinstance(ask(meter, now=at + told * 0.99 - 1e-6), NotAdmitted)
    assert isinstance(ask(meter, now=at + told + 1e-6), Hold)


def test_a_minute_of_a_flood_admits_the_limit_and_one_burst() -> None:
    meter = limiter(limits(requests=600))
    count = sum(isinstance(ask(meter, now=step / 100), Hold) for step in range(6000))
    # 100 at once, then 10 a second
    assert count == 700 - 1


def test_a_limit_below_one_a_burst_still_admits_one_at_a_time() -> None:
    meter = limiter(limits(requests=1))
    admitted(ask(meter))
    assert refused(ask(meter)).retry_after_seconds == pytest.approx(60.0)
    admitted(ask(meter, now=60.0))


def test_each_process_holds_its_share() -> None:
    meter = limiter(limits(requests=600), share=0.25)
    count = sum(isinstance(ask(meter), Hold) for _ in range(100))
    assert count == 25


@fast
@given(back=st.floats(0.0, 1000.0))
def test_r4_a_clock_that_steps_back_admits_nothing_extra(back: float) -> None:
    meter = Limiter(limits(requests=60), share=1.0, now=5000.0)
    for _ in range(10):
        admitted(ask(meter, now=5000.0))
    assert refused(ask(meter, now=5000.0 - back)).retry_after_seconds >= 1.0


# --- all or none ---


def test_r2_a_call_that_one_limit_refuses_is_charged_by_none() -> None:
    meter = limiter(
        limits(
            requests=600,
            tokens=TOKENS_PER_MINUTE,
            models=(ModelLimit(name=MODEL, requests_per_minute=6, tokens_per_minute=60000),),
        )
    )
    admitted(ask(meter, prompt=10, output=10))
    before = left(meter, now=0.0), left(meter, now=0.0, model="other")
    assert refused(ask(meter, prompt=10, output=10)).reason is NotAdmittedReason.MODEL_REQUESTS
    assert (left(meter, now=0.0), left(meter, now=0.0, model="other")) == before


def test_a_refusal_names_the_limit_with_the_longest_wait() -> None:
    meter = limiter(limits(requests=60, tokens=TOKENS_PER_MINUTE, burst_seconds=1.0))
    admitted(ask(meter, prompt=100))
    refusal = refused(ask(meter, prompt=90))
    # the next request fits in 1.0 s, its 90 tokens in 0.9 s
    assert refusal.reason is NotAdmittedReason.TENANT_REQUESTS
    assert refusal.retry_after_seconds == pytest.approx(1.0)


def test_a_limit_of_a_model_leaves_other_models_alone() -> None:
    meter = limiter(limits(models=(ModelLimit(name=MODEL, requests_per_minute=6),)))
    admitted(ask(meter))
    assert refused(ask(meter)).reason is NotAdmittedReason.MODEL_REQUESTS
    admitted(ask(meter, model="other"))


@pytest.mark.parametrize("model", [MODEL, "other"])
def test_a_limit_of_a_key_leaves_other_keys_alone(model: str) -> None:
    configured = limits(requests=600, models=(ModelLimit(name=MODEL, requests_per_minute=300),))
    meter = keyed(configured, requests_per_minute=6)
    admitted(ask(meter, model=model))
    assert refused(ask(meter, model=model)).reason is NotAdmittedReason.KEY_REQUESTS
    for _ in range(40):
        admitted(ask(meter, model=model, key="another"))
    assert meter.view(key="k", model=model, now=0.0).remaining_requests == 0
    assert meter.view(key="another", model=model, now=0.0).remaining_requests != 0


def test_a_call_that_its_keys_limit_refuses_is_charged_by_none() -> None:
    meter = keyed(limits(requests=600, tokens=TOKENS_PER_MINUTE), tokens_per_minute=600)
    hold = admitted(ask(meter, prompt=10, output=80))
    before = left(meter, now=0.0)
    assert refused(ask(meter, prompt=10, output=80)).reason is NotAdmittedReason.KEY_TOKENS
    assert left(meter, now=0.0) == before
    too_large = refused(ask(meter, prompt=601))
    assert (too_large.reason, too_large.waiting_helps) == (
        NotAdmittedReason.KEY_REQUEST_TOO_LARGE,
        False,
    )
    hold.settle(10, now=0.0)
    admitted(ask(meter, prompt=10, output=80))


def test_a_keys_debt_survives_a_new_document() -> None:
    meter = keyed(limits(), requests_per_minute=6)
    admitted(ask(meter))
    key = ApiKey(name="k", sha256="0" * 64, requests_per_minute=6)
    meter.reconfigure(limits(requests=100), share=1.0, now=0.0, keys=(key,))
    assert refused(ask(meter)).reason is NotAdmittedReason.KEY_REQUESTS
    meter.reconfigure(limits(requests=100), share=1.0, now=0.0)
    admitted(ask(meter))


def test_without_limits_everything_passes_and_nothing_is_shown() -> None:
    meter = limiter(limits())
    for _ in range(1000):
        admitted(ask(meter, prompt=10**9, output=10**9))
    assert left(meter, now=0.0) == RateView(None, None, None, None, None, None)


# --- reconfiguration and views ---


def test_spent_requests_stay_spent_when_a_limit_is_raised() -> None:
    meter = limiter(limits(requests=60))
    for _ in range(10):
        admitted(ask(meter))
    meter.reconfigure(limits(requests=120), share=1.0, now=0.0)
    assert left(meter, now=0.0).remaining_requests == 10


def test_a_lowered_limit_does_not_lock_out_for_longer_than_its_own_burst() -> None:
    meter = limiter(limits(requests=60_000))
    for _ in range(10_000):
        admitted(ask(meter))
    meter.reconfigure(limits(requests=60), share=1.0, now=0.0)
    assert refused(ask(meter)).retry_after_seconds == pytest.approx(1.0)
    assert left(meter, now=0.0).reset_requests_seconds == pytest.approx(10.0)


def test_debts_and_holds_outlive_a_reconfiguration() -> None:
    meter = token_limiter()
    debtor = admitted(ask(meter, output=100))
    debtor.settle(1500, now=0.0)
    under_way = limits(tokens=TOKENS_PER_MINUTE, requests=60)
    meter.reconfigure(under_way, share=0.5, now=0.0)
    # 500 owed, and a bucket of 500 all spent, at 50 a second
    assert left(meter, now=0.0).reset_tokens_seconds == pytest.approx(20.0)


def test_a_call_settles_where_it_was_admitted_whatever_the_document_says_now() -> None:
    meter = token_limiter()
    hold = admitted(ask(meter, output=400))
    model = ModelLimit(name=MODEL, tokens_per_minute=TOKENS_PER_MINUTE)
    meter.reconfigure(limits(tokens=TOKENS_PER_MINUTE, models=(model,)), share=1.0, now=0.0)
    assert left(meter, now=0.0, model="other").remaining_tokens == 600
    assert left(meter, now=0.0).remaining_tokens == 600
    hold.settle(300, now=0.0)
    assert left(meter, now=0.0, model="other").remaining_tokens == 700
    meter.reconfigure(limits(models=(model,)), share=1.0, now=0.0)
    assert left(meter, now=0.0).remaining_tokens == 1000


def test_the_view_shows_the_scarcer_of_tenant_and_model() -> None:
    model = ModelLimit(name=MODEL, requests_per_minute=60)
    meter = limiter(limits(requests=600, models=(model,)))
    admitted(ask(meter))
    assert left(meter, now=0.0) == RateView(60, 9, 1.0, None, None, None)
    assert left(meter, now=0.0, model="other") == RateView(600, 99, 0.1, None, None, None)


def test_held_tokens_do_not_count_as_left() -> None:
    meter = token_limiter()
    admitted(ask(meter, prompt=100, output=300))
    assert left(meter, now=0.0).remaining_tokens == 600


@pytest.mark.parametrize("at", [0.0, 1.0, 3.3, 1e6])
def test_a_bucket_left_alone_is_full(at: float) -> None:
    meter = Limiter(limits(requests=60), share=1.0, now=at)
    admitted(ask(meter, now=at))
    assert left(meter, now=at + 1.0 + 1e-6) == RateView(60, 10, 0.0, None, None, None)


def test_a_providers_quota_makes_calls_wait() -> None:
    quota = ProviderLimits(requests_per_minute=600, tokens_per_minute=60_000)
    meter = Limiter(quota_limits(quota), share=0.5, now=0.0, scope=PROVIDER)
    for _ in range(50):
        assert isinstance(meter.admit(input_tokens=10, output_tokens=10, now=0.0), Hold)
    refusal = refused(meter.admit(input_tokens=10, output_tokens=10, now=0.0))
    assert refusal.reason is NotAdmittedReason.PROVIDER_REQUESTS
    assert refusal.retry_after_seconds == pytest.approx(0.2)
    meter.reconfigure(quota_limits(ProviderLimits()), share=1.0, now=0.0)
    hold = meter.admit(input_tokens=10**6, output_tokens=0, now=0.0)
    assert isinstance(hold, Hold)
    hold.settle(0, now=0.0)
    assert meter.view(now=0.0) == RateView(None, None, None, None, None, None)
