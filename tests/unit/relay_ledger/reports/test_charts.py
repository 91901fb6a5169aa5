"""Charts are drawn in integers: no amount is too large, nothing is drawn outside, and every text is escaped."""

import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay_ledger.reports.pages.charts import (
    WIDTH,
    Chart,
    Series,
    columns_over_time,
    one_row,
    round_above,
    rows_by_name,
    shortened,
)

CHART = Chart("key", "A title <", "A description &")
AMOUNTS = st.lists(st.integers(-(10**20), 10**24), min_size=1, max_size=40)


@pytest.mark.parametrize(
    ("amount", "above"),
    [(0, 1), (1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (501, 1000), (10**24, 10**24)],
)
def test_an_axis_ends_at_a_round_number(amount: int, above: int) -> None:
    assert round_above(amount) == above


@given(AMOUNTS, AMOUNTS)
def test_bars_stay_within_the_picture(first: list[int], second: list[int]) -> None:
    size = min(len(first), len(second))
    labels = [f"<{number}>" for number in range(size)]
    series = [Series("a&b", first[:size], str), Series("c", second[:size], str)]
    for text in (
        columns_over_time(CHART, labels, series),
        rows_by_name(CHART, labels, series),
        one_row(CHART, series),
    ):
        [svg] = ElementTree.fromstring(text)
        width, height = map(int, svg.attrib["viewBox"].split()[2:])
        assert width == WIDTH
        for bar in svg.iter("rect"):
            x, y, wide, high = (float(bar.attrib[name]) for name in ("x", "y", "width", "height"))
            assert min(x, y, wide, high) >= 0
            assert x + wide <= width
            assert y + high <= height


def test_the_same_amount_is_the_same_length() -> None:
    text = rows_by_name(CHART, ["a", "b"], [Series("cost", [10**15 + 1, 10**15 + 1], str)])
    widths = re.findall(r'width="([0-9.]+)" height="14', text)
    assert len(widths) == 2
    assert len(set(widths)) == 1


def test_a_long_name_is_shortened_in_the_picture_and_whole_when_it_is_pointed_at() -> None:
    name = "m" * 200
    text = rows_by_name(CHART, [name], [Series("cost", [1], str)])
    assert f">{shortened(name)}</text>" in text
    assert f"<title>{name}</title>" in text
    assert len(shortened(name)) == 32
