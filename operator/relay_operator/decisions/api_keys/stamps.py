"""Since when a tenant's API keys are what they are: kept as an annotation of their Secret, written in one write with them.

Whoever writes the Secret may write the annotation too, so it is read without trust: what is no stamp is as if it were not
there.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_operator.decisions import timestamps

_MARK_CHARACTERS: Final = 16
_LONGEST_OVERLAP_SECONDS: Final = 366 * 86_400.0


@dataclass(frozen=True, slots=True)
class Replaced:
    """The key before the current one: its mark, since when it is not current, and how long it was to be accepted then.

    current_since is since when it had been the current one; 0 where nobody knows.
    """

    mark: str
    since: float
    overlap_seconds: float
    current_since: float = 0.0


@dataclass(frozen=True, slots=True)
class Stamp:
    """The key in an entry, by its mark: it is the current one since then."""

    mark: str
    since: float
    previous: Replaced | None = None


def mark_of(key: str) -> str:
    """Returns what tells a key from any other, and nothing of the key: the beginning of its SHA-256."""
    return hashlib.sha256(key.encode()).hexdigest()[:_MARK_CHARACTERS]


def to_text(stamps: Mapping[str, Stamp]) -> str:
    """Returns the annotation."""
    return json.dumps(
        {name: _entry(stamp) for name, stamp in stamps.items()},
        sort_keys=True,
        separators=(",", ":"),
    )


def from_text(text: str) -> dict[str, Stamp]:
    """Reads the annotation."""
    try:
        entries = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    if not isinstance(entries, dict):
        return {}
    read = {name: _stamp(entry) for name, entry in entries.items()}
    return {name: stamp for name, stamp in read.items() if stamp is not None}


def _entry(stamp: Stamp) -> dict[str, Any]:
    entry: dict[str, Any] = {"key": stamp.mark, "since": timestamps.to_text(stamp.since)}
    if stamp.previous is not None:
        entry["previous"] = {
            "key": stamp.previous.mark,
            "since": timestamps.to_text(stamp.previous.since),
            "overlapSeconds": int(stamp.previous.overlap_seconds),
        }
        if stamp.previous.current_since > 0:
            entry["previous"]["currentSince"] = timestamps.to_text(stamp.previous.current_since)
    return entry


def _stamp(entry: Any) -> Stamp | None:
    found = _marked(entry)
    if found is None:
        return None
    previous = entry.get("previous")
    replaced = _marked(previous)
    if replaced is None:
        return Stamp(*found)
    overlap = previous.get("overlapSeconds")
    if not isinstance(overlap, int) or not 0 <= overlap <= _LONGEST_OVERLAP_SECONDS:
        return Stamp(*found)
    current_since = timestamps.from_text(previous.get("currentSince"))
    return Stamp(*found, Replaced(*replaced, float(overlap), current_since))


def _marked(entry: Any) -> tuple[str, float] | None:
    if not isinstance(entry, dict):
        return None
    mark, since = entry.get("key"), timestamps.from_text(entry.get("since"))
    return (mark, since) if isinstance(mark, str) and since > 0 else None
