"""The page of attacks is true about its tests: each row names some that exist, or says that there is none."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "results" / "tenancy-attacks.md"
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text().splitlines()
    if re.match(r"\| \d+ \|", line)
]


def functions(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in ast.walk(tree) if isinstance(node, kinds)}


def test_the_page_has_all_33_rows_in_order() -> None:
    assert [int(row[0]) for row in ROWS] == list(range(1, 34))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_every_row_names_tests_that_exist(row: list[str]) -> None:
    _, _, outcome, happens, shown = row
    assert outcome in ("holds", "partly", "fails")
    assert happens
    named = re.findall(r"`(tests/[^`]+)`", shown)
    # what holds was tried
    assert named or (shown == "-" and outcome == "fails")
    for test in named:
        path, _, function = test.partition("::")
        assert (ROOT / path).is_file(), path
        assert not function or function in functions(ROOT / path), test


def test_every_test_that_the_text_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/.]+\.py)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 40
    for path, function in named:
        assert not function or function in functions(ROOT / path), (path, function)
