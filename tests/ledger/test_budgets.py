"""Budgets in the ledger: booked and leased money together is never more than the amount, and each threshold is told once."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select
from tests.ledger.conftest import RETAIL, Books
from tests.ledger.ledger_process import LedgerProcess, operator_token, token_of
from tests.unit.relay_contract.billing.records import closed

from relay.budgets.purse import MoneyHold, Purse
from relay.process.money.pod_money import PodMoney
from relay_contract.billing.budget import (
    ALERTS_TOLD_PATH,
    BUDGETS_PATH,
    LEASE_SECONDS,
    LEASES_PATH,
    MAX_BUDGETS,
    AlertsTold,
    Budgets,
    BudgetsTaken,
    BudgetStandings,
    BudgetTerms,
    CreditTerms,
    Lease,
    LeaseAnswer,
    LeaseAsk,
    LeaseRequest,
    TenantBudget,
)
from relay_contract.billing.token_buckets import TokenBuckets
from relay_ledger.booking.price_book import Assignment
from relay_ledger.budgets.leasing import OutdatedAsk
from relay_ledger.periods.contracts import TermsChange
from relay_ledger.store.contracts import ContractStore
from relay_ledger.store.credits import CreditStore
from relay_ledger.store.databases import open_database, reading
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.limits.budget_store import BudgetStore
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.rows.bulk_insert import insert_rows
from relay_ledger.store.tables import BUDGET_ALERTS, LIMIT_PODS

SECOND = 10**6
HOUR = 3600 * SECOND
MIDNIGHT = int(datetime(2026, 9, 22, tzinfo=UTC).timestamp()) * SECOND
NOON = MIDNIGHT + 12 * HOUR
CALL = 1000 * 3 * 10**6 + 100 * 12 * 10**6
"""What the attempt of the records costs its tenant: 1,000 tokens in at 3 USD a million, 100 out at 12."""


def budget(amount: int = 100 * CALL, **changes: Any) -> TenantBudget:
    terms = {"period": "Day", "hard": True, "alert_at_percent": (50, 80, 100), **changes}
    return TenantBudget(
        tenant_uid="uid-a",
        tenant="acme",
        budget=BudgetTerms.model_validate({"amount_pico": amount, **terms}),
    )


class Pod:
    """A relay pod that asks for leases."""

    def __init__(self, store: BudgetStore, name: str) -> None:
        self.store = store
        self.name = name
        self.sequence = 0
        self.spent = self.held = 0
        self.lease: Lease | None = None

    def ask(self, now: int, *, wanted: int = 0, least: int = 0, **changes: Any) -> Lease:
        self.sequence += 1
        asks: tuple[LeaseAsk, ...] = ()
        if self.lease is not None:
            asks = (
                LeaseAsk(
                    kind=self.lease.kind,
                    starts_at=self.lease.starts_at,
                    allowance=self.lease.allowance,
                    spent=self.spent,
                    held=self.held,
                    wanted=wanted,
                    least=least,
                ),
            )
        request = LeaseRequest(
            pod=self.name, sequence=self.sequence, fresh=self.lease is None, limits=asks, **changes
        )
        leases = self.store.lease("uid-a", request, now=now).leases
        (self.lease,) = (one for one in leases if one.starts_at <= now < one.ends_at)
        return self.lease


def attempts(number: int, at: int = NOON, relay: str = "a", **changes: Any) -> list[Any]:
    return [
        closed(attempt_id=f"{relay}-{at}-{one}", dispatched_at=at + one, relay=relay, **changes)
        for one in range(number)
    ]


def test_pods_lease_parts_of_what_is_left(books: Books) -> None:
    store = BudgetStore(books.engine)
    books.ledger.book("uid-a", attempts(10, relay="old"), books.prices, now=NOON)
    assert store.put(budget(), now=NOON)
    assert not store.put(budget(), now=NOON)
    pods = [Pod(store, name) for name in "abc"]
    for pod in pods:
        pod.ask(NOON)
        pod.ask(NOON, wanted=1000 * CALL)
    leases = [pod.lease for pod in pods if pod.lease is not None]
    assert sum(lease.allowance for lease in leases) + leases[-1].left == 90 * CALL
    assert leases[-1].elsewhere == leases[0].allowance + leases[1].allowance
    assert leases[0].ends_at == MIDNIGHT + 24 * HOUR


def test_what_a_pod_reports_is_not_counted_again_when_it_is_booked(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    pod = Pod(store, "a")
    pod.ask(NOON, wanted=20 * CALL)
    pod.spent = 5 * CALL
    lease = pod.ask(NOON, wanted=20 * CALL)
    before = lease.left + lease.allowance
    books.ledger.book("uid-a", attempts(5), books.prices, now=NOON)
    lease = pod.ask(NOON, wanted=20 * CALL)
    assert (lease.base, lease.left + lease.allowance) == (5 * CALL, before)
    # and what it has not reported is spent all the same
    books.ledger.book("uid-a", attempts(3, at=NOON + SECOND), books.prices, now=NOON)
    assert pod.ask(NOON).base == 8 * CALL


def test_a_dead_pods_lease_comes_back_when_it_ends(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    dead, other = Pod(store, "dead"), Pod(store, "other")
    dead.ask(NOON)
    granted = dead.ask(NOON, least=60 * CALL).allowance
    assert granted == 60 * CALL
    assert other.ask(NOON, least=41 * CALL).allowance < 41 * CALL
    later = NOON + LEASE_SECONDS * SECOND
    assert other.ask(later, least=90 * CALL).allowance == 90 * CALL


def test_a_lease_outlives_the_time_in_which_nobody_could_ask(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    first = Pod(store, "a")
    first.ask(NOON)
    first.ask(NOON, least=60 * CALL)
    after = NOON + 10 * LEASE_SECONDS * SECOND
    request = LeaseRequest(pod="b", sequence=1, fresh=True)
    answer = store.lease("uid-a", request, now=after, grace_until=after + SECOND)
    assert answer.leases[0].elsewhere == 60 * CALL


def test_an_overtaken_ask_changes_nothing(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    pod = Pod(store, "a")
    pod.ask(NOON)
    pod.ask(NOON, wanted=10 * CALL)
    with pytest.raises(OutdatedAsk):
        store.lease("uid-a", LeaseRequest(pod="a", sequence=1, fresh=True), now=NOON)


def test_a_call_is_on_the_budget_of_the_day_it_was_sent_in(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget().model_copy(update={"zone": "Asia/Kathmandu"}), now=NOON)
    midnight = MIDNIGHT + 24 * HOUR - 5 * HOUR - 45 * 60 * SECOND
    pod = Pod(store, "a")
    leases = store.lease(
        "uid-a", LeaseRequest(pod="z", sequence=1, fresh=True), now=midnight - SECOND
    ).leases
    # the next day's part is there before it begins
    assert [(one.starts_at, one.ends_at) for one in leases] == [
        (midnight - 24 * HOUR, midnight),
        (midnight, midnight + 24 * HOUR),
    ]
    books.ledger.book("uid-a", attempts(2, at=midnight - 2), books.prices, now=midnight)
    books.ledger.book("uid-a", attempts(3, at=midnight), books.prices, now=midnight)
    assert pod.ask(midnight - 1).base == 2 * CALL
    pod.lease = None
    assert pod.ask(midnight).base == 3 * CALL


def test_a_budget_of_the_day_that_becomes_one_of_the_month_knows_all_of_the_month(
    books: Books,
) -> None:
    store, first = BudgetStore(books.engine), MIDNIGHT - 21 * 24 * HOUR
    store.put(budget(), now=first)
    pod = Pod(store, "a")
    for day in range(3):
        at = first + day * 24 * HOUR
        pod.lease = None
        pod.ask(at)
        books.ledger.book("uid-a", attempts(2, at=at), books.prices, now=at)
    now = first + 60 * HOUR
    store.put(budget(period="Month"), now=now)
    (standing,) = store.standings(["uid-a"], now=now).standings
    assert (standing.starts_at, standing.spent) == (first, 6 * CALL)
    pod.lease = None
    assert pod.ask(now).base == 2 * CALL
    books.ledger.book("uid-a", attempts(1, at=now), books.prices, now=now)
    (standing,) = store.standings(["uid-a"], now=now).standings
    assert standing.spent == 7 * CALL


def test_a_price_that_changes_does_not_change_what_was_spent_before(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(), now=NOON)
    books.ledger.book("uid-a", attempts(2), books.prices, now=NOON)
    books.store.load(
        "{name: dear, currency: USD, entries: [{models: [gpt-4.1], prices: {input: '30', output: '120'}}]}",
        now=2,
    )
    books.store.assign(Assignment("charge", "uid-a", NOON + SECOND, "dear"), now=2)
    # sent before the change and ended after it, and sent after it
    stream = attempts(1, at=NOON + SECOND - 1, closed_at=NOON + HOUR)
    books.ledger.book("uid-a", stream, books.prices, now=NOON + HOUR)
    books.ledger.book("uid-a", attempts(1, at=NOON + SECOND), books.prices, now=NOON + HOUR)
    assert Pod(store, "a").ask(NOON + HOUR).base == 13 * CALL


class RelayPod:
    """A relay pod of one worker, with the ledger's answers taken in as its processes do."""

    def __init__(self, store: BudgetStore, *kinds: str) -> None:
        self.store = store
        self.kinds = kinds
        self.money = PodMoney("a", 1)
        self.purse = Purse(self.money.counters, 0)

    def look(self, now: int) -> None:
        """Asks the ledger twice, as a pod does within seconds."""
        for wall in (now, now + SECOND):
            seconds = wall / SECOND
            request = self.money.request(now=seconds, wall=wall, release=False)
            answer = self.store.lease("uid-a", request, now=wall)
            self.money.answered(answer, asked_at=seconds, now=seconds)
            self.money.divide([0])
            for row in self.money.rows(0):
                left, elsewhere = row.pop("left"), row.pop("elsewhere")
                del row["amount"]
                one = self.purse.take(**row)
                one.left, one.elsewhere = left, elsewhere

    def serves(self, now: int) -> bool:
        """Has a call reserve what it costs, and spend it."""
        self.look(now)
        wall = now + SECOND
        held = self.purse.reserve(
            self.kinds, CALL, wall=wall, now=wall / SECOND, serve_when_away=False
        )
        if isinstance(held, MoneyHold):
            held.settle(CALL)
        return isinstance(held, MoneyHold)


