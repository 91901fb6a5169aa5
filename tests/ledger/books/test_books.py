"""The operator's book: all of it in force at once and only once, what cannot be used leaves the last good, and nothing of the past changes."""

import copy
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select
from tests.ledger.conftest import RETAIL, Books
from tests.ledger.ledger_process import KEY, LedgerProcess, token_of
from tests.ledger.serving.forked_ledger import ForkedLedger
from tests.unit.relay_contract.billing.records import NOON, closed, tool_call

from relay_contract.billing.ledger_token import read_keys
from relay_contract.billing.price_book import (
    BOOKS_PATH,
    MAX_BOOK_BYTES,
    STANDING_PATH,
    book_bytes,
    book_digest,
)
from relay_ledger.periods.contracts import TermsChange
from relay_ledger.periods.zones import QUARTER
from relay_ledger.store.books.book_store import KEPT_BOOKS, BookRefused, BookStore
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.databases import reading
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.tables import BOOKS
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

DAY = 86_400 * 10**6
BOOK: dict[str, Any] = {
    "v": 1,
    "lists": [
        {
            "name": "cost.openai",
            "currency": "USD",
            "entries": [{"models": ["gpt-4.1"], "prices": {"input": "2", "output": "8"}}],
        },
        {
            "name": "standard",
            "currency": "USD",
            "entries": [{"models": ["gpt-4.1"], "prices": {"input": "3", "output": "12"}}],
        },
    ],
    "costs": {"openai": "cost.openai"},
    "tenants": {
        "uid-b": {"name": "finance", "list": "standard", "zone": "Asia/Shanghai"},
        "uid-c": {"name": "free"},
    },
}


def changed(**entry: Any) -> dict[str, Any]:
    """Returns the book with other fields in the entry of the list of tenants."""
    book = copy.deepcopy(BOOK)
    book["lists"][1]["entries"][0] |= entry
    return book


def store_of(books: Books) -> BookStore:
    return BookStore(books.engine, books.store)


def put(books: Books, book: dict[str, Any], *, now: int = NOON) -> dict[str, Any]:
    store = store_of(books)
    store.put(book_bytes(book), now=now)
    return store.told()


def spent(books: Books, uid: str = "uid-b", *, now: int = NOON) -> str:
    return MonthSums(books.engine).spent(store_of(books).tenants(), now=now)[uid]["spent"]


def test_a_book_is_in_force_once_and_prices_what_is_booked(books: Books) -> None:
    told = put(books, BOOK)
    assert told["book"] == book_digest(book_bytes(BOOK))
    assert set(told["lists"]) == {"cost.openai", "standard", "openai", "retail"}
    assert told["tenants"] == {}
    for _ in range(2):
        put(books, BOOK, now=NOON + 1)
    with reading(books.engine) as connection:
        assert connection.execute(select(func.count()).select_from(BOOKS)).scalar_one() == 1
    for uid in ("uid-b", "uid-c"):
        records = [closed(tenant_uid=uid)]
        books.ledger.book(uid, records, books.prices, now=NOON)
    # 1,000 of input, 100 of output in the records of these tests; who has no list is not billed
    assert spent(books) == "0.0042"
    assert spent(books, "uid-c") == "0.00"


def test_what_cannot_be_used_leaves_what_was_in_force_and_is_told(books: Books) -> None:
    before = put(books, BOOK)["lists"]["standard"]["version"]
    bad = changed(prices={"input": "NaN"})
    bad["lists"].append({"name": "half", "currency": "USD"})
    bad["tenants"]["uid-d"] = {"name": "lost", "list": "gold"}
    bad["tenants"]["uid-e"] = {"name": "mars", "list": "standard", "zone": "Mars/Olympus"}
    bad["costs"]["azure"] = "cost.azure"
    told = put(books, bad)
    assert told["lists"]["standard"]["version"] == before
    assert "entries.0.prices.input: 'NaN' is no price" in told["lists"]["standard"]["problem"]
    assert told["lists"]["half"] == {"version": "", "problem": "entries: Field required"}
    assert "there is no price list cost.azure" in told["lists"]["cost.azure"]["problem"]
    assert "there is no price list gold" in told["tenants"]["uid-d"]
    assert "'Mars/Olympus' is no time zone" in told["tenants"]["uid-e"]
    # a life of the ledger later it is told all the same
    assert store_of(books).told() == told
    # who has a list, has it: its tenant's zone alone was wrong
    assert books.prices.price_list("charge", "uid-e", NOON) is not None


