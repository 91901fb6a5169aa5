"""Pictures of the pages: readable on light and on dark ground, with texts that stay inside."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest

PICTURES = sorted((Path(__file__).resolve().parents[3] / "docs" / "pictures").glob("*.svg"))
SVG = "{http://www.w3.org/2000/svg}"
NARROW, WIDE = 0.5, 0.6
"""Mean width of a letter by the size of its font, as usual sans-serif fonts have it, and for bold ones."""
LEAST_CONTRAST = 4.5
"""WCAG 2.1, success criterion 1.4.3, for text."""
Colours = dict[tuple[str, str], str]


def colours(style: str) -> tuple[Colours, Colours]:
    """Returns the colours of each class and property on light ground, and on dark ground."""
    light, _, dark = style.partition("@media (prefers-color-scheme: dark)")
    first = dict(_declared(light))
    return first, first | dict(_declared(dark))


def _declared(style: str) -> Iterator[tuple[tuple[str, str], str]]:
    for selector, body in re.findall(r"([.\w-]+) \{ ([^}]*)\}", style):
        for name, colour in re.findall(r"(fill|stroke): (#[0-9a-f]{6})", body):
            yield (selector, name), colour


def luminance(colour: str) -> float:
    """Returns the relative luminance of a colour, as WCAG 2.1 defines it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def style_of(picture: ET.Element) -> str:
    style = picture.find(f"{SVG}style")
    assert style is not None
    return style.text or ""


def test_there_are_pictures() -> None:
    assert [path.name for path in PICTURES]


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
@pytest.mark.parametrize("ground", [0, 1], ids=["light", "dark"])
def test_texts_and_lines_stand_out_from_their_ground(path: Path, ground: int) -> None:
    found = colours(style_of(ET.parse(path).getroot()))[ground]
    grounds = [found[one, "fill"] for one in (".page", ".box", ".ours")]
    for text in (found["text", "fill"], found[".small", "fill"]):
        assert min(contrast(text, one) for one in grounds) >= LEAST_CONTRAST
    for line in (".line", ".calls", ".space"):
        assert contrast(found[line, "stroke"], found[".page", "fill"]) >= 3


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_described_to_whoever_cannot_see_it(path: Path) -> None:
    picture = ET.parse(path).getroot()
    told = [picture.findtext(f"{SVG}{part}", "") for part in ("title", "desc")]
    assert all(len(text) > 10 for text in told)
    assert picture.get("role") == "img"


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_texts_stay_inside_the_picture_and_in_their_box(path: Path) -> None:
    picture = ET.parse(path).getroot()
    _, _, width, height = (float(part) for part in picture.attrib["viewBox"].split())
    boxes = [one for one in picture.iter(f"{SVG}rect") if one.get("class") in ("box", "ours")]
    for text in picture.iter(f"{SVG}text"):
        left, right, at = extent(text)
        assert left >= 0 <= at <= height, text.text
        assert right <= width, text.text
        for box in boxes:
            x, y, w, h = (float(box.attrib[name]) for name in ("x", "y", "width", "height"))
            if y < at < y + h and x < (left + right) / 2 < x + w:
                assert x <= left, text.text
                assert right <= x + w, text.text


def extent(text: ET.Element) -> tuple[float, float, float]:
    """Returns where a text begins, where it ends, and its height from the top, by the mean width of letters."""
    kinds = text.get("class", "").split()
    size = 12 if "small" in kinds else 14
    wide = len(text.text or "") * size * (WIDE if "name" in kinds else NARROW)
    x = float(text.attrib["x"])
    left = x - wide / 2 if "middle" in kinds else x
    return left, left + wide, float(text.attrib["y"])
