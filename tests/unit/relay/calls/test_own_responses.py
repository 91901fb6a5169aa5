"""The relay's own answers, and the table of refusals."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay.documents import document

import relay
from relay.admission.limiter import RateView
from relay.admission.not_admitted import NotAdmittedReason
from relay.calls import own_responses
from relay.calls.call_phases import MOVES, OVER, RECEIVING, may_move
from relay.calls.refusal_of import PROBLEM_REFUSAL, REFUSAL_OF
from relay.dialect.refusals import Refusal, refusal_body
from relay.http.problem import Problem
from relay.routing.snapshot import compile_snapshot


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0ms"),
        (0.0123, "13ms"),
        (1.0, "1s"),
        (1.5, "1.5s"),
        (59.9999, "60s"),
        (60.0, "1m0s"),
        (360.0, "6m0s"),
        (7265.0, "2h1m5s"),
    ],
)
def test_durations_are_written_as_the_api_writes_them(seconds: float, text: str) -> None:
    assert own_responses.duration(seconds) == text


@given(st.floats(0, 100_000))
def test_waiting_out_a_duration_is_enough(seconds: float) -> None:
    text, total = own_responses.duration(seconds), 0.0
    if text.endswith("ms"):
        total = float(text[:-2]) / 1000
    else:
        for unit, size in (("h", 3600), ("m", 60), ("s", 1)):
            amount, found, rest = text.partition(unit)
            if found:
                total, text = total + float(amount) * size, rest
    assert total >= seconds - 1e-9
    assert total <= seconds + 1.001


def test_only_what_is_limited_is_told() -> None:
    assert own_responses.rate_fields(RateView(None, None, None, None, None, None)) == ""
    told = own_responses.rate_fields(RateView(60, 59, 1.0, None, None, None))
    assert told == (
        "x-ratelimit-limit-requests: 60\r\nx-ratelimit-remaining-requests: 59\r\n"
        "x-ratelimit-reset-requests: 1s\r\n"
        "x-ratelimit-limit: 60\r\nx-ratelimit-remaining: 59\r\nx-ratelimit-reset: 1\r\n"
    )


@pytest.mark.parametrize("refusal", Refusal)
def test_every_refusal_has_the_shape_clients_parse(refusal: Refusal) -> None:
    error = json.loads(refusal_body(refusal))["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith((".", "?"))
    assert error["code"] == refusal.value.code
    assert 400 <= refusal.value.status < 600


def test_refusals_by_limits_are_429_and_those_for_the_relays_state_503() -> None:
    assert {refusal.value.status for refusal in REFUSAL_OF.values()} == {429}
    ours = (Refusal.not_ready, Refusal.overloaded, Refusal.upstream_key_missing)
    assert {refusal.value.status for refusal in ours} == {503}


def test_every_reason_of_admission_has_a_refusal_of_its_own() -> None:
    assert set(REFUSAL_OF) == set(NotAdmittedReason)
    assert len(set(REFUSAL_OF.values())) == len(REFUSAL_OF)
    messages = [refusal.value.message for refusal in REFUSAL_OF.values()]
    assert len(set(messages)) == len(messages)


def test_every_problem_of_a_request_has_a_refusal_of_its_own() -> None:
    assert set(PROBLEM_REFUSAL) == set(Problem)
    assert len(set(PROBLEM_REFUSAL.values())) == len(PROBLEM_REFUSAL)


@pytest.mark.parametrize("reason", NotAdmittedReason)
def test_a_refusal_says_whose_limit_it_is(reason: NotAdmittedReason) -> None:
    row = REFUSAL_OF[reason].value
    assert ("provider" in reason) == ("provider" in row.message)
    assert ("model" in reason) == ("model" in row.message)
    assert ("key" in reason) == ("API key" in row.message)
    assert ("too_large" in reason) == (row.retry is False)


def test_every_refusal_is_produced_somewhere() -> None:
    sources = Path(relay.__file__).parent.rglob("*.py")
    text = "".join(source.read_text() for source in sources)
    assert [refusal.name for refusal in Refusal if f"Refusal.{refusal.name}" not in text] == []


def test_a_wait_is_told_in_whole_seconds_and_exactly() -> None:
    told = own_responses.retry_fields(Refusal.queue_full, 1.2345)
    assert told == b"retry-after: 2\r\nretry-after-ms: 1235\r\n"
    assert b"x-should-retry: false" in own_responses.retry_fields(Refusal.request_too_large, None)


def test_a_missing_model_is_named_shortly() -> None:
    snapshot = compile_snapshot(document(), "")
    assert "gpt-4.1" in own_responses.no_such_model(snapshot, "x")
    assert len(own_responses.no_such_model(snapshot, "x" * 10_000)) < 400


def test_a_request_only_moves_forward() -> None:
    assert all(source <= target for source, targets in enumerate(MOVES) for target in targets)
    assert MOVES[OVER] == ()
    reachable = {RECEIVING}
    while grown := {target for source in reachable for target in MOVES[source]} - reachable:
        reachable |= grown
    assert reachable == set(range(len(MOVES)))
    legal = {(s, t) for s in reachable for t in reachable if may_move(s, t)}
    assert legal == {(source, target) for source in reachable for target in MOVES[source]}
