"""Tool calls in the ledger: each booked once and for its own tenant, kept as long as attempts, and told by whoever they are asked for."""

import csv
import io
import json
import time
from typing import Any

import httpx
import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, token_of, tool_lines
from tests.ledger.shell import Shell
from tests.unit.relay_contract.billing.records import NOON, closed, denied_call, tool_call

from relay_contract.billing.delivery import MAX_BATCH_LINES, TOOL_CALLS_PATH
from relay_contract.billing.tool_call import ToolCall
from relay_ledger.store.databases import reading
from relay_ledger.store.tables import TOOL_CALLS
from relay_ledger.store.tool_calls.tool_call_store import ToolCallStore

HOUR = 3600 * 10**6
DAY = 24 * HOUR
PERIOD = ("--from", "2026-09-21", "--until", "2026-09-22")
"""NOON is of 21 September 2026."""


def now() -> int:
    return time.time_ns() // 1000


def kept(books: Books, tenant_uid: str) -> list[dict[str, Any]]:
    with reading(books.engine) as connection:
        rows = connection.execute(
            select(TOOL_CALLS)
            .where(TOOL_CALLS.c.tenant_uid == tenant_uid)
            .order_by(TOOL_CALLS.c.round_id)
        )
        return [dict(row._mapping) for row in rows]


def book(books: Books, *calls: ToolCall) -> None:
    for call in calls:
        ToolCallStore(books.engine).book(call.tenant_uid, [call], books.prices, now=NOON)


def test_a_call_is_booked_once_and_for_its_own_tenant(serving: LedgerProcess, books: Books) -> None:
    at = now()
    calls = [
        tool_call(called_at=at, round_id="one", request_id="mine"),
        denied_call(called_at=at, round_id="two"),
    ]
    # twice in one batch, and the batch twice
    answered = serving.send_tool_calls([*calls, calls[0]]).json()
    assert (answered["booked"], answered["repeated"], answered["quarantined"]) == (2, 1, 0)
    assert serving.send_tool_calls(calls[::-1]).json()["repeated"] == 2
    first, second = kept(books, "uid-a")
    assert {name: first[name] for name in ("server", "name", "rule", "outcome", "request_id")} == {
        "server": "erp",
        "name": "read_invoice",
        "rule": "read_*",
        "outcome": "ok",
        "request_id": "mine",
    }
    assert (first["called_at"], first["ended_at"]) == (at, at + 250_000)
    assert (second["server"], second["rule"], second["outcome"]) == ("", "", "denied")
    # nobody's token, and another tenant's call among its own
    url = f"{serving.url}{TOOL_CALLS_PATH}"
    assert httpx.post(url, content=tool_lines(calls)).status_code == 401
    own = tool_call(tenant_uid="uid-b", called_at=at, round_id="own")
    forged = tool_call(called_at=at, round_id="forged")
    refused = serving.send_tool_calls([own, forged], token=token_of("uid-b"))
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "forged")
    assert kept(books, "uid-b") == []
    assert len(kept(books, "uid-a")) == 2
    # what is asked of tools is no attempt
    assert books.ledger.standing("uid-a").tally.closed == 0


def test_what_cannot_be_booked_holds_up_nothing_and_is_not_lost(
    serving: LedgerProcess, books: Books
) -> None:
    at = now()
    good = tool_call(called_at=at, round_id="good")
    body = (
        tool_lines([good])
        + tool_lines([good]).replace(b'"outcome":"ok"', b'"outcome":"tool_error"')
        + tool_lines([tool_call(called_at=at + HOUR, round_id="early")])
        + tool_lines([tool_call(called_at=at - 36 * DAY, round_id="late")])
        + tool_lines([good]).replace(b'"v":1', b'"v":2')
        + b'{"half":'
    )
    for booked in (1, 0):
        content = serving.send_tool_calls(body).json()
        assert (content["booked"], content["repeated"]) == (booked, 1 - booked)
        reasons = sorted(one["reason"] for one in content["details"])
        assert reasons == ["conflict", "early", "late", "unreadable", "unreadable"]
    assert [row["outcome"] for row in kept(books, "uid-a")] == ["ok"]
    assert books.ledger.standing().quarantined == 5
    many = [tool_call(called_at=at, round_id=f"r{n}") for n in range(MAX_BATCH_LINES + 1)]
    assert serving.send_tool_calls(many).status_code == 413


def test_a_record_of_the_other_kind_is_kept_apart(serving: LedgerProcess, books: Books) -> None:
    """A relay that took one path for the other would book nothing false."""
    at = now()
    answered = serving.send(tool_lines([tool_call(called_at=at)])).json()
    assert (answered["booked"], answered["quarantined"]) == (0, 1)
    attempt = serving.send([closed(dispatched_at=at)])
    assert attempt.json()["booked"] == 1
    assert kept(books, "uid-a") == []


@pytest.mark.parametrize("change", [update(TOOL_CALLS).values(outcome="denied")])
def test_a_booked_call_is_never_changed(books: Books, change: Any) -> None:
    book(books, tool_call())
    with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
        connection.execute(change)
    if books.engine.dialect.name == "postgresql":
        with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
            connection.execute(delete(TOOL_CALLS))


def test_calls_go_with_their_month_and_no_sooner(books: Books) -> None:
    old, new = tool_call(called_at=NOON - 70 * DAY, round_id="old"), tool_call(round_id="new")
    book(books, old, new)
    gone = books.ledger.drop_before(NOON - 35 * DAY)
    assert any(name.startswith("tool_calls") for name in gone)
    assert [row["round_id"] for row in kept(books, "uid-a")] == ["new"]