def test_a_pod_that_ran_before_the_first_payment_serves_after_it(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(TenantBudget(tenant_uid="uid-a", tenant="acme", credit=CreditTerms()), now=NOON)
    pod = RelayPod(store, "credit")
    assert not any(pod.serves(NOON + minute * 60 * SECOND) for minute in range(3))
    pay(books, "uid-a", 100 * CALL, NOON + 5 * 60 * SECOND)
    assert all(pod.serves(NOON + minute * 60 * SECOND) for minute in range(6, 12))
    assert not pod.money.request(now=1, wall=1, release=False).limits[1:]


@pytest.mark.parametrize("first", [MIDNIGHT, MIDNIGHT - 21 * 24 * HOUR], ids=["22nd", "1st"])
@pytest.mark.parametrize(("before", "after"), [("Day", "Month"), ("Month", "Day")])
def test_a_pod_serves_by_the_budget_of_another_period_from_then_on(
    books: Books, before: str, after: str, first: int
) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(1000 * CALL, period=before), now=first)
    pod = RelayPod(store, "budget")
    assert pod.serves(first + HOUR)
    store.put(budget(1000 * CALL, period=after), now=first + 2 * HOUR)
    for hour in (2, 3, 25, 26, 50):
        assert pod.serves(first + hour * HOUR), hour


