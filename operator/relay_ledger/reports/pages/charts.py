"""Charts as SVG within a page: read by eye, and by their title and description; the exact numbers stand in a table beside them.

Everything is reckoned in integers; a bar is as long as its amount allows to the pixel.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 720
_HEIGHT: Final = 180
_LEFT: Final = 96
_TOP: Final = 24
_BOTTOM: Final = 20
_MOST_LABELS: Final = 8
_ROW: Final = 22
_NAME_WIDTH: Final = 210
_NAME_LETTERS: Final = 32
_VALUE_WIDTH: Final = 130
COLOURS: Final = ("var(--first)", "var(--second)", "var(--third)", "var(--fourth)")
"""Of a page's style, for its light and its dark form."""
Writer = Callable[[int], str]


@dataclass(frozen=True, slots=True)
class Series:
    """Amounts of one kind, one for each part of the time or each row; write says one in words."""

    title: str
    amounts: Sequence[int]
    write: Writer


@dataclass(frozen=True, slots=True)
class Chart:
    """What is said of a chart in place of looking at it. key tells it from the others of its page."""

    key: str
    title: str
    description: str


def columns_over_time(chart: Chart, labels: Sequence[str], series: Sequence[Series]) -> str:
    """Draws a column for each label, in which the amounts of all series stand on one another."""
    totals = [sum(max(one.amounts[place], 0) for one in series) for place in range(len(labels))]
    top = round_above(max(totals, default=0))
    height, step = _TOP + _HEIGHT + _BOTTOM, (WIDTH - _LEFT) * 100 // max(len(labels), 1)
    marks = [_grid(top, series[0].write(top), _TOP), _grid(0, series[0].write(0), _TOP + _HEIGHT)]
    every = -(-len(labels) // _MOST_LABELS)
    for place, label in enumerate(labels):
        left = _LEFT * 100 + place * step
        floor = _TOP + _HEIGHT
        for number, one in enumerate(series):
            amount = max(one.amounts[place], 0)
            size = amount * _HEIGHT // top
            floor -= size
            if size:
                words = f"{label}: {one.write(amount)}, {one.title}"
                box = (left, floor * 100, max(step - 100, step // 2), size * 100)
                marks.append(_box(box, COLOURS[number], words))
        if place % every == 0:
            marks.append(_text(left, (height - 5) * 100, label))
    return _figure(chart, height, "".join(marks), [one.title for one in series])


def rows_by_name(chart: Chart, names: Sequence[str], series: Sequence[Series]) -> str:
    """Draws a row for each name, with a bar for each series below one another."""
    top = max((max(one.amounts, default=0) for one in series), default=0) or 1
    thick = _ROW - 6
    each = thick * len(series) + 8
    room, marks = WIDTH - _NAME_WIDTH - _VALUE_WIDTH, []
    for place, label in enumerate(names):
        first = _TOP + place * each
        marks.append(_text(0, (first + 12) * 100, shortened(label), label))
        for number, one in enumerate(series):
            amount = one.amounts[place]
            y = first + number * thick
            size = max(amount, 0) * room * 100 // top
            words = f"{label}: {one.write(amount)}, {one.title}"
            marks.append(
                _box((_NAME_WIDTH * 100, y * 100, size, (thick - 2) * 100), COLOURS[number], words)
            )
            marks.append(_text(_NAME_WIDTH * 100 + size + 600, (y + 12) * 100, one.write(amount)))
    height = _TOP + len(names) * each
    return _figure(chart, height, "".join(marks), [one.title for one in series])


def one_row(chart: Chart, series: Sequence[Series]) -> str:
    """Draws the first amount of each series beside the others, as parts of one whole."""
    whole = sum(max(one.amounts[0], 0) for one in series) or 1
    marks, before = [], 0
    for number, one in enumerate(series):
        amount = max(one.amounts[0], 0)
        left, right = (edge * WIDTH * 100 // whole for edge in (before, before + amount))
        before += amount
        if right > left:
            words = f"{one.title}: {one.write(amount)}"
            marks.append(_box((left, _TOP * 100, right - left, _ROW * 100), COLOURS[number], words))
    return _figure(chart, _TOP + _ROW + 4, "".join(marks), [one.title for one in series])


def round_above(amount: int) -> int:
    """Returns the next of 1, 2, 5, 10, 20, ... that is not below the amount."""
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= amount:
                return factor * power
        power *= 10


def shortened(text: str) -> str:
    """Returns a text that fits beside a bar."""
    return text if len(text) <= _NAME_LETTERS else text[: _NAME_LETTERS - 1] + "…"


def _figure(chart: Chart, height: int, marks: str, legend: Sequence[str]) -> str:
    title, description = f"{chart.key}-title", f"{chart.key}-description"
    return (
        f'<figure><svg role="img" aria-labelledby="{title} {description}" viewBox="0 0 {WIDTH} {height}">'
        f'<title id="{title}">{escape(chart.title)}</title><desc id="{description}">{escape(chart.description)}</desc>'
        f"{_legend(legend)}{marks}</svg></figure>"
    )


def _legend(titles: Sequence[str]) -> str:
    marks, left = [], 0
    for number, title in enumerate(titles):
        marks.append(f'<rect x="{left}" y="2" width="10" height="10" fill="{COLOURS[number]}"/>')
        marks.append(_text((left + 14) * 100, 1100, title))
        left += 40 + 7 * len(title)
    return "".join(marks)


def _grid(amount: int, words: str, y: int) -> str:
    line = f'<line x1="{_LEFT}" x2="{WIDTH}" y1="{y}" y2="{y}" stroke="var(--line)"/>'
    return f'{line}<text x="{_LEFT - 6}" y="{y + 4}" text-anchor="end">{escape(words)}</text>'


def _box(box: tuple[int, int, int, int], colour: str, words: str) -> str:
    """Returns a bar; x, y, width and height are hundredths of a pixel."""
    x, y, width, height = map(_pixels, box)
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" fill="{colour}">'
        f"<title>{escape(words)}</title></rect>"
    )


def _text(x: int, y: int, text: str, words: str = "") -> str:
    whole = f"<title>{escape(words)}</title>" if words else ""
    return f'<text x="{_pixels(x)}" y="{_pixels(y)}">{whole}{escape(text)}</text>'


def _pixels(hundredths: int) -> str:
    return f"{hundredths // 100}.{hundredths % 100:02d}"
