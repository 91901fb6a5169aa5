"""The view as a table for a terminal, by rich."""

from collections.abc import Sequence
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text
from tests.demo.view.figures import Figures, Side
from tests.demo.view.route_line import RouteLine

WIDE: Final = 110
"""Columns from which on verdict and what comes next have columns of their own."""
_BAR: Final = 10
_PHASE: Final = {
    "Progressing": "blue",
    "Holding": "cyan",
    "Baking": "blue",
    "Promoted": "green",
    "RolledBack": "bold red",
    "Frozen": "yellow",
    "Paused": "yellow",
    "Preflight": "magenta",
    "Shadowing": "magenta",
}
_VERDICT: Final = {
    "Healthy": "green",
    "Breached": "bold red",
    "Inconclusive": "yellow",
    "Unmeasurable": "yellow",
}
_NONE: Final = "-"
_CAPTION: Final = " errors and times: of stable above, of the canary below"


def table(lines: Sequence[RouteLine], *, width: int) -> Table:
    """Draws all routes. Each has two lines in its cells: of stable above, of the canary below."""
    wide = width >= WIDE
    drawn = Table(
        box=SIMPLE_HEAD,
        width=width,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        caption=_CAPTION,
        caption_justify="left",
    )
    drawn.add_column("route", width=30 if wide else 18, overflow="ellipsis", no_wrap=True)
    drawn.add_column("weight", min_width=_BAR + 2, no_wrap=True)
    drawn.add_column("errors", min_width=14 if wide else 6, no_wrap=True)
    drawn.add_column(
        "first token" if wide else "latency", min_width=11 if wide else 7, no_wrap=True
    )
    drawn.add_column("evidence", min_width=11, no_wrap=True)
    if wide:
        drawn.add_column("verdict", min_width=12, no_wrap=True)
        drawn.add_column("next", ratio=1)
    else:
        drawn.add_column("verdict, next", ratio=1)
    for line in lines:
        cells = [
            _route(line),
            _weight(line),
            _errors(line.figures, wide=wide),
            _latency(line.figures, wide=wide),
            _evidence(line),
        ]
        drawn.add_row(*cells, *_verdict(line, wide=wide))
    return drawn


def _route(line: RouteLine) -> Text:
    phase = Text(line.phase or "new", style=_PHASE.get(line.phase, ""))
    return Text("\n").join((Text(line.title, style="bold"), phase))


def _weight(line: RouteLine) -> Text:
    filled = round(_BAR * line.weight / 100)
    target = max(round(_BAR * line.target / 100), filled)
    bar = Text("█" * filled, style=_PHASE.get(line.phase, "blue"))
    bar.append("▒" * (target - filled), style="dim")
    bar.append("·" * (_BAR - target), style="dim")
    told = f"{line.weight} of {line.target} %" if line.is_migrating else "no canary"
    return Text("\n").join((bar, Text(told)))


def _both(stable: str, canary: str, *, is_bad: bool) -> Text:
    return Text("\n").join((Text(stable), Text(canary, style="red" if is_bad else "")))


def _errors(figures: Figures, *, wide: bool) -> Text:
    limit = figures.allowed("Errors")
    canary = figures.canary.errors
    is_bad = limit is not None and canary is not None and canary > limit
    told = _percent(canary)
    if wide and limit is not None:
        told = f"{told} (≤ {100 * limit:.3g} %)"
    return _both(_percent(figures.stable.errors), told, is_bad=is_bad)


def _latency(figures: Figures, *, wide: bool) -> Text:
    limit = figures.allowed("FirstToken", "Total", "Overhead")
    slow = figures.canary.slow
    is_bad = limit is not None and slow is not None and slow > limit
    return _both(_time(figures.stable, wide=wide), _time(figures.canary, wide=wide), is_bad=is_bad)


def _time(side: Side, *, wide: bool) -> str:
    seconds = side.first_token_seconds
    if seconds is None:
        return _NONE
    told = f"{1000 * seconds:.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
    return f"p90 {told}" if wide else told


def _percent(share: float | None) -> str:
    return _NONE if share is None else f"{100 * share:.1f} %"


def _evidence(line: RouteLine) -> Text:
    foremost = line.figures.foremost
    if foremost is None or not line.is_migrating:
        return Text(_NONE)
    style = "bold red" if foremost.part >= 1 else "yellow" if foremost.part >= 0.5 else ""
    told = Text(f"{foremost.found:.1f} of {foremost.needed:.1f}", style=style)
    return Text("\n").join((told, Text(foremost.metric, style="dim")))


def _verdict(line: RouteLine, *, wide: bool) -> list[Text]:
    verdict = Text(line.verdict or _NONE, style=_VERDICT.get(line.verdict, ""))
    coming = Text(line.coming or _NONE, style="dim")
    return [verdict, coming] if wide else [Text("\n").join((verdict, coming))]