def test_a_pod_whose_clock_was_ahead_before_its_restart_leases_again(books: Books) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(1000 * CALL, period="Month"), now=NOON)
    assert RelayPod(store, "budget").serves(NOON + 24 * HOUR)
    again, tries = RelayPod(store, "budget"), 0
    with pytest.raises(OutdatedAsk):
        again.look(NOON)
    while True:
        try:
            assert again.serves(NOON)
            break
        except OutdatedAsk:
            tries += 1
            again.money.outdated()
    assert 0 < tries < 40


def test_a_pod_serves_by_the_month_of_another_zone_from_then_on(books: Books) -> None:
    store, contracts = BudgetStore(books.engine), ContractStore(books.engine)
    store.put(budget(1000 * CALL, period="Month"), now=NOON)
    pod = RelayPod(store, "budget")
    assert pod.serves(NOON)
    for hour, zone in ((1, "Asia/Kathmandu"), (2, "America/St_Johns")):
        contracts.change_from_now({"uid-a": TermsChange(zone=zone)}, now=NOON + hour * HOUR)
        assert pod.serves(NOON + hour * HOUR), zone


def test_what_is_used_while_a_limit_is_not_in_force_counts_once_it_is_again(books: Books) -> None:
    store = BudgetStore(books.engine)
    pay(books, "uid-a", 50 * CALL, NOON - HOUR)
    month = budget(50 * CALL, period="Month")
    bounded = (
        month.model_copy(update={"credit": CreditTerms()}),
        budget(50 * CALL),
        month.model_copy(update={"budget": None}),
    )
    pod, used = Pod(store, "a"), 0
    for round_ in range(2):
        for number, terms in enumerate(bounded):
            at = NOON + (round_ * len(bounded) + number) * 60 * SECOND
            store.put(terms, now=at)
            standings = store.standings(["uid-a"], now=at).standings
            assert {one.spent for one in standings} <= {used * CALL}
            if terms.budget is not None and terms.credit is None:
                pod.lease = None
                pod.ask(at)
            books.ledger.book("uid-a", attempts(2, at=at), books.prices, now=at)
            used += 2
    store.put(bounded[0], now=NOON + HOUR)
    standings = store.standings(["uid-a"], now=NOON + HOUR).standings
    assert {one.kind: one.spent for one in standings} == {
        "budget": 12 * CALL,
        "credit": 12 * CALL,
    }


