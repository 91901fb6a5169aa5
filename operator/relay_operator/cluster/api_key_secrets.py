"""The Secrets of a tenant's API keys: those that the operator makes, and digests of those that the platform brings.

No value is ever logged.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from relay_contract.document import API_KEY_PREFIX
from relay_operator import names
from relay_operator.api.tenant import Tenant
from relay_operator.cluster.api_server import ApiServer, Manifest
from relay_operator.cluster.key_secrets import decode
from relay_operator.decisions import timestamps
from relay_operator.decisions.api_keys import stamps
from relay_operator.decisions.api_keys.rotation import Found, Settled
from relay_operator.errors import Unavailable
from relay_operator.manifests import credentials

_FEWEST_CHARACTERS: Final = 8
"""Of a key that somebody wrote by hand; what the operator makes has 256 random bits."""
_MOST_CHARACTERS: Final = 512
_SENDABLE: Final = re.compile(r"[!-~]+")
"""Matches what fits into an Authorization field as one word (RFC 9110, section 5.6.2, and RFC 6750, section 2.1, are narrower)."""


@dataclass(frozen=True, slots=True)
class KeySecret:
    """The Secret of a tenant's API keys as it was read; body is None where there is none."""

    body: Manifest | None
    found: Found


async def read(api: ApiServer, tenant: Tenant, *, now: float) -> KeySecret:
    """Reads the keys of a tenant."""
    namespace = names.tenant_namespace(tenant.metadata.name)
    body = await api.get("Secret", names.API_KEYS_SECRET, namespace=namespace)
    if body is None:
        return KeySecret(None, Found(made_at=now, is_there=False))
    return KeySecret(body, _found(body, now))


async def read_digests(api: ApiServer, tenant: Tenant) -> tuple[Mapping[str, str], str]:
    """Reads the digests that the platform brings; with the version of their Secret, both empty where there is none."""
    namespace = names.tenant_namespace(tenant.metadata.name)
    body = await api.get("Secret", names.KEY_DIGESTS_SECRET, namespace=namespace)
    return decode(body), version_of(body)


async def write(api: ApiServer, tenant: Tenant, secret: KeySecret, settled: Settled) -> Manifest:
    """Brings the Secret to what was settled, in one write; returns it as it is now.

    Two operators at once cannot both make keys: creation and change carry a precondition (Conflict).
    """
    manifest = credentials.api_keys(tenant, settled.entries, stamps=stamps.to_text(settled.stamps))
    if secret.body is None:
        return await api.create(manifest)
    gone: dict[str, Any] = dict.fromkeys((secret.body.get("data") or {}).keys())
    patch = {
        "metadata": {
            "resourceVersion": secret.body["metadata"]["resourceVersion"],
            "annotations": manifest["metadata"]["annotations"],
        },
        "data": {**gone, **manifest["data"]},
    }
    namespace = names.tenant_namespace(tenant.metadata.name)
    return await api.patch("Secret", names.API_KEYS_SECRET, patch, namespace=namespace)


def is_as_settled(secret: KeySecret, settled: Settled) -> bool:
    """Tells whether there is nothing to write."""
    found = secret.found
    return (
        found.is_there
        and not found.unusable
        and found.entries == settled.entries
        and found.stamps == settled.stamps
    )


def check_written(body: Manifest | None, settled: Settled) -> None:
    """Raises Unavailable if the Secret that the API server returned does not hold what was settled.

    Whoever looks again at once would make and push new keys without end.
    """
    found = _found(body, 0.0) if body is not None else None
    stamped = stamps.from_text(stamps.to_text(settled.stamps))
    if (
        found is None
        or not settled.entries.items() <= found.entries.items()
        or found.stamps != stamped
    ):
        raise Unavailable(
            f"Secret {names.API_KEYS_SECRET} was written, and what the API server stored is something else: a mutating "
            "admission webhook or policy changes it; exempt the Secret from it"
        )


def version_of(secret: Manifest | None) -> str:
    """Returns the version of a Secret, empty for none."""
    return str(secret["metadata"]["resourceVersion"]) if secret is not None else ""


def new_key(tenant: str) -> str:
    """Makes an API key: a prefix that secret scanners can recognise, then 256 random bits."""
    return f"{API_KEY_PREFIX}{tenant}-{secrets.token_urlsafe(32)}"


def _found(body: Manifest, now: float) -> Found:
    metadata = body["metadata"]
    entries, unusable = {}, {}
    texts = decode(body)
    for name in body.get("data") or {}:
        # a newline at the end is that of the editor it was written with, and no client sends it
        key = texts.get(name, "").strip()
        why = "is no text" if name not in texts else _fault_of(key)
        if why:
            unusable[name] = why
        else:
            entries[name] = key
    annotation = (metadata.get("annotations") or {}).get(names.ANNOTATION_KEY_STAMPS, "")
    return Found(
        entries=entries,
        unusable=unusable,
        stamps=stamps.from_text(annotation),
        made_at=timestamps.from_text(metadata.get("creationTimestamp")) or now,
        is_immutable=bool(body.get("immutable")),
    )


def _fault_of(key: str) -> str:
    """Says why nobody could send or nobody should use it as a key; empty for a key."""
    if not key:
        return "is empty"
    if len(key) < _FEWEST_CHARACTERS:
        return f"has fewer than {_FEWEST_CHARACTERS} characters"
    if len(key) > _MOST_CHARACTERS:
        return f"has more than {_MOST_CHARACTERS} characters"
    return "" if _SENDABLE.fullmatch(key) else "has characters that no key may have"
