"""The keys of a document that nobody is to call with any more, told without a look at any Secret."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final

from relay_contract import document
from relay_operator.decisions.api_keys.in_force import ApiKeys, digest_of
from relay_operator.decisions.api_keys.requests import PREVIOUS, Requests, token
from relay_operator.decisions.api_keys.rotation import KeyState

NOBODYS: Final = "0" * 16
"""Begins the digests of keys that nobody has: no key will be found with this one."""

DocumentKeys = tuple[document.ApiKey, ...]


def named_keys(spec: Any) -> frozenset[str] | None:
    """Returns the names of the keys in a Tenant's spec as somebody wrote it; None where it does not tell."""
    written = spec.get("apiKeys") if isinstance(spec, Mapping) else None
    if not isinstance(written, list | tuple):
        return None
    found = [one.get("name") if isinstance(one, Mapping) else None for one in written]
    return frozenset(str(name) for name in found) if all(found) else None


def withdrawn(
    keys: DocumentKeys,
    known: ApiKeys,
    *,
    named: Collection[str] | None,
    requests: Requests,
    now: float,
    nobodys: Callable[[], str],
    overlap_seconds: float | None = None,
) -> DocumentKeys:
    """Returns the keys without those that the spec does not name, that a person revoked, or whose overlap is over.

    known is what the last look at the Secrets found. overlap_seconds is what the newest spec gives an overlap, None where it
    does not say. nobodys makes the digest of a key that nobody has: it stands in for a
    current key that was revoked until the Secret has the next one.
    """
    states = {state.name: state for state in known.states}
    kept = []
    for key in keys:
        if named is not None and key.name not in named:
            continue
        state, found = states.get(key.name), known.digests.get(key.name)
        if state is not None and found is not None:
            is_over = _is_over(state, overlap_seconds, now)
            key = _cut(key, found, state, requests=requests, is_over=is_over, nobodys=nobodys)
        kept.append(key)
    return tuple(kept)


def held(
    *,
    generated: Iterable[str],
    entries: Mapping[str, str],
    brought: Mapping[str, document.ApiKey | None],
) -> dict[str, frozenset[str]]:
    """Returns the digests that Secrets hold of each key.

    generated are the names of those that the operator makes, with the usable entries of their Secret; brought are those of the
    platform as its Secret has them, None for one that is not in it.
    """
    found: dict[str, frozenset[str]] = {
        name: frozenset(
            digest_of(entries[one]) for one in (name, name + PREVIOUS) if one in entries
        )
        for name in generated
    }
    for name, key in brought.items():
        found[name] = frozenset(digests_in((key,) if key is not None else ()))
    return found


def limited(
    keys: DocumentKeys, held: Mapping[str, Collection[str]], *, nobodys: Callable[[], str]
) -> DocumentKeys:
    """Returns the keys without what their Secrets do not hold any more; keys that held does not name stay."""
    return tuple(
        key if key.name not in held else _limited(key, held[key.name], nobodys) for key in keys
    )


def overlap_ends(states: Iterable[KeyState], *, now: float) -> float:
    """Returns when the next overlap ends; infinite if none does."""
    return min((one.previous_until for one in states if one.previous_until > now), default=math.inf)


def digests_in(keys: DocumentKeys) -> set[str]:
    """Returns every digest that the keys accept."""
    return {
        digest
        for key in keys
        for digest in (key.sha256, key.previous_sha256, key.next_sha256)
        if digest is not None
    }


def without_next(keys: DocumentKeys) -> DocumentKeys:
    """Returns the keys without those that are to come."""
    return tuple(
        key if key.next_sha256 is None else key.model_copy(update={"next_sha256": None})
        for key in keys
    )


def _cut(
    key: document.ApiKey,
    found: document.ApiKey,
    state: KeyState,
    *,
    requests: Requests,
    is_over: bool,
    nobodys: Callable[[], str],
) -> document.ApiKey:
    cut: dict[str, str | None] = {}
    is_refused = is_over or not requests.revoke.isdisjoint(state.previous_tokens)
    if is_refused and key.previous_sha256 == found.previous_sha256:
        cut["previous_sha256"] = None
    if key.sha256 == found.sha256 and token(state.name, state.since) in requests.revoke:
        cut["sha256"] = nobodys()
    return key.model_copy(update=cut) if cut else key


def _is_over(state: KeyState, overlap_seconds: float | None, now: float) -> bool:
    if not state.previous_until:
        return False
    until = state.previous_until
    if overlap_seconds is not None:
        # whoever changes the overlap means the one that is under way too
        until = state.replaced_at + overlap_seconds
    return now >= until


def _limited(
    key: document.ApiKey, held: Collection[str], nobodys: Callable[[], str]
) -> document.ApiKey:
    cut: dict[str, str | None] = {}
    if key.previous_sha256 is not None and key.previous_sha256 not in held:
        cut["previous_sha256"] = None
    if key.sha256 not in held and not key.sha256.startswith(NOBODYS):
        cut["sha256"] = nobodys()
    return key.model_copy(update=cut) if cut else key
