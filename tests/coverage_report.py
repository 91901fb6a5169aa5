"""Branch coverage of the tiers that run our code in pytest's own process, as one table: a row per room, a column per tier."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from coverage import Coverage, CoverageData

ROOT: Final = Path(__file__).resolve().parents[1]
SOURCE_ROOT: Final = ROOT / "operator"
DATA: Final = ROOT / ".coverage-tiers"


@dataclass(frozen=True, slots=True)
class Count:
    """Statements and branches of some files: how many there are, how many a tier has executed."""

    there: int = 0
    covered: int = 0

    def __add__(self, other: "Count") -> "Count":
        return Count(self.there + other.there, self.covered + other.covered)

    @property
    def percent(self) -> str:
        return f"{100 * self.covered / self.there:.0f} %" if self.there else "-"


def command(tier: str) -> tuple[str, ...]:
    """Returns the interpreter's arguments that measure what follows them, and the processes that it starts."""
    DATA.mkdir(exist_ok=True)
    for old in DATA.glob(f"{tier}*"):
        old.unlink()
    return ("-m", "coverage", "run", "--parallel-mode", f"--data-file={DATA / tier}")


def table(tiers: Sequence[str]) -> str:
    """Returns the coverage of these tiers, which have just run, and of all of them together."""
    together = CoverageData(basename=str(DATA / "together"))
    together.erase()
    for tier in tiers:
        measured = Coverage(data_file=str(DATA / tier), config_file=str(ROOT / "pyproject.toml"))
        measured.combine()
        measured.save()
        data = CoverageData(basename=str(DATA / tier))
        data.read()
        together.update(data)
    together.write()
    return rendered({column: _rooms(column) for column in (*tiers, "together")})


def room(path: Path) -> str:
    """Returns the package of a source file, as two names at most: relay/calls."""
    return "/".join(path.relative_to(SOURCE_ROOT).parts[:-1][:2])


def _rooms(column: str) -> dict[str, Count]:
    coverage = Coverage(data_file=str(DATA / column), config_file=str(ROOT / "pyproject.toml"))
    coverage.load()
    report = DATA / f"{column}.json"
    coverage.json_report(outfile=str(report))
    rooms: dict[str, Count] = {}
    for path, found in json.loads(report.read_text())["files"].items():
        summary = found["summary"]
        name = room(ROOT / path)
        # a tier that executed none of our files has no branches in its report
        rooms[name] = rooms.get(name, Count()) + Count(
            summary["num_statements"] + summary.get("num_branches", 0),
            summary["covered_lines"] + summary.get("covered_branches", 0),
        )
    return rooms


def rendered(columns: Mapping[str, Mapping[str, Count]]) -> str:
    """Returns the table as text, closed by a line for all rooms."""
    rooms = sorted({name for counts in columns.values() for name in counts})
    lines = ["branch coverage" + " " * 15 + "".join(f"{column:>12}" for column in columns)]
    for name in rooms:
        cells = (counts.get(name, Count()).percent for counts in columns.values())
        lines.append(f"{name:<30}" + "".join(f"{cell:>12}" for cell in cells))
    totals = (sum(counts.values(), Count()).percent for counts in columns.values())
    lines.append(f"{'all':<30}" + "".join(f"{cell:>12}" for cell in totals))
    return "\n".join(lines) + "\n"