def test_what_a_correction_gives_back_can_be_spent_again(books: Books) -> None:
    store = BudgetStore(books.engine)
    pay(books, "uid-a", 20 * CALL, NOON)
    store.put(budget(20 * CALL).model_copy(update={"credit": CreditTerms()}), now=NOON)
    pod = Pod(store, "a")

    def spent() -> dict[str, int]:
        found = store.standings(["uid-a"], now=NOON + HOUR).standings
        return {one.kind: one.spent for one in found}

    def ask() -> dict[str, int]:
        pod.sequence += 1
        request = LeaseRequest(pod="a", sequence=pod.sequence, fresh=True)
        leases = store.lease("uid-a", request, now=NOON + HOUR).leases
        return {one.kind: one.left + one.allowance - one.base for one in leases}

    ask()
    books.ledger.book("uid-a", attempts(10), books.prices, now=NOON)
    assert spent() == {"budget": 10 * CALL, "credit": 10 * CALL}
    # the list was half as dear then
    books.store.load(RETAIL.replace("'3'", "'1.5'").replace("'12'", "'6'"), now=2)
    Repricing(books.engine, books.prices, start=0, end=NOON + HOUR).run(now=NOON + HOUR)
    assert CreditStore(books.engine).balance("uid-a") == 15 * CALL
    assert spent() == {"budget": 5 * CALL, "credit": 5 * CALL}
    assert ask() == {"budget": 15 * CALL, "credit": 15 * CALL}


def test_what_pods_had_of_periods_long_ago_goes_and_no_alert_that_nobody_was_told_of(
    books: Books,
) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(CALL), now=NOON)
    long_ago = NOON - 100 * 24 * HOUR
    for at in (long_ago, long_ago + 24 * HOUR, NOON):
        books.ledger.book("uid-a", attempts(1, at=at), books.prices, now=at)
        Pod(store, "a").ask(at)
        told = [one for one in store.standings([], now=at).alerts if one.alert.threshold > 50]
        store.told(told, now=at)
    gone = books.ledger.drop_before(NOON - 40 * 24 * HOUR)
    assert {"limit_pods", "budget_alerts"} <= set(gone)
    with reading(books.engine) as connection:
        pods = connection.execute(select(LIMIT_PODS.c.starts_at)).scalars().all()
        alerts = connection.execute(
            select(BUDGET_ALERTS.c.starts_at, BUDGET_ALERTS.c.told_at)
        ).all()
    assert set(pods) == {MIDNIGHT}
    untold = [(long_ago - 12 * HOUR, 0), (long_ago + 12 * HOUR, 0), (MIDNIGHT, 0)]
    assert sorted(map(tuple, alerts)) == [*untold, (MIDNIGHT, NOON), (MIDNIGHT, NOON)]


