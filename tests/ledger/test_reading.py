"""What tenants' relays read: their own use, exactly, in the zone of their contract, and nothing of anybody else's."""

import json
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, operator_token, payments_token, token_of
from tests.unit.relay_contract.billing.records import closed, opened

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.money.rounding import CNY
from relay_ledger.periods.contracts import Terms
from relay_ledger.reading.reading_port import QUESTION_BURST
from relay_ledger.statements.statement import Rate
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.credits import CreditStore
from relay_ledger.store.usage_reading import UsageReading

DAY = 86_400 * 10**6
REPORT = "/v1/usage/report"
HISTORY = "/v1/usage/history"
ALERTS = "/v1/usage/alerts"


def answer(response: httpx.Response, status: int = 200) -> Any:
    assert response.status_code == status, response.text
    return response.json()


def error(response: httpx.Response, status: int, *words: str) -> None:
    content = answer(response, status)["error"]
    assert all(word in content["message"] for word in words), content


def local_midnight(days_ago: int) -> datetime:
    """The beginning of a day in Shanghai."""
    there = datetime.now(UTC).replace(tzinfo=None) + timedelta(hours=8)
    day = there.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=days_ago)
    return (day - timedelta(hours=8)).replace(tzinfo=UTC)


def micros(moment: datetime) -> int:
    return int(moment.timestamp()) * 10**6


