"""Every block of commands on a page says which test is to run it, or why none can."""

import re
from pathlib import Path

import pytest
from tests.pages import blocks, story
from tests.pages.blocks import ROOT, Block, Fate

BLOCKS = [block for page in blocks.pages() for block in blocks.blocks_of(page)]
ADVICE = (
    "put a comment in the line before the block, e.g. <!-- run: cluster --> (tests/pages/blocks.py lists them), "
    "and the page into tests/pages/story.py"
)


def of(fate: Fate) -> list[Block]:
    return [block for block in BLOCKS if block.fate is fate]


def test_the_pages_have_commands() -> None:
    assert len(of(Fate.CLUSTER)) > 50
    assert {block.page for block in BLOCKS} > {"README.md", "docs/how-to/first-tenant.md"}


def test_every_block_of_commands_says_what_becomes_of_it() -> None:
    unmarked = [f"{block.place} {block.mark}" for block in BLOCKS if block.fate is None]
    assert unmarked == [], ADVICE


def test_every_mark_stands_before_a_block() -> None:
    """A mark with a blank line after it would have the block count as unmarked, and one without a block as nothing."""
    marked = sum(bool(block.mark) for block in BLOCKS)
    shown = sum(bool(block.shown) for block in BLOCKS)
    texts = [(ROOT / page).read_text() for page in blocks.pages()]
    marks = [
        mark
        for text in texts
        for mark in re.findall(r"^ *<!-- (run|yours|needs a cloud|shows)\b", text, re.MULTILINE)
    ]
    assert len(marks) == marked + shown


def test_every_page_with_commands_for_a_cluster_is_in_the_story_once() -> None:
    wanted = {block.page for block in of(Fate.CLUSTER)}
    assert sorted(story.PAGES) == sorted(wanted), ADVICE


def applied(block: Block) -> set[Path]:
    """Returns the files and directories that a block gives to kubectl."""
    directory, found = ROOT, set()
    for line in block.text.splitlines():
        if entered := re.match(r"cd (\S+)", line):
            directory = directory / entered[1]
        found |= {directory / name for name in re.findall(r" -f ([^\s;]+)", line)}
    return found


def test_every_file_of_the_examples_is_applied_by_the_story() -> None:
    given = {path for block in of(Fate.CLUSTER) for path in applied(block)}
    files = list((ROOT / "examples").rglob("*.yaml"))
    assert len({file.relative_to(ROOT).parts[1] for file in files}) == 16
    assert [file for file in files if not {file, file.parent} & given] == []


def test_what_another_test_runs_names_that_test() -> None:
    absent = [block.place for block in of(Fate.ELSEWHERE) if not (ROOT / block.detail).is_file()]
    assert absent == []


def test_what_another_test_shows_names_that_test() -> None:
    samples = [one for page in blocks.pages() for one in blocks.samples_of(page)]
    assert samples
    for one in samples:
        assert "samples_of" in (ROOT / one.test).read_text(), one
        assert one.command.startswith("kubectl "), one
        assert one.shown, one


def test_what_is_the_readers_own_is_set_by_the_story_and_nothing_else_is() -> None:
    for block in of(Fate.YOURS):
        exported = re.findall(r"(\w+)=", block.text)
        assert exported == block.detail.split(), block.place
        assert all(line.startswith("export ") for line in block.text.splitlines()), block.place
    names = {name for block in of(Fate.YOURS) for name in block.detail.split()}
    assert names == set(story.YOURS)


@pytest.mark.parametrize("fate", [Fate.CLOUD])
def test_what_needs_a_cloud_says_what_for(fate: Fate) -> None:
    assert [block.place for block in of(fate) if len(block.detail.split()) < 4] == []


def test_a_placeholder_is_a_variable() -> None:
    """What is to be replaced by hand would be run as it stands: words in capitals are not pasted."""
    placeholders = [
        f"{block.place} {word}"
        for block in of(Fate.CLUSTER)
        for word in re.findall(
            r"(?<![\w$\"'{=-])[A-Z]{4,}(?![\w=:])", re.sub(r"#.*", "", block.text)
        )
    ]
    assert [one for one in placeholders if "END" not in one and "GET" not in one] == []