def test_a_threshold_is_told_once_however_many_see_it(books: Books, address: str) -> None:
    store = BudgetStore(books.engine)
    store.put(budget(amount=20 * CALL), now=NOON)
    start = threading.Barrier(3)

    def replica(name: str) -> None:
        engine = open_database(address)
        try:
            start.wait()
            for step in range(6):
                at = NOON + step * SECOND
                Ledger(engine).book("uid-a", attempts(1, at, name), books.prices, now=at)
                request = LeaseRequest(pod=name, sequence=step + 1, fresh=True)
                BudgetStore(engine).lease("uid-a", request, now=at)
        finally:
            engine.dispose()

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(replica, "abc"))
    found = store.standings(["uid-a"], now=NOON + HOUR)
    assert found.standings[0].spent == 18 * CALL
    assert sorted(one.alert.threshold for one in found.alerts) == [50, 80]
    store.told(found.alerts, now=NOON + HOUR)
    assert store.standings([], now=NOON + HOUR).alerts == ()
    # a raised budget, and a new day, warn anew
    store.put(budget(amount=30 * CALL), now=NOON + HOUR)
    raised = store.standings([], now=NOON + HOUR).alerts
    assert [(one.alert.threshold, one.alert.amount) for one in raised] == [(50, 30 * CALL)]


def test_alerts_of_tenants_that_are_gone_keep_back_none_of_another(books: Books) -> None:
    gone = {
        **dict.fromkeys(("kind", "tenant_uid"), "budget"),
        **dict.fromkeys(("starts_at", "threshold", "spent_pico", "crossed_at"), 1),
        **dict.fromkeys(("told_at", "given_up_at", "sent_again_at"), 0),
        "ends_at": NOON,
    }
    with books.engine.begin() as connection:
        rows = [gone | {"amount_pico": number} for number in range(MAX_BUDGETS)]
        insert_rows(connection, BUDGET_ALERTS, rows)
    store = BudgetStore(books.engine)
    store.put(budget(2 * CALL), now=NOON)
    books.ledger.book("uid-a", attempts(1), books.prices, now=NOON)
    (first, *_) = store.standings(["uid-a"], now=NOON).alerts
    assert (first.tenant_uid, first.alert.threshold) == ("uid-a", 50)
    assert len(store.standings([], now=NOON).alerts) == MAX_BUDGETS


def test_credit_is_spent_until_nothing_is_left(books: Books) -> None:
    store = BudgetStore(books.engine)
    terms = CreditTerms(alert_below_pico=(5 * CALL,))
    store.put(TenantBudget(tenant_uid="uid-a", tenant="acme", credit=terms), now=NOON)
    pod = Pod(store, "a")
    assert pod.ask(NOON).allowance == 0
    pay(books, "uid-a", 20 * CALL, NOON)
    pod.lease = None
    assert pod.ask(NOON).allowance > 0
    assert pod.ask(NOON, least=20 * CALL).allowance == 20 * CALL
    tokens = TokenBuckets(input=16_000, output=1600)
    books.ledger.book("uid-a", attempts(1, tokens=tokens), books.prices, now=NOON)
    (alert,) = store.standings([], now=NOON).alerts
    assert (alert.alert.kind, alert.alert.threshold) == ("credit", 5 * CALL)


def test_credit_keeps_no_pod_that_has_long_been_gone_and_what_it_spent_stays_spent(
    books: Books,
) -> None:
    store, day = BudgetStore(books.engine), 24 * HOUR
    pay(books, "uid-a", 1000 * CALL, NOON)
    terms = CreditTerms()
    store.put(TenantBudget(tenant_uid="uid-a", tenant="acme", credit=terms), now=NOON)
    for number in range(8):
        gone = Pod(store, f"gone-{number}")
        gone.ask(NOON + number * HOUR, wanted=20 * CALL)
        # one call of each is never delivered
        gone.spent = 4 * CALL
        gone.ask(NOON + number * HOUR, wanted=20 * CALL)
        calls = attempts(3, at=NOON + number * HOUR, relay=gone.name)
        books.ledger.book("uid-a", calls, books.prices, now=NOON + number * HOUR)
    later = NOON + 36 * day
    living = Pod(store, "living")
    living.ask(later, wanted=20 * CALL)
    living.spent = 5 * CALL
    living.ask(later, wanted=20 * CALL)
    books.ledger.book("uid-a", attempts(5, at=later, relay="living"), books.prices, now=later)
    assert spent_and_pods(books, later) == (8 * 4 * CALL + 5 * CALL, 10)
    # a record of one of them may still come
    assert books.ledger.forget_pods(NOON) == 0
    assert books.ledger.forget_pods(later - 35 * day) == 8
    # what none of them delivered is on no statement
    assert spent_and_pods(books, later) == (8 * 3 * CALL + 5 * CALL, 2)
    assert CreditStore(books.engine).balance("uid-a") == 1000 * CALL - 29 * CALL
    assert books.ledger.forget_pods(later - 35 * day) == 0
    # one that comes all the same is spent once
    late = attempts(4, at=NOON, relay="gone-0")
    books.ledger.book("uid-a", late, books.prices, now=later)
    assert spent_and_pods(books, later) == (30 * CALL, 3)
    assert living.ask(later).base == 5 * CALL


