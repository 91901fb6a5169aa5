"""Lines that are kept apart: listed with their reason, booked once when somebody says so, or done with; the line itself stays."""

import csv
import io
import json
import time
from typing import Any

import pytest
from sqlalchemy import delete, func, select, update
from sqlalchemy.exc import DBAPIError
from tests.ledger.conftest import Books
from tests.ledger.ledger_process import LedgerProcess, token_of
from tests.ledger.shell import Shell
from tests.ledger.tool_calls.prices import sell_tools
from tests.unit.relay_contract.billing.records import closed, tool_call

from relay_contract.billing.attempt_event import AttemptRecord
from relay_contract.billing.event_line import event_line, line_digest
from relay_contract.billing.tool_call import tool_call_line
from relay_ledger.ingest.batch_lines import ATTEMPTS, TOOL_CALLS, Window, read_batch
from relay_ledger.ingest.quarantine_release import NotReleasable, QuarantineRelease
from relay_ledger.store.attempts.quarantined_lines import Chosen, QuarantinedLines
from relay_ledger.store.rows.act_rows import acts
from relay_ledger.store.rows.quarantine import Quarantined
from relay_ledger.store.tables import QUARANTINE, QUARANTINE_ENDS
from relay_ledger.store.tables import TOOL_CALLS as CALLS

DAY = 86_400 * 10**6
NOW = time.time_ns() // 1000


def keep(books: Books, *lines: bytes, tenant: str = "uid-a", window: Window | None = None) -> None:
    """Has the ledger take a batch, as its port does, with a window of 35 days."""
    window = window or Window(NOW - 35 * DAY, NOW + 300 * 10**6)
    batch = read_batch(b"\n".join(lines), tenant, window, ATTEMPTS)
    books.ledger.book(tenant, batch.records, books.prices, now=NOW, refused=batch.refused)


def attempt(attempt_id: str, dispatched_at: int, **changes: Any) -> AttemptRecord:
    return closed(attempt_id=attempt_id, dispatched_at=dispatched_at, **changes)


def listed(shell: Shell, address: str, *options: str) -> list[dict[str, Any]]:
    code, out, said = shell.run(address, "quarantine", *options, "--format", "json")
    assert code == 0, said
    lines: list[dict[str, Any]] = json.loads(out)["lines"]
    return lines


def cost(books: Books) -> int:
    return books.ledger.sums("uid-a", start=0, end=2**60)["cost_pico"]


def test_what_is_not_booked_is_listed_with_why_when_and_whose(
    books: Books, address: str, shell: Shell
) -> None:
    late = attempt("late", NOW - 40 * DAY)
    early = attempt("early", NOW + DAY)
    keep(books, event_line(late), event_line(early), b'{"v":1,"relay":"=r"', b"\xff\x1b[31m")
    keep(books, event_line(attempt("b", 5, tenant_uid="uid-b")), tenant="uid-b")
    lines = listed(shell, address, "--tenant", "uid-a")
    assert sorted(one["reason"] for one in lines) == ["early", "late", "unreadable", "unreadable"]
    [told] = [one for one in lines if one["reason"] == "late"]
    assert (told["tenant"], told["tenant_uid"], told["relay"]) == ("acme", "uid-a", "relay-0")
    assert (told["record"], told["id"]) == (late.id, line_digest(event_line(late)))
    assert json.loads(told["line"]) == json.loads(event_line(late))
    [other] = listed(shell, address, "--reason", "late", "--tenant", "uid-b")
    assert (other["sent"], other["end"]) == ("1970-01-01T00:00:00.000005Z", "")
    code, out, _ = shell.run(address, "quarantine", "--format", "csv")
    assert (code, len(list(csv.DictReader(io.StringIO(out))))) == (0, 5)
    # a terminal obeys nothing that a line says
    bad = line_digest(b"\xff\x1b[31m")
    code, out, _ = shell.run(address, "quarantine", "--show", bad)
    assert (code, "\\x1b[31m" in out, "\x1b" in out) == (0, True, False)
    code, out, said = shell.run(address, "quarantine", "--limit", "2")
    assert (code, len(out.splitlines())) == (0, 3)
    place = said.strip().rpartition(" ")[2]
    seen = [row.split()[-1] for row in out.splitlines()[1:]]
    rest = [one["id"] for one in listed(shell, address, "--after", place)]
    assert len({*seen, *rest}) == len(seen) + len(rest) == 5


