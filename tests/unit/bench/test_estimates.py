"""Estimates of broken streams beside their tokens, with a tokenizer that stands in for the public one: so many letters are one token."""

import re
from pathlib import Path

import pytest
from bench.estimates import __main__ as estimates_bench
from bench.estimates.comparison import PARTS, Row, compared
from bench.estimates.streams import FORMS, Streams

TEXTS = Path(estimates_bench.__file__).parent / "texts"
KINDS = {
    "german": ((TEXTS / "german.txt").read_text(), 1),
    "chinese": ((TEXTS / "chinese.txt").read_text(), 1),
}
ALL = PARTS[-1]


def tokens(text: str) -> list[bytes]:
    return [
        one.encode() for one in re.findall(r" ?[a-zß-ü]{1,5}|.", text, re.IGNORECASE | re.DOTALL)
    ]


def rows(form: str, *, thoughts: int = 0) -> dict[str, Row]:
    streams = Streams(KINDS, FORMS[form], tokens, thoughts=thoughts)
    found = compared(streams, {"its own": lambda text: len(tokens(text))})
    return {row.name: row for row in found}


def test_every_kind_of_text_stands_in_the_checkout() -> None:
    assert estimates_bench.texts().keys() == estimates_bench.WEIGHTS.keys()
    assert all(len(text) > 900 for text in estimates_bench.texts().values())


@pytest.mark.parametrize("form", [form for form in FORMS if form.startswith("a token each")])
def test_pieces_are_the_measure_where_each_is_a_token(form: str) -> None:
    found = rows(form)["learnt"]
    assert [found.off(part) for part in PARTS] == pytest.approx([0, 0, 0], abs=0.5)


def test_a_fixed_number_of_tokens_in_each_piece_is_learnt() -> None:
    found = rows("four tokens each")
    assert found["learnt"].off(ALL) < 3
    for fixed in ("a token a piece", "4 bytes a token"):
        assert found["learnt"].off(ALL) < found[fixed].off(ALL) / 3


def test_bytes_are_the_measure_of_bursts() -> None:
    found = rows("1 to 40 tokens each")
    for part in PARTS:
        assert found["learnt"].off(part) < found["4 bytes a token"].off(part)
    assert abs(found["learnt"].off_in_all) < 5


def test_no_tokenizer_counts_what_a_model_thinks_and_does_not_show() -> None:
    found = rows("a token each", thoughts=estimates_bench.THOUGHTS)
    assert found["its own"].off_in_all < -60
    assert abs(found["learnt"].off_in_all) < abs(found["its own"].off_in_all) / 2
