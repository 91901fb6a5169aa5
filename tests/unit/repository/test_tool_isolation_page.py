"""The page of the suite for tools has every row, and the tests that it names exist."""

import re
from pathlib import Path

from tests.tool_isolation.rows import OWASP, ROWS
from tests.unit.repository.test_attacks_page import functions

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "tool-isolation.md").read_text()
NUMBERS = [str(number) for number in range(1, 17)]
FAULTS = ["route", "prompts", "malformed", "seeds"]
NOT_IN_THE_SUITE = {"14", "16"}
"""Chat calls have tests of their own; the OWASP list is a view of the other rows."""


def test_the_page_has_all_rows_and_the_suite_those_that_can_be_tried() -> None:
    told = re.findall(r"^\| (\w+) \| ", PAGE, re.MULTILINE)
    assert told == ["row", *NUMBERS, *FAULTS]
    assert {row.name for row in ROWS} == {*NUMBERS, *FAULTS} - NOT_IN_THE_SUITE


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)::(\w+)`", PAGE)
    assert len(named) > 30
    for path, function in named:
        assert function in functions(ROOT / path), (path, function)


def test_every_risk_of_the_owasp_list_has_rows_that_exist() -> None:
    # MCP04, the supply chain, is no matter of HTTP: images and dependencies are held by digests
    assert [risk[:5] for risk in OWASP] == [
        f"MCP{number:02}" for number in range(1, 11) if number != 4
    ]
    assert {row for rows in OWASP.values() for row in rows} <= {row.name for row in ROWS}
