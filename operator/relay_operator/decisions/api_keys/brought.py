"""API keys that the platform makes itself: their digests, as a Secret of the tenant's namespace has them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relay_contract import document
from relay_operator import names
from relay_operator.decisions.api_keys.requests import PREVIOUS

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Brought:
    """Digests by name, and what a person has to mend."""

    digests: dict[str, document.ApiKey] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read(
    entries: Mapping[str, str],
    wanted: Iterable[str],
    *,
    secret: str,
    in_force: Mapping[str, document.ApiKey],
) -> Brought:
    """Reads the digests of the wanted names from the Secret's entries, which have the hex of a SHA-256 each.

    An entry that is none leaves what is in force; one that is not there revokes the key. No value is ever repeated: it may be
    a key that somebody took for its digest.
    """
    found = Brought()
    for name in wanted:
        current, before = _digest(entries.get(name)), _digest(entries.get(name + PREVIOUS))
        last = in_force.get(name)
        if name not in entries:
            found.problems.append(
                f"API key {name} is refused: Secret {secret} has no entry {name}; put the SHA-256 of the key there, as 64 "
                "hexadecimal digits"
            )
            continue
        if current is None:
            found.problems.append(_no_digest(name, secret, stays=last is not None))
            current = last.sha256 if last is not None else None
        if before is None and name + PREVIOUS in entries:
            stays = last is not None and last.previous_sha256 is not None
            found.problems.append(_no_digest(name + PREVIOUS, secret, stays=stays))
            before = last.previous_sha256 if last is not None else None
        if current is not None:
            found.digests[name] = document.ApiKey(name=name, sha256=current, previous_sha256=before)
    return found


def label(namespace: str) -> str:
    """Returns the Secret as messages name it."""
    return f"{namespace}/{names.KEY_DIGESTS_SECRET}"


def _digest(text: str | None) -> str | None:
    plain = (text or "").strip().lower()
    return plain if _DIGEST.fullmatch(plain) else None


def _no_digest(entry: str, secret: str, *, stays: bool) -> str:
    effect = "the last digest stays in force" if stays else "the key is refused"
    return (
        f"entry {entry} of Secret {secret} is no SHA-256 of 64 hexadecimal digits, and {effect}; write the digest of the key "
        "there (printf %s KEY | sha256sum), never the key itself"
    )
