"""The demonstration's view drawn, at the widths of usual terminals."""

import io

import pytest
from rich.console import Console
from tests.demo.view.figures import Evidence, Figures, Side
from tests.demo.view.route_line import RouteLine
from tests.demo.view.screen import folded, say
from tests.demo.view.table import table


def line(**other: object) -> RouteLine:
    fields: dict[str, object] = {
        "namespace": "relay-finance",
        "name": "chat",
        "stable": "legacy",
        "canary": "holysheep",
        "phase": "Progressing",
        "weight": 50,
        "target": 100,
        "verdict": "Healthy",
        "coming": "75 % in 3 s",
        "figures": Figures(
            stable=Side(errors=0.001, slow=0.0, first_token_seconds=0.012),
            canary=Side(errors=0.25, slow=0.0, first_token_seconds=0.034),
            evidence=(
                Evidence(metric="Errors", test="absolute", found=3.4, needed=6.21, allowed=0.01),
            ),
        ),
    }
    return RouteLine(**(fields | other))  # type: ignore[arg-type]


def drawn(*lines: RouteLine, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, color_system=None, legacy_windows=False)
    console.print(table(lines, width=width))
    assert isinstance(console.file, io.StringIO)
    return [one.rstrip() for one in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 100, 120, 200])
def test_everything_is_shown_at_every_usual_width(width: int) -> None:
    rows = drawn(line(), line(name="batch"), width=width)
    assert max(map(len, rows)) <= width
    text = "\n".join(rows)
    for wanted in (
        "relay-finance/chat",
        "relay-finance/batch"[:17],
        "Progressing",
        "█████▒▒▒▒▒",
        "50 of 100 %",
        "0.1 %",
        "25.0 %",
        "12 ms",
        "34 ms",
        "3.4 of 6.2",
        "Errors",
        "Healthy",
        "75 % in 3 s",
    ):
        assert wanted in text, (wanted, text)
    assert "…" not in drawn(line(), width=width)[-2]


def test_a_wide_terminal_has_the_limit_beside_the_errors() -> None:
    assert "25.0 % (≤ 1 %)" in "\n".join(drawn(line(), width=120))


def test_what_is_not_known_is_a_dash() -> None:
    rows = drawn(
        line(phase="Stable", weight=0, target=0, verdict="", coming="", figures=Figures()), width=80
    )
    text = "\n".join(rows)
    assert "no canary" in text
    assert "··········" in text
    assert "None" not in text


def test_without_routes_there_is_the_heading_alone() -> None:
    assert "evidence" in drawn(width=80)[0] + drawn(width=80)[1]


@pytest.mark.parametrize("is_terminal", [True, False])
def test_what_is_said_is_cut_nowhere(is_terminal: bool) -> None:
    """The last line is for machines, and what is suggested to try is pasted."""
    console = Console(
        file=io.StringIO(), width=80, force_terminal=is_terminal, color_system=None, highlight=False
    )
    last = "demo: ok " + "x" * 200 + " [bold]as it is[/bold] :smile:"
    say(console, last)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == f"{last}\n"


def test_a_long_message_is_folded_below_where_it_begins() -> None:
    line = "  RolledBack   canary   0 %   rolled back from 25 %: 29 of 108 requests failed (27 %, limit 1 %)"
    assert folded(line, 70).splitlines() == [
        "  RolledBack   canary   0 %   rolled back from 25 %: 29 of 108",
        "                              requests failed (27 %, limit 1 %)",
    ]
    assert folded("  Errors: 3 of 371 requests failed", 24).splitlines() == [
        "  Errors: 3 of 371",
        "    requests failed",
    ]
