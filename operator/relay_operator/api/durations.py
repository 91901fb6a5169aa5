"""Durations as the custom resources spell them: Go's notation, in whole numbers. The standard library alone."""

import re

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]+)(ms|s|m|h)")


def seconds(text: object) -> float:
    """Converts a duration to seconds, like 1h30m, 10s or 500ms (Go's notation, whole numbers).

    Raises ValueError for anything else.
    """
    if isinstance(text, int | float):
        return float(text)
    value = str(text)
    parts = _PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError(f"{value!r} is not a duration like 10s, 500ms or 1h30m")
    return float(sum(int(number) * _UNIT_SECONDS[unit] for number, unit in parts))


def duration_text(number: float) -> str:
    """Writes a duration as Go does, like 10s, 500ms or 90s."""
    return f"{number:g}s" if number == int(number) else f"{round(number * 1000)}ms"
