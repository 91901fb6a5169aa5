"""Final statements of before lines had unit prices: they read as they were sent, to the last byte."""

import hashlib
import json

from relay_ledger.statements import kept_statement
from relay_ledger.statements.statement_page import statement_page
from relay_ledger.statements.statement_table import csv_table, json_document

FORMER_LINES = [
    {
        "kind": "usage",
        "period_start": 1_772_323_200_000_000,
        "period": "2026-03",
        "model": "gpt-4.1",
        "price_version": "retail@0123456789abcdef",
        "requests": 2,
        "input_tokens": 2000,
        "output_tokens": 200,
        "unpriced": 0,
        "amount_pico": 8_400_000_000,
        "amount_minor": 6,
        "server": "",
    },
    {
        "kind": "adjustment",
        "period_start": 1_769_904_000_000_000,
        "period": "2026-02",
        "model": "read_all",
        "price_version": "",
        "requests": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "unpriced": 0,
        "amount_pico": -200_000_000,
        "amount_minor": 0,
        "server": "erp",
    },
]
FORMER = json.dumps(
    {
        "tenant_uid": "uid-a",
        "tenant": "acme & co",
        "state": "final",
        "period": {
            "name": "2026-03",
            "start": 1_772_323_200_000_000,
            "end": 1_775_001_600_000_000,
        },
        "zone": "Asia/Shanghai",
        "rate": {
            "currency": {"code": "CNY", "minor_digits": 2},
            "micro": 7_102_500,
            "since": 1_767_225_600_000_000,
            "source": "PBOC",
        },
        "made_at": 1_775_260_800_000_000,
        "lines": FORMER_LINES,
    }
)
"""As the version before kept it."""


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_statement_that_was_final_before_reads_as_it_was_sent() -> None:
    statement = kept_statement.read(FORMER)
    page = statement_page(statement)
    table = page[page.index("<table>") : page.index("</table>")]
    assert [digest(one) for one in (csv_table(statement), json_document(statement), table)] == [
        "565f9669de9b1e1452fdf8142b9cba0fbb7ef67029c8d6becee10e4c8cb6ccfc",
        "c55a7deee289807bdee45a9b9c41a67d30a0b831db05ef473bf342c0ade42d0c",
        "f6798548dd2f672143ffee55d47278d010396f63e92762f72a8ffe805a623661",
    ]


def test_a_table_of_former_and_new_statements_has_one_width() -> None:
    former = kept_statement.read(FORMER)
    new = kept_statement.read(json.dumps({**json.loads(FORMER), "has_unit_prices": True}))
    former_lines = csv_table(former).splitlines()
    header, *lines = csv_table(former, new).splitlines()
    assert header.startswith(former_lines[0])
    # what the former has stands in its columns, and nothing in the others
    assert [one.rstrip(",") for one in lines[: len(former_lines) - 1]] == former_lines[1:]
    assert {line.count(",") for line in lines} == {header.count(",")}