def test_a_first_book_of_many_tenants_takes_few_statements(books: Books) -> None:
    many = copy.deepcopy(BOOK)
    many["tenants"] = {
        f"uid-{number}": {"name": f"tenant-{number}", "list": "standard", "zone": "Asia/Shanghai"}
        for number in range(1500)
    }
    many["tenants"]["uid-7"]["zone"] = "Mars/Olympus"
    many["tenants"]["uid-8"]["list"] = "gold"
    statements = []
    event.listen(books.engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    told = put(books, many)
    # who waits for the answer waits 20 seconds: one statement a tenant were 1,500
    assert len(statements) < 150
    assert set(told["tenants"]) == {"uid-7", "uid-8"}
    contracts = ContractStore(books.engine)
    assert contracts.contract("uid-1499").terms_at(NOON).zone == "Asia/Shanghai"
    assert not contracts.contract("uid-7").is_known
    assert books.prices.price_list("charge", "uid-1499", 0).name == "standard"  # type: ignore[union-attr]
    assert books.prices.price_list("charge", "uid-8", 0) is None


def test_a_book_says_the_currency_and_leaves_what_it_does_not_say(books: Books) -> None:
    contracts = ContractStore(books.engine)
    contracts.change("uid-b", TermsChange(currency="EUR"), now=1)

    def told(at: int, **more: Any) -> str:
        book = copy.deepcopy(BOOK)
        book["tenants"]["uid-b"] |= more
        put(books, book, now=at)
        return contracts.contract("uid-b").terms_at(at).currency

    assert told(NOON) == "EUR"
    assert told(NOON + QUARTER, currency="CNY") == "CNY"
    assert told(NOON + 2 * QUARTER, currency="CNY", name="another") == "CNY"
    # what the Tenant said and says no more
    assert told(NOON + 3 * QUARTER) == "USD"
    bad = copy.deepcopy(BOOK)
    bad["tenants"]["uid-b"]["currency"] = "XXX"
    assert "'XXX' is no currency" in put(books, bad, now=NOON + 4 * QUARTER)["tenants"]["uid-b"]


def test_a_list_that_comes_after_who_names_it_is_theirs_all_the_same(books: Books) -> None:
    early = copy.deepcopy(BOOK)
    late = [early["lists"].pop(), early["lists"].pop()]
    told = put(books, early)
    assert "there is no price list standard" in told["tenants"]["uid-b"]
    # another book without it: it is told again
    early["tenants"]["uid-c"]["name"] = "gratis"
    assert "there is no price list standard" in put(books, early, now=NOON + 1)["tenants"]["uid-b"]
    told = put(books, {**early, "lists": late}, now=NOON + 2)
    assert told["tenants"] == {}
    charged = books.prices.price_list("charge", "uid-b", NOON + 3)
    paid = books.prices.price_list("cost", "openai", NOON + 3)
    assert charged is not None
    assert paid is not None
    assert (charged.name, paid.name) == ("standard", "cost.openai")


def test_who_names_a_list_that_is_not_there_keeps_the_last_until_it_comes(books: Books) -> None:
    put(books, BOOK)
    wants = copy.deepcopy(BOOK)
    wants["tenants"]["uid-b"]["list"] = "gold"
    put(books, wants, now=NOON + 1)
    assert books.prices.price_list("charge", "uid-b", NOON + 2).name == "standard"  # type: ignore[union-attr]
    wants["lists"].append({**BOOK["lists"][1], "name": "gold"})
    put(books, wants, now=NOON + 3)
    assert books.prices.price_list("charge", "uid-b", NOON + 4).name == "gold"  # type: ignore[union-attr]


def test_a_zone_that_is_none_is_told_until_it_is_one(books: Books) -> None:
    wrong = copy.deepcopy(BOOK)
    wrong["tenants"]["uid-b"]["zone"] = "Mars/Olympus"
    put(books, wrong)
    wrong["tenants"]["uid-c"]["name"] = "gratis"
    assert "is no time zone" in put(books, wrong, now=NOON + 1)["tenants"]["uid-b"]


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"v": 2}', b'{"v": 1, "x": 2}', b"\xff"])
def test_what_is_no_book_changes_nothing(books: Books, content: bytes) -> None:
    put(books, BOOK)
    before = store_of(books).told()
    with pytest.raises(BookRefused):
        store_of(books).put(content, now=NOON)
    assert store_of(books).told() == before


