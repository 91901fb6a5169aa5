"""Bounds log lines that a caller, a relay or an outage can cause again and again.

The first of a kind are written as they come, the others counted: one line an interval, and one when it is over. Every process that has such
lines keeps to this, so that a log reads the same everywhere, and nobody fills a disk with requests.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

INTERVAL_SECONDS: Final = 10.0
MAX_KINDS: Final = 200
"""Kinds of a log that are told apart; beyond the bound the others of an event share one."""
Write = Callable[[str, str, dict[str, Any]], None]
"""Writes a line: its level, its event and its fields."""
_Kind = tuple[str, str, tuple[str, ...]]
_OTHERS: Final = ("*",)


@dataclass(slots=True)
class _Repeated:
    """What is known of a kind: the time of its first and last, and how many were written and counted in this interval."""

    fields: dict[str, Any]
    names: dict[str, Any]
    began_at: float
    last_at: float
    interval_at: float
    burst: int
    written: int = 1
    counted: int = 0
    total: int = 1


class RepeatedLines:
    """Writes the first lines of a kind at once, then one an interval with `times`: how many it stands for.

    Events are a program's own words, so that there are few. A kind is over once an interval has passed without any. If not all of its lines were written, a line `<event>_over` tells how many there were,
    and in how many seconds. Times are of a monotonic clock. Any thread may note.
    """

    def __init__(self, write: Write) -> None:
        self._write = write
        self._kinds: dict[_Kind, _Repeated] = {}
        self._lock = threading.RLock()

    def note(
        self,
        now: float,
        level: str,
        event: str,
        fields: dict[str, Any],
        *,
        by: tuple[str, ...],
        burst: int = 1,
    ) -> None:
        """Writes a line or counts it: the first `burst` of a kind are written.

        Those of one level and event that agree in the fields named by `by` are of one kind.
        """
        with self._lock:
            kind, names = self._kind(level, event, {name: fields[name] for name in by})
            known = self._kinds.get(kind)
            if known is None:
                self._kinds[kind] = _Repeated(fields, names, now, now, now, burst)
                self._write(level, event, fields)
                return
            known.last_at, known.fields = now, fields
            known.total += 1
            if known.written < known.burst:
                known.written += 1
                self._write(level, event, fields)
                return
            known.counted += 1
            if now - known.interval_at >= INTERVAL_SECONDS:
                self._end_interval(kind, known, now)

    def tick(self, now: float) -> None:
        """Writes what is due of what was counted, and what is over; call it about once a second."""
        with self._lock:
            for kind, known in list(self._kinds.items()):
                if now - known.interval_at < INTERVAL_SECONDS:
                    continue
                if known.counted or known.last_at > known.interval_at:
                    self._end_interval(kind, known, now)
                else:
                    del self._kinds[kind]
                    self._tell_over(kind, known)

    def _kind(self, level: str, event: str, names: dict[str, Any]) -> tuple[_Kind, dict[str, Any]]:
        kind = level, event, tuple(str(value) for value in names.values())
        if kind in self._kinds or len(self._kinds) < MAX_KINDS:
            return kind, names
        return (level, event, _OTHERS), {}

    def _end_interval(self, kind: _Kind, known: _Repeated, now: float) -> None:
        """Writes what an interval has counted; in the next one nothing is written at once, since it is going on."""
        if known.counted:
            level, event, _ = kind
            self._write(level, event, {**known.fields, "times": known.counted})
        known.interval_at, known.written, known.counted = now, known.burst, 0

    def _tell_over(self, kind: _Kind, known: _Repeated) -> None:
        if known.total > known.burst:
            seconds = round(known.last_at - known.began_at, 3)
            told = {**known.names, "times": known.total, "seconds": seconds}
            self._write("info", f"{kind[1]}_over", told)
