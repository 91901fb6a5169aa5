"""Annotations and labels that a text has a reader set can be set again: `kubectl` refuses a second value without --overwrite."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.pages.blocks import ROOT

PLACES: Final = ("docs", "examples", "charts", "operator", "tests/demo")
SUFFIXES: Final = frozenset({".md", ".py", ".tpl", ".txt", ".yaml"})
SET: Final = re.compile(r"kubectl(?: (?:-n|--namespace)[ =]\S+)? (?:annotate|label) ([^\n]*)")
REMOVED: Final = re.compile(r"\S+-[`'\"]?(?:\s|$)")


def texts() -> Iterator[Path]:
    """Yields the pages, and the sources of what is printed or written into objects."""
    yield from ROOT.glob("*.md")
    for place in PLACES:
        yield from (path for path in sorted((ROOT / place).rglob("*")) if path.suffix in SUFFIXES)


def refused_again(text: str) -> list[str]:
    """Returns the commands of a text that set something without --overwrite; one that takes a key away needs none."""
    return [
        one[0]
        for one in SET.finditer(text)
        if not one[1].startswith("--overwrite ")
        and not ("=" not in one[1] and REMOVED.search(one[1]))
    ]


def test_what_is_set_by_a_command_can_be_set_again() -> None:
    found = {str(path.relative_to(ROOT)): refused_again(path.read_text()) for path in texts()}
    assert {path: commands for path, commands in found.items() if commands} == {}


def test_commands_that_set_something_are_found() -> None:
    assert sum(len(SET.findall(path.read_text())) for path in texts()) > 10
    assert refused_again("kubectl -n a annotate tenant b c=d") == [
        "kubectl -n a annotate tenant b c=d"
    ]
    assert refused_again("kubectl label secret b c-") == []
    assert refused_again('"kubectl annotate namespace {space} "') != []
