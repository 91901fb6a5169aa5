"""Prices as people write them are in force in the ledger, and its answers stand in their conditions. The ledger is the real one, on SQLite."""

import json
import time
from pathlib import Path
from typing import Any

from prometheus_client import REGISTRY
from tests.unit.relay_contract.billing.records import closed, tool_call
from tests.unit.relay_operator.operator_stage import Stage
from tests.unit.relay_operator.virtual_time import in_virtual_time

from relay_contract.billing.reconciliation_summary import Summary
from relay_ledger.booking.price_book import PriceBook
from relay_ledger.store.bills.reconciliation_store import ReconciliationStore
from relay_ledger.store.books.book_store import BookStore
from relay_ledger.store.books.month_sums import MonthSums
from relay_ledger.store.databases import open_database
from relay_ledger.store.ledger import Ledger
from relay_ledger.store.price_book_store import PriceBookStore
from relay_ledger.store.repricing import Repricing
from relay_ledger.store.schema import upgrade
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore
from relay_operator.decisions.ledger import standing
from relay_operator.decisions.ledger.standing import Standing
from relay_operator.errors import LedgerUnavailable

PRICES = [{"perMillionTokens": {"input": "3", "output": "12"}}]
SECOND = 10**6


class LedgerOnSqlite:
    """A ledger without its port; what it tells goes through JSON, as it would."""

    def __init__(self, path: Path) -> None:
        self.is_away = False
        self.puts = 0
        self.begin_anew(path)

    def begin_anew(self, path: Path) -> None:
        engine = open_database(f"sqlite:///{path}")
        upgrade(engine)
        self.engine, self.prices = engine, PriceBookStore(engine)
        self.books, self.months = BookStore(engine, self.prices), MonthSums(engine)
        self.reconciliations = ReconciliationStore(engine)

    @property
    def book(self) -> PriceBook:
        return self.prices.book()

    def sell(self, uid: str, model: str = "gpt-4.1", **changes: Any) -> None:
        at = _now()
        record = closed(tenant_uid=uid, answered_model=model, dispatched_at=at, **changes)
        Ledger(self.engine).book(uid, [record], self.book, now=at)

    def call(self, uid: str, tool: str) -> None:
        at = _now()
        record = tool_call(tenant_uid=uid, name=tool, called_at=at)
        ToolCallStore(self.engine).book(uid, [record], self.book, now=at)

    async def put_book(self, content: bytes) -> Standing:
        self._answer()
        self.puts += 1
        self.books.put(content, now=_now())
        return _through_json(self.books.told())

    async def standing(self) -> Standing:
        self._answer()
        now = _now()
        months = self.months.spent(self.books.tenants(), now=now)
        unpriced = self.months.unpriced(now=now)
        reconciled = self.reconciliations.latest()
        further = {"months": months, "unpriced": unpriced, "reconciliations": reconciled}
        return _through_json({**self.books.told(), **further})

    def _answer(self) -> None:
        if self.is_away:
            raise LedgerUnavailable("it does not answer: the connection is refused")


def _now() -> int:
    return time.time_ns() // 1000


def _through_json(told: dict[str, Any]) -> Standing:
    return standing.read(json.loads(json.dumps(told)))


def stage_with(directory: Path) -> tuple[Stage, LedgerOnSqlite]:
    stage = Stage()
    stage.ledger = ledger = LedgerOnSqlite(directory / "ledger.db")
    return stage, ledger


def price_list(stage: Stage, name: str = "standard", **spec: Any) -> None:
    models = [{"name": "gpt-4.1", "provider": "", "prices": PRICES}]
    stage._put("PriceList", name, {"currency": "USD", "models": models} | spec)


def condition(stage: Stage, kind: str, name: str, type_: str) -> dict[str, Any]:
    listed = stage.server.stored(kind, name)["status"]["conditions"]
    return next((one for one in listed if one["type"] == type_), {})


def told(stage: Stage, kind: str, name: str, type_: str) -> tuple[str, str]:
    found = condition(stage, kind, name, type_)
    return found.get("status", ""), found.get("reason", "")


def uid(stage: Stage, name: str = "finance") -> str:
    found: str = stage.server.stored("Tenant", name)["metadata"]["uid"]
    return found