def test_a_line_is_released_once_and_costs_what_it_cost_then(
    books: Books, address: str, shell: Shell
) -> None:
    late = attempt("late", NOW - 40 * DAY)
    keep(books, event_line(late))
    digest = line_digest(event_line(late))
    assert (cost(books), books.ledger.standing().quarantined) == (0, 1)
    code, out, said = shell.run(
        address, "quarantine", "--id", digest, "--release", "--note", "node was off"
    )
    assert (code, out, said) == (0, "1 booked, 0 were booked already, 0 stay\n", "")
    assert (cost(books), books.ledger.standing().quarantined) == (2_800_000_000, 0)
    assert listed(shell, address) == []
    [line] = listed(shell, address, "--all")
    assert (line["end"], line["reason"]) == ("released", "late")
    _, acts, _ = shell.run(address, "acts")
    [act] = csv.DictReader(io.StringIO(acts))
    assert (act["act"], act["subject"], act["note"]) == (
        *("line released", f"late {digest}", "node was off"),
    )
    # neither the command nor the relay books it again, and what comes again stays done with
    code, _, said = shell.run(address, "quarantine", "--id", digest, "--release")
    assert (code, f"no line {digest}" in said) == (1, True)
    keep(books, event_line(late))
    assert (cost(books), books.ledger.standing().quarantined) == (2_800_000_000, 0)
    code, audited, _ = shell.run(address, "audit", "--from", "2020-01-01", "--until", "2999-01-01")
    assert (code, "0 lines in quarantine; 0 sums differ" in audited) == (0, True)


def test_a_release_that_was_killed_before_its_end_was_kept_books_nothing_twice(
    books: Books, address: str, shell: Shell
) -> None:
    late = attempt("late", NOW - 40 * DAY)
    keep(books, event_line(late))
    # what a kill after the booking leaves
    books.ledger.book("uid-a", [late], books.prices, now=NOW)
    assert (cost(books), len(listed(shell, address))) == (2_800_000_000, 1)
    code, out, _ = shell.run(address, "quarantine", "--reason", "late", "--release")
    assert (code, out) == (0, "0 booked, 1 were booked already, 0 stay\n")
    assert (cost(books), listed(shell, address)) == (2_800_000_000, [])


@pytest.mark.parametrize("kind", ["attempt", "tool call"])
def test_a_line_that_is_dismissed_while_it_is_released_is_not_booked(
    books: Books, kind: str
) -> None:
    if kind == "attempt":
        keep(books, event_line(attempt("late", NOW - 40 * DAY)))
    else:
        sell_tools(books)
        line = tool_call_line(tool_call(called_at=NOW - 40 * DAY))
        refused = read_batch(line, "uid-a", Window(NOW - DAY, NOW), TOOL_CALLS).refused
        books.ledger.book("uid-a", [], books.prices, now=NOW, refused=refused)
    lines = QuarantinedLines(books.engine)
    # both commands have looked, and one is through first
    [seen], _ = lines.page(Chosen(), most=10)
    assert lines.finish(seen, "dismissed", now=NOW + 1)
    assert not lines.finish(seen, "dismissed", now=NOW + 2)
    releasing = QuarantineRelease(books.engine, Window(NOW - 400 * DAY, NOW))
    with pytest.raises(NotReleasable, match="it was released or dismissed meanwhile"):
        releasing.release(seen, now=NOW + 2)
    figures = books.ledger.sums("uid-a", start=0, end=2**60)
    assert not any(figures.values())
    with books.engine.connect() as connection:
        assert connection.execute(select(CALLS.c.event_id)).all() == []
    [ended], _ = lines.page(Chosen(with_ended=True), most=10)
    assert (ended.end, ended.ended_at) == ("dismissed", NOW + 1)
    assert [one.done_at for one in acts(books.engine)] == [NOW + 1]


def test_a_tool_call_is_released_as_one(books: Books, address: str, shell: Shell) -> None:
    call = tool_call(called_at=NOW - 40 * DAY)
    batch = read_batch(tool_call_line(call), "uid-a", Window(NOW - DAY, NOW), TOOL_CALLS)
    books.ledger.book("uid-a", [], books.prices, now=NOW, refused=batch.refused)
    code, out, said = shell.run(address, "quarantine", "--tenant", "uid-a", "--release")
    assert (code, out, said) == (0, "1 booked, 0 were booked already, 0 stay\n", "")
    with books.engine.connect() as connection:
        assert connection.execute(select(CALLS.c.event_id)).scalar_one() == call.id


