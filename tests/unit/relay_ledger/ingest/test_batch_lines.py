"""Batches: what is a record of the tenant is taken, another tenant's refuses all, and the rest is kept apart with its reason."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.relay_contract.billing.records import NOON, closed, opened, records

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.delivery import MAX_BATCH_LINES
from relay_contract.billing.event_line import MAX_EVENT_BYTES, event_line
from relay_ledger.ingest.batch_lines import ATTEMPTS, BatchRefused, Window, read_batch, told

WINDOW = Window(earliest=NOON - 10, latest=NOON + 10)


@given(
    record=records(),
    garbage=st.lists(st.binary(max_size=40).filter(lambda line: b"\n" not in line), max_size=5),
)
def test_every_line_is_a_record_or_is_kept_apart(
    record: AttemptRecord, garbage: list[bytes]
) -> None:
    window = Window(earliest=record.dispatched_at, latest=record.dispatched_at)
    body = b"\n".join([*garbage, event_line(record)])
    batch = read_batch(body, record.tenant_uid, window, ATTEMPTS)
    assert batch.records == (record,)
    assert len(batch.refused) == sum(bool(line.strip()) for line in garbage)
    assert {one.reason for one in batch.refused} <= {"unreadable"}
    # no database takes a NUL, or half a character
    assert all("\0" not in one.line and one.line.encode() for one in batch.refused)


@pytest.mark.parametrize(
    ("at", "reason"),
    [(NOON - 11, "late"), (NOON - 10, None), (NOON + 10, None), (NOON + 11, "early")],
)
def test_the_window_is_exact_to_the_microsecond(at: int, reason: str | None) -> None:
    batch = read_batch(event_line(opened(dispatched_at=at)), "uid-a", WINDOW, ATTEMPTS)
    assert [one.reason for one in batch.refused] == ([reason] if reason else [])
    assert len(batch.records) + len(batch.refused) == 1


def test_one_record_of_another_tenant_refuses_the_batch() -> None:
    body = event_line(closed()) + b"\n" + event_line(closed(tenant_uid="uid-b"))
    with pytest.raises(
        BatchRefused, match="is of tenant uid-b, and the token of another"
    ) as refused:
        read_batch(body, "uid-a", WINDOW, ATTEMPTS)
    assert refused.value.reason == "forged"


def test_a_batch_has_its_lines_bounded_and_of_what_is_too_long_a_part_is_kept() -> None:
    with pytest.raises(BatchRefused, match="divide it"):
        read_batch(b"x\n" * (MAX_BATCH_LINES + 1), "uid-a", WINDOW, ATTEMPTS)
    one, other = read_batch(
        b"x" * (MAX_EVENT_BYTES + 5) + b"\n" + b"x" * (MAX_EVENT_BYTES + 6),
        "uid-a",
        WINDOW,
        ATTEMPTS,
    ).refused
    assert len(one.line) == MAX_EVENT_BYTES
    assert one.digest != other.digest


def test_the_sender_is_told_of_some() -> None:
    batch = read_batch(b"x\n" * 100, "uid-a", WINDOW, ATTEMPTS)
    assert len(list(told(batch.refused))) == 20