def spent_and_pods(books: Books, now: int) -> tuple[int, int]:
    """Returns what is spent of the credit of uid-a, and of how many pods the ledger knows something."""
    [credit] = BudgetStore(books.engine).standings(["uid-a"], now=now).standings
    with reading(books.engine) as connection:
        return credit.spent, len(connection.execute(select(LIMIT_PODS.c.pod)).all())


def test_a_batch_from_before_and_after_the_first_payment_is_on_the_credit_as_far_as_it_is_after(
    books: Books,
) -> None:
    store = BudgetStore(books.engine)
    pay(books, "uid-a", 10 * CALL, NOON)
    store.put(budget().model_copy(update={"credit": CreditTerms()}), now=NOON)
    store.lease("uid-a", LeaseRequest(pod="a", sequence=1, fresh=True), now=NOON)
    both = [*attempts(1, at=NOON - HOUR), *attempts(2, at=NOON)]
    books.ledger.book("uid-a", both, books.prices, now=NOON)
    standings = store.standings(["uid-a"], now=NOON).standings
    assert {one.kind: one.spent for one in standings} == {"budget": 3 * CALL, "credit": 2 * CALL}


def pay(books: Books, tenant_uid: str, amount: int, now: int) -> None:
    from sqlalchemy import insert

    from relay_ledger.store.tables import CREDITS

    with books.engine.begin() as connection:
        connection.execute(
            insert(CREDITS),
            [
                {
                    "tenant_uid": tenant_uid,
                    "reference": f"wire-{now}",
                    "amount_pico": amount,
                    "note": "",
                    "booked_at": now,
                }
            ],
        )


# -- the routes ---------------------------------------------------------------------------------------------------------


def put(serving: LedgerProcess, *tenants: TenantBudget) -> None:
    body = Budgets(tenants=tenants).model_dump_json(by_alias=True).encode()
    response = serving.ask("PUT", BUDGETS_PATH, token=operator_token(), body=body)
    assert response.status_code == 200, response.text


def test_a_budget_of_no_time_zone_is_refused_alone(serving: LedgerProcess) -> None:
    strange = budget().model_copy(update={"tenant_uid": "uid-b", "zone": "Mars/Olympus"})
    body = Budgets(tenants=(strange, budget())).model_dump_json(by_alias=True).encode()
    response = serving.ask("PUT", BUDGETS_PATH, token=operator_token(), body=body)
    taken = BudgetsTaken.model_validate_json(response.text)
    assert (response.status_code, taken.changed) == (200, 1)
    assert "'Mars/Olympus' is no time zone" in taken.refused.pop("uid-b")
    assert taken.refused == {}
    asked = f"{BUDGETS_PATH}?tenantUid=uid-a&tenantUid=uid-b"
    told = serving.ask("GET", asked, token=operator_token()).text
    standings = BudgetStandings.model_validate_json(told).standings
    assert [one.tenant_uid for one in standings] == ["uid-a"]


def leased_now(serving: LedgerProcess, pod: str) -> Lease:
    """Returns what a fresh pod leases of the day that is now; shortly before midnight it leases of the next one too."""
    leases = lease(serving, LeaseRequest(pod=pod, sequence=1, fresh=True)).leases
    now = time.time_ns() // 1000
    (mine,) = (one for one in leases if one.starts_at <= now < one.ends_at)
    return mine


