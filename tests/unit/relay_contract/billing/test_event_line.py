"""Records of attempts as lines: written and read back, and everything that is not a record refused with its reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.relay_contract.billing.records import closed, opened, records

from relay_contract.billing.attempt_event import (
    AttemptClosed,
    AttemptOpened,
    AttemptRecord,
    event_id,
)
from relay_contract.billing.event_line import (
    MAX_EVENT_BYTES,
    UnreadableEvent,
    content_digest,
    event_line,
    read_event,
)
from relay_contract.billing.token_buckets import BUCKETS, MAX_TOKENS, TokenBuckets


@given(record=records())
def test_a_record_is_read_as_it_was_written(record: AttemptRecord) -> None:
    line = event_line(record)
    assert read_event(line) == record
    assert b"\n" not in line
    assert len(line) <= MAX_EVENT_BYTES


@given(record=records(), order=st.randoms())
def test_what_says_the_same_has_one_digest_however_it_was_written(
    record: AttemptRecord, order: Any
) -> None:
    content = list(json.loads(event_line(record)).items())
    order.shuffle(content)
    spaced = json.dumps(dict(content), indent=2).encode()
    assert content_digest(read_event(spaced)) == content_digest(record)


def test_the_longest_labels_fit_a_line() -> None:
    label = "\U0001f4b6" * 256
    names = ("key_name", "requested_model", "routed_model", "request_id", "price_version")
    endings = ("answered_model", "service_tier", "region", "upstream_request_id")
    record = closed(**dict.fromkeys(names + endings, label), route="r" * 253, provider="p" * 253)
    assert read_event(event_line(record)) == record
    assert len(json.dumps(json.loads(event_line(record))).encode()) > MAX_EVENT_BYTES // 2


def test_both_records_of_an_attempt_have_its_id() -> None:
    assert opened().id == closed().id
    assert content_digest(opened()) != content_digest(closed())


IDENTITY = st.fixed_dictionaries(
    {
        "tenant_uid": st.sampled_from(["a", "b", "a-1"]),
        "attempt_id": st.sampled_from(["1", "1-1", "c-1", "c-shadow-1"]),
        "dispatched_at": st.integers(0, 3),
    }
)


@given(one=IDENTITY, other=IDENTITY)
def test_the_same_attempt_has_the_same_id_and_no_other_has(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert (event_id(kind="usage", **one) == event_id(kind="usage", **other)) == (one == other)


def test_an_id_is_for_ever() -> None:
    computed = event_id(
        tenant_uid="5b6a", attempt_id="c0ffee-1", dispatched_at=1_790_000_000_000_000, kind="usage"
    )
    assert computed == "2a526644141955e88d99ef3d74609ec9"


def line_with(**changes: Any) -> bytes:
    content = json.loads(event_line(closed()))
    return json.dumps({**content, **changes}).encode()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "no JSON: Expecting value at character 0"),
        (b"[]", "[] is no object"),
        (b"\xff", "byte 0 is not UTF-8"),
        (b"[" * 10_000, "it is nested too deeply"),
        (b" " * (MAX_EVENT_BYTES + 1), f"{MAX_EVENT_BYTES + 1} bytes are more than"),
        (b'{"v":1,"v":1}', "'v' stands twice"),
        (b'{"v":1,"tokens":{"input":1,"input":2}}', "'input' stands twice"),
        (b'{"v":2}', "v is 2, and this ledger reads version 1"),
        (b'{"v":true}', "v is True"),
        (b'{"id":"0"}', "v is None"),
        (b'{"v":NaN}', "NaN is no number"),
        (b'{"v":-Infinity}', "-Infinity is no number"),
        (b'{"v":1.0}', "1.0: every number of a record is whole"),
        (b'{"v":1e0}', "1e0: every number of a record is whole"),
        (b'{"v":1' + b"0" * 30 + b"}", "no number of a record has so many digits"),
        (b'{"v":1,"phase":"reopened"}', "phase"),
        (line_with(tokens={"input": -1}), "tokens.input: Input should be greater than"),
        (line_with(tokens={"input": MAX_TOKENS + 1}), "tokens.input: Input should be less than"),
        (line_with(tokens={"input": MAX_TOKENS, "output": 1}), "tokens: 1000000001 tokens in all"),
        (line_with(tokens={"input": "1"}), "tokens.input: Input should be a valid integer"),
        (line_with(tokens={"input": True}), "tokens.input: Input should be a valid integer"),
        (line_with(tokens={"thought": 1}), "tokens.thought: Extra inputs are not permitted"),
        (line_with(tokens=None), "usageSource provider has to have tokens"),
        (line_with(usageSource="unknown"), "usageSource unknown has no tokens"),
        (line_with(closedAt=1), "closedAt is before dispatchedAt"),
        (line_with(side="shadow"), "callers get no answer of the side shadow"),
        (line_with(tenantUid="uid-b"), "the id of this attempt is "),
        (line_with(dispatchedAt=1), "the id of this attempt is "),
        (line_with(tenant_uid="uid-b"), "tenant_uid: Extra inputs are not permitted"),
        (line_with(requestId="a\nb"), "requestId: String should match"),
        (line_with(requestId="a\0b"), "requestId: String should match"),
        (line_with(requestId="\ud800"), "requestId: Input should be a valid string"),
        (line_with(requestId="r" * 257), "requestId: String should have at most 256"),
        (line_with(reservedPico=2**63), "reservedPico: Input should be less than"),
        (
            line_with(reservedTokens={"input": 1}),
            "usageSource provider has no reservedTokens",
        ),
        (line_with(outcome="lucky"), "outcome: Input should be 'ok'"),
        (line_with(attempt=0), "attempt: Input should be greater than"),
    ],
)
def test_what_is_no_record_is_refused_with_its_reason(line: bytes, reason: str) -> None:
    with pytest.raises(UnreadableEvent) as refused:
        read_event(line)
    assert reason in str(refused.value)


@given(line=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_do_more_than_be_refused(line: bytes) -> None:
    with pytest.raises(UnreadableEvent):
        read_event(line)


@given(record=records(), place=st.integers(0, 10_000), byte=st.integers(0, 255))
def test_a_damaged_line_is_another_record_or_none(
    record: AttemptRecord, place: int, byte: int
) -> None:
    line = bytearray(event_line(record))
    line[place % len(line)] = byte
    try:
        read = read_event(bytes(line))
    except UnreadableEvent:
        return
    # it says what it says, so writing it again changes nothing
    assert read_event(event_line(read)) == read


def test_nothing_known_is_not_nothing_used() -> None:
    free = closed(usage_source="none", tokens=None, delivered=False)
    used_none = closed(tokens=TokenBuckets())
    assert read_event(event_line(free)).model_dump()["tokens"] is None
    assert read_event(event_line(used_none)) == used_none
    with pytest.raises(ValidationError):
        closed(usage_source="unknown", tokens=TokenBuckets())


def test_buckets_know_what_the_model_read() -> None:
    buckets = TokenBuckets(**{bucket: 10**place for place, bucket in enumerate(BUCKETS)})
    assert (buckets.total, buckets.total_input) == (111_111_111, 101_001_111)


def test_records_are_what_their_phase_says() -> None:
    assert type(read_event(event_line(opened()))) is AttemptOpened
    assert type(read_event(event_line(closed()))) is AttemptClosed
