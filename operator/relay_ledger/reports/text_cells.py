"""Text of others in the cells of a table: a program for tables must not take it for a formula, nor a terminal for a command."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

_AMOUNT: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Returns the text with an apostrophe before it where a spreadsheet would reckon with it."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_of(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Returns rows below their header, as RFC 4180 has them; what a spreadsheet would reckon with is text, and an amount an amount."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\r\n")
    table.writerow(names)
    table.writerows(map(cells, rows))
    return out.getvalue()


def cells(row: Iterable[Any]) -> list[Any]:
    """Returns the values of a row as they stand in a table."""
    # an amount below nothing begins as a formula does, and is none
    return [
        value if not isinstance(value, str) or _AMOUNT.fullmatch(value) else cell(value)
        for value in row
    ]


def columns(rows: Sequence[Sequence[str]], *, texts: int) -> str:
    """Puts cells below one another: texts to the left, numbers to the right. What is empty is a dash, what does not print is escaped."""
    shown = [[printable(value) or "-" for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    lines = [
        "  ".join(
            value.ljust(width) if place < texts else value.rjust(width)
            for place, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]
    return "\n".join(lines) + "\n"


def printable(text: str) -> str:
    """Returns the text with an escape in place of each character that a terminal would obey or not show."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