def test_another_list_of_a_tenant_holds_from_now_on_and_none_ends_it(books: Books) -> None:
    put(books, BOOK)
    gold = copy.deepcopy(BOOK)
    gold["lists"].append(copy.deepcopy(BOOK["lists"][1]) | {"name": "gold"})
    gold["tenants"]["uid-b"]["list"] = "gold"
    put(books, gold, now=NOON + DAY)
    gone = copy.deepcopy(gold)
    del gone["tenants"]["uid-b"]["list"]
    put(books, gone, now=NOON + 2 * DAY)
    book = books.prices
    found = [book.price_list("charge", "uid-b", NOON + day * DAY) for day in (-300, 0, 1, 2)]
    assert [one.name if one else None for one in found] == ["standard", "standard", "gold", None]


def test_a_price_of_the_past_changes_nothing_that_is_booked_until_somebody_corrects_it(
    books: Books,
) -> None:
    put(books, BOOK)
    books.ledger.book("uid-b", [closed(tenant_uid="uid-b")], books.prices, now=NOON)
    told = put(books, changed(prices={"input": "6", "output": "12"}), now=NOON + DAY)
    assert told["lists"]["standard"]["backDated"] == {"since": 0, "models": ["gpt-4.1"]}
    assert spent(books) == "0.0042"
    # another change does not hide the first
    told = put(books, changed(prices={"input": "7", "output": "12"}), now=NOON + 2 * DAY)
    assert "backDated" in told["lists"]["standard"]
    Repricing(books.engine, books.prices, start=NOON - DAY, end=NOON + DAY).run(now=NOON + 3 * DAY)
    assert "backDated" not in store_of(books).told()["lists"]["standard"]
    assert spent(books) == "0.0082"


def test_prices_of_a_tool_server_that_come_after_its_calls_are_told_until_those_are_corrected(
    books: Books,
) -> None:
    put(books, BOOK)
    store = ToolCallStore(books.engine)
    for sent in (NOON, NOON + DAY):
        call = tool_call(tenant_uid="uid-b", called_at=sent)
        store.book("uid-b", [call], books.prices, now=sent)
    # nothing says what they cost, and nothing that they cost anything
    assert MonthSums(books.engine).unpriced(now=NOON + DAY)["tool_cost"] == {}
    wrong, right, other = (
        BOOK
        | {
            "lists": BOOK["lists"] + [tool_list(name, prices) for name in servers],
            "tools": {name: f"tools..{name}" for name in servers},
        }
        for servers, prices in ((("erp",), "-1"), (("erp",), "0.003"), (("erp", "wiki"), "0.003"))
    )
    assert "backDated" not in put(books, wrong, now=NOON + 2 * DAY)["lists"]["tools..erp"]
    told = put(books, right, now=NOON + 3 * DAY)["lists"]["tools..erp"]
    assert told["backDated"] == {"since": 0, "models": ["every server/*"]}
    # of a server that nobody has called there is nothing to correct
    lists = put(books, other, now=NOON + 4 * DAY)["lists"]
    assert ("backDated" in lists["tools..erp"], "backDated" in lists["tools..wiki"]) == (
        True,
        False,
    )
    found = Repricing(books.engine, books.prices, start=0, end=NOON + 2 * DAY)
    assert found.run(now=NOON + 5 * DAY)["uid-b"].cost_pico == 2 * 3000 * 10**6
    assert "backDated" not in store_of(books).told()["lists"]["tools..erp"]


