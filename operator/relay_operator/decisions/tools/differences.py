"""Differences of a definition from the approved one, in few words: which fields are others and by how much, never their texts.

A description is what a model is led by; who reads Events reads it in the server's own list before it is approved.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Marks = Mapping[str, tuple[str, int]]
"""Digest and characters of each field of a definition."""

_NAMED_FIELDS: Final = 4
_FIELD_CHARACTERS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A definition that waits. before is None where the operator has not seen the approved one in its present life."""

    kind: str
    name: str
    is_new: bool
    before: Marks | None
    after: Marks | None

    @property
    def words(self) -> str:
        """Says what is another."""
        label = f"{self.kind} {self.name}"
        if self.is_new:
            return f"{label} is new"
        if self.before is None or self.after is None:
            return f"{label} is another than the approved one"
        fields = sorted(self.before.keys() | self.after.keys())
        other = [
            _field(name, self.before.get(name), self.after.get(name))
            for name in fields
            if self.before.get(name) != self.after.get(name)
        ]
        if not other:
            # seen only as it is since: the approved one was changed while no operator ran
            return f"{label} is another than the approved one"
        more = f", {len(other) - _NAMED_FIELDS} fields more" if len(other) > _NAMED_FIELDS else ""
        return f"{label}: {', '.join(other[:_NAMED_FIELDS])}{more}"


def _field(name: str, before: tuple[str, int] | None, after: tuple[str, int] | None) -> str:
    shown = "".join(one if one.isprintable() else "?" for one in name[:_FIELD_CHARACTERS])
    if before is None:
        return f"{shown} added ({after[1] if after else 0} characters)"
    if after is None:
        return f"{shown} removed"
    return f"{shown} changed ({before[1]} to {after[1]} characters)"
