"""docs/fair-queue.md and docs/limits.md define every property that a test refers to by its number."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGES = [(ROOT / "docs" / name).read_text() for name in ("fair-queue.md", "limits.md")]
NUMBERED = re.compile(r'(?:"""|\(|, |"| to |Properties )([PRK]\d+)\b|def test_([prk]\d+)_')


def test_the_numbered_properties_are_those_that_tests_name() -> None:
    rows = r"^\| ([PRK]\d+) \|"
    defined = [no for page in PAGES for no in re.findall(rows, page, flags=re.MULTILINE)]
    assert len(defined) == len(set(defined))
    folders = ("tests/unit/relay", "tests/simulation/relay")
    sources = [source for folder in folders for source in (ROOT / folder).rglob("*.py")]
    used = {
        (mentioned or named).upper()
        for source in sources
        for mentioned, named in NUMBERED.findall(source.read_text())
    }
    assert used == set(defined)
