"""docs/properties.md defines every property that a test refers to by its number."""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs" / "properties.md").read_text()
NUMBERED = re.compile(r'(?:"""|\(|, |"| to )([PRK]\d+)\b|def test_([prk]\d+)_')


def test_every_numbered_property_is_defined() -> None:
    defined = set(re.findall(r"^\| ([PRK]\d+) \|", PAGE, flags=re.MULTILINE))
    folders = [ROOT / "tests" / tier / "relay" for tier in ("unit", "simulation")]
    sources = [source for folder in folders for source in folder.rglob("*.py")]
    used = {
        (mentioned or named).upper()
        for source in sources
        for mentioned, named in NUMBERED.findall(source.read_text())
    }
    assert len(used) > 10
    assert used - defined == set()
