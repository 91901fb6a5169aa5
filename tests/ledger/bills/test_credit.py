"""Credit by hand, and the token by which payment systems add it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import KEY, payments_token
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import NOON, closed

from relay_contract.billing.budget import CreditTerms, LeaseRequest, TenantBudget
from relay_contract.billing.ledger_token import read_keys
from relay_ledger.money.rounding import CNY
from relay_ledger.periods.contracts import Terms
from relay_ledger.statements.statement import Rate
from relay_ledger.store.bills.exchange_rates import put_rate
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.credits import CreditStore, Payment, ReferenceTaken, TooMuch
from relay_ledger.store.limits.budget_store import BudgetStore


def test_a_payment_is_booked_once_and_the_balance_told(
    books: Books, address: str, shell: Shell
) -> None:
    pay = ["credit", "uid-a", "--amount", "25.00", "--reference", "wire-1"]
    code, _, said = shell.run(address, *pay)
    assert (code, "knows no tenant" in said) == (1, True)
    ContractStore(books.engine).put("uid-a", Terms(), now=1)
    assert shell.run(address, "credit", "uid-a")[:2] == (0, "no credit\n")
    assert shell.run(address, *pay)[:2] == (0, "booked\n25.00 USD\n")
    assert shell.run(address, *pay)[:2] == (0, "booked before\n25.00 USD\n")
    other = ["credit", "uid-a", "--amount", "26.00", "--reference", "wire-1"]
    code, _, said = shell.run(address, *other)
    assert (code, "another amount" in said) == (1, True)
    refund = ["credit", "uid-a", "--amount=-5.5", "--reference", "wire-2"]
    assert shell.run(address, *refund)[:2] == (0, "booked\n19.50 USD\n")
    for amount in ("NaN", "0", "1e3"):
        code, _, said = shell.run(address, *pay[:2], f"--amount={amount}", "--reference", "x")
        assert (code, "Traceback" in said) == (1, False)


def test_a_payment_in_another_currency_is_told_with_its_rate(
    books: Books, address: str, shell: Shell
) -> None:
    ContractStore(books.engine).put("uid-a", Terms(currency="CNY"), now=1)
    pay = ["credit", "uid-a", "--amount", "50", "--currency", "CNY", "--reference", "alipay-1"]
    code, _, said = shell.run(address, *pay)
    assert (code, "no exchange rate of CNY" in said, "Traceback" in said) == (1, True, False)
    put_rate(books.engine, Rate(CNY, 7_500_000, 10**6, "bank"), now=1)
    balance = "6.666666666667 USD, 50.00 CNY at 7.5 since 1970-01-01T00:00:01Z\n"
    assert shell.run(address, *pay)[:2] == (0, f"booked\n{balance}")
    code, told, _ = shell.run(address, "credit", "uid-a", "--payments")
    assert code == 0
    assert " alipay-1 50.00 CNY at 7.5 since 1970-01-01T00:00:01Z: 6.666666666667 USD\n" in told
    assert told.endswith(balance)
    code, _, said = shell.run(address, *pay[:4], "--currency", "XYZ", "--reference", "x")
    assert (code, "one of" in said, "Traceback" in said) == (1, True, False)


def test_the_token_of_payment_systems_is_nobody_elses(
    books: Books, address: str, shell: Shell
) -> None:
    (shell.directory / "keys").write_text(KEY + "\n")
    assert shell.run(address, "payments-token")[:2] == (0, payments_token() + "\n")
    keys = read_keys(KEY)
    assert keys.is_payments(keys.payments_token())
    for token in (keys.operator_token(), keys.tenant_token("payments"), keys.tenant_token("a"), ""):
        assert not keys.is_payments(token)
    assert not keys.is_operators(keys.payments_token())
    assert keys.tenant_of(keys.payments_token()) is None
    (shell.directory / "keys").write_text("short\n")
    code, _, said = shell.run(address, "payments-token")
    assert (code, "short" in said, "no file of keys" in said) == (1, False, True)


def test_a_reference_that_comes_for_many_tenants_at_once_is_booked_for_one(books: Books) -> None:
    tenants = [f"uid-{number}" for number in range(8)]
    for uid in tenants:
        ContractStore(books.engine).put(uid, Terms(), now=1)
    store = CreditStore(books.engine)

    def is_booked(uid: str, reference: str) -> bool:
        try:
            return store.add(uid, Payment(reference, 1), now=1)
        except ReferenceTaken:
            return False

    with ThreadPoolExecutor(len(tenants)) as pool:
        for number in range(5):
            reference = f"alipay:{number}"
            booked = pool.map(is_booked, tenants, [reference] * len(tenants))
            assert sum(booked) == 1
    assert sum(store.balance(uid) or 0 for uid in tenants) == 5


def test_credit_of_a_whole_life_is_exact_and_bounded(books: Books) -> None:
    """More than 63 bits went in and out in all; what is there at a time fits them, for relays count in them."""
    ContractStore(books.engine).put("uid-a", Terms(), now=1)
    store, million = CreditStore(books.engine), 10**18
    amounts = [million] * 9 + [-million] * 9 + [million - 1, *[million] * 8]
    for number, amount in enumerate(amounts):
        assert store.add("uid-a", Payment(f"wire-{number}", amount), now=1)
    assert store.balance("uid-a") == 9 * million - 1
    with pytest.raises(TooMuch, match="in all, is at most 9000000 USD"):
        store.add("uid-a", Payment("wire-more", 2), now=1)
    assert not store.add("uid-a", Payment("wire-0", million), now=1)
    assert store.add("uid-a", Payment("back", -million), now=1)
    budgets = BudgetStore(books.engine)
    budgets.put(TenantBudget(tenant_uid="uid-a", tenant="a", credit=CreditTerms()), now=2)
    [lease] = budgets.lease("uid-a", LeaseRequest(pod="relay-0", sequence=1), now=2).leases
    assert (lease.amount, lease.allowance + lease.left) == (8 * million - 1, 8 * million - 1)
    books.ledger.book("uid-a", [closed(dispatched_at=NOON)], books.prices, now=NOON)
    assert store.balance("uid-a") == 8 * million - 1 - 4_200 * 10**6
