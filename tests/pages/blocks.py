"""Fenced blocks of the pages that people read, and what becomes of each: which test runs it, or why none can.

A comment in the line before a block of commands (sh, python) says so. It is not shown where pages are rendered. A block of YAML
may have one: its objects are then sent to the cluster as a dry run.

    <!-- run: cluster -->                            pasted into a shell of the story tests/e2e/test_written_pages.py, after the blocks before it
    <!-- run: cluster, until "Promoted" -->          the same; it is done, and interrupted, when its output has this
    <!-- run by: tests/e2e/test_story.py -->         another test does the same
    <!-- yours: REGISTRY KEY -->                     sets these variables to the reader's own values; the story sets its own
    <!-- needs a cloud: a registry to push to -->    no test can run it, for this reason
    <!-- shows -->                                   before another block: what the commands before it print
    <!-- shown in: tests/e2e/test_story.py -->       before another block: a command after `$ `, and what it prints in that test
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
COMMANDS: Final = ("sh", "bash", "shell", "console", "python")
_FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)[^`]*$")
_MARK: Final = re.compile(
    r"^ *<!-- (?P<text>(?:run|run by|yours|needs a cloud|shows|shown in)\b.*) -->$"
)
_INLINE: Final = re.compile(r"`([^`]+)`")
_LOOK: Final = re.compile(r"kubectl (?!.* (?:-w|-f)\b)(?:-n \S+ )?(?:get|describe|explain) .+")
_STANDS_FOR: Final = {
    "NAMESPACE": "relay-finance",
    "TENANT": "finance",
    "NAME": "finance",
    "ROUTE": "chat",
}
"""Words in capitals within sentences, and what they are in the story."""
_SHOWN_IN: Final = "shown in: "
_WAIT: Final = re.compile(r'cluster(?:, until "(?P<until>[^"]+)")?')


class Fate(StrEnum):
    """What becomes of a block of commands."""

    CLUSTER = "run: cluster"
    ELSEWHERE = "run by"
    YOURS = "yours"
    CLOUD = "needs a cloud"


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """A fenced block. detail is what its mark adds: a path, a reason, names of variables, a text to wait for; shown its output."""

    page: str
    line: int
    language: str
    text: str
    mark: str = ""
    shown: str = ""

    @property
    def place(self) -> str:
        """Returns page and line, as editors and compilers name them."""
        return f"{self.page}:{self.line}"

    @property
    def fate(self) -> Fate | None:
        """Returns what its mark says; None without a mark that can be understood."""
        kind, _, detail = self.mark.partition(": ")
        if kind == "run":
            return _run_fate(detail)
        return next(
            (one for one in (Fate.ELSEWHERE, Fate.YOURS, Fate.CLOUD) if one == kind and detail),
            None,
        )

    @property
    def detail(self) -> str:
        """Returns what the mark says beside its kind; of a run in the cluster the text that is waited for."""
        detail = self.mark.partition(": ")[2]
        waits = _WAIT.fullmatch(detail) if self.fate is Fate.CLUSTER else None
        return (waits["until"] or "") if waits else detail


def _run_fate(detail: str) -> Fate | None:
    return Fate.CLUSTER if _WAIT.fullmatch(detail) else None


def pages() -> list[str]:
    """Returns the pages whose commands are tested, by their paths in the repository."""
    found = [
        ROOT / "README.md",
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "examples").rglob("*.md"),
        *(ROOT / "charts").rglob("*.md"),
    ]
    return sorted(str(page.relative_to(ROOT)) for page in found)


def blocks_of(page: str) -> list[Block]:
    """Returns the blocks of commands of a page, in its order, each with what the page shows of its output."""
    return read(page, (ROOT / page).read_text())


def read(page: str, text: str) -> list[Block]:
    """Returns the blocks of commands in the text of a page."""
    found: list[Block] = []
    for block in _fenced(page, text):
        if block.language in COMMANDS or (block.language == "yaml" and block.mark):
            found.append(block)
        elif block.mark == "shows" and found:
            last = found.pop()
            found.append(
                Block(
                    page=page,
                    line=last.line,
                    language=last.language,
                    text=last.text,
                    mark=last.mark,
                    shown=last.shown + block.text,
                )
            )
    return found


def yaml_of(page: str) -> list[Block]:
    """Returns the blocks of YAML that are on a page to be copied: those without a mark."""
    blocks = _fenced(page, (ROOT / page).read_text())
    return [block for block in blocks if block.language == "yaml" and not block.mark]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A command that another test runs, and what a page shows of its output."""

    test: str
    command: str
    shown: str


def samples_of(page: str) -> list[Sample]:
    """Returns those of a page, in its order."""
    return samples_in(page, (ROOT / page).read_text())


def samples_in(page: str, text: str) -> list[Sample]:
    """Returns those in the text of a page."""
    return [
        Sample(
            test=block.mark.removeprefix(_SHOWN_IN),
            command=block.text.partition("\n")[0].removeprefix("$ "),
            shown=block.text.partition("\n")[2],
        )
        for block in _fenced(page, text)
        if block.mark.startswith(_SHOWN_IN)
    ]


def looks_of(page: str) -> list[Block]:
    """Returns the commands within the sentences of a page that only look: kubectl get, describe and explain."""
    return looks_in(page, (ROOT / page).read_text())


def looks_in(page: str, text: str) -> list[Block]:
    """Returns those in the text of a page."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    commands = {" ".join(command.split()): None for command in _INLINE.findall(text)}
    return [
        Block(
            page=page, line=0, language="sh", text=_filled_in(command) + "\n", mark="run: cluster"
        )
        for command in commands
        if _LOOK.fullmatch(command)
    ]


def _filled_in(command: str) -> str:
    return " ".join(_STANDS_FOR.get(word, word) for word in command.split())


def _fenced(page: str, text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opened = _FENCE.match(lines[number])
        if opened is None:
            number += 1
            continue
        mark = _MARK.match(lines[number - 1]) if number else None
        closing = f"{opened['indent']}```"
        ends = next(
            (at for at in range(number + 1, len(lines)) if lines[at] == closing), len(lines)
        )
        yield Block(
            page=page,
            line=number + 1,
            language=opened["language"],
            text=textwrap.dedent("\n".join(lines[number + 1 : ends]) + "\n"),
            mark=mark["text"] if mark else "",
        )
        number = ends + 1