def lease(serving: LedgerProcess, request: LeaseRequest) -> LeaseAnswer:
    body = request.model_dump_json(by_alias=True).encode()
    response = serving.ask("POST", LEASES_PATH, body=body)
    assert response.status_code == 200, response.text
    return LeaseAnswer.model_validate_json(response.text)


def test_a_relay_leases_by_its_token_and_the_operator_hears_of_alerts(
    serving: LedgerProcess,
) -> None:
    put(serving, budget(amount=2 * CALL))
    leased = leased_now(serving, "a")
    assert 0 < leased.allowance <= leased.amount == 2 * CALL
    now = time.time_ns() // 1000
    assert serving.send(attempts(2, at=now - 2)).status_code == 200
    path = f"{BUDGETS_PATH}?tenantUid=uid-a"
    standings = BudgetStandings.model_validate_json(
        serving.ask("GET", path, token=operator_token()).text
    )
    assert standings.standings[0].spent == 2 * CALL
    assert [one.alert.threshold for one in standings.alerts] == [50, 80, 100]
    told = AlertsTold(alerts=standings.alerts).model_dump_json(by_alias=True).encode()
    assert (
        serving.ask("POST", ALERTS_TOLD_PATH, token=operator_token(), body=told).status_code == 200
    )
    assert not json.loads(serving.ask("GET", path, token=operator_token()).text)["alerts"]


def test_a_tenant_is_told_its_budget_beside_its_credit_and_nobody_elses(
    serving: LedgerProcess, books: Books
) -> None:
    now = time.time_ns() // 1000
    store = BudgetStore(books.engine)
    assert store.budget_now("uid-a", now=now) is None
    put(
        serving,
        budget(3 * CALL, period="Month"),
        budget(CALL).model_copy(update={"tenant_uid": "uid-b"}),
    )

    def told(uid: str) -> dict[str, Any]:
        found: dict[str, Any] = serving.ask("GET", "/v1/credit", token=token_of(uid)).json()
        return found

    books.ledger.book("uid-a", attempts(1, at=now), books.prices, now=now)
    mine = told("uid-a")
    assert mine["balance"] is None
    assert (mine["budget"]["period"], mine["budget"]["limit"]) == ("Month", "0.0126")
    assert (mine["budget"]["spent"], mine["budget"]["remaining"]) == ("0.0042", "0.0084")
    assert told("uid-b")["budget"]["spent"] == "0.00"
    assert told("uid-c")["budget"] is None
    # what is used beyond it leaves nothing, and not less
    books.ledger.book("uid-a", attempts(4, at=now + 1), books.prices, now=now)
    assert (told("uid-a")["budget"]["spent"], told("uid-a")["budget"]["remaining"]) == (
        *("0.021", "0.00"),
    )


def test_nobody_sets_their_own_budget_and_nonsense_is_told(serving: LedgerProcess) -> None:
    body = Budgets(tenants=(budget(),)).model_dump_json(by_alias=True).encode()
    for method, path in (("PUT", BUDGETS_PATH), ("GET", BUDGETS_PATH), ("POST", ALERTS_TOLD_PATH)):
        assert serving.ask(method, path, body=body).status_code == 401
    assert serving.ask("POST", LEASES_PATH, token="uid-a.0", body=b"{}").status_code == 401
    assert serving.ask("POST", LEASES_PATH, body=b"[]").status_code == 400
    assert serving.ask("POST", LEASES_PATH, body=b"x" * 20_000).status_code == 413
    nowhere = budget().model_copy(update={"zone": "Europe/Atlantis"})
    body = Budgets(tenants=(nowhere,)).model_dump_json(by_alias=True).encode()
    response = serving.ask("PUT", BUDGETS_PATH, token=operator_token(), body=body)
    assert "Europe/Atlantis" in response.text
    assert lease(serving, LeaseRequest(pod="a", sequence=1, fresh=True)).leases == ()


def test_a_ledger_that_was_killed_lets_no_lease_end_before_its_pod_could_ask(
    serving: LedgerProcess,
) -> None:
    put(serving, budget())
    mine = leased_now(serving, "a")
    serving.kill()
    serving.start()
    other = leased_now(serving, "b")
    assert other.elsewhere == mine.allowance