@in_virtual_time
async def test_prices_are_in_force_in_the_ledger_and_their_objects_say_so(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.provider("openai", models=[{"name": "gpt-4.1", "prices": PRICES}])
    stage.tenant(billing={"priceList": "standard", "markupPercent": 10})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "InForce")
    assert told(stage, "PriceList", "standard", "Ready") == ("True", "InForce")
    assert told(stage, "Provider", "openai", "Priced") == ("True", "Priced")
    assert told(stage, "Tenant", "finance", "Priced") == ("True", "Priced")
    status = stage.server.stored("PriceList", "standard")["status"]
    assert status["version"] == ledger.book.lists["standard"].version
    assert status["tenants"] == 1
    ledger.sell(uid(stage))
    await stage.settle(400)
    billing = stage.server.stored("Tenant", "finance")["status"]["billing"]
    # 1,000 of input at 3.3 and 100 of output at 13.2
    assert billing["spent"] == "0.00462"
    # what has not changed is told no more
    puts, changes = ledger.puts, len(life.changes)
    await stage.settle(300)
    assert ledger.puts == puts == 1
    assert [one for one in life.changes[changes:] if one[0] == "PriceList"] == []
    await life.end()


@in_virtual_time
async def test_a_month_is_written_every_few_minutes_at_most(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    seen = set()
    for number in range(20):
        ledger.sell(uid(stage), attempt_id=f"call-{number}")
        await stage.settle(30)
        seen.add(stage.server.stored("Tenant", "finance")["status"]["billing"]["spent"])
    assert 2 <= len(seen) <= 4
    # another write of status takes nothing of it away
    stage.tenant(billing={"priceList": "standard"}, queue={"concurrency": 3})
    await stage.settle(20)
    assert stage.server.stored("Tenant", "finance")["status"]["billing"]["month"]
    await life.end()


@in_virtual_time
async def test_who_cannot_be_written_keeps_nobody_else_from_its_status(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    for name in ("a-list", "standard"):
        price_list(stage, name)
    for name in ("acme", "finance"):
        stage.tenant(name, billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    refused = life.api.failures.refused_objects
    refused |= {("Tenant", "acme"): 422, ("PriceList", "a-list"): 422}
    for name in ("acme", "finance"):
        ledger.sell(uid(stage, name))
    price_list(stage, models=[{"name": "m", "prices": [{"perMillionTokens": {"input": "NaN"}}]}])
    price_list(stage, "a-list", models=[{"name": "m", "prices": [{"perMillionTokens": {}}]}])
    await stage.settle(700)
    assert stage.server.stored("Tenant", "finance")["status"]["billing"]["spent"] == "0.0042"
    assert told(stage, "PriceList", "standard", "Ready") == ("False", "PricesRefused")
    assert stage.server.stored("Tenant", "acme")["status"]["billing"]["spent"] == "0.00"
    # what could not be written is written once it can be
    refused.clear()
    await stage.settle(700)
    assert stage.server.stored("Tenant", "acme")["status"]["billing"]["spent"] == "0.0042"
    assert told(stage, "PriceList", "a-list", "Ready") == ("False", "PricesRefused")
    await life.end()


@in_virtual_time
async def test_a_list_that_cannot_be_used_leaves_the_last_good_in_force(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    version = ledger.book.lists["standard"].version
    # what an API server with older definitions would let through
    price_list(stage, models=[{"name": "m", "prices": [{"perMillionTokens": {"input": "NaN"}}]}])
    await stage.settle(20)
    assert told(stage, "PriceList", "standard", "Ready") == ("False", "PricesRefused")
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "PricesRefused")
    message = condition(stage, "PriceList", "standard", "Ready")["message"]
    assert "'NaN' is no price" in message
    assert version in message
    assert ledger.book.lists["standard"].version == version
    # one that is gone charges on as well, and its Tenant says so
    stage.server.remove("PriceList", "standard")
    await stage.settle(20)
    assert told(stage, "Tenant", "finance", "Priced") == ("False", "PriceListNotFound")
    assert ledger.book.price_list("charge", uid(stage), _now()) is not None
    await life.end()


@in_virtual_time
async def test_models_without_a_price_are_named(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.provider("openai", models=[{"name": "gpt-4.1", "prices": PRICES}, {"name": "gpt-9"}])
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "Provider", "openai", "Priced") == ("False", "Unpriced")
    assert "gpt-9." in condition(stage, "Provider", "openai", "Priced")["message"]
    assert told(stage, "Tenant", "finance", "Priced") == ("True", "Priced")
    ledger.sell(uid(stage), "gpt-4.1-2025-04-14", requested_model="other")
    await stage.settle(70)
    for kind, name in (("Provider", "openai"), ("Tenant", "finance")):
        assert told(stage, kind, name, "Priced") == ("False", "Unpriced")
        assert "gpt-4.1-2025-04-14" in condition(stage, kind, name, "Priced")["message"]
    # it holds nothing else up
    assert told(stage, "Provider", "openai", "Ready")[0] == "True"
    await life.end()


CALLS = [{"name": "read_*", "prices": [{"perCall": "0.002"}]}]


def unpriced_of(account: str) -> float | None:
    return REGISTRY.get_sample_value("relay_operator_unpriced_models", {"account": account})


@in_virtual_time
async def test_prices_of_tools_are_in_force_and_tools_without_one_are_named(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    sold = [{"name": "read_*", "server": "erp", "prices": [{"perCall": "0.01"}]}]
    price_list(stage, tools=sold)
    stage.tool_server(prices=CALLS)
    stage.tool_server("wiki")
    stage.tenant(billing={"priceList": "standard", "markupPercent": 10})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "ToolServer", "erp", "Priced") == ("True", "Priced")
    # what costs nothing needs no price
    assert told(stage, "ToolServer", "wiki", "Priced") == ("", "")
    ledger.call(uid(stage), "read_invoice")
    await stage.settle(400)
    assert stage.server.stored("Tenant", "finance")["status"]["billing"]["spent"] == "0.011"
    assert told(stage, "Tenant", "finance", "Priced") == ("True", "Priced")
    ledger.call(uid(stage), "pay")
    await stage.settle(70)
    named = {
        kind: condition(stage, kind, name, "Priced")
        for kind, name in (("ToolServer", "erp"), ("Tenant", "finance"))
    }
    assert {(one["status"], one["reason"]) for one in named.values()} == {("False", "Unpriced")}
    assert "these tools cost: pay." in named["ToolServer"]["message"]
    assert "of PriceList standard: erp/pay." in named["Tenant"]["message"]
    assert [unpriced_of(account) for account in ("cost", "tool_cost", "charge")] == [0, 1, 1]
    # nothing of it keeps a server from being used
    assert told(stage, "ToolServer", "erp", "Ready")[0] == "True"
    # an operator that begins while the ledger is away says what was said
    await life.end()
    ledger.is_away = True
    life = await stage.operator()
    await stage.settle(20)
    assert condition(stage, "ToolServer", "erp", "Priced") == named["ToolServer"]
    ledger.is_away = False
    stage.tool_server(prices=[CALLS[0] | {"prices": [{"perCall": "NaN"}]}])
    await stage.settle(70)
    found = condition(stage, "ToolServer", "erp", "Priced")
    assert (found["status"], found["reason"]) == ("False", "PricesRefused")
    assert "'NaN' is no price" in found["message"]
    # without prices there is nothing to tell
    stage.tool_server()
    await stage.settle(70)
    assert told(stage, "ToolServer", "erp", "Priced") == ("", "")
    await life.end()


@in_virtual_time
async def test_models_that_relays_have_no_room_for_are_named_where_money_bounds_a_tenant(
    tmp_path: Path,
) -> None:
    stage, _ = stage_with(tmp_path)
    price_list(
        stage, models=[{"name": f"model-{number:03}", "prices": PRICES} for number in range(513)]
    )
    stage.tenant(billing={"priceList": "standard"})
    stage.tenant("bounded", billing={"priceList": "standard", "budget": {"amount": "5"}})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "Tenant", "finance", "Priced") == ("True", "Priced")
    assert told(stage, "Tenant", "bounded", "Priced") == ("False", "TooManyPrices")
    message = condition(stage, "Tenant", "bounded", "Priced")["message"]
    assert "none of these models and tools: model-512." in message
    assert told(stage, "Tenant", "bounded", "NamespaceReady")[0] == "True"
    await life.end()


@in_virtual_time
async def test_a_price_of_the_past_is_told_with_the_command_that_corrects_it(
    tmp_path: Path,
) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    price_list(
        stage, models=[{"name": "gpt-4.1", "prices": [{"perMillionTokens": {"input": "9"}}]}]
    )
    await stage.settle(20)
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "BackDated")
    message = condition(stage, "PriceList", "standard", "PricesInForce")["message"]
    assert "gpt-4.1" in message
    assert "relay-ledger prices reprice --from" in message
    now = _now()
    Repricing(ledger.engine, ledger.book, start=0, end=now).run(now=now)
    await stage.settle(70)
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "InForce")
    await life.end()


