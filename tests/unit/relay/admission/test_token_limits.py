"""Properties K1 to K7 of docs/limits.md: tokens are held and charged, and examples of what callers rely on."""

from collections import deque
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.unit.relay.admission.limiters import (
    BURST,
    REFILL,
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
    ANY_MODEL,
    Limiter,
)
from relay.admission.not_admitted import NotAdmitted, NotAdmittedReason
from relay.admission.token_buckets import MOST_REMEMBERED, Hold, RateLimit

fast = settings(deadline=None, database=None)


class TokenMachine(RuleBasedStateMachine):
    """Random calls, progress, settlements and waits against one token bucket, checked against plain sums."""

    @initialize()
    def begin(self) -> None:
        self.now = 100.0
        self.limiter = Limiter(limits(tokens=TOKENS_PER_MINUTE), share=1.0, now=self.now)
        self.bucket: RateLimit = self.limiter._models[ANY_MODEL].tokens[0]
        self.open: list[Hold] = []
        self.settled: list[Hold] = []
        self.used: dict[Hold, int] = {}
        self.history: dict[Hold, Usage] = {}
        self.longest_usual = 0.0

    @rule(prompt=st.integers(0, 1500), output=st.integers(0, 1500))
    def admit(self, prompt: int, output: int) -> None:
        available, state = self.bucket.available(self.now), self.state()
        answer = ask(self.limiter, prompt=prompt, output=output, now=self.now)
        if isinstance(answer, NotAdmitted):
            assert available < min(prompt + output, BURST)
            assert self.state() == state, "R3: a refusal changed something"
            return
        assert available >= min(prompt + output, BURST) - 1e-5
        self.open.append(answer)
        self.used[answer] = prompt
        self.history[answer] = Usage(self.now, prompt, output)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), more=st.integers(0, 800))
    def progress(self, data: st.DataObject, more: int) -> None:
        hold = data.draw(st.sampled_from(self.open))
        self.used[hold] += more
        hold.progress(self.used[hold], now=self.now)
        self.history[hold].outputs.append((self.now, more))

    @precondition(lambda self: self.open)
    @rule(data=st.data(), more=st.integers(0, 800), input_used=st.floats(0.0, 1.0))
    def settle(self, data: st.DataObject, more: int, input_used: float) -> None:
        """Adversarial too: a call may turn out to have used nothing of its input."""
        hold = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        usage = self.history[hold]
        unused = int(usage.input * (1 - input_used))
        usage.input -= unused
        # one figure settles both, so input that was charged too much pays for output first
        usage.netted = min(unused, more)
        usage.outputs.append((self.now, more))
        self.used[hold] += more - unused
        hold.settle(self.used[hold], now=self.now)
        self.settled.append(hold)
        self.longest_usual = max(self.longest_usual, self.bucket.usual_seconds)

    @precondition(lambda self: self.settled)
    @rule(data=st.data(), tokens=st.integers(0, 10**6))
    def settle_again(self, data: st.DataObject, tokens: int) -> None:
        """K2: only the first settlement counts."""
        state = self.state()
        hold = data.draw(st.sampled_from(self.settled))
        hold.settle(tokens, now=self.now)
        hold.progress(tokens, now=self.now)
        assert self.state() == state

    @rule(seconds=st.floats(0.0, 20.0))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    def state(self) -> tuple[float, int, int]:
        return self.bucket.tat, self.bucket.held, self.bucket.open_holds

    @invariant()
    def holds_add_up(self) -> None:
        """K1."""
        assert self.bucket.held == sum(hold.held_tokens for hold in self.open)
        assert self.bucket.open_holds == len(self.open)
        assert all(hold.held_tokens >= 0 for hold in self.open)

    @invariant()
    def the_level_never_exceeds_the_burst(self) -> None:
        """K3."""
        assert self.bucket.available(self.now) <= BURST
        assert self.bucket.spent(self.now) >= 0

    @invariant()
    def every_call_is_charged_what_it_used(self) -> None:
        """K5: to the token."""
        assert all(hold.charged_tokens == used for hold, used in self.used.items())

    @invariant()
    def no_window_is_used_beyond_burst_refill_and_overruns(self) -> None:
        """K4, for every window between two moments at which something was used."""
        usages = self.history.values()
        overruns = sum(usage.overrun() for usage in usages)
        events = sorted(event for usage in usages for event in usage.events())
        for first, (begin, _) in enumerate(events):
            used = 0
            for end, tokens in events[first:]:
                used += tokens
                assert used <= BURST + REFILL * (end - begin + self.longest_usual) + overruns + 1e-4