def test_a_tenant_reads_its_own_use_to_the_last_digit(serving: LedgerProcess, books: Books) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "Asia/Shanghai"), now=1)
    midnight = local_midnight(2)
    first, last = micros(midnight), micros(midnight) + DAY - 1
    tokens = TokenBuckets(input=1000, cache_read=1, output=100, reasoning=7)
    nothing = {"delivered": False, "tokens": None, "answered_model": None}
    attempts: list[AttemptRecord] = [
        closed(attempt_id="before", dispatched_at=first - 1),
        closed(attempt_id="first", dispatched_at=first, tokens=tokens),
        closed(attempt_id="last", dispatched_at=last, usage_source="estimated"),
        closed(attempt_id="after", dispatched_at=last + 1),
        closed(attempt_id="other-model", dispatched_at=first, answered_model="gpt-0"),
        closed(attempt_id="timeout", dispatched_at=first, usage_source="unknown", **nothing),
        closed(attempt_id="refused", dispatched_at=first, usage_source="none", **nothing),
        closed(attempt_id="shadow", dispatched_at=first, side="shadow", delivered=False),
    ]
    books.ledger.book("uid-a", attempts, books.prices, now=last)
    others = [closed(tenant_uid="uid-b", attempt_id="first", dispatched_at=first)]
    books.ledger.book("uid-b", others, books.prices, now=last)
    there = midnight + timedelta(hours=8)
    day, following = (f"{there + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
    report = answer(serving.ask("GET", f"{REPORT}?start={day}&end={following}"))
    assert report["start"] == f"{midnight:%Y-%m-%dT%H:%M:%S}Z"
    assert (report["zone"], report["currency"]) == ("Asia/Shanghai", "USD")
    # 1,000 at 3, 1 at 0.75, 107 at 12, and 1,000 and 100 of the estimated one, USD per million
    assert report["summary"] == {
        "requests": 3,
        "abandoned_requests": 0,
        "attempts": 5,
        "input_tokens": 3001,
        "cached_input_tokens": 1,
        "output_tokens": 307,
        "reasoning_tokens": 7,
        "amount": "0.00848475",
        "unpriced_requests": 1,
        "tool_calls": 0,
        "tool_amount": "0.00",
        "tool_unpriced_calls": 0,
        "usage_source": {
            "provider": {"attempts": 2, "tokens": 2208, "share": "0.5000"},
            "partial": {"attempts": 0, "tokens": 0, "share": "0.0000"},
            "estimated": {"attempts": 1, "tokens": 1100, "share": "0.2500"},
            "unknown": {"attempts": 1, "tokens": 0, "share": "0.2500"},
        },
    }
    by_model = {one["model"]: one for one in report["by_model"]}
    assert by_model["gpt-0"]["unpriced_requests"] == 1
    assert "cost" not in json.dumps(report)
    # the other reads its one attempt, in its own zone, and not an amount: it is not billed
    seconds = f"start={first // 10**6}&end={last // 10**6 + 1}"
    other = answer(serving.ask("GET", f"{REPORT}?{seconds}", token=token_of("uid-b")))
    assert other["summary"]["attempts"] == 1
    assert (other["zone"], other["summary"]["amount"]) == ("UTC", "0.00")
    nobody = answer(serving.ask("GET", f"{REPORT}?{seconds}", token=token_of("uid-c")))
    assert (nobody["summary"]["attempts"], nobody["by_model"]) == (0, [])


def test_a_model_that_has_not_answered_is_in_no_report(
    serving: LedgerProcess, books: Books
) -> None:
    """While an attempt is under way it is held as one of the model that was asked."""
    midnight = micros(local_midnight(0))
    # of now: the ledger that serves closes at its next round what has been open for long, and a report has that
    at = time.time_ns() // 1000
    begun = opened(dispatched_at=at, reserved_tokens=TokenBuckets(input=1000))
    ended = closed(dispatched_at=at, answered_model="gpt-0")
    usage = UsageReading(books.engine)
    end = midnight + 2 * DAY
    day = f"{local_midnight(3):%Y-%m-%d}"
    for record, held, models in ((begun, ["gpt-4.1"], []), (ended, ["gpt-0"], ["gpt-0"])):
        books.ledger.book("uid-a", [record], books.prices, now=at)
        sums = usage.sums(start=midnight, end=end, by=["model"])
        assert [names for names, _ in sums] == [(one,) for one in held]
        days = usage.days(start=midnight, end=end, by=["model"])
        assert [names for _, (names, _) in days] == [(one,) for one in held]
        report = answer(serving.ask("GET", f"{REPORT}?start={day}"))
        assert [one["model"] for one in report["by_model"]] == models


def test_a_history_has_every_day_of_the_zone(serving: LedgerProcess, books: Books) -> None:
    ContractStore(books.engine).put("uid-a", Terms(0, "Asia/Shanghai"), now=1)
    midnight = local_midnight(3)
    start = micros(midnight)
    attempts: list[AttemptRecord] = [
        closed(attempt_id=f"quick-{number}", dispatched_at=start, closed_at=start + 100_000)
        for number in range(99)
    ]
    attempts += [
        closed(attempt_id="slow", dispatched_at=start, closed_at=start + 30_000_000),
        closed(attempt_id="slower", dispatched_at=start + 1, closed_at=start + 60_000_000),
        closed(attempt_id="failed", dispatched_at=start, outcome="failed", delivered=False),
        closed(attempt_id="failed-2", dispatched_at=start, attempt=2),
        closed(attempt_id="broken", dispatched_at=start + 2, outcome="truncated"),
        closed(attempt_id="next-day", dispatched_at=start + DAY),
    ]
    books.ledger.book("uid-a", attempts, books.prices, now=start)
    books.ledger.book(
        "uid-b", [closed(tenant_uid="uid-b", dispatched_at=start)], books.prices, now=start
    )
    body = json.dumps({"period": {"start": start // 10**6, "end": (start + 2 * DAY) // 10**6}})
    history = answer(serving.ask("POST", HISTORY, body=body.encode()))
    first, second = history["data"]
    # 30 s are in the step that ends at 30.72 s
    assert first == {
        "timestamp": f"{midnight:%Y-%m-%dT%H:%M:%S}Z",
        "input_tokens": 104_000,
        "output_tokens": 10_400,
        "latency_p99": 30_720,
        "error_rate": round(1 / 103, 6),
    }
    assert (second["input_tokens"], second["error_rate"]) == (1000, 0.0)
    for question, points in (
        (b"", 31),
        (b'{"period": "24h", "granularity": "hour"}', 25),
        (b'{"period": "7d", "metrics": ["requests", "amount", "latency_p50"]}', 8),
    ):
        content = answer(serving.ask("POST", HISTORY, body=question))
        assert len(content["data"]) in (points, points + 1)
    used = [one for one in content["data"] if one["requests"]]
    assert [one["requests"] for one in used] == [103, 1]
    assert used[0]["amount"] == "0.4326"
    other = answer(serving.ask("POST", HISTORY, body=body.encode(), token=token_of("uid-b")))
    assert sum(one["input_tokens"] for one in other["data"]) == 1000
    empty = answer(serving.ask("POST", HISTORY, body=body.encode(), token=token_of("uid-c")))
    assert {one["latency_p99"] for one in empty["data"]} == {None}


def test_nobody_reads_without_a_token_of_a_tenant(serving: LedgerProcess) -> None:
    asked = [
        ("GET", REPORT),
        ("POST", HISTORY),
        ("GET", ALERTS),
        ("GET", "/v1/credit"),
        ("POST", "/v1/credits"),
    ]
    forged = token_of("uid-a").replace("uid-a", "uid-b", 1)
    for method, path in asked:
        for token in (".", "nonsense", forged):
            error(serving.ask(method, path, token=token, body=b"{}"), 401, "token")
    # the operator reads no tenant's use by these routes, and a tenant adds no credit
    error(serving.ask("GET", REPORT, token=operator_token()), 401)
    error(serving.ask("POST", "/v1/credits", body=b"{}"), 401)
    # who takes payments reads nobody's use; the operator may add credit too
    for method, path in asked[:-1]:
        error(serving.ask(method, path, token=payments_token()), 401)
    error(serving.ask("POST", "/v1/credits", token=operator_token(), body=b"{}"), 400)


def test_questions_that_cannot_be_answered_say_what_to_ask(serving: LedgerProcess) -> None:
    for query, word in (
        ("start=yesterday", "2026-01-31"),
        ("start=2026-01-02&end=2026-01-01", "after"),
        ("start=2020-01-01&end=2026-01-01", "400 days"),
        ("start=0001-01-01", "years"),
        ("start=2026-01-01&tenant=uid-b", "start and end"),
        ("start=2026-01-01&start=2026-01-02", "once"),
        ("start=" + "9" * 300, "no time"),
    ):
        error(serving.ask("GET", f"{REPORT}?{query}"), 400, word)
    for body, word in (
        (b"{", "JSON"),
        (b"[]", ""),
        (b"[" * 3000, "JSON"),
        (b'{"period": "3 weeks"}', "2026-10"),
        (b'{"period": "400d", "granularity": "hour"}', "coarser"),
        (b'{"granularity": "minute"}', "hour"),
        (b'{"metrics": ["price"]}', "metrics"),
        (b'{"metrics": []}', "metrics"),
        (b'{"tenant": "uid-b"}', "tenant"),
        (b'{"period": {"start": NaN, "end": 2}}', "period"),
    ):
        error(serving.ask("POST", HISTORY, body=body), 400, word)
    error(serving.ask("POST", HISTORY, body=b" " * 5000), 413)


def test_a_tenant_that_asks_without_end_is_slowed_down_and_no_other(
    serving: LedgerProcess,
) -> None:
    codes = [serving.ask("GET", "/v1/credit").status_code for _ in range(2 * QUESTION_BURST)]
    assert codes[:QUESTION_BURST] == [200] * QUESTION_BURST
    refused = serving.ask("GET", "/v1/credit")
    if refused.status_code == 200:  # a slow machine gave it time
        assert 429 in codes
    else:
        error(refused, 429, "often")
        assert int(refused.headers["Retry-After"]) >= 1
    answer(serving.ask("GET", "/v1/credit", token=token_of("uid-b")))


def test_credit_is_paid_in_the_contracts_currency_at_the_rate_of_its_day(
    serving: LedgerProcess, books: Books
) -> None:
    def pay(**changes: Any) -> httpx.Response:
        cny = {"currency": "CNY", "amount": "180.00"} | changes
        return serving.ask("POST", "/v1/credits", token=payments_token(), body=credit(**cny))

    ContractStore(books.engine).put("uid-a", Terms(currency="CNY"), now=1)
    refused = pay()
    error(refused, 503, "no exchange rate of CNY")
    assert refused.headers["Retry-After"] == "60"
    since = time.time_ns() // 1000 - DAY
    put_rate(books.engine, Rate(CNY, 7_200_000, since, "bank"), now=1)
    told = answer(pay(), 201)
    assert (told["booked"], told["currency"], told["balance"]) == (True, "USD", "25.00")
    in_cny = {"currency": "CNY", "balance": "180.00", "rate": "7.2"}
    assert in_cny.items() <= told["contract"].items()
    # another rate changes neither what was booked nor what a payment is known by
    put_rate(books.engine, Rate(CNY, 7_500_000, since + 1, "bank"), now=2)
    again = answer(pay())
    assert (again["booked"], again["balance"]) == (False, "25.00")
    assert (again["contract"]["balance"], again["contract"]["rate"]) == ("187.50", "7.5")
    error(pay(amount="187.50"), 409, "another amount")
    error(pay(currency="USD", amount="25.00"), 409, "currency")
    error(pay(reference="much", amount="7500000.01"), 400, "at most 1000000 USD")
    assert answer(pay(reference="back", amount="-187.5"), 201)["balance"] == "0.00"
    first, second = CreditStore(books.engine).payments("uid-a")
    assert (first.usd_pico, first.rate.micro, first.payment.amount_pico) == (
        *(25 * 10**12, 7_200_000),
        180 * 10**12,
    )
    assert (second.usd_pico, second.rate.since) == (-25 * 10**12, since + 1)


def credit(**changes: Any) -> bytes:
    payment = {
        "tenant_uid": "uid-a",
        "reference": "alipay:2026112622001",
        "amount": "25.00",
        "currency": "USD",
        **changes,
    }
    return json.dumps(payment).encode()


def test_credit_is_booked_once_under_its_reference(serving: LedgerProcess, books: Books) -> None:
    def pay(**changes: Any) -> httpx.Response:
        return serving.ask("POST", "/v1/credits", token=payments_token(), body=credit(**changes))

    error(pay(), 404, "uid-a")
    ContractStore(books.engine).put("uid-a", Terms(), now=1)
    ContractStore(books.engine).put("uid-b", Terms(tenant="b"), now=1)
    earlier = closed(attempt_id="earlier", dispatched_at=time.time_ns() // 1000 - DAY)
    books.ledger.book("uid-a", [earlier], books.prices, now=1)
    assert answer(serving.ask("GET", "/v1/credit"))["balance"] is None
    assert answer(pay(), 201) == {
        "booked": True,
        "object": "credit",
        "currency": "USD",
        "balance": "25.00",
    }
    for _ in range(3):
        assert answer(pay(note="again"))["booked"] is False
    error(pay(amount="26.00"), 409, "another amount")
    # a payment system that corrects the tenant does not pay twice
    error(pay(tenant_uid="uid-b"), 409, "another tenant")
    b_pays = pay(tenant_uid="uid-b", reference="alipay:2", amount="0.000001")
    assert answer(b_pays, 201)["balance"] == "0.000001"
    books.ledger.book("uid-a", [closed(dispatched_at=time.time_ns() // 1000)], books.prices, now=1)
    assert answer(serving.ask("GET", "/v1/credit"))["balance"] == "24.9958"
    assert answer(pay(reference="refund", amount="-30"), 201)["balance"] == "-5.0042"
    assert serving.logged("credit")["reference"] == "alipay:2026112622001"
    for changes, word in (
        ({"amount": "1e3"}, "amount"),
        ({"amount": "NaN"}, "NaN"),
        ({"amount": "0"}, "not 0"),
        ({"amount": "-"}, ""),
        ({"amount": "1.0000001"}, "six digits"),
        ({"amount": "9" * 18}, "at most"),
        ({"amount": 25}, "amount"),
        ({"currency": "XYZ"}, "USD"),
        ({"amount": "1000000.1", "reference": "much"}, "at most 1000000 USD"),
        ({"reference": ""}, "reference"),
        ({"tenant_uid": "a/b"}, "tenant_uid"),
        ({"gift": "1"}, "gift"),
    ):
        error(pay(**changes), 400, word)
    twice = credit()[:-1] + b', "amount": "2500.00"}'
    error(serving.ask("POST", "/v1/credits", token=payments_token(), body=twice), 400, "twice")
