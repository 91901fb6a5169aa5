"""Reads what a person asks for by annotations of a Tenant: to rotate keys, or to refuse them at once.

A value names the key and since when it is the current one, as status shows it, so one that is left over acts on no later key.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from relay_operator import names
from relay_operator.decisions import timestamps

PREVIOUS: Final = ".previous"
"""Ends the entry of the Secret that holds the key before the current one."""
_MOST: Final = 128
"""Twice as many as there can be keys with one before them."""
_LONGEST: Final = 128
_SEPARATORS: Final = re.compile(r"[,\s]+")


@dataclass(frozen=True, slots=True)
class Requests:
    """Tokens of the keys to rotate, and of those to revoke."""

    rotate: frozenset[str] = frozenset()
    revoke: frozenset[str] = frozenset()


def token(entry: str, since: float) -> str:
    """Returns what names the key of an entry, for as long as it is the one."""
    return f"{entry}/{timestamps.to_text(since)}"


def read(annotations: Mapping[str, str]) -> Requests:
    """Reads the annotations of a Tenant."""
    return Requests(
        rotate=_tokens(annotations.get(names.ANNOTATION_ROTATE_KEYS, "")),
        revoke=_tokens(annotations.get(names.ANNOTATION_REVOKE_KEYS, "")),
    )


def complaints(asked: Requests, *, known: Collection[str], brought: Collection[str]) -> list[str]:
    """Says which tokens name no key that the operator makes; those of keys that were replaced since are left over."""
    said = []
    for annotation, tokens, entries in (
        (names.ANNOTATION_ROTATE_KEYS, asked.rotate, set(known)),
        (names.ANNOTATION_REVOKE_KEYS, asked.revoke, {*known, *(one + PREVIOUS for one in known)}),
    ):
        strange = sorted(one for one in tokens if _entry_of(one) not in entries)
        if not strange:
            continue
        shown, entry = strange[0], _entry_of(strange[0])
        why = (
            f"the key is brought by the platform, which changes Secret {names.KEY_DIGESTS_SECRET}"
            if entry.removesuffix(PREVIOUS) in brought
            else "that names no API key; take the value from status.keys"
        )
        said.append(f"annotation {annotation} has {shown!r}: {why}")
    return said


def _tokens(text: str) -> frozenset[str]:
    found = [one[:_LONGEST] for one in _SEPARATORS.split(text[: _MOST * _LONGEST]) if one]
    return frozenset(found[:_MOST])


def _entry_of(token_: str) -> str:
    """Returns the entry that a token names; empty where it is none."""
    entry, slash, since = token_.partition("/")
    return entry if slash and timestamps.from_text(since) > 0 else ""
