"""What pages and alerts tell a reader to set or to type is there: values of the chart, commands and their options."""

import argparse
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from tests.pages import blocks
from tests.pages.blocks import ROOT
from tests.unit.repository.test_words_of_pages import FIELDS

from kubectl_relay.arguments import parser as plugin_parser
from relay_ledger.commands.command_line import parser as ledger_parser

TEMPLATES: Final = ROOT / "charts/relay-operator/templates"
PAGES: Final = [
    page for page in blocks.pages() if not page.startswith(("docs/adr/", "docs/results/"))
]
TEXTS: Final = [
    *PAGES,
    *("SECURITY.md", "CHANGELOG.md", "charts/relay-operator/values.yaml"),
    *(
        str(path.relative_to(ROOT))
        for path in (*TEMPLATES.glob("_*alerts.tpl"), TEMPLATES / "NOTES.txt")
    ),
    *(str(path.relative_to(ROOT)) for path in (ROOT / "crds").glob("*.yaml")),
]
VALUES: Final = yaml.safe_load((ROOT / "charts/relay-operator/values.yaml").read_text())
PATH: Final = re.compile(rf"(?<![\w./{{$\[-])(?:{'|'.join(VALUES)})(?:\.[a-zA-Z]\w*)+(?![\w-])")
NO_VALUES: Final = frozenset(
    {"db", "dev", "go", "json", "md", "py", "svc", "tpl", "txt", "yaml", "yml"}
)
"""Ends of names of files and hosts."""


def paths(values: Any, above: str = "") -> Iterator[str]:
    """Yields every value of the chart by its path."""
    for name, inner in values.items() if isinstance(values, dict) else ():
        yield f"{above}{name}"
        yield from paths(inner, f"{above}{name}.")


KNOWN: Final = frozenset(paths(VALUES))


def is_known(path: str) -> bool:
    # a Tenant has fields relay, network and limits as well, and rooms of the code have names of values
    words = path.split(".")
    return path in KNOWN or set(words) <= FIELDS or (ROOT / "operator" / "/".join(words)).exists()


@pytest.mark.parametrize("text", TEXTS)
def test_every_value_of_the_chart_that_is_named_exists(text: str) -> None:
    named = set(PATH.findall((ROOT / text).read_text()))
    of_values = {one for one in named if one.rpartition(".")[2] not in NO_VALUES}
    assert {one for one in of_values if not is_known(one)} == set()


def test_values_are_named_on_the_pages() -> None:
    named = {one for page in PAGES for one in PATH.findall((ROOT / page).read_text())}
    assert len(named & KNOWN) > 40


def commands(parser: argparse.ArgumentParser, above: str = "") -> Iterator[tuple[str, set[str]]]:
    """Yields every command of a parser with its options."""
    yield above, {one for action in parser._actions for one in action.option_strings}
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from commands(inner, f"{above} {name}".strip())


PROGRAMS: Final = {
    "relay-ledger": dict(commands(ledger_parser())),
    "kubectl relay": dict(commands(plugin_parser("0"))),
}


def typed(path: Path, program: str) -> Iterator[list[str]]:
    """Yields what a text has a reader type after a program's name, word by word, up to that command's end; of a page in code type."""
    text = path.read_text()
    # the pages of the ledger give its long command a name
    fenced = re.sub(
        r"^ledger ",
        "relay-ledger ",
        "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)),
        flags=re.MULTILINE,
    )
    inline = re.findall(r"`([^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    code = [*fenced.splitlines(), *(" ".join(one.split()) for one in inline)]
    for snippet in code if path.suffix == ".md" else text.splitlines():
        for found in re.findall(rf"\b{program} ([^|<>;:#\n\"`]*)", snippet):
            yield found.split()


def wrong_in(words: list[str], options: dict[str, set[str]]) -> list[str]:
    """Returns what of these words no command of a program has."""
    command = ""
    while words and f"{command} {words[0]}".strip() in options:
        command = f"{command} {words.pop(0)}".strip()
    asked = {re.sub(r"[^a-z-].*", "", word) for word in words if word.startswith("--")}
    if not command and words and re.fullmatch(r"[a-z-]+", words[0]) and words[0] not in options[""]:
        return [words[0]]
    return sorted(f"{command} {one}" for one in asked - options[command] - {"--help"})


@pytest.mark.parametrize(
    ("page", "program"),
    [
        (page, name)
        for page in TEXTS
        for name in PROGRAMS
        if f"{name} " in (ROOT / page).read_text()
    ],
)
def test_every_command_that_is_named_has_these_options(page: str, program: str) -> None:
    options = PROGRAMS[program]
    assert [one for words in typed(ROOT / page, program) for one in wrong_in(words, options)] == []


def test_commands_with_options_are_named_on_the_pages() -> None:
    for program, options in PROGRAMS.items():
        named = [words for page in PAGES for words in typed(ROOT / page, program)]
        assert len([words for words in named if words and words[0] in options]) >= 10, program
        assert any(word.startswith("--") for words in named for word in words)
    assert wrong_in(["report", "--mouth", "2026-10"], PROGRAMS["relay-ledger"]) == [
        "report --mouth"
    ]
    assert wrong_in(["repotr"], PROGRAMS["relay-ledger"]) == ["repotr"]


@pytest.mark.parametrize("page", ["docs/how-to/bills.md", "docs/how-to/ledger.md"])
def test_every_option_on_the_pages_of_the_ledger_is_one_of_its_commands(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(), flags=re.DOTALL)
    alone = set(re.findall(r"`(--[a-z-]+)", text))
    assert len(alone) > 3
    known = {option for options in PROGRAMS["relay-ledger"].values() for option in options}
    assert alone - known == set()
