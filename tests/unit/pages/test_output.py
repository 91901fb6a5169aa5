"""What a page shows of an output, held loosely to what was printed."""

import pytest
from tests.pages import output

PRINTED = """\
NAME    READY   RELAYS   ENDPOINT                       AGE
other   False   0/1                                     3s
chat    True    2/2      http://relay.svc:8080/v1       2m41s
sk-relay-finance-abc
  1 min 52 s ago  chat: Started
"""


@pytest.mark.parametrize(
    "shown",
    [
        "NAME READY RELAYS ENDPOINT AGE\nchat True 2/2 http://relay.svc:8080/v1 20s",
        "chat ... 1h2m3s",
        "chat True 1/9 ... 5s",
        "...\n\nsk-relay-...",
        "7 s ago chat: Started",
    ],
)
def test_numbers_times_blanks_and_lines_in_between_may_differ(shown: str) -> None:
    assert output.absent(shown, PRINTED) == []


@pytest.mark.parametrize(
    ("shown", "missing"),
    [
        ("chat False 2/2 ...", ["chat False 2/2 ..."]),
        ("chat ...\nother ...", ["other ..."]),
        ("chat", ["chat"]),
        ("sk-relay-marketing-...", ["sk-relay-marketing-..."]),
        ("NAME READY RELAYS AGE", ["NAME READY RELAYS AGE"]),
    ],
)
def test_words_columns_and_the_order_of_lines_may_not(shown: str, missing: list[str]) -> None:
    assert output.absent(shown, PRINTED) == missing
