"""No page and no example pins the image's tag: an upgrade that keeps values would keep the old image."""

import re

import pytest
from tests.pages import blocks
from tests.pages.blocks import ROOT

PINNED = re.compile(r"image\.tag=\S*\d|\bimage:\s*\{[^}]*\btag:|^\s+tag: *[\"'v]?\d", re.MULTILINE)
TEXTS = [
    *blocks.pages(),
    *(str(one.relative_to(ROOT)) for one in (ROOT / "examples").rglob("*.yaml")),
]


@pytest.mark.parametrize("text", TEXTS)
def test_nothing_that_is_copied_pins_the_tag(text: str) -> None:
    assert PINNED.findall((ROOT / text).read_text()) == []


@pytest.mark.parametrize(
    "pinned",
    [
        "--set image.repository=r,image.tag=0.1.0",
        "image: {repository: r, tag: 0.1.0}",
        "image:\n  repository: r\n  tag: 0.1.0\n",
    ],
)
def test_a_pinned_tag_is_found(pinned: str) -> None:
    assert PINNED.search(pinned)
