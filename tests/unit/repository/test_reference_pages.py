"""docs/reference is what the definitions and the code say today."""

import pytest
from tests.pages import reference


@pytest.mark.parametrize("name", sorted(reference.PAGES))
def test_a_page_of_the_reference_is_what_its_source_says(name: str) -> None:
    written = (reference.DIRECTORY / name).read_text()
    assert written == reference.PAGES[name](), "run make reference"


def test_every_variable_and_refusal_is_explained() -> None:
    rows = [
        line
        for name in reference.PAGES
        for line in reference.PAGES[name]().splitlines()
        if line.startswith("| `") or line[:3] in ("| 4", "| 5")
    ]
    assert len(rows) > 400
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []
