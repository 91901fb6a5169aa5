"""Text of others in the cells of a table: a program for tables must not take it for a formula."""

from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def cell(text: str) -> str:
    """Returns the text with an apostrophe before it where a spreadsheet would reckon with it."""
    return f"'{text}" if text.startswith(_FORMULA) else text