@dataclass
class Usage:
    """Tokens that a call really used, and when; input counts when it was admitted."""

    at: float
    input: int
    held: int
    netted: int = 0
    outputs: list[tuple[float, int]] = field(default_factory=list)

    def events(self) -> list[tuple[float, int]]:
        return [(self.at, self.input), *self.outputs]

    def overrun(self) -> float:
        """Returns the tokens that neither a hold nor a full bucket covered."""
        output = sum(tokens for _, tokens in self.outputs)
        beyond_bucket = max(0.0, self.input + min(output, self.held) - BURST)
        return max(0, output - self.held) + beyond_bucket + self.netted


TokenMachine.TestCase.settings = settings(stateful_step_count=30, deadline=None, database=None)
TestTokens = TokenMachine.TestCase


def burst_at(meter: Limiter, now: float) -> int:
    """Returns how many calls of one token are admitted at this moment; each uses it."""
    count = 0
    while isinstance(answer := ask(meter, output=1, now=now), Hold):
        answer.settle(1, now=now)
        count += 1
    return count


@pytest.mark.parametrize("calls", [1, 2, 5, 10])
@pytest.mark.parametrize(("prompt", "output"), [(900, 0), (0, 900), (450, 450)])
def test_k4_calls_cancelled_together_give_one_burst_however_many_they_were(
    calls: int, prompt: int, output: int
) -> None:
    meter = token_limiter()
    now, waiting = 0.0, []
    for _ in range(calls):
        answer = ask(meter, prompt=prompt, output=output, now=now)
        if isinstance(answer, Hold):
            waiting.append(answer)
        now += 9.0
    used = burst_at(meter, now)
    for hold in waiting:
        hold.settle(0, now=now)
        used += burst_at(meter, now)
    assert used <= BURST + 1


def test_a_call_that_failed_gives_back_what_it_was_charged() -> None:
    meter = token_limiter()
    hold = admitted(ask(meter, prompt=600, output=100))
    hold.settle(0, now=0.0)
    assert left(meter, now=0.0).remaining_tokens == 1000


def test_giving_back_for_many_calls_never_exceeds_what_the_bucket_would_hold() -> None:
    meter = token_limiter()
    # ten calls of 100 in a row, each refilled before the next: never more than 100 spent
    calls = [admitted(ask(meter, prompt=100, now=float(second))) for second in range(10)]
    last = admitted(ask(meter, prompt=900, now=9.5))
    for call in calls:
        call.settle(0, now=9.5)
    # without them the bucket would have been full at the last call's start
    assert left(meter, now=9.5).remaining_tokens == 100
    last.settle(900, now=9.5)


def test_the_memory_of_past_levels_is_bounded() -> None:
    meter = token_limiter()
    early = admitted(ask(meter, prompt=1))
    for _ in range(900):
        admitted(ask(meter, prompt=1)).settle(1, now=0.0)
    bucket = meter._models[ANY_MODEL].tokens[0]
    assert len(bucket._least_spent) <= MOST_REMEMBERED
    early.settle(1, now=0.0)
    assert bucket._least_spent == []


def test_refilled_tokens_are_not_refunded_again() -> None:
    meter = token_limiter()
    early = admitted(ask(meter, prompt=500))
    # full again after 5 s; without the early call the refill would have overflowed
    late = admitted(ask(meter, prompt=400, now=10.0))
    early.settle(0, now=10.0)
    assert left(meter, now=10.0).remaining_tokens == 600
    late.settle(0, now=10.0)
    assert left(meter, now=10.0).remaining_tokens == 1000


def test_parallel_calls_cannot_spend_the_same_tokens() -> None:
    """Five parallel calls on a budget of 100 a minute once spent 663 tokens on a gateway that charged afterwards."""
    meter = limiter(limits(tokens=100, burst_seconds=60.0))
    answers = [ask(meter, prompt=20, output=60) for _ in range(5)]
    assert sum(isinstance(answer, Hold) for answer in answers) == 1


def test_use_beyond_the_hold_is_debt_that_new_calls_wait_for() -> None:
    meter = token_limiter()
    hold = admitted(ask(meter, prompt=100, output=100))
    hold.settle(3000, now=0.0)
    refusal = refused(ask(meter, output=1))
    assert refusal.reason is NotAdmittedReason.TENANT_TOKENS
    assert refusal.retry_after_seconds == pytest.approx(20.01)
    assert left(meter, now=0.0).remaining_tokens == 0
    assert left(meter, now=0.0).reset_tokens_seconds == pytest.approx(30.0)
    admitted(ask(meter, output=1, now=20.1))


def test_a_call_larger_than_the_bucket_needs_it_full_and_free_and_leaves_debt() -> None:
    meter = token_limiter()
    small = admitted(ask(meter, output=10))
    assert refused(ask(meter, output=3000)).retry_after_seconds == pytest.approx(0.1)
    small.settle(0, now=0.0)
    large = admitted(ask(meter, output=3000))
    large.settle(3000, now=0.0)
    assert refused(ask(meter, output=1)).retry_after_seconds == pytest.approx(20.01)