@in_virtual_time
async def test_a_ledger_that_is_away_is_told_of_and_one_that_lost_everything_has_it_again(
    tmp_path: Path,
) -> None:
    stage, ledger = stage_with(tmp_path)
    ledger.is_away = True
    price_list(stage)
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "PriceList", "standard", "Ready") == ("False", "LedgerUnavailable")
    assert told(stage, "PriceList", "standard", "PricesInForce")[0] == "Unknown"
    # relays and their tenants are served all the same
    assert told(stage, "Tenant", "finance", "NamespaceReady")[0] == "True"
    ledger.is_away = False
    await stage.settle(20)
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "InForce")
    # what it has, it has: being away again changes nothing of that
    ledger.is_away = True
    await stage.settle(100)
    assert told(stage, "PriceList", "standard", "PricesInForce") == ("True", "InForce")
    ledger.begin_anew(tmp_path / "empty.db")
    ledger.is_away = False
    await stage.settle(70)
    assert set(ledger.book.lists) == {"standard"}
    await life.end()


@in_virtual_time
async def test_an_operator_that_begins_tells_nothing_new_of_prices(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.provider("openai", models=[{"name": "gpt-9"}])
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    await life.end()
    before = [condition(stage, *where, "Priced") for where in _PRICED]
    ledger.is_away = True
    life = await stage.operator()
    await stage.settle(20)
    assert [condition(stage, *where, "Priced") for where in _PRICED] == before
    ledger.is_away = False
    await stage.settle(70)
    assert [condition(stage, *where, "Priced") for where in _PRICED] == before
    assert [one[0] for one in life.changes if one[0] in ("Provider", "PriceList")] == []
    await life.end()


_PRICED = (("Provider", "openai"), ("Tenant", "finance"))


@in_virtual_time
async def test_nothing_is_priced_before_the_ledger_has_it(tmp_path: Path) -> None:
    stage, ledger = stage_with(tmp_path)
    price_list(stage)
    stage.provider("openai", models=[{"name": "gpt-4.1", "prices": PRICES}])
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    ledger.is_away = True
    raised = [{"perMillionTokens": {"input": "4", "output": "12"}}]
    stage.provider("openai", models=[{"name": "gpt-4.1", "prices": raised}])
    stage.provider("another", models=[{"name": "gpt-4.1", "prices": PRICES}])
    stage.tenant("marketing", billing={"priceList": "standard"})
    await stage.settle(20)
    new = (("Provider", "openai"), ("Provider", "another"), ("Tenant", "marketing"))
    assert {told(stage, *one, "Priced") for one in new} == {("Unknown", "AwaitingLedger")}
    # what the ledger had is as it was
    assert told(stage, "Tenant", "finance", "Priced") == ("True", "Priced")
    ledger.is_away = False
    await stage.settle(70)
    # the one that had a price has another one for all time
    priced = [told(stage, *one, "Priced") for one in new]
    assert priced == [("True", "BackDated"), ("True", "Priced"), ("True", "Priced")]
    await life.end()


@in_virtual_time
async def test_without_a_ledger_nothing_is_told_of_prices(tmp_path: Path) -> None:
    stage = Stage()
    price_list(stage)
    stage.provider("openai", models=[{"name": "gpt-4.1"}])
    stage.tenant(billing={"priceList": "standard"})
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "Provider", "openai", "Priced") == ("", "")
    assert told(stage, "Tenant", "finance", "Priced") == ("", "")
    assert "billing" not in stage.server.stored("Tenant", "finance")["status"]
    await life.end()


