"""No call is carried out twice within its time, whatever comes in which order, and what is kept has its bounds."""

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from relay.tools.idempotency.remembered_calls import (
    MAX_ANSWER_BYTES,
    MOST_BYTES,
    MOST_CALLS,
    MOST_WAITING,
    Answer,
    Claim,
    Claimant,
    RememberedCalls,
    Told,
    Verdict,
)

SECONDS = 60


def claim(call: str, **changes: Any) -> Claim:
    fields = {
        "tenant": "uid",
        "key": "app",
        "keys": 1,
        "call": call,
        "arguments": "a",
        "seconds": SECONDS,
        "call_id": f"id of {call}",
    }
    return Claim(**{**fields, **changes})


def first(calls: RememberedCalls, call: str, number: int, **changes: Any) -> Claimant:
    claimant = (1, number)
    assert calls.claim(claimant, claim(call, **changes), 0.0) == Verdict("first")
    return claimant


def test_a_key_that_has_no_room_left_takes_none_of_anothers() -> None:
    calls = RememberedCalls()
    for number in range(MOST_CALLS // 2):
        first(calls, f"mine {number}", number, keys=2)
    refused = calls.claim((1, 0), claim("one more", keys=2), 0.0)
    assert refused is not None
    assert (refused.finding, refused.wait_seconds) == ("no_room", 1.0)
    first(calls, "theirs", 1, key="other", keys=2)
    # what is remembered still is
    assert calls.claim((1, 2), claim("mine 0", keys=2), 0.0) is None


def test_there_is_room_again_once_calls_are_over() -> None:
    calls = RememberedCalls()
    owners = [first(calls, str(number), number) for number in range(MOST_CALLS)]
    calls.end(owners[0], "0", "answered", Answer(200, "x"), 10.0)
    refused = calls.claim((1, 0), claim("more"), 20.0)
    assert refused == Verdict("no_room", wait_seconds=50.0)
    assert calls.claim((1, 0), claim("more"), 70.0) == Verdict("first")


def test_answers_make_room_for_newer_ones_and_their_calls_stay_known() -> None:
    calls = RememberedCalls()
    count = MOST_BYTES // MAX_ANSWER_BYTES
    for number in range(count + 1):
        owner = first(calls, str(number), number)
        calls.end(owner, str(number), "answered", Answer(200, "x" * MAX_ANSWER_BYTES), 1.0)
    findings = [calls.claim((2, 0), claim(str(number)), 2.0) for number in range(count + 1)]
    assert findings[0] == Verdict("not_kept")
    assert {one.finding for one in findings[1:] if one is not None} == {"answered"}


def test_another_keys_answers_make_no_room() -> None:
    calls = RememberedCalls()
    owner = first(calls, "theirs", 0, key="other", keys=2)
    calls.end(owner, "theirs", "answered", Answer(200, "x"), 1.0)
    for number in range(1, 20):
        owner = first(calls, str(number), number, keys=2)
        calls.end(owner, str(number), "answered", Answer(200, "x" * MAX_ANSWER_BYTES), 1.0)
    verdict = calls.claim((2, 0), claim("theirs", key="other", keys=2), 2.0)
    assert verdict == Verdict("answered", Answer(200, "x"), "id of theirs")


def test_what_was_not_sent_is_carried_out_by_who_waited_longest() -> None:
    calls = RememberedCalls()
    owner = first(calls, "a", 1)
    for number in range(2, 2 + MOST_WAITING):
        assert calls.claim((2, number), claim("a", call_id=str(number)), 0.0) is None
    assert calls.claim((2, 99), claim("a"), 0.0) == Verdict("under_way")
    calls.leave((2, 2))
    assert calls.end(owner, "a", "unsent", None, 1.0) == [((2, 3), Verdict("first"))]
    # whoever was first has no say any more
    assert calls.end(owner, "a", "answered", Answer(200, "late"), 1.0) == []
    told = calls.end((2, 3), "a", "answered", Answer(200, "x"), 1.0)
    assert len(told) == MOST_WAITING - 2
    assert {verdict for _, verdict in told} == {Verdict("answered", Answer(200, "x"), "3")}


def test_an_answer_that_is_left_out_is_none_of_an_unknown_call() -> None:
    calls = RememberedCalls()
    calls.end(first(calls, "a", 1), "a", "answered", None, 0.0)
    calls.end(first(calls, "b", 2), "b", "unknown", None, 0.0)
    assert calls.claim((2, 1), claim("a"), 1.0) == Verdict("not_kept")
    assert calls.claim((2, 2), claim("b"), 1.0) == Verdict("unknown")


def test_an_answer_may_be_told_for_a_shorter_time() -> None:
    calls = RememberedCalls()
    calls.end(first(calls, "a", 1), "a", "answered", Answer(200, "x", 5), 0.0)
    assert calls.forget_ended(4.9) == 5.0
    assert calls.forget_ended(5.0) is None
    assert calls.claim((1, 2), claim("a"), 5.0) == Verdict("first")


class Calls(RuleBasedStateMachine):
    """Workers that claim, end, leave and die at random; what a server would see is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = RememberedCalls()
        self.now = 0.0
        self.number = 0
        self.owners: dict[str, Claimant] = {}
        self.remembered: dict[str, float] = {}
        self.waiting: dict[Claimant, str] = {}

    def carried_out(self, call: str, claimant: Claimant) -> None:
        assert call not in self.owners
        assert self.remembered.get(call, 0.0) <= self.now
        self.owners[call] = claimant

    def told(self, told: Told) -> None:
        for claimant, verdict in told:
            call = self.waiting.pop(claimant)
            if verdict.finding == "first":
                self.carried_out(call, claimant)

    @rule(worker=st.integers(1, 3), call=st.sampled_from("abc"))
    def claims(self, worker: int, call: str) -> None:
        self.number += 1
        claimant = (worker, self.number)
        verdict = self.calls.claim(claimant, claim(call), self.now)
        if verdict is None:
            assert call in self.owners
            self.waiting[claimant] = call
        elif verdict.finding == "first":
            self.carried_out(call, claimant)
        elif verdict.finding != "under_way":
            assert self.remembered[call] > self.now

    @precondition(lambda self: self.owners)
    @rule(data=st.data(), how=st.sampled_from(["answered", "unknown", "unsent"]))
    def ends(self, data: st.DataObject, how: Any) -> None:
        call = data.draw(st.sampled_from(sorted(self.owners)))
        owner = self.owners.pop(call)
        if how != "unsent":
            self.remembered[call] = self.now + SECONDS
        answer = Answer(200, "x") if how == "answered" else None
        self.told(self.calls.end(owner, call, how, answer, self.now))

    @rule(worker=st.integers(1, 3))
    def dies(self, worker: int) -> None:
        for claimant in [one for one in self.waiting if one[0] == worker]:
            del self.waiting[claimant]
        for call, owner in list(self.owners.items()):
            if owner[0] == worker:
                del self.owners[call]
                self.remembered[call] = self.now + SECONDS
        self.told(self.calls.worker_ended(worker, self.now))

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def leaves(self, data: st.DataObject) -> None:
        claimant = data.draw(st.sampled_from(sorted(self.waiting)))
        del self.waiting[claimant]
        self.calls.leave(claimant)

    @rule(seconds=st.integers(1, SECONDS))
    def waits(self, seconds: int) -> None:
        self.now += seconds

    @invariant()
    def who_waits_waits_for_somebody(self) -> None:
        assert set(self.waiting.values()) <= set(self.owners)


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
