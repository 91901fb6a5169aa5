"""The ledger as relays see it: each books for its own tenant, and every record is booked, or kept apart and told."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from tests.ledger.conftest import COSTS, RETAIL, Books
from tests.ledger.ledger_process import KEY, LedgerProcess, give_keys, lines, token_of
from tests.ledger.serving.forked_ledger import ForkedLedger
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.delivery import MAX_BATCH_BYTES, MAX_BATCH_LINES
from relay_contract.billing.event_line import event_line
from relay_contract.billing.ledger_token import read_keys
from relay_contract.billing.token_buckets import TokenBuckets

EVER = {"start": 0, "end": 2**60}
HOUR = 3600 * 10**6


def now() -> int:
    return time.time_ns() // 1000


def answer(response: httpx.Response) -> dict[str, Any]:
    assert response.status_code == httpx.codes.OK, response.text
    content: dict[str, Any] = response.json()
    return content


def refusal(response: httpx.Response, status: int) -> str:
    assert response.status_code == status, response.text
    code: str = response.json()["error"]["code"]
    assert response.json()["error"]["message"]
    return code


def test_records_are_booked_once_and_each_for_its_own_tenant(
    serving: LedgerProcess, books: Books
) -> None:
    at = now()
    records: list[AttemptRecord] = [opened(dispatched_at=at), closed(dispatched_at=at)]
    assert answer(serving.send(records))["booked"] == 2
    assert answer(serving.send(records[::-1])) == {
        "booked": 0,
        "repeated": 2,
        "quarantined": 0,
        "details": [],
    }
    assert books.ledger.sums("uid-a", **EVER)["charge_pico"] == 4_200_000_000
    # no token, nobody's token, another tenant's records among its own
    assert refusal(serving.send(records, token=None), 401) == "unauthorized"
    assert refusal(serving.send(records, token="uid-a.nobody"), 401) == "unauthorized"
    operators = read_keys(KEY).operator_token()
    assert refusal(serving.send(records, token=operators), 401) == "unauthorized"
    basic = {"Authorization": "Basic dWlkLWE6eA=="}
    assert refusal(serving.send(records, token=None, headers=basic), 401) == "unauthorized"
    own = closed(tenant_uid="uid-b", dispatched_at=at)
    forged = closed(attempt_id="forged-1", dispatched_at=at)
    assert refusal(serving.send([own, forged], token=token_of("uid-b")), 403) == "forged"
    assert serving.logged("forged_batch")["tenant_uid"] == "uid-b"
    assert books.ledger.standing("uid-b").tally.closed == 0
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 1
    serving.wait_for_metric('relay_ledger_attempts{state="closed"}', 1)
    assert serving.metric('relay_ledger_records_total{result="booked"}') == 2
    assert serving.metric('relay_ledger_records_total{result="repeated"}') == 2
    assert serving.metric('relay_ledger_refused_batches_total{reason="forged"}') == 1
    assert token_of("uid-a") not in serving.log_text()


def test_what_cannot_be_booked_holds_up_nothing_and_is_not_lost(
    serving: LedgerProcess, books: Books
) -> None:
    at = now()
    good = [closed(attempt_id=f"good-{number}", dispatched_at=at) for number in range(3)]
    body = (
        lines(good)
        + b"{\x00\xff\n"
        + b'{"v":9}\n\n'
        + event_line(good[0]).replace(b'"status":200', b'"status":201')
        + b"\n"
        + lines([closed(attempt_id="early", dispatched_at=at + HOUR)])
        + lines([closed(attempt_id="late", dispatched_at=at - 36 * 24 * HOUR)])
        + b'{"half":'
    )
    for booked in (3, 0):
        content = answer(serving.send(body))
        assert (content["booked"], content["repeated"]) == (booked, 3 - booked)
        reasons = sorted(one["reason"] for one in content["details"])
        assert reasons == ["conflict", "early", "late", *["unreadable"] * 3]
        assert any("reads version 1" in one["detail"] for one in content["details"])
    assert books.ledger.standing().quarantined == 6
    assert books.ledger.sums("uid-a", **EVER)["attempts"] == 3
    serving.wait_for_metric("relay_ledger_quarantine_lines", 6)


def test_what_overflows_the_database_is_kept_apart_and_the_rest_is_booked(
    serving: LedgerProcess, books: Books
) -> None:
    books.store.load(COSTS.replace("'2'", "'1000'"), now=now())
    version = books.prices.lists["openai"].version
    at = now()
    huge = TokenBuckets(input=10**9)
    records = [
        closed(attempt_id=f"huge-{number}", dispatched_at=at, tokens=huge) for number in range(12)
    ]
    deadline = time.monotonic() + 60
    # until the process has the new prices
    while serving.metric("relay_ledger_quarantine_lines") == 0 and time.monotonic() < deadline:
        answer(serving.send(records))
        records = [
            closed(attempt_id=f"{record.attempt_id}-x", dispatched_at=at, tokens=huge)
            for record in records
        ]
    assert books.ledger.sums("uid-a", **EVER)["cost_pico"] <= 2**63 - 1
    assert books.ledger.differences(**EVER) == []
    assert "unbookable" in serving.log_text()
    assert version == books.prices.lists["openai"].version
    small = closed(attempt_id="small", dispatched_at=at + HOUR // 20, answered_model="gpt-0")
    assert answer(serving.send([small]))["booked"] == 1


def test_an_attempt_that_costs_more_than_a_column_holds_is_kept_apart_alone(
    serving: LedgerProcess, books: Books
) -> None:
    """The dearest list with the highest percentage of a tenant on top."""
    books.store.load(RETAIL.replace("'3'", "'11000'"), now=now())
    at = now()
    huge = closed(attempt_id="huge", dispatched_at=at, tokens=TokenBuckets(input=10**9))
    content = answer(serving.send([huge, closed(attempt_id="small", dispatched_at=at)]))
    assert (content["booked"], content["quarantined"]) == (1, 1)
    assert content["details"][0]["reason"] == "unbookable"
    # 1,000 of input at 11,000, 100 of output at 12
    assert books.ledger.sums("uid-a", **EVER)["charge_pico"] == 11_001_200 * 10**6


def test_a_batch_has_bounds(serving: LedgerProcess) -> None:
    at = now()
    many = [
        closed(attempt_id=f"call-{number}", dispatched_at=at)
        for number in range(MAX_BATCH_LINES + 1)
    ]
    assert refusal(serving.send(many), 413) == "too_long"
    assert refusal(serving.send(b"x" * (MAX_BATCH_BYTES + 1)), 413) == "too_long"
    assert refusal(serving.send(b"", headers={"Content-Encoding": "gzip"}), 415) == "encoding"
    assert answer(serving.send(b""))["booked"] == 0
    assert answer(serving.send(many[:MAX_BATCH_LINES]))["booked"] == MAX_BATCH_LINES


def test_a_batch_that_does_not_come_is_given_up(serving: LedgerProcess) -> None:
    def drip() -> Iterator[bytes]:
        yield b"{"
        time.sleep(3)
        yield b"}"

    try:
        response = httpx.post(
            f"http://127.0.0.1:{serving._ports['ingest_port']}/v1/attempts",
            content=drip(),
            headers={"Authorization": f"Bearer {token_of('uid-a')}"},
            timeout=60,
        )
    except httpx.TransportError:
        # it was answered while it still wrote, and the connection closed
        pass
    else:
        assert refusal(response, 408) == "slow"
    assert serving.metric('relay_ledger_refused_batches_total{reason="slow"}') == 1


def test_keys_change_without_a_restart_and_a_broken_file_changes_nothing(
    serving: LedgerProcess,
) -> None:
    new = "another-key-of-the-tests-of-the-ledger"
    give_keys(serving.directory, new, KEY)
    deadline = time.monotonic() + 60
    while serving.send(b"", token=token_of("uid-a", new)).status_code != httpx.codes.OK:
        assert time.monotonic() < deadline
    assert serving.send(b"").status_code == httpx.codes.OK
    give_keys(serving.directory, "too-short")
    detail = serving.logged("keys")["detail"]
    assert "the keys known before stay in force" in detail
    assert "too-short" not in detail
    assert serving.send(b"", token=token_of("uid-a", new)).status_code == httpx.codes.OK
    give_keys(serving.directory, new)
    while serving.send(b"").status_code != httpx.codes.UNAUTHORIZED:
        assert time.monotonic() < deadline
    assert serving.send(b"", token=token_of("uid-a", new)).status_code == httpx.codes.OK


def test_what_is_left_open_is_closed_by_the_ledger(
    books: Books, address: str, tmp_path: Path
) -> None:
    process = ForkedLedger(address, tmp_path, open_seconds=60)
    try:
        process.start()
        old = opened(attempt_id="old", dispatched_at=now() - 61 * 10**6, reserved_pico=5)
        new = opened(attempt_id="new", dispatched_at=now())
        assert answer(process.send([old, new]))["booked"] == 2
        process.wait_for_metric('relay_ledger_attempts{state="swept"}', 1)
        process.wait_for_metric("relay_ledger_in_flight_attempts", 1)
        assert books.ledger.sums("uid-a", **EVER)["held_pico"] == 5
    finally:
        process.end()