@in_virtual_time
async def test_what_a_reconciliation_found_stands_on_its_provider_also_after_a_restart(
    tmp_path: Path,
) -> None:
    stage, ledger = stage_with(tmp_path)
    stage.provider("openai", models=[{"name": "gpt-4.1", "prices": PRICES}])
    stage.tenant()
    life = await stage.operator()
    await stage.settle(20)
    assert told(stage, "Provider", "openai", "Reconciled") == ("Unknown", "NeverReconciled")
    differs = Summary(3, 1, 0, "USD", "2.85", "3.00", "-0.15", "5.00", ("price",), ("USD",))
    start = 1_790_812_800 * SECOND
    ledger.reconciliations.keep("openai", differs, "{}", start=start, end=start + 1, now=start)
    await stage.settle(120)
    found = condition(stage, "Provider", "openai", "Reconciled")
    assert (found["status"], found["reason"]) == ("False", "DifferenceFound")
    assert "difference -0.15, 5.00 % apart" in found["message"]
    # nothing of it keeps a Provider from being ready
    assert told(stage, "Provider", "openai", "Ready")[0] == "True"
    await life.end()
    ledger.is_away = True
    life = await stage.operator()
    await stage.settle(20)
    assert condition(stage, "Provider", "openai", "Reconciled") == found
    await life.end()
