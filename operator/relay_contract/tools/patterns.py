"""Patterns of names and URIs: each stands for itself, or with a star at its end for everything that begins so."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, StringConstraints

STAR: Final = "*"
MAX_NAME_CHARACTERS: Final = 128
"""The longest name of a tool (MCP 2026-07-28, server/tools, Tool Names)."""
MAX_URI_CHARACTERS: Final = 256

_CHARACTERS: Final = r"[!#-)+-\[\]-~]"
"""Visible ASCII but for the star, and for what JSON has to escape."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
"""RFC 3986, section 3.1."""

DefinitionName = Annotated[
    str, StringConstraints(pattern=rf"^{_CHARACTERS}{{1,{MAX_NAME_CHARACTERS}}}$")
]
"""The name of a tool or prompt that can be granted."""
NamePattern = Annotated[
    str, StringConstraints(pattern=rf"^({_CHARACTERS}{{1,{MAX_NAME_CHARACTERS}}}\*?|\*)$")
]
ResourceName = Annotated[
    str, StringConstraints(pattern=rf"^[!#-\[\]-~]{{1,{MAX_URI_CHARACTERS}}}$")
]
"""The URI of a resource, or the template of some (RFC 6570), that can be approved; a template may hold stars."""


_NAME: Final = re.compile(rf"{_CHARACTERS}{{1,{MAX_NAME_CHARACTERS}}}")


def is_name(text: str) -> bool:
    """Returns whether a tool or prompt with this name could be granted."""
    return _NAME.fullmatch(text) is not None


def _leads_past_its_authority(pattern: str) -> str:
    """Refuses a pattern that another host could match: `https://api.example.com*` has https://api.example.com.evil.org."""
    if pattern == STAR:
        return pattern
    if _SCHEME.match(pattern) is None:
        raise ValueError(f"{pattern} has no scheme: a URI begins with one, as in file:///reports/*")
    _, divider, rest = pattern.removesuffix(STAR).partition("://")
    if pattern.endswith(STAR) and divider and rest and "/" not in rest:
        raise ValueError(
            f"{pattern} would cover other hosts: put the star behind a slash, {pattern[:-1]}/*"
        )
    return pattern


UriPattern = Annotated[
    str,
    StringConstraints(pattern=rf"^{_CHARACTERS}{{0,{MAX_URI_CHARACTERS}}}\*?$", min_length=1),
    AfterValidator(_leads_past_its_authority),
]


def covers(pattern: str, name: str) -> bool:
    """Returns whether the pattern stands for this name. Letters count as they are written."""
    if pattern.endswith(STAR):
        return name.startswith(pattern[:-1])
    return name == pattern


def covers_template(pattern: str, template: str) -> bool:
    """Returns whether the pattern covers every URI of a template, as far as the template itself can tell."""
    literal, brace, _ = template.partition("{")
    if not brace:
        return covers(pattern, template)
    return pattern.endswith(STAR) and literal.startswith(pattern[:-1])


def overlap(one: str, other: str) -> bool:
    """Returns whether some name is covered by both patterns."""
    if one.endswith(STAR) and other.endswith(STAR):
        return one.startswith(other[:-1]) or other.startswith(one[:-1])
    return covers(one, other) if one.endswith(STAR) else covers(other, one)