def tool_list(server: str, per_call: str) -> dict[str, Any]:
    prices = [{"tools": ["*"], "perCall": per_call}]
    return {"name": f"tools..{server}", "currency": "USD", "entries": [], "tools": prices}


def test_a_correction_of_another_time_leaves_the_notice_of_a_back_dated_list(books: Books) -> None:
    put(books, BOOK)
    for number, sent in enumerate((NOON, NOON + 2 * DAY)):
        record = closed(tenant_uid="uid-b", attempt_id=f"call-{number}", dispatched_at=sent)
        books.ledger.book("uid-b", [record], books.prices, now=sent)
    put(books, changed(prices={"input": "6", "output": "12"}), now=NOON + 5 * DAY)

    def notice_after(start: int, end: int, *, now: int) -> bool:
        Repricing(books.engine, books.prices, start=start, end=end).run(now=now)
        return "backDated" in store_of(books).told()["lists"]["standard"]

    late, day = NOON + 6 * DAY, NOON // DAY * DAY
    # a day before all of it, and one of the two
    assert notice_after(day - 9 * DAY, day - 8 * DAY, now=late)
    assert notice_after(day + 2 * DAY, day + 3 * DAY, now=late + 1)
    # what was used is corrected with the other: on the days between, nothing was
    assert not notice_after(day, day + DAY, now=late + 2)
    assert spent(books) == "0.0144"


def test_a_correction_by_prices_that_are_no_longer_in_force_leaves_the_notice(books: Books) -> None:
    put(books, BOOK)
    books.ledger.book("uid-b", [closed(tenant_uid="uid-b")], books.prices, now=NOON)
    former = books.prices
    put(books, changed(prices={"input": "6", "output": "12"}), now=NOON + DAY)
    Repricing(books.engine, former, start=0, end=NOON + DAY).run(now=NOON + 2 * DAY)
    assert "backDated" in store_of(books).told()["lists"]["standard"]


def test_a_price_from_now_on_is_not_dated_back(books: Books) -> None:
    put(books, BOOK)
    divided = copy.deepcopy(BOOK)
    [entry] = divided["lists"][1]["entries"]
    divided["lists"][1]["entries"] = [
        entry | {"until": "2030-01-01"},
        entry | {"from": "2030-01-01", "prices": {"input": "9"}},
        {"models": ["gpt-5"], "from": "2030-01-01", "prices": {"input": "1"}},
    ]
    told = put(books, divided)
    assert "backDated" not in told["lists"]["standard"]
    later = copy.deepcopy(divided)
    later["lists"][1]["entries"][2]["from"] = "2026-01-01"
    told = put(books, later)
    assert told["lists"]["standard"]["backDated"]["models"] == ["gpt-5"]


def test_months_are_those_of_the_tenants_zone_and_models_without_a_price_are_named(
    books: Books,
) -> None:
    put(books, BOOK)
    # 17:00 UTC on 31 October is the first of November in Shanghai
    at = 1_793_466_000_000_000
    for number, (model, sent) in enumerate((("gpt-4.1", at), ("gpt-9", at), ("gpt-4.1", at - DAY))):
        record = closed(
            tenant_uid="uid-b",
            attempt_id=f"call-{number}",
            answered_model=model,
            dispatched_at=sent,
        )
        books.ledger.book("uid-b", [record], books.prices, now=sent)
    sums = MonthSums(books.engine)
    month = sums.spent(store_of(books).tenants(), now=at)["uid-b"]
    assert month == {"month": "2026-11", "spent": "0.0042"}
    assert sums.unpriced(now=at) == {
        "cost": {"openai": ["gpt-9"]},
        "tool_cost": {},
        "charge": {"uid-b": ["gpt-9"]},
    }


