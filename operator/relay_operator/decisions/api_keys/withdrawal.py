"""The keys of a document that nobody is to call with any more, told without a look at any Secret."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from relay_contract import document
from relay_operator.decisions.api_keys.in_force import ApiKeys
from relay_operator.decisions.api_keys.requests import Requests, token
from relay_operator.decisions.api_keys.rotation import KeyState

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
) -> DocumentKeys:
    """Returns the keys without those that the spec does not name, that a person revoked, or whose overlap is over.

    known is what the last look at the Secrets found. nobodys makes the digest of a key that nobody has: it stands in for a
    current key that was revoked until the Secret has the next one.
    """
    states = {state.name: state for state in known.states}
    kept = []
    for key in keys:
        if named is not None and key.name not in named:
            continue
        state, found = states.get(key.name), known.digests.get(key.name)
        if state is not None and found is not None:
            key = _cut(key, found, state, requests=requests, now=now, nobodys=nobodys)
        kept.append(key)
    return tuple(kept)


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
    now: float,
    nobodys: Callable[[], str],
) -> document.ApiKey:
    cut: dict[str, str | None] = {}
    is_over = bool(state.previous_until) and now >= state.previous_until
    is_refused = is_over or not requests.revoke.isdisjoint(state.previous_tokens)
    if is_refused and key.previous_sha256 == found.previous_sha256:
        cut["previous_sha256"] = None
    if key.sha256 == found.sha256 and token(state.name, state.since) in requests.revoke:
        cut["sha256"] = nobodys()
    return key.model_copy(update=cut) if cut else key
