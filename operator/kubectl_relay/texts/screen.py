"""A terminal of some width: wrapped lines, a few colours, times that a person reads."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from relay_operator.decisions.timestamps import from_text, to_text

Colour = Literal["good", "bad", "waiting", "title", "quiet"]

_CODES: Final = {"good": "32", "bad": "31", "waiting": "33", "title": "1", "quiet": "2"}
_NARROWEST: Final = 40
_BAR: Final = 10
_SPANS: Final = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "min"), (1.0, "s"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """width is in characters; now is seconds since the epoch."""

    width: int
    has_colour: bool
    now: float

    def paint(self, text: str, colour: Colour) -> str:
        """Colours a text, where colours are wanted."""
        return f"\033[{_CODES[colour]}m{text}\033[0m" if self.has_colour and text else text

    def title(self, text: str) -> str:
        return self.paint(text, "title")

    def wrapped(self, text: str, *, indent: int = 2, label: str = "") -> list[str]:
        """Breaks a text into lines; those after the first stand below the text, not below its label."""
        lead = " " * indent + label
        width = max(self.width, _NARROWEST)
        # a terminal too narrow for the label has the text below the margin
        hang = " " * (len(lead) if len(lead) < width // 2 else indent + 2)
        return textwrap.wrap(
            " ".join(text.split()),
            width,
            initial_indent=lead,
            subsequent_indent=hang,
            break_long_words=False,
            break_on_hyphens=False,
        ) or ([lead.rstrip()] if label else [])

    def moment(self, text: str) -> str:
        """Writes a time of RFC 3339 with how far away it is."""
        at = from_text(text) if text else 0.0
        if not at:
            return "an unknown time"
        return f"{to_text(at)} ({_distance(at - self.now)})"

    def ago(self, text: str) -> str:
        """Writes how far away a time of RFC 3339 is."""
        return _distance(from_text(text) - self.now) if text else ""


def state_of(status: str) -> Colour:
    """Returns the colour of a condition's status."""
    return "good" if status == "True" else "bad" if status == "False" else "waiting"


def bar(percent: int, target: int | None) -> str:
    """Draws a weight: # for what the canary has, . for what it is to have."""
    filled = round(_BAR * percent / 100)
    wanted = round(_BAR * (target or 0) / 100)
    cells = ("#" if one < filled else "." if one < wanted else " " for one in range(_BAR))
    return f"[{''.join(cells)}]"


def table(rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """Lays rows out in columns, two spaces apart; the last column is as it is."""
    listed = list(rows)
    widths = [max(map(len, column)) for column in zip(*listed, strict=True)]
    for row in listed:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        yield "  ".join(cells).rstrip()


def _distance(seconds: float) -> str:
    span = _span(abs(seconds))
    if span == "0 s":
        return "now"
    return f"in {span}" if seconds > 0 else f"{span} ago"


def _span(seconds: float) -> str:
    """Writes a span in its largest unit and the next one, without a second that is zero."""
    left = round(seconds)
    parts: list[tuple[int, str]] = []
    for size, unit in _SPANS:
        count, left = divmod(left, int(size))
        if count or parts:
            parts.append((count, unit))
        if len(parts) == 2:
            break
    return " ".join(f"{count} {unit}" for count, unit in parts if count) or "0 s"