@pytest.fixture
def serving(books: Books, address: str, tmp_path: Path) -> Iterator[LedgerProcess]:
    process = ForkedLedger(address, tmp_path)
    try:
        process.start()
        yield process
    finally:
        process.end()


def ask(
    serving: LedgerProcess, method: str, path: str, *, token: str, content: bytes = b""
) -> httpx.Response:
    return serving.ask(method, path, token=token, body=content)


def test_the_operator_alone_gives_books_and_what_is_booked_next_has_the_prices(
    serving: LedgerProcess, books: Books
) -> None:
    operators = read_keys(KEY).operator_token()
    content = book_bytes(BOOK)
    for token in (token_of("uid-b"), token_of("operator"), "operator.x"):
        assert ask(serving, "PUT", BOOKS_PATH, token=token, content=content).status_code == 401
        assert ask(serving, "GET", STANDING_PATH, token=token).status_code == 401
    answer = ask(serving, "PUT", BOOKS_PATH, token=operators, content=content)
    assert answer.status_code == 200
    assert answer.json()["book"] == book_digest(content)
    at = time.time_ns() // 1000
    record = closed(tenant_uid="uid-b", dispatched_at=at)
    assert serving.send([record], token=token_of("uid-b")).json()["booked"] == 1
    standing = ask(serving, "GET", STANDING_PATH, token=operators).json()
    assert standing["months"]["uid-b"]["spent"] == "0.0042"
    assert standing["book"] == book_digest(content)
    refused = ask(serving, "PUT", BOOKS_PATH, token=operators, content=b'{"v": 3}')
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "book")
    large = b" " * (MAX_BOOK_BYTES + 1)
    assert ask(serving, "PUT", BOOKS_PATH, token=operators, content=large).status_code == 422


def test_a_tenant_of_whom_no_book_has_told_is_unpriced_and_never_free(books: Books) -> None:
    """Its relay may deliver before the operator reaches a ledger that was away."""
    put(books, BOOK)
    early = [closed(tenant_uid="uid-new"), closed(tenant_uid="uid-new", attempt_id="call-2")]
    books.ledger.book("uid-new", early[:1], books.prices, now=NOON)
    assert MonthSums(books.engine).unpriced(now=NOON)["charge"] == {"uid-new": ["gpt-4.1"]}
    told = copy.deepcopy(BOOK)
    told["tenants"]["uid-new"] = {"name": "new", "list": "standard"}
    put(books, told, now=NOON + 1)
    books.ledger.book("uid-new", early[1:], books.prices, now=NOON)
    assert spent(books, "uid-new") == "0.0042"
    Repricing(books.engine, books.prices, start=0, end=NOON + DAY).run(now=NOON + 2)
    assert spent(books, "uid-new") == "0.0084"
    assert MonthSums(books.engine).unpriced(now=NOON)["charge"] == {}


