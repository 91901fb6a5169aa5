"""The API keys of a tenant that are in force, those that the operator makes and those that the platform brings."""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from relay_contract import document
from relay_operator.decisions.api_keys.requests import PREVIOUS, token
from relay_operator.decisions.api_keys.rotation import KeyState
from relay_operator.decisions.timestamps import to_text

_MOST_TOLD = 4
"""Keys in a message; status has all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKeys:
    """Digests by name, in the order of the spec; what of it was found, and what a person has to do.

    obstacle says what keeps the Secret from being as the spec asks for, problems which keys are not in force, notes what was
    asked for and cannot be. brought names the keys that the platform brings. waiting is for a rotation that relay pods hold
    up, and says how many.
    """

    digests: Mapping[str, document.ApiKey] = field(default_factory=dict)
    states: tuple[KeyState, ...] = ()
    brought: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    obstacle: str = ""
    waiting: str = ""
    next_at: float = math.inf


def digest_of(key: str) -> str:
    """Returns the SHA-256 of an API key in hex, which is all that the document holds of it."""
    return hashlib.sha256(key.encode()).hexdigest()


def of_entries(
    entries: Mapping[str, str], wanted: Iterable[str], prepared: Mapping[str, str]
) -> dict[str, document.ApiKey]:
    """Returns the digests of the keys in the entries of a Secret, with those before them and those that are prepared."""
    return {
        name: document.ApiKey(
            name=name,
            sha256=digest_of(entries[name]),
            previous_sha256=_digest_in(entries, name + PREVIOUS),
            next_sha256=_digest_in(prepared, name),
        )
        for name in wanted
        if name in entries
    }


def without_doubles(
    digests: Mapping[str, document.ApiKey], order: Iterable[str]
) -> tuple[dict[str, document.ApiKey], list[str]]:
    """Leaves a key that stands under two names to the first of the spec; says which other names are refused."""
    kept: dict[str, document.ApiKey] = {}
    problems: list[str] = []
    holders: dict[str, str] = {}
    for name in order:
        key = digests.get(name)
        if key is None:
            continue
        holder = holders.setdefault(key.sha256, name)
        if holder == name:
            kept[name] = key
        else:
            problems.append(
                f"API key {name} is not in force: it is the same as {holder}, to which calls with it are booked; give it a "
                "key of its own"
            )
    return kept, problems


def to_status(keys: ApiKeys) -> list[dict[str, str]]:
    """Lays out what status tells of each key."""
    told = [_entry(state) for state in keys.states]
    told += [{"name": name, "source": "Digest"} for name in keys.brought]
    return sorted(told, key=lambda entry: entry["name"])


def story(keys: ApiKeys) -> str:
    """Tells what is under way and what comes next, for a person who reads one sentence."""
    told = [one for one in (_overlap(state) for state in keys.states) if one]
    told += [one for one in (_wait(state, keys.waiting) for state in keys.states) if one]
    coming = [one for one in keys.states if one.rotates_at < math.inf and not one.is_due]
    if coming:
        first = min(coming, key=lambda one: one.rotates_at)
        told.append(f"the next rotation is that of {first.name} at {to_text(first.rotates_at)}")
    more = [f"and {len(told) - _MOST_TOLD} more in status.keys"] if len(told) > _MOST_TOLD else []
    return "; ".join([*told[:_MOST_TOLD], *more, *keys.notes])


def _digest_in(keys: Mapping[str, str], name: str) -> str | None:
    return digest_of(keys[name]) if name in keys else None


def _entry(state: KeyState) -> dict[str, str]:
    entry = {
        "name": state.name,
        "source": "Generated",
        "since": to_text(state.since),
        "id": token(state.name, state.since),
    }
    if state.rotates_at < math.inf:
        entry["rotatesAt"] = to_text(state.rotates_at)
    if state.previous_until:
        entry["previousUntil"] = to_text(state.previous_until)
        entry["previousId"] = token(state.name + PREVIOUS, state.since)
    return entry


def _overlap(state: KeyState) -> str:
    if not state.previous_until:
        return ""
    return (
        f"{state.name} was rotated at {to_text(state.since)}, and the key before it ({state.name}{PREVIOUS}) is accepted "
        f"until {to_text(state.previous_until)}"
    )


def _wait(state: KeyState, waiting: str) -> str:
    if state.waits_for_overlap:
        return (
            f"a rotation of {state.name} is due and comes when {state.name}{PREVIOUS} is not accepted any more: at "
            f"{to_text(state.previous_until)}, or as soon as it is revoked"
        )
    if state.is_due:
        return f"the rotation of {state.name} waits for relay pods to know the next key{waiting}"
    return ""