def test_what_cannot_be_booked_stays_and_says_why(books: Books, address: str, shell: Shell) -> None:
    first = attempt("one", NOW - DAY)
    other = attempt("one", NOW - DAY, outcome="truncated")
    forged = event_line(attempt("forged", NOW - DAY, tenant_uid="uid-b"))
    newer = event_line(attempt("newer", NOW - DAY)).replace(b'"v":1', b'"v":2')
    kept = [
        Quarantined(line_digest(forged), "unreadable", "of a newer relay", forged.decode()),
        Quarantined(line_digest(b"long"), "unreadable", "too long", "lo"),
    ]
    keep(books, event_line(first), newer, event_line(attempt("early", NOW + DAY)))
    keep(books, event_line(other), event_line(attempt("ancient", NOW - 500 * DAY)))
    books.ledger.book("uid-a", [], books.prices, now=NOW, refused=kept)
    before = cost(books)
    code, out, said = shell.run(address, "quarantine", "--tenant", "uid-a", "--release")
    assert (code, out) == (1, "0 booked, 0 were booked already, 6 stay\n")
    for reason in (
        "its id is booked with another content",
        "it names tenant uid-b and came with the token of uid-a",
        "this ledger cannot read it: v is 2",
        "which has not come yet",
        "before what is kept (RELAY_LEDGER_KEPT_DAYS)",
        "it is not kept as it came",
    ):
        assert reason in said
    assert (cost(books), len(listed(shell, address))) == (before, 6)
    code, out, _ = shell.run(
        address, "quarantine", "--tenant", "uid-a", "--dismiss", "--note", "looked at"
    )
    assert (code, out) == (0, "6 lines are dismissed\n")
    assert listed(shell, address) == []
    assert {one["end"] for one in listed(shell, address, "--all")} == {"dismissed"}
    assert books.ledger.standing().quarantined == 0


def test_many_lines_are_dismissed_and_none_goes(books: Books, address: str, shell: Shell) -> None:
    for batch in range(0, 1200, 400):
        keep(books, *(b"junk %d" % number for number in range(batch, batch + 400)))
    keep(books, event_line(attempt("late", NOW - 40 * DAY)))
    code, out, _ = shell.run(address, "quarantine", "--reason", "unreadable", "--dismiss")
    assert (code, out) == (0, "1200 lines are dismissed\n")
    assert [one["reason"] for one in listed(shell, address)] == ["late"]
    with books.engine.begin() as connection:
        assert connection.execute(select(func.count()).select_from(QUARANTINE)).scalar_one() == 1201
    for change in (delete(QUARANTINE_ENDS), update(QUARANTINE_ENDS).values(how="released")):
        with pytest.raises(DBAPIError, match="never changed"), books.engine.begin() as connection:
            connection.execute(change)


def test_the_gauge_of_what_is_kept_apart_falls_when_somebody_has_looked(
    serving: LedgerProcess, address: str, shell: Shell
) -> None:
    assert serving.send(b"junk\n", token=token_of("uid-a")).status_code == 200
    serving.wait_for_metric("relay_ledger_quarantine_lines", 1)
    code, _, _ = shell.run(address, "quarantine", "--tenant", "uid-a", "--dismiss")
    assert code == 0
    serving.wait_for_metric("relay_ledger_quarantine_lines", 0)


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (("--release",), 1, "say which lines: give --id, --tenant or --reason"),
        (("--dismiss", "--month", "2026-03"), 1, "say which lines"),
        (("--dismiss", "--all", "--reason", "late"), 1, "leave --all out"),
        (("--dismiss", "--release"), 2, "not allowed with argument"),
        (("--show", "0" * 32), 1, "no line 00000000000000000000000000000000 is kept apart"),
        (("--id", "0" * 32, "--dismiss"), 1, "no line 00000000000000000000000000000000"),
        (("--id", "x"), 2, "an id has 32 hexadecimal digits"),
        (("--after", "1/x"), 2, "is no place that an answer named"),
        (("--tenant", "nobody"), 1, "the ledger knows no tenant"),
        (("--month", "2026-13"), 2, "is no month"),
    ],
)
def test_what_cannot_be_done_is_refused_in_a_sentence(
    options: tuple[str, ...], code: int, said: str, books: Books, address: str, shell: Shell
) -> None:
    returned, out, error = shell.run(address, "quarantine", *options)
    assert (returned, out) == (code, "")
    assert said in error
