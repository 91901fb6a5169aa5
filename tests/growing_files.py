"""Files that another process still writes: a reader can see the first part of a line."""

from collections.abc import Iterator
from pathlib import Path


def whole_text(path: Path) -> str:
    """Returns the lines of the file that are written to their end; a line that has no end yet is left out.

    The kernel lets a reader see a single write in parts, page by page.
    """
    written = path.read_bytes()
    return written[: written.rfind(b"\n") + 1].decode(errors="replace")


def whole_lines(path: Path) -> Iterator[str]:
    """Goes through the same lines of a file that may be large, one by one."""
    with path.open(errors="replace") as file:
        yield from (line for line in file if line.endswith("\n"))