@pytest.mark.parametrize("is_missing_at_first", [False, True])
def test_a_tenant_that_was_not_billed_is_billed_from_now_on_and_for_no_time_before(
    books: Books, is_missing_at_first: bool
) -> None:
    put(books, BOOK)
    books.ledger.book("uid-c", [closed(tenant_uid="uid-c")], books.prices, now=NOON)
    billed = copy.deepcopy(BOOK)
    billed["tenants"]["uid-c"]["list"] = "gold" if is_missing_at_first else "standard"
    put(books, billed, now=NOON + DAY)
    if is_missing_at_first:
        # until there is the list it is not billed, as before
        waiting = closed(tenant_uid="uid-c", attempt_id="b", dispatched_at=NOON + DAY)
        books.ledger.book("uid-c", [waiting], books.prices, now=NOON + DAY)
        billed["lists"].append({**BOOK["lists"][1], "name": "gold"})
        put(books, billed, now=NOON + DAY + 1)
    assert Repricing(books.engine, books.prices, start=0, end=NOON + 2 * DAY).run(now=1) == {}
    after = closed(tenant_uid="uid-c", attempt_id="c", dispatched_at=NOON + DAY + 2)
    books.ledger.book("uid-c", [after], books.prices, now=NOON + DAY + 2)
    assert spent(books, "uid-c") == "0.0042"


def test_late_records_of_a_tenant_that_was_not_billed_and_is_gone_are_free(books: Books) -> None:
    put(books, BOOK)
    gone = copy.deepcopy(BOOK)
    del gone["tenants"]["uid-c"]
    put(books, gone, now=NOON + DAY)
    receipt = books.ledger.book("uid-c", [closed(tenant_uid="uid-c")], books.prices, now=NOON + DAY)
    assert receipt.unpriced["charge"] == 0


def test_prices_that_another_process_put_into_force_count_for_the_next_booking(
    serving: LedgerProcess, books: Books, address: str, tmp_path: Path
) -> None:
    """One replica has the book, and a relay delivers to the other."""
    directory = tmp_path / "other"
    directory.mkdir()
    # long between two looks, so that it is not a look that helps
    other = ForkedLedger(address, directory, upkeep_seconds=600)
    try:
        other.start()
        operators = read_keys(KEY).operator_token()
        for number, price in enumerate(("3", "6")):
            content = book_bytes(changed(prices={"input": price, "output": "12"}))
            answer = ask(serving, "PUT", BOOKS_PATH, token=operators, content=content)
            assert answer.status_code == 200
            at = time.time_ns() // 1000
            record = closed(tenant_uid="uid-b", attempt_id=f"call-{number}", dispatched_at=at)
            assert other.send([record], token=token_of("uid-b")).json()["booked"] == 1
    finally:
        other.end()
    assert books.ledger.sums("uid-b", start=0, end=2**60)["charge_pico"] == (4_200 + 7_200) * 10**6


def test_what_had_no_price_at_the_end_of_a_month_is_told_in_the_next_one(books: Books) -> None:
    put(books, BOOK)
    # 23:00 UTC on 31 October
    at = 1_793_487_600_000_000
    record = closed(tenant_uid="uid-b", answered_model="gpt-9", dispatched_at=at)
    books.ledger.book("uid-b", [record], books.prices, now=at)
    unpriced = MonthSums(books.engine).unpriced
    for now, names in ((at + DAY, {"uid-b": ["gpt-9"]}), (at + 11 * DAY, {})):
        assert unpriced(now=now)["charge"] == names
    books.store.load(RETAIL.replace("retail", "standard").replace("gpt-4.1", "gpt-9"), now=at)
    Repricing(books.engine, books.prices, start=at, end=at + DAY).run(now=at + DAY)
    assert unpriced(now=at + DAY)["charge"] == {}


def test_books_of_long_ago_go_and_prices_stay(books: Books) -> None:
    book = copy.deepcopy(BOOK)
    for number in range(KEPT_BOOKS + 10):
        book["tenants"] = {f"uid-{number}": {"name": "finance", "list": "standard"}}
        put(books, book, now=NOON + number)
    with reading(books.engine) as connection:
        numbers = connection.execute(select(BOOKS.c.number).order_by(BOOKS.c.number)).scalars()
        assert list(numbers) == list(range(11, KEPT_BOOKS + 11))
    assert store_of(books).told()["book"] == book_digest(book_bytes(book))
    found = [books.prices.price_list("charge", "uid-0", at) for at in (NOON, NOON + 1)]
    assert [one.name if one else None for one in found] == ["standard", None]
