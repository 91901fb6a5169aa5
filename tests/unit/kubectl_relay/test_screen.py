"""Lines fit the terminal, times are read at a glance, colours are for terminals alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubectl_relay.texts.screen import Screen, bar, table

NOW = 1_779_990_000.0
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=15)


def screen(width: int = 80, *, has_colour: bool = False) -> Screen:
    return Screen(width=width, has_colour=has_colour, now=NOW)


@given(st.lists(words, max_size=60), st.integers(40, 200), st.text("ab ", max_size=12))
def test_wrapped_lines_fit_and_lose_nothing(told: list[str], width: int, label: str) -> None:
    lines = screen(width).wrapped(" ".join(told), label=label)
    assert all(len(line) <= width for line in lines)
    assert " ".join(lines).split() == [*label.split(), *told] or not told or not label.endswith(" ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (0.4, "now"),
        (59, "in 59 s"),
        (-61, "1 min 1 s ago"),
        (3600, "in 1 h"),
        (-3661, "1 h 1 min ago"),
        (90_000, "in 1 d 1 h"),
    ],
)
def test_a_distance_in_time_has_its_two_largest_units(seconds: float, text: str) -> None:
    from relay_operator.decisions.timestamps import to_precise_text

    assert screen().ago(to_precise_text(NOW + seconds)) == text


def test_no_time_is_no_distance() -> None:
    assert screen().ago("") == ""
    assert screen().moment("") == "an unknown time"


@pytest.mark.parametrize(
    ("percent", "target", "drawn"),
    [
        (0, 0, "[          ]"),
        (25, 50, "[##...     ]"),
        (100, 100, "[##########]"),
        (50, None, "[#####     ]"),
    ],
)
def test_a_bar_shows_what_is_and_what_is_to_be(
    percent: int, target: int | None, drawn: str
) -> None:
    assert bar(percent, target) == drawn


def test_columns_stand_below_each_other() -> None:
    assert list(table([("a", "bb", "c"), ("aaa", "b", "")])) == ["a    bb  c", "aaa  b"]


def test_colours_are_for_terminals_alone() -> None:
    assert screen().paint("x", "bad") == "x"
    assert screen(has_colour=True).paint("x", "bad") == "\033[31mx\033[0m"
