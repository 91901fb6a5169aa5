"""Writes what a run found as a table of Markdown."""

from collections.abc import Iterator, Mapping

from tests.tool_isolation.findings import Findings, Outcome
from tests.tool_isolation.rows import ROWS, owasp

MOST_TOLD = 4


def lines(found: Mapping[str, Findings]) -> Iterator[str]:
    """Yields the lines of the table: a row each, and what could not be tried behind it."""
    yield "| row | what | outcome | checks that held | what broke, or was left out |"
    yield "|---|---|---|---|---|"
    order = [str(number) for number in range(1, 17)]
    numbered = sorted(ROWS, key=lambda row: order.index(row.name) if row.name in order else 99)
    for row in numbered:
        if row.name in found:
            one = found[row.name]
            yield f"| {row.name} | {row.title} | {one.outcome} | {one.held} | {_told(one)} |"
    for risk, outcome in owasp({name: one.outcome for name, one in found.items()}):
        yield f"| 16 | {risk} | {outcome} | - | |"


def _told(found: Findings) -> str:
    broken = found.broken[:MOST_TOLD]
    if len(found.broken) > MOST_TOLD:
        broken.append(f"and {len(found.broken) - MOST_TOLD} more")
    left_out = [f"left out: {why}" for why in found.left_out]
    return "; ".join([*broken, *left_out]).replace("|", "\\|").replace("\n", " ")


def is_whole(found: Mapping[str, Findings]) -> bool:
    """Returns whether nothing broke."""
    return all(one.outcome is not Outcome.BROKEN for one in found.values())
