"""A tenant reads its own use through its relay: the real ledger's word, and a plain refusal where there is none."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.blackbox.relays import NewRelay, Relay
from tests.blackbox.tenant import KEY, TENANT_UID, Platform, api_key
from tests.blackbox.upstream import Upstream
from tests.blackbox.waiting import eventually
from tests.blackbox.wire import Answer
from tests.ledger.ledger_process import LedgerProcess, operator_token, token_of
from tests.unit.relay_contract.billing.records import closed

from relay_contract.document import Limits
from relay_ledger.money.rounding import CNY
from relay_ledger.periods.contracts import Terms, TermsChange
from relay_ledger.statements.statement import Rate
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.databases import open_database
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.schema import upgrade
from relay_ledger.store.tables import BUDGET_ALERTS

REPORT = "/v1/usage/report"
HISTORY = "/v1/usage/history"
ALERTS = "/v1/usage/alerts"


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[LedgerProcess]:
    """Starts a ledger that knows the tenant and one attempt of it, and one of another."""
    directory = tmp_path / "ledger"
    directory.mkdir()
    address = f"sqlite:///{directory}/ledger.db"
    engine = open_database(address)
    upgrade(engine)
    ContractStore(engine).put(TENANT_UID, Terms(0, "Asia/Shanghai"), now=1)
    engine.dispose()
    process = LedgerProcess(address, directory)
    try:
        process.start()
        at = time.time_ns() // 1000
        for tenant_uid, attempts in ((TENANT_UID, 1), ("uid-other", 7)):
            records = [
                closed(tenant_uid=tenant_uid, attempt_id=f"call-{number}", dispatched_at=at)
                for number in range(attempts)
            ]
            process.deliver(records, token=token_of(tenant_uid))
        yield process
    finally:
        process.end()


def reading(new_relay: NewRelay, url: str, tmp_path: Path) -> Relay:
    """Starts a relay of a ledger at this place."""
    token = tmp_path / "token"
    token.write_text(token_of(TENANT_UID) + "\n")
    (tmp_path / "outbox").mkdir()
    return new_relay(
        ledger_url=url,
        ledger_token_file=str(token),
        outbox_directory=str(tmp_path / "outbox"),
    )


def code(answer: Answer, status: int) -> str:
    assert answer.status == status, answer
    return str(answer.error()["code"])


def test_a_tenant_reads_what_the_ledger_has_booked_for_it(
    new_relay: NewRelay, ledger: LedgerProcess, platform: Platform, tmp_path: Path
) -> None:
    relay = reading(new_relay, ledger.url, tmp_path)
    report = relay.ask("GET", REPORT)
    assert report.status == 200, report
    assert report.header("content-type") == "application/json"
    told = report.json()
    assert (told["object"], told["zone"]) == ("usage.report", "Asia/Shanghai")
    assert told["summary"]["attempts"] == 1
    assert [one["model"] for one in told["by_model"]] == ["gpt-4.1"]
    body = json.dumps({"period": "24h", "granularity": "hour"}).encode()
    history = relay.ask("POST", HISTORY, body=body).json()
    assert sum(one["input_tokens"] for one in history["data"]) == 1000
    assert set(history["data"][0]) == {
        *("timestamp", "input_tokens", "output_tokens", "latency_p99", "error_rate")
    }
    # what the ledger says of a question is what the caller reads
    wrong = relay.ask("GET", f"{REPORT}?start=yesterday")
    assert code(wrong, 400) == "invalid_usage_question"
    assert "2026-01-31" in wrong.error()["message"]
    assert code(relay.ask("POST", HISTORY, body=b"{"), 400) == "invalid_usage_question"
    assert code(relay.ask("POST", HISTORY, body=b" " * 5000), 413) == "payload_too_large"
    # nobody without a key, nobody of another tenant, no other method
    assert code(relay.ask("GET", REPORT, key=None), 401) == "invalid_api_key"
    other = relay.ask("GET", f"{REPORT}?tenant_uid=uid-other")
    assert code(other, 400) == "invalid_usage_question"
    assert relay.ask("POST", REPORT, body=b"{}").status == 405
    assert relay.ask("POST", ALERTS, body=b"{}").status == 405
    assert relay.ask("GET", HISTORY).status == 405
    assert token_of(TENANT_UID) not in relay.output()


def test_a_tenant_reads_which_of_its_alerts_nobody_has_taken(
    new_relay: NewRelay, ledger: LedgerProcess, tmp_path: Path
) -> None:
    row = dict.fromkeys((column.name for column in BUDGET_ALERTS.columns), 0)
    crossed = row | {"kind": "budget", "threshold": 80, "amount_pico": 1, "given_up_at": 1}
    engine = open_database(f"sqlite:///{tmp_path}/ledger/ledger.db")
    with engine.begin() as connection:
        for tenant_uid in (TENANT_UID, "uid-other"):
            insert_rows(connection, BUDGET_ALERTS, [crossed | {"tenant_uid": tenant_uid}])
    engine.dispose()
    relay = reading(new_relay, ledger.url, tmp_path)
    answer = relay.ask("GET", f"{ALERTS}?limit=100")
    assert answer.status == 200, answer
    (told,) = answer.json()["data"]
    assert (told["threshold"], told["delivery"]["state"]) == ("80%", "dead")
    wrong = relay.ask("GET", f"{ALERTS}?tenant_uid=uid-other")
    assert code(wrong, 400) == "invalid_usage_question"
    assert "limit and after" in wrong.error()["message"]
    assert code(relay.ask("GET", ALERTS, key=None), 401) == "invalid_api_key"
    assert code(relay.ask("GET", f"{ALERTS}?after={'9' * 600}"), 413) == "payload_too_large"


def test_a_call_is_in_the_tenants_report_once_it_is_delivered(
    new_relay: NewRelay, ledger: LedgerProcess, stable: Upstream, tmp_path: Path
) -> None:
    relay = reading(new_relay, ledger.url, tmp_path)
    stable.behave(prompt_tokens=400, completion_tokens=70)
    assert relay.chat().status == 200
    # beside the attempt that the ledger had; who looks this often is told to wait
    summary = eventually(
        lambda: relay.ask("GET", REPORT).json().get("summary", {}),
        lambda found: found.get("requests") == 2,
        within_seconds=30,
        what="the call in the report",
    )
    assert (summary["input_tokens"], summary["output_tokens"]) == (1400, 170)
    assert summary["usage_source"]["provider"]["attempts"] == 2


def test_v1_me_tells_the_credit_in_the_contracts_currency(
    new_relay: NewRelay, ledger: LedgerProcess, tmp_path: Path
) -> None:
    engine = open_database(f"sqlite:///{tmp_path}/ledger/ledger.db")
    ContractStore(engine).change_from_now(
        {TENANT_UID: TermsChange(currency="CNY")}, now=time.time_ns() // 1000
    )
    put_rate(engine, Rate(CNY, 7_200_000, 10**6, "bank"), now=1)
    engine.dispose()
    payment = {"tenant_uid": TENANT_UID, "reference": "a", "amount": "90", "currency": "CNY"}
    body = json.dumps(payment).encode()
    paid = ledger.ask("POST", "/v1/credits", token=operator_token(), body=body)
    assert paid.status_code == 201, paid.text
    relay = reading(new_relay, ledger.url, tmp_path)
    assert relay.ask("GET", "/v1/me").json()["data"]["credits"] == {
        "balance": "12.50",
        "contract": {
            "currency": "CNY",
            "balance": "90.00",
            "rate": "7.2",
            "rate_since": "1970-01-01T00:00:01Z",
        },
    }


def test_v1_me_tells_the_credit_and_the_limits_that_hold(
    new_relay: NewRelay, ledger: LedgerProcess, platform: Platform, tmp_path: Path
) -> None:
    relay = reading(new_relay, ledger.url, tmp_path)
    keys = (api_key("production", KEY, requests_per_minute=60),)
    limits = Limits(requests_per_minute=600, tokens_per_minute=90_000)
    relay.push(platform.document(keys=keys, limits=limits))
    told = relay.ask("GET", "/v1/me").json()["data"]
    assert (told["credits"], told["budget"]) == ({"balance": None}, None)
    payment = {"tenant_uid": TENANT_UID, "reference": "wire-1", "amount": "12.5", "currency": "USD"}
    paid = ledger.ask(
        "POST", "/v1/credits", token=operator_token(), body=json.dumps(payment).encode()
    )
    assert paid.status_code == 201, paid.text
    terms = {"amountPico": 5 * 10**12, "period": "Month", "hard": True}
    budget = {"tenantUid": TENANT_UID, "tenant": "acme", "budget": terms}
    put = ledger.ask(
        "PUT",
        "/v1/budgets",
        token=operator_token(),
        body=json.dumps({"tenants": [budget]}).encode(),
    )
    assert put.status_code == 200, put.text
    data = relay.ask("GET", "/v1/me").json()["data"]
    resets_at = data["budget"].pop("resets_at")
    assert datetime.fromisoformat(resets_at) > datetime.now(UTC)
    assert data == {
        "subscription_tier": "premium",
        "limits": {"requests_per_minute": 60, "tokens_per_minute": 90_000},
        "credits": {"balance": "12.50"},
        # the tenant has no price list, so nothing that it used is charged
        "budget": {"period": "Month", "limit": "5.00", "spent": "0.00", "remaining": "5.00"},
        "isolation": {"level": "dedicated"},
    }


def test_calls_do_not_miss_a_ledger_that_is_away(
    new_relay: NewRelay, ledger: LedgerProcess, tmp_path: Path
) -> None:
    relay = reading(new_relay, ledger.url, tmp_path)
    ledger.kill()
    for path in (REPORT, ALERTS):
        away = relay.ask("GET", path)
        assert code(away, 503) == "usage_unavailable"
        assert away.header("retry-after") == "1"
    told = relay.ask("GET", "/v1/me").json()["data"]
    assert (told["credits"], told["budget"]) == ({"balance": None}, None)
    assert relay.chat().status == 200


def test_a_ledger_that_says_nothing_is_waited_for_a_bounded_time_and_by_few(
    new_relay: NewRelay, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        relay = reading(new_relay, f"http://127.0.0.1:{port}", tmp_path)
        with ThreadPoolExecutor(8) as callers:
            asked = [callers.submit(relay.ask, "GET", REPORT) for _ in range(8)]
            # calls go on meanwhile, and so does who only asks who it is
            assert relay.chat().status == 200
            assert relay.ask("GET", "/v1/me").status == 200
            answers = [one.result() for one in asked]
        codes = sorted(str(answer.error()["code"]) for answer in answers)
        assert codes == ["rate_limit_exceeded"] * 4 + ["usage_unavailable"] * 4
        # those that were waited for are let go
        eventually(
            lambda: code_of(relay.ask("GET", REPORT)),
            lambda found: found == "usage_unavailable",
            what="room for another question",
        )


def code_of(answer: Answer) -> str:
    return str(answer.error()["code"])


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 2_000_000,
        b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        b"\x15\x03\x01\r\n\r\n",
        b"",
    ],
)
def test_what_is_no_answer_of_a_ledger_is_told_as_none(
    new_relay: NewRelay, tmp_path: Path, answer: bytes
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as odd, ThreadPoolExecutor(1) as threads:

        def serve() -> None:
            accepted, _ = odd.accept()
            with accepted:
                accepted.recv(4096)
                accepted.sendall(answer)

        relay = reading(new_relay, f"http://127.0.0.1:{odd.getsockname()[1]}", tmp_path)
        serving = threads.submit(serve)
        assert code(relay.ask("GET", REPORT), 503) == "usage_unavailable"
        serving.cancel()


def test_without_a_ledger_there_is_nothing_to_tell(relay: Relay) -> None:
    for answer in (
        *(relay.ask("GET", path) for path in (REPORT, ALERTS)),
        relay.ask("POST", HISTORY, body=b"{}"),
    ):
        assert code(answer, 404) == "usage_not_kept"
        assert answer.header("x-should-retry") == "false"
    told = relay.ask("GET", "/v1/me").json()["data"]
    assert told["credits"] == {"balance": None}


def test_limits_are_told_by_the_short_names_too(relay: Relay, platform: Platform) -> None:
    relay.push(platform.document(limits=Limits(requests_per_minute=6, burst_seconds=10)))
    answer = relay.chat()
    assert answer.header("x-ratelimit-limit") == answer.header("x-ratelimit-limit-requests") == "6"
    assert answer.header("x-ratelimit-remaining") == "0"
    assert 1 <= int(answer.header("x-ratelimit-reset") or "") <= 10
