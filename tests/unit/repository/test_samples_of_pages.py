"""What pages show of `kubectl get` has the columns that the custom resource definitions print."""

import re

import pytest
import yaml
from tests.pages import blocks
from tests.pages.blocks import ROOT

HEADER = re.compile(r"^(?:NAMESPACE +)?NAME .*\bREADY .*$", re.MULTILINE)


def columns(name: str, *, wide: bool) -> str:
    """Returns the header that kubectl prints for the kind of a definition."""
    [version] = yaml.safe_load((ROOT / "crds" / name).read_text())["spec"]["versions"]
    printed = [
        column["name"].upper()
        for column in version["additionalPrinterColumns"]
        if wide or not column.get("priority")
    ]
    return " ".join(["NAME", *printed])


PRINTED = {
    columns(path.name, wide=wide)
    for path in (ROOT / "crds").glob("*.yaml")
    for wide in (False, True)
}
SAMPLES = [
    (page, " ".join(found.group().split()).removeprefix("NAMESPACE "))
    for page in blocks.pages()
    for found in HEADER.finditer((ROOT / page).read_text())
]


def test_the_readme_shows_what_is_printed() -> None:
    assert len([header for page, header in SAMPLES if page == "README.md"]) >= 4


@pytest.mark.parametrize(("page", "header"), SAMPLES)
def test_the_columns_are_those_of_a_kind(page: str, header: str) -> None:
    assert header in PRINTED