def test_a_call_larger_than_a_minute_of_the_limit_is_refused_for_good() -> None:
    meter = token_limiter()
    refusal = refused(ask(meter, prompt=TOKENS_PER_MINUTE, output=1))
    assert refusal == NotAdmitted(
        NotAdmittedReason.TENANT_REQUEST_TOO_LARGE, 0.0, waiting_helps=False
    )
    admitted(ask(meter, prompt=TOKENS_PER_MINUTE))


@fast
@given(
    per_minute=st.integers(1, 10**6),
    share=st.sampled_from([1.0, 0.5, 0.1]),
    prompt=st.integers(0, 10**9),
    output=st.integers(0, 10**9),
    least=st.integers(0, 10**6),
)
def test_k7_an_estimate_makes_a_call_wait_and_never_refuses_it_for_good(
    per_minute: int, share: float, prompt: int, output: int, least: int
) -> None:
    meter = limiter(limits(tokens=per_minute), share=share)
    earlier = admitted(ask(meter, prompt=per_minute // 2, output=per_minute // 2))
    earlier.settle(per_minute // 2, now=0.0)
    answer = ask(meter, prompt=prompt, output=output, least=least)
    if least > per_minute:
        assert not refused(answer).waiting_helps
        return
    now = 0.0
    if isinstance(answer, NotAdmitted):
        assert answer.waiting_helps
        now = answer.retry_after_seconds + 1e-6
        answer = ask(meter, prompt=prompt, output=output, least=least, now=now)
    hold = admitted(answer)
    assert hold.charged_tokens + hold.held_tokens <= max(per_minute, least)
    hold.settle(0, now=now)
    (bucket,) = meter._models[ANY_MODEL].tokens
    assert (bucket.held, bucket.open_holds) == (0, 0)


def test_an_estimate_counts_up_to_a_minute_of_the_least_of_several_limits() -> None:
    meter = keyed(limits(tokens=60_000), tokens_per_minute=600)
    hold = admitted(ask(meter, prompt=20, output=10_000, least=0))
    assert (hold.charged_tokens, hold.held_tokens) == (20, 580)
    hold.settle(30, now=0.0)
    assert left(meter, now=0.0).remaining_tokens == 70


def test_a_large_call_is_measured_by_the_tenants_minute_not_by_the_share_of_a_process() -> None:
    meter = token_limiter(share=0.1)
    admitted(ask(meter, prompt=TOKENS_PER_MINUTE))


@pytest.mark.parametrize("streamed", [False, True])
def test_k6_streams_and_whole_answers_of_equal_usage_are_charged_equally(streamed: bool) -> None:
    meter = token_limiter()
    hold = admitted(ask(meter, prompt=100, output=200))
    for tokens in (150, 200, 150, 280) if streamed else ():
        hold.progress(tokens, now=0.0)
    hold.settle(250, now=0.0)
    assert left(meter, now=0.0).remaining_tokens == 750


def test_a_stream_that_is_charged_as_it_goes_lets_its_hold_refill() -> None:
    told, silent = token_limiter(), token_limiter()
    for meter, at_half in ((told, 450), (silent, 0)):
        hold = admitted(ask(meter, output=900))
        hold.progress(at_half, now=5.0)
        hold.settle(900, now=10.0)
    assert left(told, now=10.0).remaining_tokens == 550
    assert left(silent, now=10.0).remaining_tokens == 100


def long_streams(meter: Limiter, *, seconds: float, until: float) -> int:
    """Returns the tokens used by streams that use 90, hold 100, and together want twice the limit."""
    used, now = 0, 0.0
    open_streams: deque[tuple[float, Hold]] = deque()
    while now < until:
        now += 0.45
        while open_streams and open_streams[0][0] <= now:
            ends, hold = open_streams.popleft()
            hold.settle(90, now=ends)
            used += 90
        answer = ask(meter, output=100, now=now)
        if isinstance(answer, Hold):
            open_streams.append((now + seconds, answer))
    return used


@pytest.mark.parametrize("seconds", [1.0, 10.0, 50.0])
def test_the_limit_is_reached_however_long_the_calls_last(seconds: float) -> None:
    used = long_streams(token_limiter(), seconds=seconds, until=3000.0)
    assert used == pytest.approx(REFILL * 3000.0, rel=0.1)


def test_calls_under_way_rely_on_a_minutes_refill_at_most() -> None:
    meter = token_limiter()
    long_streams(meter, seconds=600.0, until=60_000.0)
    bucket = meter._models[ANY_MODEL].tokens[0]
    assert bucket.usual_seconds <= 60.0
    assert bucket.held <= BURST + TOKENS_PER_MINUTE
