"""Label selectors as Kubernetes writes them: `tier=premium,region in (eu, us),!legacy`."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = (
    r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
)
_VALUE: Final = r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?"
_EQUALITY: Final = re.compile(rf"({_NAME})\s*(==|=|!=)\s*({_VALUE})")
_SET: Final = re.compile(rf"({_NAME})\s+(in|notin)\s+\(([^()]*)\)")
_PRESENCE: Final = re.compile(rf"(!?)\s*({_NAME})")
_COMMA: Final = re.compile(r",(?![^()]*\))")


@dataclass(frozen=True, slots=True)
class Requirement:
    """One part of a selector. A label with one of the values is asked for, or forbidden; without values, any value."""

    name: str
    values: frozenset[str] | None
    wanted: bool

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tells whether an object with these labels fits; one without the label has none of the values."""
        found = labels.get(self.name)
        has = found is not None and (self.values is None or found in self.values)
        return has is self.wanted


@dataclass(frozen=True, slots=True)
class LabelSelector:
    """Requirements all of which an object has to meet."""

    requirements: tuple[Requirement, ...]

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Tells whether an object with these labels is selected."""
        return all(one.matches(labels) for one in self.requirements)


def parse(text: str) -> LabelSelector:
    """Reads a selector; raises ValueError with the part that is none. An empty one would select everything, and is refused."""
    parts = [part.strip() for part in _COMMA.split(text)]
    return LabelSelector(tuple(map(_requirement, parts)))


def _requirement(part: str) -> Requirement:
    if found := _EQUALITY.fullmatch(part):
        return Requirement(found[1], frozenset({found[3]}), wanted=found[2] != "!=")
    if found := _SET.fullmatch(part):
        values = [value.strip() for value in found[3].split(",")]
        if all(re.fullmatch(_VALUE, value) for value in values):
            return Requirement(found[1], frozenset(values), wanted=found[2] == "in")
    elif found := _PRESENCE.fullmatch(part):
        return Requirement(found[2], None, wanted=not found[1])
    raise ValueError(
        f"{part!r} is no part of a label selector: write name=value, name!=value, name in (a, b), name notin (a, b), name or !name, "
        "and a comma between parts"
    )
