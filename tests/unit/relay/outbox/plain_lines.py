"""The writing in C of most lines."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from hatch_build import PLAIN_LINES
from relay.outbox import event_lines
from relay.outbox.event_lines import EventLines
from relay.outbox.record_format import Found

Digest = Callable[[bytes], str]
PlainLine = Callable[[bytes, tuple[bytes, ...], Digest], bytes | None]


def loaded(path: Path) -> PlainLine:
    """Returns the function of a built extension."""
    spec = importlib.util.spec_from_file_location(PLAIN_LINES, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    function: PlainLine = module.plain_line
    return function


class WithC:
    """Makes lines with the function in C; counts those that it wrote."""

    def __init__(self, lines: EventLines, plain_line: PlainLine) -> None:
        self._lines, self._plain_line = lines, plain_line
        self.written = 0

    def line(self, found: Found, names: bytes) -> bytes:
        """Writes a record as EventLines does."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(event_lines, "plain_line", self._write)
            return self._lines.line(found, names)

    def _write(self, body: bytes, pieces: tuple[bytes, ...], digest: Digest) -> bytes | None:
        line = self._plain_line(body, pieces, digest)
        self.written += line is not None
        return line
