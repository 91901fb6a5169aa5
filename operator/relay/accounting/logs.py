"""Log lines as JSON on standard output, written by a thread so that a stuck pipe cannot hold up a call."""

import asyncio
import os
import queue
import threading
import time
from typing import Any, Final

import orjson

from relay.accounting.tool_call_event import ToolCallEvent, tool_call_line
from relay.accounting.usage_event import UsageEvent
from relay.accounting.usage_log_line import usage_line
from relay_contract.log_lines.repeated_lines import RepeatedLines

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
FLUSH_SECONDS: Final = 0.1
FLUSH_LINES: Final = 512
MAX_BEHIND_BATCHES: Final = 256
"""Batches waiting for the pipe; beyond it lines are dropped and counted."""


class Log:
    """Events with fields. Values are this program's own or sanitised ids: never bodies, prompts, credentials."""

    def __init__(self, *, level: str, pod: str, process: str, descriptor: int = 1) -> None:
        self._level = LEVELS[level]
        self._pod = pod
        self._process = process
        self._descriptor = descriptor
        self._repeated = RepeatedLines(self._write_event)

    def event(self, level: str, event: str, **fields: Any) -> None:
        """Writes one line, unless the level is below the one set."""
        self._write_event(level, event, fields)

    def repeated(self, level: str, event: str, *, by: tuple[str, ...] = (), **fields: Any) -> None:
        """Writes a line that may come again and again: the first at once, then how many there were, by the fields named."""
        if LEVELS[level] >= self._level:
            self._repeated.note(time.monotonic(), level, event, fields, by=by)

    def tick(self, now: float) -> None:
        """Writes what was counted of repeated lines; call it about once a second, with a monotonic clock."""
        self._repeated.tick(now)

    def _write_event(self, level: str, event: str, fields: dict[str, Any]) -> None:
        if LEVELS[level] >= self._level:
            line = {"ts": time.time(), "level": level, "event": event, "process": self._process}
            self._write(orjson.dumps({**line, "pod": self._pod, **fields}, default=str) + b"\n")

    def _write(self, line: bytes) -> None:
        _write_all(self._descriptor, line)


class WorkerLog(Log):
    """A log that gathers lines for a tenth of a second and hands them to its thread."""

    def __init__(
        self, *, level: str, pod: str, process: str, usage: bool, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(level=level, pod=pod, process=process)
        self._usage = usage
        self._loop = loop
        self._lines: list[bytes] = []
        self._batches: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._flush_handle: asyncio.TimerHandle | None = None
        self.dropped = 0
        self._writer = threading.Thread(target=self._drain, name="log", daemon=True)
        self._writer.start()

    def record(self, event: UsageEvent) -> None:
        """Writes a usage event, if usage is logged."""
        if self._usage:
            self._write(usage_line(event, timestamp=time.time(), pod=self._pod))

    def record_tool_call(self, event: ToolCallEvent, *, tenant: str, tenant_uid: str) -> None:
        """Writes the record of a tool call: it is what an audit goes by, so no setting leaves it out."""
        self._write(
            tool_call_line(
                event, tenant=tenant, tenant_uid=tenant_uid, timestamp=time.time(), pod=self._pod
            )
        )

    def close(self) -> None:
        """Flushes everything written so far; waits at most a second for the pipe."""
        self._flush()
        self._batches.put(None)
        self._writer.join(timeout=1.0)

    def _write(self, line: bytes) -> None:
        self._lines.append(line)
        if len(self._lines) >= FLUSH_LINES:
            self._flush()
        elif self._flush_handle is None:
            self._flush_handle = self._loop.call_later(FLUSH_SECONDS, self._flush)

    def _flush(self) -> None:
        if self._flush_handle is not None:
            self._flush_handle.cancel()
            self._flush_handle = None
        lines, self._lines = self._lines, []
        if not lines:
            return
        if self._batches.qsize() >= MAX_BEHIND_BATCHES:
            self.dropped += len(lines)
        else:
            self._batches.put(b"".join(lines))

    def _drain(self) -> None:
        while (batch := self._batches.get()) is not None:
            _write_all(self._descriptor, batch)


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            # in a line of its own: compiled (mypyc 2.4), a call inside a slice is made twice
            written = os.write(descriptor, view)
        except OSError:
            # the reader of the log is gone; the relay serves on
            return
        view = view[written:]