def test_it_is_told_who_called_what_under_which_rule(
    books: Books, address: str, shell: Shell
) -> None:
    book(
        books,
        tool_call(round_id="1", outcome="input_required"),
        tool_call(round_id="2"),
        tool_call(round_id="3", key_name="night", outcome="tool_error"),
        tool_call(round_id="4", name="pay", rule="pay", outcome="limited", answer_bytes=0),
        denied_call(round_id="5", name="delete_all"),
        tool_call(round_id="6", tenant_uid="uid-b", outcome="unavailable"),
        tool_call(round_id="7", called_at=NOON + DAY),
        tool_call(round_id="8", outcome="replayed"),
    )
    code, out, _ = shell.run(address, "tools", *PERIOD, "--by", "tenant,outcome")
    assert code == 0
    lines = [line.split() for line in out.splitlines()]
    assert lines[0][:4] == ["tenant", "outcome", "requests", "calls"]
    assert [line[:4] for line in lines[1:]] == [
        ["uid-a", "denied", "1", "1"],
        ["uid-a", "input_required", "1", "0"],
        ["uid-a", "limited", "1", "1"],
        ["uid-a", "ok", "1", "1"],
        ["uid-a", "replayed", "1", "0"],
        ["uid-a", "tool_error", "1", "1"],
        ["uid-b", "unavailable", "1", "1"],
        ["total", "-", "7", "5"],
    ]
    code, out, _ = shell.run(
        address, "tools", *PERIOD, "--tenant", "uid-a", "--by", "server,tool,rule", "--format=json"
    )
    report = json.loads(out)
    assert [(row["server"], row["tool"], row["rule"], row["calls"]) for row in report["rows"]] == [
        ("", "delete_all", "", 1),
        ("erp", "pay", "pay", 1),
        ("erp", "read_invoice", "read_*", 2),
    ]
    assert report["total"] == {
        "requests": 6,
        "calls": 4,
        "carried_out": 2,
        "denied": 1,
        "limited": 1,
        "failed": 0,
        "seconds": 1,
        "request_bytes": 720,
        "answer_bytes": 256,
        "unpriced": 0,
        "cost_usd": "0.00",
        "amount_usd": "0.00",
    }
    assert all(
        sum(row[name] for row in report["rows"]) == total
        for name, total in report["total"].items()
        # rows are rounded down, each by itself, and amounts are text
        if name != "seconds" and not name.endswith("_usd")
    )


def test_each_call_is_told_with_what_an_audit_asks_for(
    books: Books, address: str, shell: Shell
) -> None:
    formula = denied_call(round_id="2", called_at=NOON + 1, request_id="=1+1", key_name="night")
    book(books, tool_call(round_id="1"), formula)
    code, out, _ = shell.run(address, "tools", *PERIOD, "--each", "--format", "csv")
    assert code == 0
    first, second = csv.DictReader(io.StringIO(out))
    assert first["time"] == "2026-09-21T14:13:20Z"
    assert (first["tenant"], first["tenant_uid"], first["key"]) == ("acme", "uid-a", "app")
    assert (first["server"], first["tool"], first["rule"], first["revision"]) == (
        *("erp", "read_invoice", "read_*", "r1"),
    )
    assert (first["outcome"], first["milliseconds"], first["id"]) == (
        *("ok", "250", tool_call(round_id="1").id),
    )
    assert (second["outcome"], second["request_id"]) == ("denied", "'=1+1")
    _, out, _ = shell.run(
        address, "tools", *PERIOD, "--each", "--format=json", "--outcome=denied", "--key=night"
    )
    assert [call["id"] for call in json.loads(out)["calls"]] == [formula.id]
    _, out, _ = shell.run(address, "tools", *PERIOD, "--each", "--tool", "nothing")
    assert len(out.splitlines()) == 1
    code, _, said = shell.run(address, "tools")
    assert (code, said) == (1, "relay-ledger: give --month, or --from and --until\n")
    code, _, said = shell.run(address, "tools", *PERIOD, "--by", "model")
    assert (code, "name some of tenant, key" in said) == (2, True)


def test_each_of_several_names_is_found_and_no_part_of_one(
    books: Books, address: str, shell: Shell
) -> None:
    offered = {"method": "chat.tools", "rule": "onDenied: Hide"}
    book(
        books,
        denied_call(round_id="1", request_id="1", name="pay, delete_all, and 3 more", **offered),
        denied_call(round_id="2", request_id="2", name="pay", **offered),
        denied_call(
            round_id="3", request_id="3", name="repay, pay_all, Delete_All, x_y", **offered
        ),
        tool_call(round_id="4", request_id="4", name="pay"),
        denied_call(round_id="5", request_id="5", name="a, pay"),
    )
    for name, found in (("pay", "124"), ("delete_all", "1"), ("PAY", ""), ("x%y", ""), ("", "")):
        asked = ("tools", *PERIOD, "--each", "--tool", name, "--format", "json")
        code, out, _ = shell.run(address, *asked)
        assert code == 0
        assert sorted(call["request_id"] for call in json.loads(out)["calls"]) == list(found), name
    code, out, _ = shell.run(
        address, "tools", *PERIOD, "--method", "chat.tools", "--by", "rule", "--format", "json"
    )
    (row,) = json.loads(out)["rows"]
    figures = {name: row[name] for name in ("rule", "denied", "carried_out", "amount_usd")}
    assert figures == {
        "rule": "onDenied: Hide",
        "denied": 3,
        "carried_out": 0,
        "amount_usd": "0.00",
    }
